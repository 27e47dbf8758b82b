"""A run's dev.parquet as it is read: judged by the dev queries that come nearest to what ranks a board."""

from pathlib import Path

import pandas as pd

from negmark.core.errors import UserError
from negmark.core.metrics import DEFAULT

FEWEST_UNSEEN = 30  # fewer dev queries than these say too little to decide by them alone


def read_curve(path: Path, metric: str = DEFAULT[0]) -> pd.DataFrame:
    """Read the points of a run, one row each; `slice` and `queries` say which dev queries `metric` is the mean over.

    These are the unseen ones (none of their relevant documents is a training positive) where there are 30 or more, as
    a board is ranked by unseen test queries; all dev queries else.
    """
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no readable curve ({error}); delete it and run again") from None
    if metric not in table or table.empty:
        raise UserError(
            f"{path}: has no points of {metric}, as `curve_every` was 0 or another metric the suite's first when it "
            "was made; run it again"
        )
    if table["unseen_queries"].iloc[0] < FEWEST_UNSEEN:
        return table.assign(slice="all")
    return table.assign(
        slice="unseen", queries=table["unseen_queries"], **{metric: table[f"{metric}/unseen"].astype(float)}
    )
