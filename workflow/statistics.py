"""What a handful of seeds says about a mean."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of `values` (one a seed) with Student's t interval at 95 %: (mean, low, high).

    The half-width is t(.975, n - 1) * s / sqrt(n) with s the sample standard deviation (Student 1908,
    https://doi.org/10.1093/biomet/6.1.1). It tells how far the mean would move with other seeds on the
    *same* queries; it says nothing of other queries. One value has no spread, so its bounds are NaN.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half
