"""The views of a board's rows: sentences, CSV, Markdown and a table for the terminal."""

import html
import io
import math
import re
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from workflow.standings import METRICS, RANKED_BY, SLICES, Row, datasets, ranking_slice, records, shown_slices

UNTRAINED = "untrained"
REFERENCE = "inbatch"  # the control that a gain is told against, unless settings name another
TEXT_COLUMNS = ("dataset", "regime", "method", "title", "track", "adaptations", "summary", "paper", "params")
MISSING = "—"


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
    trained = trained[trained["track"] == trained["track"].iloc[0]]  # the tracks are two rankings
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


def csv(frame: pd.DataFrame) -> str:
    """The rows in full precision. Text that a spreadsheet would run as a formula gets an apostrophe."""
    safe = frame.assign(**{column: frame[column].map(_inert) for column in TEXT_COLUMNS if column in frame})
    return safe.to_csv(index=False, lineterminator="\n")


def _inert(text: str) -> str:
    """Disarm a formula, https://owasp.org/www-community/attacks/CSV_Injection."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


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
    """A dataset's numeric columns: the ranking metric on each slice, the cost, then the other metrics."""
    shown, ranking = shown_slices(frame), ranking_slice(frame)
    only = frame["test_queries/all"].iloc[0] == frame[f"test_queries/{ranking}"].iloc[0] and ranking != "all"
    names = {name: "all = unseen" if only else name for name in shown}
    pairs = [(metric, name) for metric in METRICS for name in shown]
    quality = [
        _quality(names[name], metric, name, (metric, name) == (RANKED_BY, ranking)) for metric, name in pairs
    ]
    cost = Column("seconds", "training", "train_seconds", digits=1)
    return [*quality[: len(shown)], cost, *quality[len(shown) :]]


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
    "there are any, else on all. Baselines aren't trained here and have no rank. Rows of the faithful track "
    "train with their paper's own loss and towers and are ranked among themselves."
)


def _markdown_table(frame: pd.DataFrame) -> str:
    shown = columns(frame)
    rows = [
        [rank_text(row), _plain(row["title"]) + _mark(row), *(_bold(column, row, frame) for column in shown)]
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


def rank_text(row: Row) -> str:
    """The rank, empty for a baseline."""
    return "" if pd.isna(row["rank"]) else str(row["rank"])


def seeds_text(row: Row) -> str:
    """The number of seeds, empty for a baseline."""
    return "" if pd.isna(row["seeds"]) else str(row["seeds"])


def _mark(row: Row) -> str:
    return "" if row["track"] == "controlled" else f" ({row['track']})"


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
        table.add_row(rank_text(row), Text(row["title"] + _mark(row)), *cells, style=style)
    return table


def _terminal_cell(column: Column, row: Row, frame: pd.DataFrame) -> Text:
    return Text(column.text(row), style="bold" if row[column.mean] == column.best(frame) else "")
