"""Which methods differ, by how much and how certainly: inference over both runs and queries.

The score of a run on a query has components of the method, the run, the query, and their interaction. The differences
between a method and a reference, per run and query, D [S seeds, Q queries], are modelled as

    D[s, q] = difference + run[s] + query[q] + rest[s, q],     the last three random,

the two-way layout of variance components (Searle, Casella & McCulloch 1992, https://doi.org/10.1002/9780470316856,
chapter 4). `run` is what other seeds would change, `query` what other queries would: on which queries the method is
strong.

**Queries that share a positive are no two draws**: where one document answers several queries, what a method does to it
shows in all of them. `query` and `rest` may then be correlated within a cluster of queries, and their mean squares are
those of the clusters' sums (Liang & Zeger 1986, https://doi.org/10.1093/biomet/73.1.13; see `mean_squares`).
`negmark.evaluate.ranking.clusters` says which queries share a cluster. Where none do, nothing changes.

**Seeds are paired**: a seed gives all methods the same data order and initial weights, and its common effect on two
methods cancels in their difference. Without a common effect, pairing is still valid and costs some power; treating
paired runs as independent would be wrong whenever a seed that helps one method hurts the other.

**The intervals are generalised (fiducial)** (Weerahandi 1993, J. Am. Stat. Assoc. 88, 899-905),
not bootstrap percentiles: the percentile bootstrap over five seeds finds differences that do not exist, and
Satterthwaite's degrees of freedom do so with two or three. Both are compared in tests/compare/test_error_rates.py.

**The smallest detectable difference** is the true difference that a test at level a would find with 80 % power, the
sum of two distances in standard errors (Bloom 1995, https://doi.org/10.1177/0193841X9501900504):

    (t[1 - a / 2] + t[.80]) x standard error

Its points are those of the same generalised distribution that gives intervals and p-values, which is Student's t
wherever seeds alone or queries alone vary, so no degrees of freedom have to be approximated. The level is that of
Holm's first step, a = .05 / m for m comparisons: what a method needs if no other differs. It comes from the variances
of these very runs; with three seeds they, and so it, are only roughly known.
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
from negmark.store.query_scores import Clusters, Runs, Scores, clusters_of

DRAWS = 20_000
"""Draws of the variances; the smallest p-value is about 1 / DRAWS, enough to separate all pairs of 45 methods."""
POWER = 0.8
"""The probability with which the smallest detectable difference is found."""
RESOLUTION = 2 / (DRAWS + 1)
"""Below it a p-value is that of no draw at all, and only known to be small."""
DECIMALS = 12
"""To which differences of metrics in 0..1 are rounded; further digits are rounding errors."""
CHUNK = 1_000
"""Sign resamples in memory at once: 56 MB at 6,980 queries."""

Table = Mapping[str, Mapping[str, Runs]]
"""The runs of methods, by dataset and method."""


class Difference(NamedTuple):
    """A method minus its reference. Bounds and p-values are NaN with a single seed or query."""

    difference: float
    low: float
    """Lower bound of the 95 % interval of this comparison alone, unadjusted for others."""
    high: float
    p: float
    """Two-sided; below `1 - CONFIDENCE` exactly where the interval excludes 0."""
    adjusted: float
    """Adjusted by Holm within its family; equal to `p` for a single comparison."""
    effect: float
    """The difference in standard deviations of the queries' differences; NaN where those do not vary."""
    detectable: float
    """The smallest true difference that would be found with 80 % power at Holm's first step in its family."""
    seeds: int
    """Seeds that both have; the minimum over datasets."""
    queries: int
    """Queries, summed over datasets."""


def compare(method: Runs, reference: Runs, family: int = 1) -> Difference:
    """Compare a method with a reference on one dataset, over the seeds that both have; one of `family` comparisons."""
    return compare_average({"": (method, reference)}, family)


