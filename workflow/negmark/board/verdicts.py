"""What the stage `differences` found, on the rows of a board and in words."""

import pandas as pd

from negmark.board.standings import datasets, ranking_slice
from negmark.compare.differences import MACRO, RANKING
from negmark.suite.tier_pairs import in_order

OF_DIFFERENCES = {
    "reference": "reference",
    "difference": "difference",
    "difference/low": "low",
    "difference/high": "high",
    "p": "adjusted",
    "effect": "effect",
    "groups": "groups",
}
"""Columns of the board and those of differences.csv that they are: of the slice that ranks a dataset."""


def with_differences(frame: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `standings` with the columns `OF_DIFFERENCES`, from the rows of differences.csv.

    A baseline, which every tier is compared with, has the difference from the reference of the first tier.
    """
    first = {tier: place for place, tier in enumerate(in_order(list(table["tier"])))}
    ordered = table.assign(place=table["tier"].map(first)).sort_values("place", kind="stable")
    ranking = {name: ranking_slice(part) for name, part in datasets(frame)}
    ranks = ordered[ordered["slice"] == ordered["dataset"].map(ranking)]
    chosen = ranks.drop_duplicates(["dataset", "method"])
    named = {column: chosen[name] for column, name in OF_DIFFERENCES.items()}
    return frame.merge(chosen[["dataset", "method"]].assign(**named), how="left", on=["dataset", "method"])


def average(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the average over datasets, best first within a tier and track; none where there is no average."""
    mine = table[(table["dataset"] == MACRO) & (table["slice"] == RANKING)]
    place = {tier: number for number, tier in enumerate(in_order(list(mine["tier"])))}
    order = mine.assign(place=mine["tier"].map(place)).sort_values(
        ["place", "track", "mean"], ascending=[True, True, False], kind="stable"
    )
    return order.drop(columns="place").reset_index(drop=True)
