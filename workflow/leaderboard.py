"""The board: one row a method and dataset, and its views as CSV, Markdown, web page and terminal table.

A test query is *seen* when one of its relevant documents was a positive of a training query, else *unseen*.
Training can lift the seen ones by remembering documents, so a dataset is ranked by its unseen queries where
it has any. Everything shown is computed from the rows of `standings`; equal inputs give equal bytes.
"""

import base64
import html
import importlib.resources
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import jinja2
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from workflow.errors import UserError
from workflow.files import canonical, read_json, write_text
from workflow.statistics import interval

SLICES = ("all", "seen", "unseen")
METRICS = ("nDCG@10", "MRR@10", "R@100")
RANKED_BY = "nDCG@10"
UNTRAINED = "untrained"
REFERENCE = "in_batch"  # the control that a gain is told against, unless settings name another
FIGURES = ("quality", "scores")

RUN_KEYS = (
    "suite",
    "dataset",
    "method",
    "title",
    "track",
    "seed",
    "adaptations",
    "summary",
    "paper",
    "params",
)
CARD_COLUMNS = ("regime", "documents", "documents_full")
TEXT_COLUMNS = ("dataset", "regime", "method", "title", "track", "adaptations", "summary", "paper", "params")
REPORT = Path(__file__).parent / "report"
MISSING = "—"

Row = Mapping[str, Any]  # one row of `standings`, by column name


def collate(metrics: list[Path], cards: list[Path], settings: dict[str, Any], folder: Path) -> str:
    """Write leaderboard.csv, .md, .html and summary.txt into `folder`; returns the summary's text.

    `metrics` are the metrics.json of a suite's runs, `cards` its datasets' cards. `settings` is what every
    method shared and the board must say: encoder, steps, batch_size, negatives, seeds; `reference` may name
    another control than in-batch negatives. The page takes in the figures that lie in `folder`/figures.
    """
    runs = [read_run(path) for path in metrics]
    described = {card["name"]: card for card in map(read_json, cards)}
    frame = standings(runs, described)
    suite = one_suite(runs)
    text = summary(frame, described, settings)
    write_text(folder / "leaderboard.csv", csv(frame))
    write_text(folder / "leaderboard.md", markdown(frame, described, settings, suite))
    write_text(folder / "leaderboard.html", page(frame, described, settings, suite, folder / "figures"))
    write_text(folder / "summary.txt", text)
    return text


# --- from runs to rows ------------------------------------------------------------------------------------


def read_run(path: Path) -> dict[str, Any]:
    """Read one metrics.json and refuse one that can't stand on a board."""
    run = read_json(path)
    missing = [key for key in (*RUN_KEYS, "slices") if key not in run]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; delete it and run again")
    if run.get("status") != "ok":
        raise UserError(
            f"{path}: its status is {run.get('status')!r}, not 'ok'; run it again or drop the method"
        )
    for name, values in run["slices"].items():
        lacking = [key for key in ("queries", *METRICS) if values.get(key) is None]
        if lacking:
            raise UserError(f"{path}: slice {name!r} lacks {', '.join(lacking)}; delete it and run again")
    return run


def one_suite(runs: list[dict[str, Any]]) -> str:
    """The suite's name; runs of two suites differ in more than negatives and make no board."""
    names = sorted({run["suite"] for run in runs})
    if len(names) != 1:
        raise UserError(f"a board shows one suite, given: {', '.join(names) or 'no run'}")
    return names[0]


