"""Which methods differ, by how much and how surely: claims that see both runs and queries.

The score of a run at a query has a part of the method, of the run, of the query, and of both. Of a method and a
reference, run by run and query by query, the differences D [S seeds, Q queries] are taken as

    D[s, q] = difference + run[s] + query[q] + rest[s, q],     all three drawn at random,

the two-way layout of variance components (Searle, Casella & McCulloch 1992, https://doi.org/10.1002/9780470316856,
chapter 4). `run` is what other seeds would change, `query` what other queries would: the method's own strengths.

**Seeds are paired**: a seed gives all methods one data order and one start, and what it does to two methods alike
drops out of their difference. If it does nothing to them alike, pairing is still right and costs some power; to
take paired runs as independent would be wrong whenever a seed that helps one method hurts the other.

**The intervals are generalised (fiducial) ones** (Weerahandi 1993, J. Am. Stat. Assoc. 88, 899-905),
not percentiles of a bootstrap: the percentile bootstrap over five seeds finds differences that are not there, and
Satterthwaite's degrees of freedom do so with two or three. Both are compared in tests/compare/test_error_rates.py.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

from negmark.compare.letters import letters
from negmark.compare.statistics import CONFIDENCE, RESAMPLES
from negmark.core.errors import UserError
from negmark.core.seeds import stream
from negmark.store.query_scores import Runs, Scores

DRAWS = 20_000
"""Draws of the variances. No p-value is below one in so many: all pairs of 45 methods can still be told apart."""
DECIMALS = 12
"""Of differences of metrics in 0..1; what is behind them is rounding."""
CHUNK = 1_000
"""Resamples of signs held at once: 56 MB at 6,980 queries."""

Table = Mapping[str, Mapping[str, Runs]]
"""The runs of methods, by dataset and method."""


class Difference(NamedTuple):
    """A method less its reference. Bounds and p-values are NaN where runs or queries have no spread to learn from."""

    difference: float
    low: float
    """Of the 95 % interval of this one comparison, with no regard to how many are made."""
    high: float
    p: float
    """Two-sided; below `1 - CONFIDENCE` just where the interval leaves 0 out."""
    adjusted: float
    """By Holm within the family that was asked for; that of a comparison alone is `p`."""
    effect: float
    """The difference in standard deviations of the queries' differences; NaN where they have none."""
    seeds: int
    """That both have; the least over datasets."""
    queries: int
    """The sum over datasets."""


def compare(method: Runs, reference: Runs) -> Difference:
    """A method against a reference on one dataset, over the seeds that both have."""
    return compare_average({"": (method, reference)})


def compare_average(datasets: Mapping[str, tuple[Runs, Runs]]) -> Difference:
    """A method against a reference, each dataset (by name) counting alike whatever its number of queries.

    The datasets are taken as fixed: the interval says what other seeds and other queries of the same datasets would
    do, nothing of other datasets. Their errors are independent, so the variances of the mean of k datasets add up to
    k squared times the variance of their average, draw by draw. The effect is the mean of theirs.
    """
    differences = {name: paired(*pair) for name, pair in datasets.items()}
    mean, variances = _average(differences)
    half, p = _half_width(variances), _chance(mean, variances)
    return Difference(
        mean, mean - half, mean + half, p, p,
        effect=float(np.mean([effect_size(part) for part in differences.values()])),
        seeds=min(len(part) for part in differences.values()),
        queries=sum(part.shape[1] for part in differences.values()),
    )  # fmt: skip


def compare_family(datasets: Table, reference: str) -> dict[str, Difference]:
    """Every method but the reference against it, by name; `adjusted` holds for all of them together.

    Several datasets are averaged as `compare_average` does.
    """
    found = {
        name: compare_average(_pairs(datasets, name, reference)) for name in _methods(datasets, reference)
    }
    adjusted = holm([one.p for one in found.values()])
    return {name: one._replace(adjusted=p) for (name, one), p in zip(found.items(), adjusted, strict=True)}


