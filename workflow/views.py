"""The views of a board's rows: sentences, CSV, Markdown and a table for the terminal."""

import html
import io
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from workflow.catalogue import STS
from workflow.comparison import TIERS
from workflow.standings import (
    METRICS,
    SLICES,
    Row,
    datasets,
    metrics,
    ranked_by,
    ranking_slice,
    records,
    shown_slices,
    tiers,
)
from workflow.truth import RATE, WEIGHTED

UNTRAINED = "untrained"
REFERENCE = "inbatch"  # the control that a gain is told against, unless settings name another
TEXT_COLUMNS = (
    "dataset", "regime", "method", "title", "tier", "track", "class", "start", "hardware",
    "adaptations", "summary", "paper", "params",
)  # fmt: skip
COST, AUDIT = "cost", "audit"
MISSING = "—"
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(mean: float, low: float = math.nan, digits: int = 3) -> str:
    """`0.409 ±0.001`: a mean and the half-width of its interval; a dash where there is none."""
    if math.isnan(mean):
        return MISSING
    if math.isnan(low):
        return f"{mean:.{digits}f}"
    least = 10**-digits
    spread = f"{mean - low:.{digits}f}" if mean - low >= least / 2 else f"<{least:.{digits}f}"
    return f"{mean:.{digits}f} ±{spread}"


def decimals(metric: str) -> int:
    """The decimals that a metric is shown with: three of a fraction, two of a correlation x 100."""
    return 3 if metric in METRICS else 2


def compact(count: float) -> str:
    """`461k`: a count to three digits; the page says it in full to the pointer, and the CSV has it."""
    count = float(f"{count:.3g}")
    size, unit = next(((size, unit) for size, unit in UNITS if count >= size), (1.0, ""))
    return f"{count / size:g}{unit}"


def size_sentence(card: dict[str, Any], settings: dict[str, Any]) -> str:
    """How much was trained and tested on what: no number on a board means anything without it.

    `settings["budgets"]` may give each tier its own steps, batch_size and negatives; else the top level has them.
    """
    seeds = settings["seeds"]
    budgets = settings.get("budgets") or {"": settings}
    mark = "," if len(budgets) == 1 else ";"
    home = settings.get("trained_on", {}).get(card["name"])
    zero_shot = f"; nothing is trained here: runs were trained on {home}" if home else ""
    trained = "; ".join(_budget(tier if len(budgets) > 1 else "", part) for tier, part in budgets.items())
    return (
        f"{_data(card)}{zero_shot}; encoder {settings['encoder']}{mark} {trained}{mark} "
        f"{_count(seeds if isinstance(seeds, int) else len(seeds), 'seed')}."
    )


def _data(card: dict[str, Any]) -> str:
    if card.get("kind") == "sentences" and not card["documents"]:
        return "STS pairs: " + ", ".join(f"{task} {count:,}" for task, count in card["sts"].items())
    if card.get("kind") == "sentences":
        tasks = ", ".join(f"{task} {count:,}" for task, count in card["sts"].items())
        return (
            f"{card['documents']:,} of {card['documents_full']:,} sentences without labels "
            f"({card['duplicates']:,} duplicates and {card['blank_lines']:,} blank lines left out); STS pairs: {tasks}"
        )
    queries = card["queries"]
    if card["regime"] == "zero-shot":
        return f"{_documents(card)}; {queries['test']:,} test queries"
    return (
        f"{_documents(card)}; {queries.get('train', 0):,} training and {queries['test']:,} test queries "
        f"({card['seen_test_queries']:,} seen, {card['unseen_test_queries']:,} unseen), {card['regime']} regime"
        f"{hidden_words(card)}"
    )