def summarise(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a (dataset, method): means and 95 % intervals over seeds, ordered and ranked within a dataset.

    Columns `METRIC/SLICE/mean|low|high` are fractions in 0..1 (NaN: no such slice, or one seed only),
    `test_queries/SLICE` counts, `train_seconds` the mean wall time of a run. `rank` counts trained methods
    from 1 by nDCG@10 on the slice that `ranking_slice` names; baselines stand in the order but have no rank.
    """
    _check_comparable(runs)
    ordered = sorted(runs, key=lambda run: (run["dataset"], run["method"], str(run["seed"])))
    groups = groupby(ordered, key=lambda run: (run["dataset"], run["method"]))
    frame = pd.DataFrame([_row(list(group)) for _, group in groups])
    return pd.concat([_ranked(part) for _, part in datasets(frame)], ignore_index=True)


def standings(runs: list[dict[str, Any]], cards: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """The rows of `summarise` with regime and size of their collection, from the cards by dataset name."""
    unknown = sorted({run["dataset"] for run in runs} - cards.keys())
    if unknown:
        raise UserError(
            f"no dataset card for {', '.join(unknown)}; give the card of every dataset on the board"
        )
    frame = summarise(runs)
    for place, column in enumerate(CARD_COLUMNS, start=1):
        frame.insert(place, column, [cards[name][column] for name in frame["dataset"]])
    return frame


def ranking_slice(frame: pd.DataFrame) -> str:
    """The slice that ranks the rows of one dataset: unseen queries where it has any, else all."""
    return "unseen" if frame["test_queries/unseen"].iloc[0] else "all"


def shown_slices(frame: pd.DataFrame) -> list[str]:
    """The slices worth showing for one dataset: all three, or one where every query is seen (or unseen)."""
    parts = [name for name in ("seen", "unseen") if frame[f"test_queries/{name}"].iloc[0]]
    return ["all", *parts] if len(parts) == 2 else [ranking_slice(frame)]


def datasets(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each dataset's name and rows, by name."""
    for name in sorted(frame["dataset"].unique()):
        yield name, frame[frame["dataset"] == name]


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows as dictionaries, in order."""
    return cast(list[Row], frame.to_dict("records"))


def _check_comparable(runs: list[dict[str, Any]]) -> None:
    """Refuse the same run twice, and runs of one dataset that were judged on different numbers of queries."""
    if not runs:
        raise UserError("no run to show: the board was given no metrics.json")
    seen: set[tuple[Any, ...]] = set()
    counts: dict[str, dict[str, int]] = {}
    for run in runs:
        key = (run["dataset"], run["method"], run["seed"])
        if key in seen:
            raise UserError(f"{key[1]} on {key[0]} with seed {key[2]} is given twice; keep one of its runs")
        seen.add(key)
        found = {name: values["queries"] for name, values in run["slices"].items()}
        if counts.setdefault(run["dataset"], found) != found:
            raise UserError(
                f"{run['method']} on {run['dataset']} (seed {run['seed']}) was judged on {found} queries, "
                f"others on {counts[run['dataset']]}; evaluate them again on the same queries"
            )


def _row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One row from the runs of one method on one dataset, in the order of seeds."""
    first = runs[0]
    trained = first["track"] != "baseline"
    seconds = [run["train_seconds"] for run in runs if run.get("train_seconds") is not None]
    return {
        "dataset": first["dataset"],
        **{f"test_queries/{name}": first["slices"].get(name, {"queries": 0})["queries"] for name in SLICES},
        "method": first["method"],
        "title": first["title"],
        "track": first["track"],
        "seeds": len(runs) if trained else None,
        **{key: value for name in SLICES for key, value in _slice_columns(runs, name)},
        "train_seconds": sum(seconds) / len(seconds) if seconds else math.nan,
        "adaptations": "; ".join(first["adaptations"]),
        "summary": first["summary"] or "",
        "paper": first["paper"] or "",
        "params": canonical(first["params"]),
    }


def _slice_columns(runs: list[dict[str, Any]], name: str) -> Iterator[tuple[str, float]]:
    """Mean, low and high of each metric on slice `name`, over runs."""
    for metric in METRICS:
        values = [run["slices"][name][metric] for run in runs if name in run["slices"]]
        bounds = interval(values) if values else (math.nan,) * 3
        for kind, value in zip(("mean", "low", "high"), bounds, strict=True):
            yield f"{metric}/{name}/{kind}", value


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one dataset from best to worst, trained methods numbered from 1 (equal means share one)."""
    by = f"{RANKED_BY}/{ranking_slice(frame)}/mean"
    frame = frame.sort_values([by, "method"], ascending=[False, True])
    ranks = frame[by].where(frame["track"] != "baseline").rank(ascending=False, method="min")
    frame.insert(list(frame.columns).index("method"), "rank", ranks.astype("Int64"))
    return frame.assign(seeds=frame["seeds"].astype("Int64"))


# --- words ------------------------------------------------------------------------------------------------


def number(mean: float, low: float = math.nan) -> str:
    """`0.409 ±0.001`: a mean and the half-width of its interval; a dash where there is none."""
    if math.isnan(mean):
        return MISSING
    if math.isnan(low):
        return f"{mean:.3f}"
    return f"{mean:.3f} ±{mean - low:.3f}" if mean - low >= 0.0005 else f"{mean:.3f} ±<0.001"


def size_sentence(card: dict[str, Any], settings: dict[str, Any]) -> str:
    """How much was trained and tested on what: no number on a board means anything without it."""
    queries, seeds = card["queries"], settings["seeds"]
    return (
        f"{_documents(card)}; {queries.get('train', 0):,} training and {queries['test']:,} test queries "
        f"({card['seen_test_queries']:,} seen, {card['unseen_test_queries']:,} unseen), {card['regime']} regime; "
        f"encoder {settings['encoder']}, {settings['steps']:,} steps of {settings['batch_size']:,} queries, "
        f"{settings['negatives']:,} negatives a query, "
        f"{_count(seeds if isinstance(seeds, int) else len(seeds), 'seed')}."
    )


def sentences(frame: pd.DataFrame, settings: dict[str, Any]) -> list[str]:
    """What the rows of one dataset say in plain words: who is first, by how much, and what "all" hides.

    These are differences of means. Whether one would hold on other queries is not told by intervals over
    seeds, so nothing here is called significant.
    """
    trained = frame[frame["rank"].notna()]
    if trained.empty:
        return ["No trained method is on this board."]
    best, ranking = records(trained)[0], ranking_slice(frame)
    rows = {row["method"]: row for row in records(frame)}
    return [_winner(best, rows, ranking, settings), *_hidden(trained, rows, ranking)]


def _winner(best: Row, rows: dict[str, Row], ranking: str, settings: dict[str, Any]) -> str:
    by = f"{RANKED_BY}/{ranking}/mean"
    asked = [settings.get("reference", REFERENCE), UNTRAINED]
    gains = [
        f"{best[by] - rows[name][by]:+.3f} against {rows[name]['title']} ({rows[name][by]:.3f})"
        for name in asked
        if name in rows and name != best["method"]
    ]
    value = number(best[by], best[f"{RANKED_BY}/{ranking}/low"])
    head = f"{best['title']} is first on the {_queries(best, ranking)} with nDCG@10 {value}"
    return head + (f": {' and '.join(gains)}." if gains else ".")


def _hidden(trained: pd.DataFrame, rows: dict[str, Row], ranking: str) -> list[str]:
    """What the mean over all queries would have hidden, where some queries are seen and some are not."""
    if len(shown_slices(trained)) == 1:
        return []
    best, said = records(trained)[0], []
    if UNTRAINED in rows:
        gain = {name: best[(key := f"{RANKED_BY}/{name}/mean")] - rows[UNTRAINED][key] for name in SLICES}
        said.append(
            f"Against {rows[UNTRAINED]['title']} it gains {gain['seen']:+.3f} on the {_queries(best, 'seen')} and "
            f"{gain['unseen']:+.3f} on the unseen ones; all queries together ({gain['all']:+.3f}) mix the two."
        )
    other = max(records(trained), key=lambda row: row[f"{RANKED_BY}/all/mean"])
    if other["method"] != best["method"]:
        said.append(f"Ranked by all queries, {other['title']} would be first.")
    return said


def _queries(row: Row, name: str) -> str:
    kind = "test" if name == "all" else name
    return _count(row[f"test_queries/{name}"], f"{kind} query", f"{kind} queries")


def _documents(card: dict[str, Any]) -> str:
    if card["documents"] == card["documents_full"]:
        return _count(card["documents"], "document")
    return (
        f"{card['documents']:,} of {card['documents_full']:,} documents "
        "(a sub-collection: its values can't be compared with published ones)"
    )


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


# --- CSV --------------------------------------------------------------------------------------------------


def csv(frame: pd.DataFrame) -> str:
    """The rows in full precision. Text that a spreadsheet would run as a formula gets an apostrophe."""
    safe = frame.assign(**{column: frame[column].map(_inert) for column in TEXT_COLUMNS if column in frame})
    return safe.to_csv(index=False, lineterminator="\n")


def _inert(text: str) -> str:
    """Disarm a formula, https://owasp.org/www-community/attacks/CSV_Injection."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


# --- tables for eyes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """A numeric column of a dataset's table: its heading and the columns of `standings` behind it."""

    heading: str
    group: str
    mean: str
    low: str = ""
    high: str = ""
    digits: int = 3
    ranks: bool = False  # whether the rows are ranked by it

    def text(self, row: Row) -> str:
        """What the reader sees."""
        if self.low:
            return number(row[self.mean], row[self.low])
        return MISSING if math.isnan(row[self.mean]) else f"{row[self.mean]:,.{self.digits}f}"

    def best(self, frame: pd.DataFrame) -> float:
        """The column's best value: the highest quality, the least time."""
        return frame[self.mean].max() if self.low else frame[self.mean].min()


def columns(frame: pd.DataFrame) -> list[Column]:
    """A dataset's numeric columns: nDCG@10 on each slice, the other metrics on the ranking one, the cost."""
    shown, ranking = shown_slices(frame), ranking_slice(frame)
    only = frame["test_queries/all"].iloc[0] == frame[f"test_queries/{ranking}"].iloc[0] and ranking != "all"
    names = {name: "all = unseen" if only else name for name in shown}
    pairs = [(RANKED_BY, name) for name in shown] + [(m, ranking) for m in METRICS if m != RANKED_BY]
    quality = [
        _quality(names[name], metric, name, (metric, name) == (RANKED_BY, ranking)) for metric, name in pairs
    ]
    return [*quality, Column("seconds", "training", "train_seconds", digits=1)]


def _quality(heading: str, metric: str, name: str, ranks: bool) -> Column:
    stem = f"{metric}/{name}"
    return Column(heading, metric, f"{stem}/mean", f"{stem}/low", f"{stem}/high", ranks=ranks)


def markdown(frame: pd.DataFrame, cards: dict[str, Any], settings: dict[str, Any], suite: str) -> str:
    """The board for a repository's page: size, sentences, table and adaptations of every dataset."""
    parts = [f"# Leaderboard: {_plain(suite)}", _plain(READING)]
    for name, part in datasets(frame):
        parts += [f"## {_plain(name)}", _plain(size_sentence(cards[name], settings))]
        parts += [_plain(" ".join(sentences(part, settings))), _markdown_table(part), *_adaptations(part)]
    return "\n\n".join(parts) + "\n"


READING = (
    "A value is the mean over seeds ± the half-width of its 95 % Student t interval. The interval tells what "
    "other seeds would do on the same queries, not what other queries would. A test query is seen when a "
    "document relevant to it was a positive in training. Methods are ranked by nDCG@10 on unseen queries where "
    "there are any, else on all; baselines aren't trained here and have no rank."
)


def _markdown_table(frame: pd.DataFrame) -> str:
    shown = columns(frame)
    rows = [
        [_rank(row), _plain(row["title"]) + _mark(row), *(_bold(column, row, frame) for column in shown)]
        for row in records(frame)
    ]
    heads = ["#", "method", *(f"{column.group} {column.heading}" for column in shown)]
    align = ["right", "left", *("right" for _ in shown)]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True, colalign=align)


