"""False negatives of each method on the board, and near ones, from the audits of datasets that can tell."""

from pathlib import Path
from typing import Any

import pandas as pd

from negmark.core.errors import UserError

RATE, WEIGHTED = "false_negatives", "false_negatives_weighted"
"""Columns of the board: shares in 0..1, means over seeds of the audit's `false_negative_rate` and `_weight`."""
OF_AUDIT = {RATE: "false_negative_rate", WEIGHTED: "false_negative_weight"}
ANCESTORS, SIBLINGS = "ancestors", "siblings"
"""Columns of the board: shares in 0..1 of the negatives that are so related to a positive, means over seeds."""
OF_RELATION = {"ancestor": ANCESTORS, "sibling": SIBLINGS}
WHOLE_RUN = -1


def with_false_negatives(frame: pd.DataFrame, cards: dict[str, dict[str, Any]], audits: Path) -> pd.DataFrame:
    """Return the rows of `standings` with these columns where a dataset hides labels or relates documents.

    `cards` are the datasets' by name, `audits` is the folder of their CSV files. A method without negatives of its
    own, and a row of a dataset that can't tell, has NaN; a column that no dataset can tell is left out.
    """
    known = {name: wanted for name, card in cards.items() if (wanted := _told(card))}
    if not known:
        return frame
    rates = pd.concat(
        [_rates(audits / f"{name}.csv", wanted).assign(dataset=name) for name, wanted in known.items()]
    )
    return frame.merge(rates, how="left", on=["dataset", "method"])


def _told(card: dict[str, Any]) -> dict[str, str]:
    """Return the audit's columns that this dataset has, by the board's."""
    near = {OF_RELATION[name]: f"{name}_rate" for name in card.get("relations", {})}
    return {**(OF_AUDIT if "hidden" in card else {}), **near}


def _rates(path: Path, wanted: dict[str, str]) -> pd.DataFrame:
    """Return a row a method: its name and the wanted columns."""
    try:
        table = pd.read_csv(path)
        whole = table[table["window"] == WHOLE_RUN].groupby("method", as_index=False)
        means = whole[list(wanted.values())].mean()
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: no false negatives can be read ({error}); delete it and run again"
        ) from None
    return means.rename(columns={name: column for column, name in wanted.items()})
