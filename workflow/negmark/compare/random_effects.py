"""The mean of a difference over datasets, where it may be another one on each: a random-effects meta-analysis.

On dataset k the difference is theta_k, drawn around a mean theta with variance tau^2, and estimated by y_k with
variance v_k. DerSimonian & Laird (1986, https://doi.org/10.1016/0197-2456(86)90046-2) take

    tau^2 = max(0, (Q - (K - 1)) / (sum w - sum w^2 / sum w)),    w = 1 / v,    Q = sum w (y - sum w y / sum w)^2

    theta = sum w* y / sum w*,    its variance 1 / sum w*,    w* = 1 / (v + tau^2)

The variances v_k are only known from a few runs, so they are drawn as `negmark.compare.inference` draws them, and
theta has the distribution that these draws give it. On one dataset this is that dataset's own test. With two or three,
tau^2 is hardly known, and the interval is too short where datasets disagree: of 300 simulated experiments at the 5 %
level, on two datasets of 2,119 and 1,766 queries with five seeds and no mean difference, 4 % found one where tau was 0,
6 % where it was .002, and 14 % where it was .005.
"""

from collections.abc import Mapping

import numpy as np
from scipy import optimize, special

from negmark.compare.inference import (
    Difference,
    compare,
    detectable_difference,
    effect_size,
    paired,
    variance_draws,
)
from negmark.compare.statistics import CONFIDENCE
from negmark.store.query_scores import Runs, Scores, clusters_of

LEAST = 1e-12
"""The smallest variance: rows that are equal on a dataset would else outweigh all others by infinity."""


def pooled(means: Scores, spread: Scores) -> tuple[Scores, Scores]:
    """Return theta and its variance [...] from means [K] and variances [K, ...], as DerSimonian and Laird do."""
    y = means.reshape(len(means), *[1] * (spread.ndim - 1))
    v = np.maximum(spread, LEAST)
    w = 1 / v
    total = w.sum(axis=0)
    q = (w * (y - (w * y).sum(axis=0) / total) ** 2).sum(axis=0)
    scale = total - (w**2).sum(axis=0) / total
    free = len(means) - 1
    between = np.maximum(0, (q - free) / scale) if free else np.zeros_like(total)
    weights = 1 / (v + between)
    return (weights * y).sum(axis=0) / weights.sum(axis=0), 1 / weights.sum(axis=0)


def compare_pooled(datasets: Mapping[str, tuple[Runs, Runs]], family: int = 1) -> Difference:
    """Compare a method with a reference over datasets (by name); `adjusted` is left to the caller.

    The effect is the mean over datasets. `family` is the number of comparisons that are made.
    """
    if len(datasets) == 1:
        return compare(*next(iter(datasets.values())), family=family)
    differences = {name: paired(*pair) for name, pair in datasets.items()}
    means = np.array([part.mean() for part in differences.values()])
    drawn = [variance_draws(part, name, clusters_of(*datasets[name])) for name, part in differences.items()]
    centre, spread = pooled(means, np.array(drawn))
    error = np.sqrt(spread)
    below = float(special.ndtr(-centre / error).sum())  # of as many draws: theta is below 0
    p = min(1.0, (2 * min(below, len(error) - below) + 1) / (len(error) + 1))
    low, high = (_quantile(centre, error, share) for share in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Difference(
        float(centre.mean()), low, high, p, p,
        effect=float(np.mean([effect_size(part) for part in differences.values()])),
        detectable=detectable_difference(spread, family),
        seeds=min(len(part) for part in differences.values()),
        queries=sum(part.shape[1] for part in differences.values()),
    )  # fmt: skip


def _quantile(centre: Scores, error: Scores, share: float) -> float:
    """Return below what a share of theta lies, whose draws are normal around `centre` [N] with deviation `error`."""
    widest = 10 * float(error.max())
    bounds = float(centre.min()) - widest, float(centre.max()) + widest
    return float(optimize.brentq(lambda x: special.ndtr((x - centre) / error).mean() - share, *bounds))
