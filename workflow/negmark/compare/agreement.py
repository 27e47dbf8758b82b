"""Do two boards put the same rows in the same order, and which pairs of rows do they call differently?

A cheap way of training is worth what its order of methods says about the dear one. Two answers are given. Kendall's
tau-b of the rows' means is shown with the range that resampling gives it, over **both seeds and queries**: queries are
resampled once for both boards, as both are judged on the same ones, and seeds within each board, the same for all its
rows, as a seed gives all rows the same data. That range is no confidence interval: noise alone lowers tau, and does so
twice in a resample. What noise does is shown by the ceiling beside it, how far the order of the other board agrees with
its own resamples. And each pair of rows is compared on each board by the inference
that gives a board its letters (`compare.inference`), adjusted by Holm over all pairs of that board.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negmark.compare.inference import compare, holm
from negmark.compare.statistics import CONFIDENCE, kendall
from negmark.core.seeds import stream
from negmark.store.query_scores import Runs

DRAWS = 2_000
"""Resamples of queries and seeds."""
SAME, REVERSED, ONLY_HERE, ONLY_THERE, NEITHER = (
    "both, the same way", "both, the other way round", "only this one", "only the other", "neither",
)  # fmt: skip
"""Which of two boards tells a pair of rows apart, and how."""
Rows = Mapping[str, Runs]
"""The runs of rows by name, all on the same queries."""


class OrderAgreement(NamedTuple):
    """Kendall's tau-b of two boards' means of the same rows, -1..1."""

    rows: int
    tau: float
    low: float
    """Where 95 % of the resamples of seeds and queries lie; noise lowers them too."""
    high: float
    ceiling: float
    """The median agreement of the other board with resamples of itself: what noise leaves of a perfect agreement."""


class Pair(NamedTuple):
    """Two rows on two boards: the first minus the second, the adjusted p-value of that, and who tells them apart."""

    first: str
    second: str
    here: float
    here_p: float
    there: float
    there_p: float
    verdict: str


def order_agreement(here: Rows, there: Rows) -> OrderAgreement:
    """Return how well the orders of rows agree that both boards have; NaN where all means of one are equal."""
    names = [name for name in here if name in there]
    sides = [_cube(rows, names) for rows in (here, there)]
    means = [cube.mean(axis=(1, 2))[None] for cube in sides]
    tau = float(kendall(means[0], means[1])[0])
    if np.isnan(tau):
        return OrderAgreement(len(names), tau, tau, tau, tau)
    rng = stream("agreement", len(names), sides[0].shape[2])
    queries = sides[0].shape[2]
    weights = rng.multinomial(queries, np.full(queries, 1 / queries), DRAWS).T / queries
    drawn = [_resampled(cube, weights, rng) for cube in sides]
    low, high = np.nanquantile(kendall(*drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    ceiling = np.nanmedian(kendall(drawn[1], np.broadcast_to(means[1], drawn[1].shape)))
    return OrderAgreement(len(names), tau, float(low), float(high), float(ceiling))


def pairs(here: Rows, there: Rows) -> list[Pair]:
    """Compare every pair of rows that both boards have, on both."""
    names = [name for name in here if name in there]
    couples = list(combinations(names, 2))
    sides = [[compare(rows[one], rows[other]) for one, other in couples] for rows in (here, there)]
    adjusted = [holm([one.p for one in side]) for side in sides]
    return [
        Pair(*couple, one.difference, p, other.difference, q, verdict(one.difference, p, other.difference, q))
        for couple, one, p, other, q in zip(
            couples, sides[0], adjusted[0], sides[1], adjusted[1], strict=True
        )
    ]


def verdict(here: float, here_p: float, there: float, there_p: float) -> str:
    """Return which board tells a pair apart, by differences and adjusted p-values; NaN tells nothing."""
    found, known = here_p < 1 - CONFIDENCE, there_p < 1 - CONFIDENCE
    if found and known:
        return SAME if (here > 0) == (there > 0) else REVERSED
    return ONLY_HERE if found else ONLY_THERE if known else NEITHER


def _cube(rows: Rows, names: Sequence[str]) -> NDArray[np.float64]:
    """Return scores [R, S, Q] of rows by seeds that all of them have."""
    seeds = [seed for seed in rows[names[0]] if all(seed in rows[name] for name in names)]
    return np.array([[rows[name][seed] for seed in seeds] for name in names])


def _resampled(
    cube: NDArray[np.float64], weights: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return means [DRAWS, R] over weighted queries [Q, DRAWS] and seeds drawn anew, rounded so that ties stay ties."""
    seeds = cube.shape[1]
    by_seed = cube @ weights  # [R, S, DRAWS]
    counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS).T / seeds  # [S, DRAWS]
    return np.round((by_seed * counts).sum(axis=1), 12).T
