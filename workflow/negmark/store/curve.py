"""Reads a run's dev.parquet: its learning curve over the dev queries most like those that rank a board."""

from pathlib import Path

import pandas as pd

from negmark.core.errors import UserError
from negmark.core.metrics import DEFAULT

FEWEST_UNSEEN = 30  # fewer unseen dev queries say too little: then all dev queries decide


def has_points(path: Path) -> bool:
    """Return whether a run took a curve: without one it leaves an empty table. Raises `UserError` if it is broken."""
    return not _read(path).empty


def read_curve(path: Path, metric: str = DEFAULT[0]) -> pd.DataFrame:
    """Read the points of a run, one row each; `slice` and `queries` say which dev queries `metric` is the mean over.

    If there are 30 or more unseen ones (none of their relevant documents is a training positive), it is these, as a
    board is ranked by unseen test queries; otherwise it is all dev queries.
    """
    table = _read(path)
    if metric not in table or table.empty:
        raise UserError(
            f"{path}: has no points of {metric}, as `curve_every` was 0 or another metric the suite's first when it "
            "was made; run it again"
        )
    if decides_by(table["unseen_queries"].iloc[0]) == "all":
        return table.assign(slice="all")
    return table.assign(
        slice="unseen", queries=table["unseen_queries"], **{metric: table[f"{metric}/unseen"].astype(float)}
    )


def decides_by(unseen: int) -> str:
    """Return the slice of dev queries that decides, where so many are unseen."""
    return "unseen" if unseen >= FEWEST_UNSEEN else "all"


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no readable curve ({error}); delete it and run again") from None