def hidden_words(card: Mapping[str, Any]) -> str:
    """Say what a dataset of known truth hides from training, behind a semicolon; nothing of any other."""
    if not (hidden := card.get("hidden")):
        return ""
    rule = f"a random {hidden.get('share', 0):.0%} of each query's"
    if hidden["how"] == "pooled":
        rule = f"those in BM25's top {hidden['depth']:,}"
    left = hidden["queries_left_out"]
    gone = f"; {_count(left, 'training query', 'training queries')} without any left out" if left else ""
    return (
        f"; training sees {hidden['positives_kept']:,} positives ({rule}), "
        f"{hidden['positives_hidden']:,} are hidden{gone}"
    )


def _budget(tier: str, training: Mapping[str, Any]) -> str:
    head = f"{tier} tier: " if tier else ""
    steps, size = f"{training['steps']:,} steps", f"{training['batch_size']:,} queries"
    return f"{head}{steps} of {size}, {training['negatives']:,} negatives a query"


def start_sentence(frame: pd.DataFrame) -> str:
    """What the runs of one dataset start from, said once where all start alike, and what they were trained on."""
    trained, names = frame[frame["tier"] != ""], tiers(frame)
    if not names:
        return ""
    machines = " and ".join(dict.fromkeys(trained["hardware"]))
    ran = f" They were trained on {machines}."
    if trained["start"].nunique() == 1:
        return f"Runs of the {' and the '.join(names)} tier start from {trained['start'].iloc[0]}.{ran}"
    return " ".join(_tier_start(tier, trained[trained["tier"] == tier]) for tier in names) + ran


def _tier_start(tier: str, rows: pd.DataFrame) -> str:
    (usual, _), *others = Counter(rows["start"]).most_common()
    apart = [
        f"those of {', '.join(marked(row) for row in records(rows[rows['start'] == start]))} from {start}"
        for start, _ in others
    ]
    return ", ".join([f"Runs of the {tier} tier start from {usual}", *apart]) + "."


def sentences(frame: pd.DataFrame, settings: dict[str, Any]) -> list[str]:
    """What the rows of one dataset say in plain words: who is first, by how much, and what "all" hides.

    Each tier is told by itself. These are differences of means. Whether one would hold on other queries is not
    told by intervals over seeds, so nothing here is called significant.
    """
    names = tiers(frame)
    if not names:
        return ["No trained method is on this board."]
    return [
        said
        for tier in names
        for said in _of_tier(frame, tier, f"In the {tier} tier, " if len(names) > 1 else "", settings)
    ]


def _of_tier(frame: pd.DataFrame, tier: str, place: str, settings: dict[str, Any]) -> list[str]:
    mine = frame[frame["tier"] == tier]
    first_track = mine[mine["track"] == mine["track"].iloc[0]]  # the tracks are two rankings
    baselines = {row["method"]: row for row in records(frame[frame["track"] == "baseline"])}
    reference = _reference(mine, settings.get("reference", REFERENCE))
    against = [row for row in (reference, baselines.get(UNTRAINED)) if row is not None]
    ranking = ranking_slice(frame)
    winner = place + _winner(records(first_track)[0], against, ranking, ranked_by(frame))
    return [winner, *_hidden(first_track, baselines.get(UNTRAINED))]


def _reference(rows: pd.DataFrame, name: str) -> Row | None:
    """The row of a tier that a gain is told against: the one of that name, else the best of that method."""
    named = [*records(rows[rows["method"] == name]), *records(rows[rows["class"] == name])]
    return named[0] if named else None


def _winner(best: Row, against: list[Row], ranking: str, metric: str) -> str:
    by, digits = f"{metric}/{ranking}/mean", decimals(metric)
    gains = [
        f"{best[by] - row[by]:+.{digits}f} against {row['title']} ({row[by]:.{digits}f})"
        for row in against
        if row["method"] != best["method"]
    ]
    value = number(best[by], best[f"{metric}/{ranking}/low"], digits)
    on = _queries(best, ranking) if metric != STS else _count(best["test_queries/all"], "STS pair")
    head = f"{best['title']} is first on the {on} with {metric} {value}"
    return head + (f": {' and '.join(gains)}." if gains else ".")


