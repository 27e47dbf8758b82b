"""Which rows were still getting better when their training ended, by their learning curves on dev.

The order of rows that still rise is that of a moment: more steps may turn it around. The learning rate falls linearly
to zero, which by itself brings a last rise as the weights settle. So a rise has to be certain over seeds and as large
as what separates methods before it counts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from negmark.compare.statistics import CONFIDENCE
from negmark.core.metrics import decimals
from negmark.core.names import METRICS_FILE
from negmark.store.contents import Contents
from negmark.store.curve import has_points, read_curve
from negmark.store.run import metrics_of, read_run

LEAST = 0.005
"""Gain that counts, of metrics in 0..1: half of the hundredth that often separates methods."""
FEWEST_SEEDS = 3
"""Two seeds give an interval 2.6 times as wide as three do, which little but a steep rise leaves."""


class Rise(NamedTuple):
    """What a row gained on dev at the end of its training."""

    metric: str
    gain: float
    """Mean over seeds: the last point minus the latest one from 60 to 80 % of the steps."""
    steps: int
    """Steps between the two points: a fifth of all, or up to two where the curve has few points."""
    rising: bool
    """Whether the gain is more than `LEAST`, and its one-sided 95 % Student t interval over seeds above 0."""

    def __str__(self) -> str:
        return f"{self.gain:+.{decimals(self.metric)}f} over its last {self.steps:,} steps"


Rises = Mapping[tuple[str, str], Rise]
"""By dataset and row; only where there is a curve."""


def read_rises(contents: Contents, root: Path = Path()) -> Rises:
    """Read the curves of a board's runs below `root`; a dataset that is only evaluated has those of its home.

    Rows without a curve, or with fewer than three seeds, are left out.
    """
    by_home = {home: _of_rows(contents, home, root) for home in contents.curved}
    return {
        (dataset, row): rise
        for dataset in contents.cards
        for row, rise in by_home.get(contents.homes.get(dataset, dataset), {}).items()
    }


def rise(curves: Sequence[pd.DataFrame], metric: str) -> Rise | None:
    """Return the rise of a row from the curve of each seed; None without three seeds or two such points."""
    if len(curves) < FEWEST_SEEDS:
        return None
    ends = [_ends(curve) for curve in curves]
    if not all(len(end) == 2 for end in ends):
        return None
    gains = [float(end[metric].iloc[1] - end[metric].iloc[0]) for end in ends]
    mean = float(np.mean(gains))
    low = mean - float(stats.t.ppf(CONFIDENCE, len(gains) - 1) * stats.sem(gains))
    return Rise(metric, mean, int(np.ptp(ends[0]["step"])), mean > LEAST and low > 0)


def _of_rows(contents: Contents, home: str, root: Path) -> dict[str, Rise]:
    curves: dict[str, list[pd.DataFrame]] = {}
    metric = ""
    for folder in contents.runs(home):
        if has_points(path := root / folder / "dev.parquet"):
            metric = metric or metrics_of(read_run(root / folder / METRICS_FILE))[0]
            curves.setdefault(folder.parent.name, []).append(read_curve(path, metric))
    found = {row: rise(by_seed, metric) for row, by_seed in curves.items()}
    return {row: one for row, one in found.items() if one}


def _ends(curve: pd.DataFrame) -> pd.DataFrame:
    """Return the latest point from 60 to 80 % of the steps, if there is one, and the last point.

    An earlier one would take for a last rise what a run gained in the middle of its training.
    """
    ordered = curve.sort_values("step")
    last = ordered["step"].iloc[-1]
    before = ordered[(5 * ordered["step"] >= 3 * last) & (5 * ordered["step"] <= 4 * last)]
    return pd.concat([before.tail(1), ordered.tail(1)]).drop_duplicates("step")
