"""How often inference finds a difference, where there is none and where there is one.

Runs of two methods are drawn from a model whose truth is known and handed to the code that boards use. The tables
printed (`pytest -m slow -s tests/compare/test_error_rates.py`) set beside it what would be the usual choices.
"""

from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from negmark.compare.inference import (
    POWER,
    _p_value,
    compare,
    detectable_difference,
    mean_squares,
    paired,
    variance_draws,
)
from negmark.store.query_scores import Clusters, Runs, Scores

EXPERIMENTS = 2_000
"""The standard error of a rate of 5 % is half a percent point."""
RESAMPLES = 1_000
LEVEL, MOST = 0.05, 0.06
DIFFERENCES = (0.005, 0.01, 0.02)


class Truth(NamedTuple):
    """Standard deviations of the components of a score, besides its method's mean."""

    run: float = 0.006
    at_query: float = 0.15
    """Of a run on a query."""
    method_at_query: float = 0.0
    shared_seed: float = 0.0
    """Of a seed's common effect on both methods, overall and on each query."""
    query: float = 0.35
    at_cluster: float = 0.0
    """Of a run on a cluster of queries that share a positive."""
    method_at_cluster: float = 0.0


TRUTHS = {
    "runs": Truth(),
    "interaction": Truth(at_query=0.05, method_at_query=0.1),
    "shared seeds": Truth(shared_seed=0.01),
    "all": Truth(at_query=0.1, method_at_query=0.1, shared_seed=0.01),
    "queries alone": Truth(run=0, at_query=0, method_at_query=0.1),
}


CLUSTERED = Truth(at_query=0.1, method_at_query=0.07, at_cluster=0.1, method_at_cluster=0.07)
"""Half of the variance is common to queries of a cluster."""


def clusters_of_size(queries: int) -> Clusters:
    """As in WordNet's test split: half of the queries are alone, the others share with one to ten more."""
    sizes = np.resize([1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 11], queries)
    return np.repeat(np.arange(queries), sizes)[:queries]


def experiment(
    rng: np.random.Generator, truth: Truth, seeds: int, queries: int, clusters: Clusters | None = None
) -> tuple[Runs, Runs]:
    """Runs of two methods that do not differ."""
    of_cluster = np.arange(queries) if clusters is None else clusters
    number = 1 + int(of_cluster.max())
    shared = truth.query * rng.normal(size=queries)
    if truth.shared_seed:
        shared = shared + truth.shared_seed * (
            rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, queries))
        )
    return tuple(
        dict(
            enumerate(
                shared
                + truth.run * rng.normal(size=(seeds, 1))
                + truth.at_query * rng.normal(size=(seeds, queries))
                + truth.method_at_query * rng.normal(size=queries)
                + truth.at_cluster
                * (rng.normal(size=(seeds, number))[:, of_cluster] if truth.at_cluster else 0)
                + truth.method_at_cluster
                * (rng.normal(size=number)[of_cluster] if truth.method_at_cluster else 0)
            )
        )
        for _ in range(2)
    )  # type: ignore[return-value]


def satterthwaite(differences: Scores) -> float:
    """P-value of t with the degrees of freedom of Satterthwaite (1946, https://doi.org/10.2307/3002019)."""
    seeds, queries = differences.shape
    run, query, rest = mean_squares(differences).ravel()
    freedom = np.array([seeds - 1, queries - 1, (seeds - 1) * (queries - 1)])
    total = max(run + query - rest, run, query)
    error = np.sqrt(total / differences.size)
    return 2 * stats.t.sf(
        abs(differences.mean()) / error, total**2 / ([run**2, query**2, rest**2] / freedom).sum()
    )


class Bootstrap:
    """Percentiles of the means over resampled seeds and resampled queries, as counts of each."""

    def __init__(self, seeds: int, queries: int) -> None:
        rng = np.random.default_rng(1)
        self.by_seed, by_query = (
            rng.multinomial(size, np.full(size, 1 / size), RESAMPLES) / size for size in (seeds, queries)
        )
        self.by_query = by_query.astype(np.float32).T

    def finds(self, differences: Scores) -> bool:
        means = (self.by_seed * (differences.astype(np.float32) @ self.by_query).T).sum(axis=1)
        low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2])
        return not low <= 0 <= high