def _hidden(trained: pd.DataFrame, untrained: Row | None) -> list[str]:
    """What the mean over all queries would have hidden, where some queries are seen and some are not."""
    if len(shown_slices(trained)) == 1:
        return []
    best, said, by = records(trained)[0], [], ranked_by(trained)
    if untrained is not None:
        gain = {name: best[(key := f"{by}/{name}/mean")] - untrained[key] for name in SLICES}
        said.append(
            f"Against {untrained['title']} it gains {gain['seen']:+.3f} on the {_queries(best, 'seen')} and "
            f"{gain['unseen']:+.3f} on the unseen ones; all queries together ({gain['all']:+.3f}) mix the two."
        )
    other = max(records(trained), key=lambda row: row[f"{by}/all/mean"])
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
    of: str = ""  # shown as a share of this column
    form: str = ""  # of a number without bounds; without it, a count
    about: str = ""  # what it says, for the pointer
    ranks: bool = False  # whether the rows are ranked by it
    better: Literal["most", "least", ""] = ""
    brief: bool = True  # shown where there is little room
    digits: int = 3  # of a number with bounds

    def value(self, row: Row) -> float:
        """The number that is shown and sorted by."""
        return row[self.mean] / row[self.of] if self.of else row[self.mean]

    def text(self, row: Row) -> str:
        """What the reader sees."""
        if self.low:
            return number(row[self.mean], row[self.low], self.digits)
        value = self.value(row)
        if math.isnan(value):
            return MISSING
        return f"{value:{self.form}}".replace("%", " %") if self.form else compact(value)

    def is_best(self, row: Row, frame: pd.DataFrame) -> bool:
        """Whether no row of the same ranking, and no baseline, is better; a baseline is held against the first."""
        trained = frame[frame["track"] != "baseline"]
        home = trained.iloc[0] if row["track"] == "baseline" and len(trained) else row
        same = (frame["tier"] == home["tier"]) & (frame["track"] == home["track"])
        peers = frame.loc[same | (frame["track"] == "baseline"), self.mean]
        best = {"most": peers.max(), "least": peers.min(), "": math.nan}[self.better]
        return bool(row[self.mean] == best)


def columns(frame: pd.DataFrame) -> list[Column]:
    """A dataset's numeric columns: the ranking metric on each slice, the cost, then the other metrics."""
    shown, ranking = shown_slices(frame), ranking_slice(frame)
    only = frame["test_queries/all"].iloc[0] == frame[f"test_queries/{ranking}"].iloc[0] and ranking != "all"
    names = {name: "all = unseen" if only else name for name in shown}
    pairs = [(metric, name) for metric in metrics(frame) for name in shown]
    first = (ranked_by(frame), ranking)
    quality = [_quality(names[name], metric, name, (metric, name) == first) for metric, name in pairs]
    cost = [column for column in COST_COLUMNS if (frame[column.mean] > 0).any() or column.brief]
    truth = [column for column in TRUTH_COLUMNS if _knows(frame, column)]
    return [*quality[: len(shown)], *truth, *cost, *quality[len(shown) :]]


def _knows(frame: pd.DataFrame, column: Column) -> bool:
    return column.mean in frame and bool(frame[column.mean].notna().any())


def _quality(heading: str, metric: str, name: str, ranks: bool) -> Column:
    stem = f"{metric}/{name}"
    bounds = (f"{stem}/mean", f"{stem}/low", f"{stem}/high")
    return Column(heading, metric, *bounds, ranks=ranks, better="most", digits=decimals(metric))


