"""All datasets of a board in one table: what ranks each of them, the average, and the differences on average."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from negmark.board.columns import Column
from negmark.board.findings import TELLS, average
from negmark.board.standings import datasets, ranked_by, ranking_slice, tiers
from negmark.compare.differences import once_each
from negmark.core.metrics import decimals
from negmark.core.names import Row, records

AVERAGE = "average"
AVERAGE_COLUMNS = (
    Column("mean", AVERAGE, "average", better="most", form=".3f", about="over searched datasets that are trained on"),
    Column(
        "difference", AVERAGE, "difference", "low", "high", signed=True,
        about="from the reference, datasets weighted equally; half of the 95 % interval over other seeds and "
        "other queries",
    ),
    Column(
        "p", AVERAGE, "adjusted", kind="chance", unadjusted="p",
        about="adjusted (Holm) for all methods compared with the reference",
    ),
    Column(
        "group", AVERAGE, "groups", kind="letters",
        about="methods of a ranking that share a letter aren't distinguishable on average",
    ),
)  # fmt: skip
"""The columns of the average over datasets."""


class Overview(NamedTuple):
    """A table of methods by datasets."""

    by: str
    """The metrics that rank the datasets."""
    columns: list[Column]
    rows: list[Row]
    """By mean rank in each tier and track, baselines last; `rank` is that mean, NaN for a row without a rank on one of
    the datasets that rank its tier and track."""
    left_out: list[str]
    """The datasets that tell nothing about the methods of a ranking and so are in no mean rank of it."""
    uncounted: list[str]
    """The datasets that are in no mean, as another regime or another hiding of their collection is."""

    def cells(self, row: Row) -> list[dict[str, Any]]:
        """The text of each column, the number it sorts by, and whether no other row of its ranking is better."""
        frame = pd.DataFrame(self.rows)
        return [
            {
                "text": column.text(row),
                "order": "" if pd.isna(column.value(row)) else repr(float(column.value(row))),
                "best": column.is_best(row, frame),
            }
            for column in self.columns
        ]


def overview(
    frame: pd.DataFrame, apart: pd.DataFrame, cards: Mapping[str, Mapping[str, Any]]
) -> Overview | None:
    """Methods by datasets, the metric that ranks each on its ranking slice; None for one dataset.

    Takes the board's rows, those of differences.csv, and the datasets' cards: two regimes of a collection count once in
    the mean rank. Tiers and tracks are listed one below the other, as their ranks
    can't be compared; baselines are last.
    """
    counted = once_each(cards)
    parts = [
        part.assign(
            value=part[f"{ranked_by(part)}/{ranking_slice(part)}/mean"],
            ranked=part["rank"],
            rank=part["rank"].astype("float") if name in counted else math.nan,
        )
        for name, part in datasets(frame)
    ]
    if len(parts) < 2:
        return None
    uncounted = [name for name, _ in datasets(frame) if name not in counted]
    names = tiers(frame)
    rows = pd.concat(parts)
    table = rows.groupby("row").agg(
        title=("title", "first"), tier=("tier", "first"), track=("track", "first")
    )
    table["rank"] = _mean_ranks(rows)
    place = {**{tier: number for number, tier in enumerate(names)}, "": len(names)}
    table = table.assign(place=table["tier"].map(place), apart=table["track"] == "faithful")
    table = table.sort_values(["place", "apart", "rank", "row"])
    shown = [
        Column(
            str(name),
            ranked_by(part),
            f"value/{name}",
            better="most",
            form=f".{decimals(ranked_by(part))}f",
            tells=f"{TELLS}/{name}",
            ranked=f"rank/{name}",
        )
        for (name, _), part in zip(datasets(frame), parts, strict=True)
    ]
    for column, part in zip(shown, parts, strict=True):
        by_row = part.set_index("row")
        table[column.mean], table[column.tells] = by_row["value"], by_row[TELLS]
        table[column.ranked] = by_row["ranked"]
    mean = average(apart).drop_duplicates("row").rename(columns={"mean": "average"}).set_index("row")
    if len(mean):
        shown += AVERAGE_COLUMNS
        table = table.join(mean[[column.mean for column in AVERAGE_COLUMNS] + ["low", "high", "p"]])
        table["groups"] = table["groups"].fillna("")
    by = " or ".join(dict.fromkeys(ranked_by(part) for part in parts))
    return Overview(by, shown, records(table.reset_index()), _left_out(frame), uncounted)


def _mean_ranks(rows: pd.DataFrame) -> pd.Series:
    """Return each row's mean rank, NaN where it has none on one of the datasets that rank its tier and track.

    The mean of a row that did not act on a dataset, or failed there, would stand for other datasets than the others'.
    """
    place = ["tier", "track"]
    ranked = rows[rows["rank"].notna()]
    datasets_of = ranked.groupby(place)["dataset"].nunique().rename("datasets")
    means = (
        ranked.groupby(["row", *place])["rank"]
        .agg(["mean", "count"])
        .reset_index()
        .join(datasets_of, on=place)
    )
    return means[means["count"] == means["datasets"]].set_index("row")["mean"]


def _left_out(frame: pd.DataFrame) -> list[str]:
    """Return the datasets that tell nothing, with the tiers and tracks concerned if others there tell something."""
    found = []
    for name, part in datasets(frame):
        rankings = part[part["track"] != "baseline"].drop_duplicates(["tier", "track"])
        mute = rankings[rankings[TELLS].eq(False)]
        places = [f"{row['tier']}, {row['track']}" for row in records(mute)]
        if places:
            found.append(name if len(mute) == len(rankings) else f"{name} ({'; '.join(places)})")
    return found
