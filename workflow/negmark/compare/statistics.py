"""Means over a few seeds, and rank correlations of methods."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 10_000


class Agreement(NamedTuple):
    """How well two rankings of the same methods agree: coefficients in -1..1 with 95 % intervals over seeds."""

    tau: float
    tau_low: float
    tau_high: float
    rho: float
    rho_low: float
    rho_high: float
    chance: float
    """Probability that a random order agrees as well or better, by tau."""


class Association(NamedTuple):
    """How well one quantity predicts another over n methods, as rank correlations in -1..1."""

    methods: int
    rho: float
    """Spearman's, with its 95 % interval as if the methods were a random sample of all possible ones."""
    rho_low: float
    rho_high: float
    tau: float
    """Kendall's tau-b."""
    p: float
    """Two-sided, of tau-b: how often a random order is correlated as strongly."""


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of `values` (one per seed) with Student's t interval at 95 %: (mean, low, high).

    The half-width is t(.975, n - 1) * s / sqrt(n) with s the sample standard deviation (Student 1908,
    https://doi.org/10.1093/biomet/6.1.1). It shows how far the mean would move with other seeds on the
    *same* queries, not with other queries. One value has no spread, so its bounds are NaN.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def agreement(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], *, same_runs: bool = False
) -> Agreement:
    """Return Kendall's tau-b and Spearman's rho between two lists of n methods' means; one value per seed each.

    The bounds are percentiles over resamples of the seeds, drawn independently per method and list
    (https://doi.org/10.1214/aos/1176344552), or per method where both lists hold quantities of the same runs, seed by
    seed. They show what other seeds would do to *these* methods; only `chance` accounts for how few methods there are.
    The bounds are NaN where a method has a single seed, as there is nothing to resample; all are NaN where all means of
    either list are equal.
    """
    means = np.array([[np.mean(seeds) for seeds in side] for side in (first, second)])
    if (np.ptp(means, axis=1) == 0).any():
        return Agreement(*[math.nan] * 7)
    chance = float(stats.kendalltau(*means, alternative="greater").pvalue)
    tau, rho = (float(measure(means[:1], means[1:])[0]) for measure in (kendall, _spearman))
    if min(len(seeds) for side in (first, second) for seeds in side) < 2:
        return Agreement(tau, math.nan, math.nan, rho, math.nan, math.nan, chance)
    rng = np.random.default_rng(0)
    resampled = [
        _resampled_means(side, np.random.default_rng(0) if same_runs else rng) for side in (first, second)
    ]
    return Agreement(
        tau, *_percentiles(kendall(*resampled)), rho, *_percentiles(_spearman(*resampled)), chance
    )


def association(first: Sequence[float], second: Sequence[float]) -> Association:
    """Return rank correlations of two quantities, each with one value per method.

    The interval of rho is that of Bonett and Wright (2000, https://doi.org/10.1007/BF02294183): Fisher's z with the
    variance (1 + rho^2 / 2) / (n - 3). It is NaN for three methods or fewer and where |rho| is 1; all is NaN where
    either quantity is the same for all methods, or there are fewer than three.
    """
    n = len(first)
    if n < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Association(n, *[math.nan] * 5)
    rho = float(stats.spearmanr(first, second).statistic)
    tau, p = stats.kendalltau(first, second)
    low = high = math.nan
    if n > 3 and abs(rho) < 1 - 1e-12:
        half = stats.norm.ppf((1 + CONFIDENCE) / 2) * math.sqrt((1 + rho**2 / 2) / (n - 3))
        low, high = math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
    return Association(n, rho, float(low), float(high), float(tau), float(p))


def _resampled_means(methods: Sequence[Sequence[float]], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return means [R, n] of seeds resampled within each of n methods, rounded so that ties stay ties in floats."""
    drawn = [rng.choice(np.asarray(seeds), (RESAMPLES, len(seeds))).mean(axis=1) for seeds in methods]
    return np.round(np.stack(drawn, axis=1), 12)


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanquantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def kendall(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return tau-b of each row of [R, n], as scipy's `kendalltau` gives it for one; NaN where a row is all equal."""
    one, other = np.triu_indices(first.shape[1], k=1)
    signs = [np.sign(side[:, one] - side[:, other]) for side in (first, second)]
    return _quotient((signs[0] * signs[1]).sum(axis=1), *(np.abs(sign).sum(axis=1) for sign in signs))


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rho of each row of [R, n], as scipy's `spearmanr` gives it for one; NaN where a row is all equal."""
    ranks = [stats.rankdata(side, axis=1) - (first.shape[1] + 1) / 2 for side in (first, second)]
    return _quotient((ranks[0] * ranks[1]).sum(axis=1), *((rank**2).sum(axis=1) for rank in ranks))


def _quotient(
    shared: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    norm = np.sqrt(first * second)
    return np.divide(shared, norm, out=np.full_like(norm, np.nan), where=norm > 0)