TRUTH_COLUMNS = [
    Column(
        "false negatives", AUDIT, RATE, form=".1%",
        about="share of the negatives given in training that are relevant by all labels, the hidden ones too",
    ),
    Column(
        "by weight", AUDIT, WEIGHTED, form=".1%", brief=False,
        about="the same, where a negative counts as much as its weight in the loss",
    ),
]  # fmt: skip
COST_COLUMNS = [
    Column(
        "seconds", COST, "train_seconds", form=",.1f", better="least",
        about="wall time of a run's training loop",
    ),
    Column(
        "own", COST, "own_seconds", of="train_seconds", form=".0%",
        about="share of the seconds inside the method: its choice of negatives, refreshes, own loss",
    ),
    *(
        Column(heading, COST, name, form=form, about=about, brief=False)
        for heading, name, form, about in (
            ("vectors", "vectors", "", "query and document vectors that a run took from the encoder"),
            ("pairs", "pairs", "", "pairs of a query and a document that the trained cross-encoder scored"),
            ("searches", "searches", "", "queries searched over the whole corpus while training"),
            ("teacher", "teacher_vectors", "", "vectors of another encoder that the method read"),
            ("forwards", "network_forwards", "", "inputs of networks of the method's own"),
            ("MiB", "peak_mebibytes", ",.0f", "most memory of the process"),
        )
    ),
]  # fmt: skip


def markdown(frame: pd.DataFrame, cards: dict[str, Any], settings: dict[str, Any], suite: str) -> str:
    """The board for a repository's page: size, sentences, table and adaptations of every dataset."""
    parts = [f"# Leaderboard: {plain(suite)}", plain(reading(frame))]
    for name, part in datasets(frame):
        size = f"{size_sentence(cards[name], settings)} {start_sentence(part)}"
        parts += [f"## {plain(name)}", plain(size), plain(" ".join(sentences(part, settings)))]
        parts += [_markdown_table(part), *_adaptations(part)]
    return "\n\n".join(parts) + "\n"


def reading(frame: pd.DataFrame) -> str:
    """How to read the board, and what is trained in each of its tiers."""
    names = tiers(frame)
    told = [SENTENCES] if any(ranked_by(part) == STS for _, part in datasets(frame)) else []
    told += [FALSE_NEGATIVES] if any(_knows(frame, column) for column in TRUTH_COLUMNS) else []
    told += [f"In the {tier} tier, {TIERS[tier]}." for tier in names if tier in TIERS]
    return " ".join([READING, *told, *(["Tiers are ranked apart."] if len(names) > 1 else [])])


READING = (
    "A value is the mean over seeds ± the half-width of its 95 % Student t interval. The interval tells what "
    "other seeds would do on the same queries, not what other queries would. A test query is seen when a "
    "document relevant to it was a positive in training. Methods are ranked by nDCG@10 on unseen queries where "
    "there are any, else on all. Baselines aren't trained here and have no rank. Rows of the faithful track "
    "train with their paper's own loss and towers and are ranked among themselves. Seconds are wall time of a "
    "run's training loop; own is the share of it inside the method: its choice of negatives, refreshes, own loss."
)


SENTENCES = (
    "A dataset of sentences is ranked by STS instead: Spearman's correlation x 100 between cosine similarity and "
    "people's scores over all pairs of a task, the mean over tasks."
)


FALSE_NEGATIVES = (
    "Where a dataset hides training labels, false negatives are the share of the negatives given in training that are "
    "relevant by all labels, the mean over seeds; documents of the batch don't count. Seen and unseen go by the labels "
    "that training sees."
)


def _markdown_table(frame: pd.DataFrame) -> str:
    shown = [column for column in columns(frame) if column.brief]
    several = len(tiers(frame)) > 1
    rows = [
        [
            rank_text(row),
            plain(marked(row)),
            *([row["tier"]] if several else []),
            *(_bold(column, row, frame) for column in shown),
        ]
        for row in records(frame)
    ]
    heads = [
        column.heading if column.group in (COST, AUDIT) else f"{column.group} {column.heading}"
        for column in shown
    ]
    heads = ["#", "method", *(["tier"] if several else []), *heads]
    align = ["right", "left", *(["left"] if several else []), *("right" for _ in shown)]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True, colalign=align)