def compare_average(datasets: Mapping[str, tuple[Runs, Runs]], family: int = 1) -> Difference:
    """Compare a method with a reference over datasets (by name), weighted equally whatever their numbers of queries.

    The datasets are fixed: the interval covers other seeds and other queries of the same datasets, not other
    datasets. A variance between two of them would have one degree of freedom, whose t of 12.7 shows nothing. Their
    errors are independent, so the variances of k datasets' means add up to k squared times the variance of their
    average, draw by draw. The effect is the mean over datasets. `family` is the number of comparisons that are made,
    which decides what is detectable; `adjusted` is left to the caller.
    """
    differences, mean, variances = _average(datasets)
    half, p = _half_width(variances, 1 - CONFIDENCE), _p_value(mean, variances)
    return Difference(
        mean, mean - half, mean + half, p, p,
        effect=float(np.mean([effect_size(part) for part in differences.values()])),
        detectable=detectable_difference(variances, family),
        seeds=min(len(part) for part in differences.values()),
        queries=sum(part.shape[1] for part in differences.values()),
    )  # fmt: skip


def compare_family(datasets: Table, references: Mapping[str, str]) -> dict[str, Difference]:
    """Compare each of these methods with its reference, by name; `adjusted` is Holm's over all of them.

    Several datasets are averaged as in `compare_average`.
    """
    comparisons = {
        name: compare_average(_pairs(datasets, name, reference), family=len(references))
        for name, reference in references.items()
    }
    adjusted = holm([one.p for one in comparisons.values()])
    return {
        name: one._replace(adjusted=p) for (name, one), p in zip(comparisons.items(), adjusted, strict=True)
    }


def groups(datasets: Table) -> dict[str, tuple[str, ...]]:
    """Return the letters of each method, best mean first: methods share one where they don't differ significantly.

    Two methods differ where their p-value is below `1 - CONFIDENCE` after Holm over all pairs. With that many
    comparisons this is stricter than `compare_family`, by which two methods that share a letter may differ.
    """
    names = _methods(datasets)
    pairs = list(combinations(range(len(names)), 2))
    p_values = []
    for one, other in pairs:  # one at a time in memory
        _, mean, variances = _average(_pairs(datasets, names[one], names[other]))
        p_values.append(_p_value(mean, variances))
    apart = np.zeros((len(names), len(names)), dtype=bool)
    for (one, other), p in zip(pairs, holm(p_values), strict=True):
        apart[one, other] = apart[other, one] = p < 1 - CONFIDENCE
    means = [mean_of(datasets, name) for name in names]
    assigned = dict(zip(names, letters(means, apart), strict=True))
    return {
        name: assigned[name] for _, name in sorted(zip(means, names, strict=True), key=lambda row: -row[0])
    }


def mean_of(datasets: Table, method: str) -> float:
    """Return the mean over datasets of a method's mean over seeds and queries."""
    return float(np.mean([np.mean(list(rows[method].values())) for rows in datasets.values()]))


def _methods(datasets: Table, reference: str | None = None) -> list[str]:
    """Return the methods of the first dataset, which the others must have too, without the reference."""
    return [name for name in next(iter(datasets.values())) if name != reference]


def _pairs(datasets: Table, method: str, reference: str) -> dict[str, tuple[Runs, Runs]]:
    return {name: (rows[method], rows[reference]) for name, rows in datasets.items()}


def _average(datasets: Mapping[str, tuple[Runs, Runs]]) -> tuple[dict[str, Scores], float, Scores]:
    """Return the differences [S, Q] by dataset, the mean over datasets of their means, and draws of its variance."""
    differences = {name: paired(*pair) for name, pair in datasets.items()}
    mean = float(np.mean([part.mean() for part in differences.values()]))
    drawn = np.array(
        [variance_draws(part, name, clusters_of(*datasets[name])) for name, part in differences.items()]
    )
    return differences, mean, drawn.sum(axis=0) / len(drawn) ** 2


def paired(method: Runs, reference: Runs) -> Scores:
    """Return the differences [S, Q] of the seeds that both have, in the order of seeds.

    A baseline, which has no seed (key None), is paired with every seed of the other. A run whose seed the other lacks
    is left out. Raises `UserError` where no seed is left or the numbers of queries differ.
    """
    numbered = sorted(seed for seed in method.keys() | reference.keys() if seed is not None)
    seeds: list[int | None] = [*numbered] or [None]
    pairs = [(_run_of(method, seed), _run_of(reference, seed)) for seed in seeds]
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    if not both:
        raise UserError(
            "two methods have no seed in common, so their runs can't be paired; give them common seeds"
        )
    if len({len(one) for pair in both for one in pair}) != 1:
        raise UserError("two runs were evaluated on different numbers of queries; evaluate them again")
    return np.round(np.array([one - other for one, other in both]), DECIMALS)


