"""Columns that other stages found, joined to the rows of a board: differences, groups, false negatives."""

from pathlib import Path
from typing import Any

import pandas as pd

from negmark.board.standings import datasets, ranking_slice
from negmark.compare.differences import MACRO, RANKING
from negmark.core.errors import UserError
from negmark.core.tiers import in_order

RATE, WEIGHTED = "false_negatives", "false_negatives_weighted"
"""Columns of the board: shares in 0..1, means over seeds of the audit's `false_negative_rate` and `_weight`."""


OF_AUDIT = {RATE: "false_negative_rate", WEIGHTED: "false_negative_weight"}


WHOLE_RUN = -1


def with_false_negatives(frame: pd.DataFrame, cards: dict[str, dict[str, Any]], audits: Path) -> pd.DataFrame:
    """Return the rows of `standings` with both columns where a dataset hides labels; else as they are.

    `cards` are the datasets' by name, `audits` is the folder of their CSV files. A method without negatives of its
    own, and a row of a dataset that hides nothing, has NaN.
    """
    known = [name for name, card in cards.items() if "hidden" in card]
    if not known:
        return frame
    rates = pd.concat([_rates(audits / f"{name}.csv").assign(dataset=name) for name in known])
    return frame.merge(rates, how="left", on=["dataset", "row"])


def _rates(path: Path) -> pd.DataFrame:
    """Return a row a method: its name and both columns."""
    try:
        table = pd.read_csv(path)
        whole = table[table["window"] == WHOLE_RUN].groupby("row", as_index=False)
        means = whole[list(OF_AUDIT.values())].mean()
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: no false negatives can be read ({error}); delete it and run again"
        ) from None
    return means.rename(columns={name: column for column, name in OF_AUDIT.items()})


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
    chosen = ranks.drop_duplicates(["dataset", "row"])
    named = {column: chosen[name] for column, name in OF_DIFFERENCES.items()}
    return frame.merge(chosen[["dataset", "row"]].assign(**named), how="left", on=["dataset", "row"])


def average(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the average over datasets, best first within a tier and track; none where there is no average."""
    mine = table[(table["dataset"] == MACRO) & (table["slice"] == RANKING)]
    place = {tier: number for number, tier in enumerate(in_order(list(mine["tier"])))}
    order = mine.assign(place=mine["tier"].map(place)).sort_values(
        ["place", "track", "mean"], ascending=[True, True, False], kind="stable"
    )
    return order.drop(columns="place").reset_index(drop=True)