def _bold(column: Column, row: Row, frame: pd.DataFrame) -> str:
    text = column.text(row)
    return f"**{text}**" if row[column.mean] == column.best(frame) else text


def _adaptations(frame: pd.DataFrame) -> list[str]:
    """What differs from the papers' own recipes, one line a method."""
    changed = frame[frame["adaptations"] != ""]
    lines = [f"- {_plain(row['title'])}: {_plain(row['adaptations'])}" for row in records(changed)]
    return ["Adaptations:\n\n" + "\n".join(lines)] if lines else []


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: no tag, no emphasis, no table cell, no list."""
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]|#~$]|^[-+=]|^\d+(?=[.)]))", r"\\\1", text)


def _rank(row: Row) -> str:
    return "" if pd.isna(row["rank"]) else str(row["rank"])


def _seeds(row: Row) -> str:
    return "" if pd.isna(row["seeds"]) else str(row["seeds"])


def _mark(row: Row) -> str:
    return " (baseline)" if row["track"] == "baseline" else ""


# --- terminal ---------------------------------------------------------------------------------------------


def terminal_table(frame: pd.DataFrame) -> Group:
    """A table a dataset for the end of a run in a terminal of 80 columns or more: nDCG@10 and the cost."""
    return Group(*(_terminal_part(str(name), part) for name, part in datasets(frame)))


def summary(frame: pd.DataFrame, cards: dict[str, Any], settings: dict[str, Any]) -> str:
    """The terminal tables as plain text of 100 columns, each dataset with its size and sentences."""
    out = io.StringIO()
    console = Console(
        file=out, width=100, color_system=None, force_terminal=False, emoji=False, highlight=False
    )
    for name, part in datasets(frame):
        console.print(terminal_table(part))
        said = [size_sentence(cards[name], settings), *sentences(part, settings)]
        console.print(Text(" ".join(said)), "\n")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).rstrip() + "\n"


def _terminal_part(name: str, frame: pd.DataFrame) -> Table:
    shown = [column for column in columns(frame) if column.group in (RANKED_BY, "training")]
    table = Table(title=Text(f"{name}: {RANKED_BY}, best first"), title_justify="left", box=SIMPLE_HEAD)
    table.add_column("#", justify="right", no_wrap=True, min_width=2)
    table.add_column("method")  # the one column that gives way
    for column in shown:
        width = max(len(column.heading), *(len(column.text(row)) for row in records(frame)))
        table.add_column(column.heading, justify="right", no_wrap=True, min_width=width)
    for row in records(frame):
        style = "dim" if row["track"] == "baseline" else ""
        cells = [_terminal_cell(column, row, frame) for column in shown]
        table.add_row(_rank(row), Text(row["title"] + _mark(row)), *cells, style=style)
    return table


def _terminal_cell(column: Column, row: Row, frame: pd.DataFrame) -> Text:
    return Text(column.text(row), style="bold" if row[column.mean] == column.best(frame) else "")


# --- page -------------------------------------------------------------------------------------------------


def page(
    frame: pd.DataFrame, cards: dict[str, Any], settings: dict[str, Any], suite: str, figures: Path
) -> str:
    """One HTML file that needs no network: tables that sort and filter (DataTables), figures, card facts."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(REPORT),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [_section(part, cards[name], settings, figures) for name, part in datasets(frame)]
    return environment.get_template("leaderboard.html").render(
        suite=suite,
        reading=READING,
        missing=MISSING,
        sections=sections,
        overview=_overview(frame),
        style=(REPORT / "leaderboard.css").read_text(encoding="utf-8"),
        datatables=_datatables(),
    )