def effect_size(differences: Scores) -> float:
    """Return the mean of differences [S, Q] divided by the standard deviation of the queries' means over seeds.

    Cohen's d of paired values, d_z (Lakens 2013, https://doi.org/10.3389/fpsyg.2013.00863). NaN where the queries do
    not vary.
    """
    by_query = differences.mean(axis=0)
    spread = float(by_query.std(ddof=1)) if len(by_query) > 1 else 0.0
    return float(by_query.mean()) / spread if spread else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted to control the family-wise error rate.

    The k-th smallest of m is multiplied by m - k + 1, and is at least those before it (Holm 1979,
    https://www.jstor.org/stable/4615733). NaN marks no test: it stays NaN and does not count towards m.
    """
    adjusted = np.array(p_values, dtype=float)
    tested = np.flatnonzero(~np.isnan(adjusted))
    order = tested[np.argsort(adjusted[tested], kind="stable")]
    steps = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted.tolist()


def runs_differ(first: Scores, second: Scores) -> float:
    """Return the p-value for "these two *runs* differ", from their scores [Q] on the same queries; not for methods.

    Fisher's randomisation test of the mean difference: if the runs were alike, each query's difference would be as
    likely to have the other sign (Smucker, Allan & Carterette 2007, https://doi.org/10.1145/1321440.1321528).
    Two-sided, over `RESAMPLES` draws of the signs, counting the observed one: (b + 1) / (m + 1).
    """
    difference = np.round(first - second, DECIMALS)
    # scipy's permutation_test draws whole permutations for each sign: minutes at thousands of queries
    rng = stream("signs", len(difference))
    threshold = abs(difference.sum()) - 10.0**-DECIMALS
    extreme = 0
    for start in range(0, RESAMPLES, CHUNK):
        size = (min(CHUNK, RESAMPLES - start), len(difference))
        flipped = rng.integers(0, 2, size, dtype=np.int8) @ (2 * difference) - difference.sum()
        extreme += int((np.abs(flipped) >= threshold).sum())
    return (extreme + 1) / (RESAMPLES + 1)


# --- variances --------------------------------------------------------------------------------------------


def _run_of(runs: Runs, seed: int | None) -> Scores | None:
    return runs.get(seed, runs.get(None))


def variance_draws(differences: Scores, name: str, clusters: Clusters | None = None) -> Scores:
    """Return draws of the variance of the mean of differences [S, Q]; NaN with a single seed, query or cluster.

    The mean squares of seeds, queries and rest estimate
        A = Q run^2 + rest^2,    B = S query^2 + rest^2,    C = rest^2     (squares: variance components)
    and the mean's variance is (A + B - C) / (S Q). Each mean square times its degrees of freedom divided by its
    expectation is chi-squared, so a draw of the expectation is the mean square times its degrees of freedom divided
    by a draw of chi-squared. Variances are not negative, so A and B are at least C. With clusters of queries, their
    effective number is what Q is in the degrees of freedom.
    """
    seeds, queries = differences.shape
    independent = queries if clusters is None else effective_number(clusters)
    if min(seeds, independent) < 2:
        return np.full(DRAWS, math.nan)
    run, query, rest = mean_squares(differences, clusters) * _ratios(name, seeds, independent)
    return (np.maximum(run, rest) + np.maximum(query, rest) - rest) / (seeds * queries)


def mean_squares(differences: Scores, clusters: Clusters | None = None) -> Scores:
    """Return the mean squares [3, 1] of seeds, queries and rest of differences [S, Q]; S and Q are at least 2.

    With clusters [Q] of n[g] queries, and G their `effective_number`, the deviations of the queries' means and the
    rest are summed within clusters before they are squared:
        B = S / Q  G / (G - 1)  sum over g of (sum over q in g of deviation[q])^2
        C = 1 / (Q (S - 1))  G / (G - 1)  sum over s and g of (sum over q in g of rest[s, q])^2
    The factor leaves both unbiased where queries don't depend on each other, as the sum over g is then
    Q (1 - sum of n[g]^2 / Q^2) = Q (1 - 1 / G) variances. With one query a cluster they are the usual mean squares.
    """
    seeds, queries = differences.shape
    by_seed, by_query = differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - by_seed[:, None] - by_query + differences.mean()
    if clusters is not None:
        number = effective_number(clusters)
        factor = number / (number - 1) / queries
        return np.array(
            [
                queries * by_seed.var(ddof=1),
                seeds * factor * (_sums(by_query[None] - by_query.mean(), clusters) ** 2).sum(),
                factor * (_sums(rest, clusters) ** 2).sum() / (seeds - 1),
            ]
        )[:, None]
    squares = [
        queries * by_seed.var(ddof=1),
        seeds * by_query.var(ddof=1),
        (rest**2).sum() / ((seeds - 1) * (queries - 1)),
    ]
    return np.array(squares)[:, None]


def effective_number(clusters: Clusters) -> float:
    """Return the number of equal clusters that are worth as much: Q^2 / sum of n[g]^2 for Q queries, n[g] in cluster g.

    Carter, Schnepel & Steigerwald 2017 (https://doi.org/10.1162/REST_a_00639), for a mean.
    """
    return len(clusters) ** 2 / float((np.bincount(clusters) ** 2).sum())


def _sums(values: Scores, clusters: Clusters) -> Scores:
    """Return the sums [S, G] of values [S, Q] within clusters."""
    return np.array([np.bincount(clusters, weights=row) for row in values])


# Half a megabyte each; averages need those of all datasets for every pair of methods.
@lru_cache(maxsize=128)
def _ratios(name: str, seeds: int, queries: float) -> Scores:
    """Return draws [3, DRAWS] of degrees of freedom / chi-squared, for the mean squares of seeds, queries and rest.

    A Latin hypercube (McKay, Beckman & Conover 1979, https://doi.org/10.1080/00401706.1979.10489755): each row
    has all its quantiles once, in its own random order. The remaining sampling error is in the fourth digit.
    """
    return stream("inference", name).permuted(_quantiles(seeds, queries), axis=1)


@lru_cache(maxsize=16)
def _quantiles(seeds: int, queries: float) -> Scores:
    """Return what `_ratios` shuffles, the largest first; cached, as chi-squared quantiles are slow."""
    freedom = np.array([[seeds - 1], [queries - 1], [(seeds - 1) * (queries - 1)]])
    return freedom / stats.chi2.ppf((np.arange(DRAWS) + 0.5) / DRAWS, freedom)


def _p_value(difference: float, variances: Scores) -> float:
    """Return the p-value: how often a normal error is as far from 0 as `difference`, over draws of its variance.

    With m draws it is (m p + 1) / (m + 1), as draws can't support less (Phipson & Smyth 2010,
    https://doi.org/10.2202/1544-6115.1585).
    """
    errors = np.sqrt(variances)
    far = np.full(len(errors), math.inf if difference else 0.0)
    np.divide(abs(difference), errors, out=far, where=errors != 0)
    tails = 2 * special.ndtr(-far)
    return float((tails.sum() + 1) / (len(errors) + 1))


def _half_width(variances: Scores, level: float) -> float:
    """Return the difference at which the p-value is `level`: half the width of the interval at 1 - `level`.

    Infinite where the draws are too few to support so small a level.
    """
    widest = 4 * math.sqrt(variances.max())
    if math.isnan(widest) or widest == 0:
        return widest
    if _p_value(widest, variances) >= level:
        return math.inf
    return float(optimize.brentq(lambda half: _p_value(half, variances) - level, 0, widest))


def detectable_difference(variances: Scores, family: int) -> float:
    """Return the smallest difference found with 80 % power at Holm's first step among `family` comparisons.

    The test finds what is estimated beyond the first distance, and four of five estimates of a larger truth fall
    short of it by less than the second.
    """
    return _half_width(variances, (1 - CONFIDENCE) / family) + _half_width(variances, 2 * (1 - POWER))