def groups(datasets: Table) -> dict[str, tuple[str, ...]]:
    """The letters of each method, best mean first: two methods share one where they can't be told apart.

    Told apart are those whose p-value is below `1 - CONFIDENCE` after Holm over all pairs. That many comparisons
    are stricter than those with one reference, so methods may share a letter that `compare_family` tells apart.
    """
    names = _methods(datasets)
    pairs = list(combinations(range(len(names)), 2))
    chances = []
    for one, other in pairs:  # one at a time in memory
        asked = _pairs(datasets, names[one], names[other])
        chances.append(_chance(*_average({name: paired(*pair) for name, pair in asked.items()})))
    apart = np.zeros((len(names), len(names)), dtype=bool)
    for (one, other), p in zip(pairs, holm(chances), strict=True):
        apart[one, other] = apart[other, one] = p < 1 - CONFIDENCE
    means = [mean_of(datasets, name) for name in names]
    given = dict(zip(names, letters(means, apart), strict=True))
    return {name: given[name] for _, name in sorted(zip(means, names, strict=True), key=lambda row: -row[0])}


def mean_of(datasets: Table, method: str) -> float:
    """The mean of a method over datasets, of each the mean over seeds and queries."""
    return float(np.mean([np.mean(list(rows[method].values())) for rows in datasets.values()]))


def _methods(datasets: Table, reference: str | None = None) -> list[str]:
    """The methods of the first dataset, which the others must have too, without the reference."""
    return [name for name in next(iter(datasets.values())) if name != reference]


def _pairs(datasets: Table, method: str, reference: str) -> dict[str, tuple[Runs, Runs]]:
    return {name: (rows[method], rows[reference]) for name, rows in datasets.items()}


def _average(differences: Mapping[str, Scores]) -> tuple[float, Scores]:
    """The mean over datasets of their mean differences [S, Q], and draws of its variance."""
    mean = float(np.mean([part.mean() for part in differences.values()]))
    drawn = np.array([_variances(part, name) for name, part in differences.items()])
    return mean, drawn.sum(axis=0) / len(drawn) ** 2


def paired(method: Runs, reference: Runs) -> Scores:
    """The differences [S, Q] of the seeds that both have, in the order of seeds.

    What no seed changes (a baseline, under None) meets every seed of the other. A run whose seed the other lacks is
    left out: it has no partner. UserError where no seed is left or the numbers of queries differ.
    """
    numbered = sorted(seed for seed in method.keys() | reference.keys() if seed is not None)
    seeds: list[int | None] = [*numbered] or [None]
    pairs = [(_at(method, seed), _at(reference, seed)) for seed in seeds]
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    if not both:
        raise UserError("two methods have no seed in common, so none of their runs can be paired")
    if len({len(one) for pair in both for one in pair}) != 1:
        raise UserError("two runs were judged on different numbers of queries; evaluate them again")
    return np.round(np.array([one - other for one, other in both]), DECIMALS)


def effect_size(differences: Scores) -> float:
    """The mean of differences [S, Q] over the standard deviation of the queries' means over seeds.

    Cohen's d of paired values, d_z (Lakens 2013, https://doi.org/10.3389/fpsyg.2013.00863). NaN where the queries do
    not vary.
    """
    by_query = differences.mean(axis=0)
    spread = float(by_query.std(ddof=1)) if len(by_query) > 1 else 0.0
    return float(by_query.mean()) / spread if spread else math.nan