def _section(
    frame: pd.DataFrame, card: dict[str, Any], settings: dict[str, Any], figures: Path
) -> dict[str, Any]:
    """What the template needs of one dataset."""
    shown = columns(frame)
    return {
        "name": card["name"],
        "card": card,
        "size": size_sentence(card, settings),
        "sentences": sentences(frame, settings),
        "groups": [(name, len(list(part))) for name, part in groupby(shown, key=lambda column: column.group)],
        "columns": shown,
        "rows": [
            {
                **row,
                "rank": _rank(row),
                "seeds": _seeds(row),
                "cells": [_cell(column, row, frame) for column in shown],
            }
            for row in records(frame)
        ],
        "figures": [figure for kind in FIGURES if (figure := _figure(figures, card["name"], kind))],
    }


def _cell(column: Column, row: Row, frame: pd.DataFrame) -> dict[str, Any]:
    """One number: `order` is what it sorts by, `title` its interval for the pointer."""
    mean = row[column.mean]
    bounded = column.low and not math.isnan(row[column.low])
    return {
        "text": column.text(row),
        "order": "" if math.isnan(mean) else repr(float(mean)),
        "title": f"{mean:.4f}, 95 % interval {row[column.low]:.4f} to {row[column.high]:.4f}"
        if bounded
        else "",
        "best": bool(mean == column.best(frame)),
        "ranks": column.ranks,
    }