def detection_rates(
    truth: Truth, seeds: int, queries: int, experiments: int = EXPERIMENTS
) -> dict[str, float]:
    """Return the share of experiments in which each test finds a difference."""
    rng, bootstrap = np.random.default_rng(0), Bootstrap(seeds, queries)
    finds = []
    for number in range(experiments):
        pair = experiment(rng, truth, seeds, queries)
        differences = paired(*pair)
        variances = variance_draws(differences, "")
        p = {true: _p_value(differences.mean() + true, variances) for true in (0.0, *DIFFERENCES)}
        if not number:
            assert compare(*pair).p == p[0]
        finds.append(
            {
                **{f"{true:g}": value < LEVEL for true, value in p.items()},
                "Satterthwaite": satterthwaite(differences) < LEVEL,
                "bootstrap": bootstrap.finds(differences),
                "t over queries": stats.ttest_1samp(differences.mean(axis=0), 0).pvalue < LEVEL,
                "t over runs": stats.ttest_1samp(differences.mean(axis=1), 0).pvalue < LEVEL,
            }
        )
    return {name: float(np.mean([one[name] for one in finds])) for name in finds[0]}


def clustered_rates(queries: int, clusters: Clusters, experiments: int, seeds: int = 5) -> dict[str, float]:
    """Return the share of experiments in which a difference is found that isn't there, with clusters and without."""
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(experiments):
        differences = paired(*experiment(rng, CLUSTERED, seeds, queries, clusters))
        p_values.append(
            [_p_value(differences.mean(), variance_draws(differences, "", by)) for by in (clusters, None)]
        )
    return dict(zip(("clusters", "queries"), (np.array(p_values) < LEVEL).mean(axis=0).tolist(), strict=True))


def show(what: str, rates: dict[str, float]) -> None:
    print(what + " | " + " | ".join(f"{name} {rate:.3f}" for name, rate in rates.items()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Precision loss")  # of t over runs where runs do not vary
@pytest.mark.parametrize("queries", [50, 300, 6980])
@pytest.mark.parametrize("truth", TRUTHS)
def test_no_difference_is_rarely_found(truth: str, queries: int) -> None:
    rates = detection_rates(TRUTHS[truth], 5, queries)
    show(f"{truth}, 5 seeds, {queries} queries", rates)
    assert rates["0"] <= MOST
    assert rates["0.02"] >= rates["0.01"] > rates["0.005"] > rates["0"]


@pytest.mark.slow
@pytest.mark.parametrize("queries", [300, 6980])
def test_no_difference_is_rarely_found_where_queries_share_positives(queries: int) -> None:
    rates = clustered_rates(queries, clusters_of_size(queries), EXPERIMENTS)
    show(f"clusters, 5 seeds, {queries} queries", rates)
    assert rates["clusters"] <= MOST
    assert rates["queries"] > MOST, "what the clusters are for"


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3])
def test_few_seeds_find_less_not_more(seeds: int) -> None:
    rates = detection_rates(
        Truth(at_query=0, method_at_query=0.035), seeds, 300
    )  # seeds and queries weigh alike
    show(f"{seeds} seeds, 300 queries", rates)
    assert rates["0"] <= MOST


@pytest.mark.slow
def test_the_percentile_bootstrap_is_no_choice_at_five_seeds() -> None:
    rates = detection_rates(TRUTHS["runs"], 5, 6980, experiments=500)
    assert rates["bootstrap"] > 1.5 * LEVEL
    assert rates["t over queries"] > 10 * LEVEL, "the design's reason for looking at runs at all"


def test_a_handful_of_experiments() -> None:
    rates = detection_rates(TRUTHS["all"], 5, 50, experiments=20)
    assert rates["0"] <= 0.2
    assert rates["0.02"] >= rates["0"]


def test_a_hundred_experiments_with_clusters() -> None:
    rates = clustered_rates(300, clusters_of_size(300), 100)
    assert rates["clusters"] <= 0.12
    assert rates["queries"] > rates["clusters"]


@pytest.mark.parametrize(
    ("truth", "seeds", "queries", "family"),
    [
        ("all", 5, 50, 6),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("runs", 5, 300, 1), ("interaction", 3, 300, 1), ("queries alone", 2, 100, 6))
        ),
    ],
)
def test_the_detectable_difference_is_found_in_four_of_five_experiments(
    truth: str, seeds: int, queries: int, family: int
) -> None:
    rng = np.random.default_rng(0)
    found = [paired(*experiment(rng, TRUTHS[truth], seeds, queries)) for _ in range(400)]
    drawn = [(one.mean(), variance_draws(one, "")) for one in found]
    # variances are estimated without bias, their roots are not
    true = np.sqrt(np.mean([detectable_difference(variances, family) ** 2 for _, variances in drawn]))
    power = np.mean([_p_value(mean + true, variances) < LEVEL / family for mean, variances in drawn])
    assert power == pytest.approx(POWER, abs=0.05)