def holm(chances: Sequence[float]) -> list[float]:
    """P-values adjusted so that the chance of any false find in the family is at most the level they are held to.

    The k-th smallest of m is multiplied by m - k + 1 and raised to those before it (Holm 1979,
    https://www.jstor.org/stable/4615733). NaN is no test: it stays, and does not count.
    """
    given = np.array(chances, dtype=float)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    steps = given[order] * np.arange(len(order), 0, -1)
    given[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return given.tolist()


def runs_differ(first: Scores, second: Scores) -> float:
    """P-value for "these two *runs* differ", from their scores [Q] on the same queries: it says nothing of methods.

    Fisher's randomisation test of the mean difference: were the runs alike, every query's difference might as well
    have the other sign (Smucker, Allan & Carterette 2007, https://doi.org/10.1145/1321440.1321528). Two-sided, over
    `RESAMPLES` draws of the signs with the observed one counted in, (b + 1) / (m + 1).
    """
    difference = np.round(first - second, DECIMALS)
    # scipy's permutation_test draws whole permutations for each sign: minutes at thousands of queries
    rng = stream("signs", len(difference))
    least = abs(difference.sum()) - 10.0**-DECIMALS
    beyond = 0
    for start in range(0, RESAMPLES, CHUNK):
        size = (min(CHUNK, RESAMPLES - start), len(difference))
        flipped = rng.integers(0, 2, size, dtype=np.int8) @ (2 * difference) - difference.sum()
        beyond += int((np.abs(flipped) >= least).sum())
    return (beyond + 1) / (RESAMPLES + 1)


# --- variances --------------------------------------------------------------------------------------------


def _at(runs: Runs, seed: int | None) -> Scores | None:
    return runs.get(seed, runs.get(None))


def _variances(differences: Scores, name: str) -> Scores:
    """Draws of the variance of the mean of differences [S, Q]; NaN with a single seed or query.

    The mean squares of seeds, queries and rest estimate
        A = Q run^2 + rest^2,    B = S query^2 + rest^2,    C = rest^2     (squares: variances of the parts)
    and the mean's variance is (A + B - C) / (S Q). Each mean square times its degrees of freedom over its
    expectation is chi-squared, so a draw of the expectation is the mean square over a draw of chi-squared by its
    degrees of freedom. No variance is negative: A and B are at least C.
    """
    seeds, queries = differences.shape
    if min(seeds, queries) < 2:
        return np.full(DRAWS, math.nan)
    run, query, rest = mean_squares(differences) * _ratios(name, seeds, queries)
    return (np.maximum(run, rest) + np.maximum(query, rest) - rest) / (seeds * queries)


def mean_squares(differences: Scores) -> Scores:
    """The mean squares [3, 1] of seeds, queries and rest of differences [S, Q], both at least 2."""
    seeds, queries = differences.shape
    by_seed, by_query = differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - by_seed[:, None] - by_query + differences.mean()
    squares = [
        queries * by_seed.var(ddof=1),
        seeds * by_query.var(ddof=1),
        (rest**2).sum() / ((seeds - 1) * (queries - 1)),
    ]
    return np.array(squares)[:, None]


# Half a megabyte each; an average goes through all datasets for every pair of methods.
@lru_cache(maxsize=128)
def _ratios(name: str, seeds: int, queries: int) -> Scores:
    """Draws [3, DRAWS] of degrees of freedom over chi-squared, for the mean squares of seeds, queries and rest.

    A Latin hypercube (McKay, Beckman & Conover 1979, https://doi.org/10.1080/00401706.1979.10489755): each takes all
    its quantiles once, in an order of its own. What is left of the error of drawing is in the fourth digit.
    """
    return stream("inference", name).permuted(_quantiles(seeds, queries), axis=1)


@lru_cache(maxsize=16)
def _quantiles(seeds: int, queries: int) -> Scores:
    """What `_ratios` shuffles, the largest first; chi-squared's quantiles take long."""
    freedom = np.array([[seeds - 1], [queries - 1], [(seeds - 1) * (queries - 1)]])
    return freedom / stats.chi2.ppf((np.arange(DRAWS) + 0.5) / DRAWS, freedom)


def _chance(difference: float, variances: Scores) -> float:
    """P-value: how often a normal error lies as far from 0 as `difference`, over draws of its variance.

    With m draws it is (m p + 1) / (m + 1): no draws can show less (Phipson & Smyth 2010,
    https://doi.org/10.2202/1544-6115.1585).
    """
    errors = np.sqrt(variances)
    far = np.full(len(errors), math.inf if difference else 0.0)
    np.divide(abs(difference), errors, out=far, where=errors != 0)
    tails = 2 * special.ndtr(-far)
    return float((tails.sum() + 1) / (len(errors) + 1))


def _half_width(variances: Scores) -> float:
    """Half the interval: the difference at which the p-value is `1 - CONFIDENCE`."""
    widest = 4 * math.sqrt(variances.max())
    if math.isnan(widest) or widest == 0:
        return widest
    return float(optimize.brentq(lambda half: _chance(half, variances) - (1 - CONFIDENCE), 0, widest))