def _bold(column: Column, row: Row, frame: pd.DataFrame) -> str:
    text = column.text(row)
    return f"**{text}**" if column.is_best(row, frame) else text


def _adaptations(frame: pd.DataFrame) -> list[str]:
    """What differs from the papers' own recipes, one line a method; what is alike in several tiers is said once."""
    changed, several = frame[frame["adaptations"] != ""], len(tiers(frame)) > 1
    groups = changed.groupby(["title", "track", "adaptations"], sort=False)
    rows = [{**records(part)[0], "tier": ", ".join(part["tier"].unique())} for _, part in groups]
    lines = [f"- {plain(marked(row, several))}: {plain(row['adaptations'])}" for row in rows]
    return ["Adaptations:\n\n" + "\n".join(lines)] if lines else []


def plain(text: str) -> str:
    """Text that Markdown shows as it is: no tag, no emphasis, no table cell, no list."""
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]|#~$]|^[-+=]|^\d+(?=[.)]))", r"\\\1", text)


def rank_text(row: Row) -> str:
    """The rank, empty for a baseline."""
    return "" if pd.isna(row["rank"]) else str(row["rank"])


def seeds_text(row: Row) -> str:
    """The number of seeds, empty for a baseline."""
    return "" if pd.isna(row["seeds"]) else str(row["seeds"])


def marked(row: Row, with_tier: bool = False) -> str:
    """A row's title with what it doesn't say: the tier where asked for, and any track but `controlled`."""
    words = [row["tier"] if with_tier else "", row["track"] if row["track"] != "controlled" else ""]
    told = ", ".join(word for word in words if word)
    return f"{row['title']} ({told})" if told else row["title"]


def terminal_table(frame: pd.DataFrame) -> Group:
    """A table a dataset for the end of a run in a terminal of 80 columns or more: what ranks it, and the cost."""
    return Group(*(_terminal_part(str(name), part) for name, part in datasets(frame)))


def summary(frame: pd.DataFrame, cards: dict[str, Any], settings: dict[str, Any]) -> str:
    """The terminal tables as plain text of 100 columns, each dataset with its size and sentences."""
    out = io.StringIO()
    console = Console(
        file=out, width=100, color_system=None, force_terminal=False, emoji=False, highlight=False
    )
    for name, part in datasets(frame):
        console.print(terminal_table(part))
        said = [size_sentence(cards[name], settings), start_sentence(part), *sentences(part, settings)]
        console.print(Text(" ".join(line for line in said if line)), "\n")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).rstrip() + "\n"


def _terminal_part(name: str, frame: pd.DataFrame) -> Table:
    """The table of one dataset; where it has several tiers, each has a heading, which takes no column."""
    by = ranked_by(frame)
    asked = {"train_seconds", RATE}
    shown = [column for column in columns(frame) if column.group == by or column.mean in asked]
    table = Table(title=Text(f"{name}: {by}, best first"), title_justify="left", box=SIMPLE_HEAD)
    table.add_column("#", justify="right", no_wrap=True, min_width=2)
    table.add_column("method")  # the one column that gives way
    for column in shown:
        width = max(len(column.heading), *(len(column.text(row)) for row in records(frame)))
        table.add_column(column.heading, justify="right", no_wrap=True, min_width=width)
    names = tiers(frame) or [""]
    for tier, rows in groupby(records(frame), key=lambda row: row["tier"] or names[0]):
        if len(names) > 1:
            table.add_section()
            table.add_row("", Text(f"{tier} tier", style="italic"))
        for row in rows:
            style = "dim" if row["track"] == "baseline" else ""
            cells = [_terminal_cell(column, row, frame) for column in shown]
            table.add_row(rank_text(row), Text(marked(row)), *cells, style=style)
    return table


def _terminal_cell(column: Column, row: Row, frame: pd.DataFrame) -> Text:
    return Text(column.text(row), style="bold" if column.is_best(row, frame) else "")
