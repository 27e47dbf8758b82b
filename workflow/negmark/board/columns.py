"""The numeric columns of a dataset's table, as every view shows them."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from negmark.board.findings import OF_RELATION, RATE, TELLS, UNADJUSTED, WEIGHTED
from negmark.board.standings import metrics, ranked_by, ranking_slice, shown_slices
from negmark.compare.inference import RESOLUTION
from negmark.core.metrics import decimals
from negmark.core.names import Row
from negmark.core.notation import MISSING, chance, compact, number

APART, COST, AUDIT = "against the reference", "cost", "audit"


@dataclass(frozen=True)
class Column:
    """A numeric column of a dataset's table: its heading and the columns of `standings` behind it."""

    heading: str
    group: str
    mean: str
    low: str = ""
    high: str = ""
    of: str = ""  # shown as a share of this column
    form: str = ""  # format of a number without bounds; if empty, a count
    about: str = ""  # its meaning, shown on hover
    ranks: bool = False  # whether the rows are ranked by it
    better: Literal["most", "least", ""] = ""
    brief: bool = True  # also shown where there is little room
    digits: int = 3  # of a number with bounds
    signed: bool = False
    kind: Literal["number", "chance", "letters"] = "number"
    unadjusted: str = UNADJUSTED  # of a p-value: the column that tells whether it is only a bound
    tells: str = (
        TELLS  # the column that says whether any method of a ranking differs: else none is called the best
    )

    ranked: str = "rank"
    """The column whose number says that a row is ranked by it."""

    def value(self, row: Row) -> float:
        """The number that is shown and sorted by."""
        if self.kind == "letters":  # a comes first
            return float(-ord(row[self.mean][0])) if row[self.mean] else math.nan
        return row[self.mean] / row[self.of] if self.of else row[self.mean]

    @property
    def slice(self) -> str:
        """The slice of queries that a metric is over; empty for other columns."""
        return self.mean.split("/")[1] if self.low and self.mean.count("/") == 2 else ""

    def text(self, row: Row) -> str:
        """The text of the cell."""
        if self.kind == "letters":
            return row[self.mean] or MISSING
        if self.kind == "chance":
            return chance(row[self.mean], bound=row[self.unadjusted] < RESOLUTION)
        if self.low:
            text = number(row[self.mean], row[self.low], self.digits)
            return f"+{text}" if self.signed and row[self.mean] > 0 else text
        value = self.value(row)
        if math.isnan(value):
            return MISSING
        return f"{value:{self.form}}".replace("%", " %") if self.form else compact(value)

    def is_best(self, row: Row, frame: pd.DataFrame) -> bool:
        """Whether no row of its ranking and no baseline is better; a baseline is compared with the first ranking.

        An untuned row, or one whose rule never acted, is of no ranking. Where a ranking tells nothing, no row is best
        by value.
        """
        nothing = row.get(self.tells) is False
        unranked = bool(pd.isna(row[self.ranked])) and row["track"] != "baseline"
        if not self.better or (nothing and self.better == "most") or (unranked and not nothing):
            return False
        tracks, tiers, values = (frame[name].to_numpy() for name in ("track", "tier", self.mean))
        trained, ranked = tracks != "baseline", nothing | frame[self.ranked].notna().to_numpy()
        tier, track = row["tier"], row["track"]
        if track == "baseline" and trained.any():
            tier, track = tiers[trained][0], tracks[trained][0]
        peers = values[(ranked & (tiers == tier) & (tracks == track)) | ~trained]
        best = np.fmax.reduce(peers) if self.better == "most" else np.fmin.reduce(peers)
        return bool(row[self.mean] == best)


def columns(frame: pd.DataFrame) -> list[Column]:
    """A dataset's columns: the ranking metric on each slice, the difference, the cost, then the other metrics."""
    shown, ranking = shown_slices(frame), ranking_slice(frame)
    only = frame["test_queries/all"].iloc[0] == frame[f"test_queries/{ranking}"].iloc[0] and ranking != "all"
    names = {name: "all = unseen" if only else name for name in shown}
    pairs = [(metric, name) for metric in metrics(frame) for name in shown]
    first = (ranked_by(frame), ranking)
    quality = [_quality(names[name], metric, name, (metric, name) == first) for metric, name in pairs]
    cost = [column for column in COST_COLUMNS if (frame[column.mean] > 0).any() or column.brief]
    truth = [column for column in TRUTH_COLUMNS if _has_values(frame, column)]
    return [*quality[: len(shown)], *_apart(frame), *truth, *cost, *quality[len(shown) :]]


def _has_values(frame: pd.DataFrame, column: Column) -> bool:
    return column.mean in frame and bool(frame[column.mean].notna().any())


def _apart(frame: pd.DataFrame) -> list[Column]:
    """The columns of differences from the reference and of groups, those that have values."""
    if "p" not in frame:
        return []
    filled = [column for column in APART_COLUMNS if (frame[column.mean].replace("", math.nan).notna()).any()]
    return [replace(column, digits=decimals(ranked_by(frame))) for column in filled]


def _quality(heading: str, metric: str, name: str, ranks: bool) -> Column:
    stem = f"{metric}/{name}"
    bounds = (f"{stem}/mean", f"{stem}/low", f"{stem}/high")
    return Column(heading, metric, *bounds, ranks=ranks, better="most", digits=decimals(metric))


APART_COLUMNS = [
    Column(
        "difference", APART, "difference", "difference/low", "difference/high", signed=True,
        about="mean difference from the reference on the queries that rank, and half of its 95 % interval over other "
        "seeds and other queries",
    ),
    Column(
        "p", APART, "p", kind="chance",
        about="p-value of the difference, adjusted (Holm) for all methods compared with the reference",
    ),
    Column(
        "group", APART, "groups", kind="letters",
        about="methods of a ranking that share a letter aren't distinguishable (Holm over all pairs)",
    ),
]  # fmt: skip
TRUTH_COLUMNS = [
    Column(
        "false negatives", AUDIT, RATE, form=".1%",
        about="share of the negatives given in training that are relevant by all labels, including the hidden ones, or "
        "near-relevant, where documents in a relation to a positive are hidden",
    ),
    Column(
        "by weight", AUDIT, WEIGHTED, form=".1%", brief=False,
        about="the same, with each negative counted by its weight in the loss",
    ),
    *(
        Column(
            heading, AUDIT, heading, form=".1%", brief=False,
            about=f"share of the negatives given in training that are {heading} of a positive, in the collection's own "
            "structure",
        )
        for heading in OF_RELATION.values()
    ),
]  # fmt: skip


COST_COLUMNS = [
    Column(
        "seconds", COST, "train_seconds", form=",.1f", better="least",
        about="wall time of a run's training loop, with those of the rows whose models it starts from",
    ),
    Column(
        "own", COST, "own_seconds", of="train_seconds", form=".0%",
        about="share of the seconds spent inside the method: its choice of negatives, refreshes, own loss",
    ),
    *(
        Column(heading, COST, name, form=form, about=about, brief=False)
        for heading, name, form, about in (
            ("vectors", "vectors", "", "query and document vectors that a run took from the encoder"),
            ("pairs", "pairs", "", "pairs of a query and a document that the trained cross-encoder scored"),
            ("searches", "searches", "", "queries searched over the whole corpus during training"),
            ("teacher", "teacher_vectors", "", "vectors of another encoder that the method read"),
            ("forwards", "network_forwards", "", "inputs of the method's own networks"),
            ("MiB", "peak_mebibytes", ",.0f", "peak memory of the process"),
        )
    ),
]  # fmt: skip
