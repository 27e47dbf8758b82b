"""False negatives of each method on the board, from the audits of datasets that hide labels."""

from pathlib import Path
from typing import Any

import pandas as pd

from negmark.core.errors import UserError

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
    return frame.merge(rates, how="left", on=["dataset", "method"])


def _rates(path: Path) -> pd.DataFrame:
    """Return a row a method: its name and both columns."""
    try:
        table = pd.read_csv(path)
        whole = table[table["window"] == WHOLE_RUN].groupby("method", as_index=False)
        means = whole[list(OF_AUDIT.values())].mean()
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: no false negatives can be read ({error}); delete it and run again"
        ) from None
    return means.rename(columns={name: column for column, name in OF_AUDIT.items()})