def _overview(frame: pd.DataFrame) -> dict[str, Any]:
    """Methods by datasets, nDCG@10 on each ranking slice, by mean rank; empty for a single dataset."""
    parts = [
        part.assign(value=part[f"{RANKED_BY}/{ranking_slice(part)}/mean"], rank=part["rank"].astype("float"))
        for _, part in datasets(frame)
    ]
    if len(parts) < 2:
        return {}
    methods = pd.concat(parts).groupby("method")
    table = methods.agg(title=("title", "first"), rank=("rank", "mean")).sort_values(["rank", "method"])
    for part in parts:
        table[part["dataset"].iloc[0]] = part.set_index("method")["value"]
    names = list(table.columns[2:])
    return {"datasets": names, "best": table[names].max().to_dict(), "rows": records(table)}


def _figure(folder: Path, dataset: str, kind: str) -> dict[str, str] | None:
    """A figure as a data address (several SVGs in one page would share ids), with its caption."""
    image, caption = folder / f"{dataset}-{kind}.svg", folder / f"{dataset}-{kind}.txt"
    if not image.exists():
        return None
    text = caption.read_text(encoding="utf-8").strip() if caption.exists() else f"{dataset}: {kind}"
    return {"source": base64.b64encode(image.read_bytes()).decode(), "caption": text}


def _datatables() -> str:
    """DataTables (https://datatables.net, MIT) as the itables package ships it: an ES module, base64."""
    bundle = importlib.resources.files("itables").joinpath("html/dt_bundle.js")
    return base64.b64encode(bundle.read_bytes()).decode()
