"""Inference against values worked by hand or from printed tables, and its invariances."""

import math
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from negmark.compare import inference
from negmark.compare.inference import (
    Difference,
    Table,
    compare,
    compare_average,
    compare_family,
    effective_number,
    groups,
    holm,
    mean_squares,
    paired,
    runs_differ,
)
from negmark.core.errors import UserError
from negmark.store.query_scores import ClusteredRuns, Runs, Scores

SEVEN = np.array([-3.0, -2, -1, 0, 1, 2, 3])
"""Sum of squares 28: variance 28 / 6, squared standard error of the mean 28 / 42 = 2 / 3."""
SEVEN_ERROR = math.sqrt(2 / 3)


def runs(scores: Scores) -> Runs:
    """Rows of [S, Q] as runs of seeds 0, 1, ..."""
    return dict(enumerate(np.asarray(scores, dtype=float)))


def against_zero(differences: Scores) -> Difference:
    return compare(runs(differences), runs(np.zeros_like(differences)))


def noisy(seeds: int = 5, queries: int = 40, mean: float = 0.4, key: int = 0) -> Runs:
    rng = np.random.default_rng(key)
    scores = mean + 0.1 * rng.normal(size=(seeds, queries)) + 0.02 * rng.normal(size=(seeds, 1))
    return runs(scores + 0.1 * rng.normal(size=queries))


# --- one comparison ---------------------------------------------------------------------------------------


def test_mean_squares_of_two_by_two() -> None:
    # means of seeds 2 and 4, of queries 1.5 and 4.5, of all 3; squares of seeds 2 (1 + 1) = 4, of queries
    # 2 (1.5^2 + 1.5^2) = 9; the rest is .5, -.5, -.5, .5: squares 1. All have one degree of freedom.
    assert mean_squares(np.array([[1.0, 3], [2, 6]])).ravel() == pytest.approx([4, 9, 1])


def test_mean_squares_of_clusters_by_hand() -> None:
    # means of seeds 2 and 3, of queries 1, 3, 3.5, of all 2.5; deviations of queries -1.5, .5, 1, in clusters -1.5 and
    # 1.5: squares 4.5; the rest is -.5, .5, 0 and .5, -.5, 0, in clusters -.5, .5, .5, -.5: squares 1. The effective
    # number is 9 / 5, so the factor (9 / 5) / (4 / 5) / 3 = 3 / 4; twice it for two seeds
    differences, clusters = np.array([[0.0, 3, 3], [2, 3, 4]]), np.array([0, 1, 1])
    assert effective_number(clusters) == pytest.approx(9 / 5)
    assert mean_squares(differences, clusters).ravel() == pytest.approx([1.5, 6.75, 0.75])


def test_clusters_of_one_query_change_nothing() -> None:
    differences = np.array(list(noisy().values()))
    alone = mean_squares(differences, np.random.default_rng(0).permutation(40))
    assert alone == pytest.approx(mean_squares(differences))


def test_copies_of_queries_in_one_cluster_tell_nothing_new() -> None:
    """The inference is that of the queries without their copies, but for what `rest` weighs."""
    by_query = np.tile(SEVEN + 2.447 * SEVEN_ERROR, (3, 1))
    thrice, clusters = np.repeat(by_query, 3, axis=1), np.repeat(np.arange(7), 3)
    zeros = runs(np.zeros_like(thrice))
    result = compare(ClusteredRuns(runs(thrice), clusters), zeros)
    assert result.p == pytest.approx(0.05, rel=0.01), "t(.975, 6) = 2.447, as without copies"
    assert result == compare(runs(thrice), ClusteredRuns(zeros, clusters)), "either side knows the clusters"
    assert compare(runs(thrice), zeros).p < 0.001
    assert result[:3] == pytest.approx(against_zero(by_query)[:3], rel=1e-6)


def test_letters_and_families_know_the_clusters() -> None:
    by_query, clusters = np.tile(SEVEN + 2 * SEVEN_ERROR, (3, 1)), np.repeat(np.arange(7), 9)
    high, zeros = np.repeat(by_query, 9, axis=1), np.zeros((3, 63))
    plain = {"high": runs(high), "low": runs(zeros)}
    clustered = {name: ClusteredRuns(of, clusters) for name, of in plain.items()}
    assert groups({"": plain}) == {"high": ("a",), "low": ("b",)}
    assert groups({"": clustered}) == {"high": ("a",), "low": ("a",)}
    assert (
        compare_family({"": clustered}, {"high": "low"})["high"].p
        > 0.05
        > compare_family({"": plain}, {"high": "low"})["high"].p
    )


def test_one_cluster_has_no_interval() -> None:
    assert math.isnan(compare(ClusteredRuns(noisy(), np.zeros(40, np.int64)), noisy(key=1)).p)


def test_variances_of_seeds_and_queries_are_at_least_what_the_rest_makes_of_them() -> None:
    # neither seeds nor queries differ; the rest is 1, -1, -1, 1: mean square 4, of one degree of freedom, so the
    # mean's variance 4 / 4 and its distribution Student's t of one degree: t(.975, 1) = 12.706
    result = against_zero(12.706 + np.array([[1.0, -1], [-1, 1]]))
    assert result.p == pytest.approx(0.05, rel=0.02)


# two-sided points of Student's t from printed tables
@pytest.mark.parametrize(("freedom", "point", "p"), [(4, 2.776, 0.05), (4, 4.604, 0.01), (1, 12.706, 0.05)])
def test_where_only_seeds_vary_it_is_students_t_over_seeds(freedom: int, point: float, p: float) -> None:
    by_seed = np.linspace(-1, 1, freedom + 1)
    error = math.sqrt((by_seed**2).sum() / freedom / (freedom + 1))
    result = against_zero(np.tile((by_seed + point * error)[:, None], (1, 30)))
    assert result.p == pytest.approx(p, rel=0.01)
    half = {4: 2.776, 1: 12.706}[freedom] * error
    assert (result.low, result.high) == pytest.approx(
        (point * error - half, point * error + half), abs=0.004 * half
    )


def test_where_only_queries_vary_it_is_students_t_over_queries() -> None:
    result = against_zero(np.tile(SEVEN + 2.447 * SEVEN_ERROR, (3, 1)))
    assert result.p == pytest.approx(0.05, rel=0.01), "t(.975, 6) = 2.447"
    assert result.low == pytest.approx(0, abs=0.01)


def test_where_both_vary_alone_it_is_behrens_and_fishers() -> None:
    # D = run + query leaves no rest: the error is a sum of two Student's t of 6 degrees of freedom. Its 5 % point
    # for equal variances is 2.435 (Fisher & Yates, Statistical Tables, table VI: n1 = n2 = 6, 45 degrees).
    total = math.sqrt(2) * SEVEN_ERROR
    result = against_zero(SEVEN[:, None] + SEVEN + 2.435 * total)
    assert result.p == pytest.approx(0.05, rel=0.01)
    assert result.high - result.difference == pytest.approx(2.435 * total, rel=0.004)


def test_the_effect_is_in_deviations_of_queries() -> None:
    # means of queries 0, 2, 4: mean 2, standard deviation 2
    assert against_zero(np.array([[-1.0, 1, 3], [1, 3, 5]])).effect == pytest.approx(1)
    result = against_zero(np.full((3, 4), 0.5))
    assert result.difference == 0.5
    assert math.isnan(result.effect), "no spread to measure it by"


def test_it_counts_common_seeds_and_queries() -> None:
    result = compare(noisy(5, 40, key=1), noisy(3, 40, key=2))
    assert (result.seeds, result.queries) == (3, 40)
    assert result.adjusted == result.p, "a family of one"


@given(
    arrays(float, (4, 6), elements=st.floats(0, 1, width=16)),
    arrays(float, (4, 6), elements=st.floats(0, 1, width=16)),
)
@settings(max_examples=50, deadline=None)
def test_invariances(first: Scores, second: Scores) -> None:
    result = compare(runs(first), runs(second))
    swapped = compare(runs(second), runs(first))
    assert (-swapped.difference, -swapped.high, -swapped.low, swapped.p) == pytest.approx(result[:4])
    moved = compare(runs(first + 0.25), runs(second + 0.25))
    assert moved[:4] == pytest.approx(result[:4], abs=1e-9), "a constant added to both"
    shuffled = compare(runs(first[::-1, ::-1]), runs(second[::-1, ::-1]))
    assert shuffled[:4] == pytest.approx(result[:4], abs=1e-9), "the order of seeds and queries"
    assert (result.p < 0.05) == (not result.low <= 0 <= result.high), "interval and p-value agree"


def test_a_larger_difference_is_more_certain() -> None:
    scores = noisy(mean=0.0)
    p_values = [compare({seed: row + more for seed, row in scores.items()}, noisy(key=1, mean=0.0)).p
             for more in (0.05, 0.1, 0.2, 0.4)]  # fmt: skip
    assert p_values == sorted(p_values, reverse=True)


def test_equal_scores_are_no_difference() -> None:
    result = compare(noisy(), noisy())
    assert (result.difference, result.low, result.high, result.p) == (0, 0, 0, 1)


def test_rounding_is_no_difference() -> None:
    scores = noisy()
    result = compare({seed: (row + 0.3) - 0.3 for seed, row in scores.items()}, scores)
    assert (result.difference, result.p) == (0, 1)


def test_a_constant_difference_has_the_smallest_p_value() -> None:
    result = against_zero(np.full((5, 10), 0.1))
    assert (result.low, result.high) == pytest.approx((0.1, 0.1))
    assert result.p == pytest.approx(1 / (inference.DRAWS + 1))


@pytest.mark.parametrize("shape", [(1, 50), (5, 1), (1, 1)])
def test_one_seed_or_one_query_gives_only_the_difference(shape: tuple[int, int]) -> None:
    result = compare(noisy(*shape, key=1), noisy(*shape, key=2))
    assert math.isfinite(result.difference)
    assert np.isnan([result.low, result.high, result.p, result.adjusted, result.detectable]).all()


# two-sided points of Student's t of 4 degrees from printed tables: .05 for one comparison, .01 for Holm's first step
# of five; the one-sided .20 point is .941
@pytest.mark.parametrize(("family", "point"), [(1, 2.776), (5, 4.604)])
def test_what_is_detectable_is_two_points_of_t_where_only_seeds_vary(family: int, point: float) -> None:
    by_seed = np.linspace(
        -1, 1, 5
    )  # sum of squares 2.5: variance 2.5 / 4, squared error of the mean 2.5 / 20
    differences = np.tile(0.3 + by_seed[:, None], (1, 30))
    zeros = np.zeros_like(differences)
    result = compare(runs(differences), runs(zeros), family)
    assert result.detectable == pytest.approx((point + 0.941) * math.sqrt(2.5 / 20), rel=0.01)
    moved = compare(runs(differences + 5), runs(zeros), family)
    assert moved.detectable == pytest.approx(result.detectable), (
        "a matter of variances, not of the difference"
    )


def test_runs_that_do_not_vary_detect_everything_and_a_vast_family_nothing() -> None:
    assert compare(noisy(), noisy()).detectable == 0
    vast = compare(noisy(), noisy(key=1), family=10 * inference.DRAWS)
    assert vast.detectable == math.inf, "no draw supports a p-value so small"


# --- which runs are paired --------------------------------------------------------------------------------


def test_seeds_are_paired_by_their_number() -> None:
    method = {3: np.array([3.0, 4]), 1: np.array([1.0, 2]), 7: np.array([9.0, 9])}
    reference = {1: np.array([1.0, 1]), 3: np.array([1.0, 1]), 5: np.array([9.0, 9])}
    assert paired(method, reference).tolist() == [[0, 1], [2, 3]], "seeds 1 and 3; 5 and 7 have no partner"


def test_common_effects_of_seeds_cancel() -> None:
    shared = 0.1 * np.random.default_rng(3).normal(size=(5, 1))
    first, second = noisy(key=1), noisy(key=2)
    both = [{seed: row + shared[seed] for seed, row in one.items()} for one in (first, second)]
    assert compare(*both) == pytest.approx(compare(first, second))


def test_a_baseline_without_seeds_meets_every_seed() -> None:
    baseline = {None: np.linspace(0, 1, 40)}
    result = compare(noisy(5), baseline)
    assert result == compare(noisy(5), dict.fromkeys(range(5), baseline[None]))
    assert paired(baseline, baseline).shape == (1, 40)


def test_runs_that_cannot_be_paired_are_a_mistake() -> None:
    with pytest.raises(UserError, match="no seed in common"):
        compare({0: np.zeros(3)}, {1: np.zeros(3)})
    with pytest.raises(UserError, match="different numbers of queries"):
        compare({0: np.zeros(3), 1: np.zeros(3)}, {0: np.zeros(3), 1: np.zeros(4)})


# --- several datasets -------------------------------------------------------------------------------------


def test_an_average_over_one_dataset_is_the_dataset() -> None:
    pair = (noisy(key=1), noisy(key=2))
    assert compare_average({"": pair}) == compare(*pair)


def test_datasets_weigh_equally_and_their_errors_add_up() -> None:
    # each a Student's t of 6 degrees of freedom; of two alike the sum's 5 % point is 2.435 (as above), and the
    # error of their mean is half the root of the sum of squares
    error = math.sqrt(2) * SEVEN_ERROR / 2
    mean = 2.435 * error
    by_queries = {"a": 10, "b": 1000}
    pairs = {
        name: (runs(np.tile(SEVEN[:, None] + shift, (1, by_queries[name]))), {None: np.zeros(by_queries[name])})
        for name, shift in {"a": mean - 5, "b": mean + 5}.items()
    }  # fmt: skip
    result = compare_average(pairs)
    assert result.difference == pytest.approx(mean)
    assert result.p == pytest.approx(0.05, rel=0.02)
    assert result.low == pytest.approx(0, abs=0.01)
    assert (result.seeds, result.queries) == (7, 1010)
    assert compare_average(dict(reversed(pairs.items()))) == pytest.approx(result, nan_ok=True)


def test_errors_of_datasets_are_drawn_apart() -> None:
    # two seeds that are 1 above and below the mean: its error is 1, a Student's t of one degree, which is Cauchy's. The
    # mean of two independent ones is distributed as each is: t(.975, 1) = 12.706. One draw for both would give
    # 12.706 / sqrt(2)
    pair = runs(np.tile(12.706 + np.array([[1.0], [-1]]), (1, 10))), {None: np.zeros(10)}
    assert compare_average({"a": pair, "b": pair}).p == pytest.approx(0.05, rel=0.03)


def test_a_dataset_with_one_seed_leaves_the_average_without_interval() -> None:
    result = compare_average({"a": (noisy(), noisy(key=1)), "b": (noisy(1), noisy(1, key=1))})
    assert math.isfinite(result.difference)
    assert math.isnan(result.p)
    assert result.seeds == 1


# --- families and groups ----------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    # .005 x 4 = .02, .01 x 3 = .03, .03 x 2 = .06, .04 x 1 = .04 raised to .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


def test_holm_leaves_out_what_was_not_tested() -> None:
    assert holm([0.01, math.nan, 0.04]) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)


def test_a_family_is_every_method_but_the_reference() -> None:
    scores = {name: noisy(key=key) for key, name in enumerate("abcd")}
    references = dict.fromkeys("acd", "b")
    comparisons = compare_family({"": scores}, references)
    assert list(comparisons) == ["a", "c", "d"]
    assert [one.adjusted for one in comparisons.values()] == holm([one.p for one in comparisons.values()])
    alone = compare(scores["a"], scores["b"], family=3)
    assert comparisons["a"] == alone._replace(adjusted=comparisons["a"].adjusted)
    assert compare_family({"": dict(reversed(scores.items()))}, references) == comparisons, (
        "the order of methods"
    )


def test_groups_are_ordered_and_separate_what_differs() -> None:
    scores = {"low": noisy(mean=0.1), "high": noisy(key=1, mean=0.9), "same": noisy(key=2, mean=0.9)}
    assigned = groups({"": scores})
    assert assigned == {"high": ("a",), "same": ("a",), "low": ("b",)}
    assert list(assigned)[2] == "low"
    assert assigned == groups({"": dict(reversed(scores.items()))}), "the order of methods"


def test_groups_over_datasets_go_by_their_average() -> None:
    low, high = noisy(mean=0.1), noisy(key=1, mean=0.9)
    assigned = groups({"x": {"a": low, "b": high}, "y": {"a": low, "b": high}})
    assert assigned == {"b": ("a",), "a": ("b",)}
    crossed = groups({"x": {"a": low, "b": high}, "y": {"a": high, "b": low}})
    assert crossed == {"a": ("a",), "b": ("a",)}, "what one dataset takes, the other gives back"


def test_methods_with_one_seed_share_a_letter() -> None:
    assigned = groups({"": {"a": noisy(1, mean=0), "b": noisy(1, mean=9)}})
    assert assigned == {"b": ("a",), "a": ("a",)}


# --- two runs ---------------------------------------------------------------------------------------------


def test_runs_differ_by_hand() -> None:
    # of the 64 ways to sign 1..6, only all plus and all minus are as extreme: p = 2 / 64
    assert runs_differ(np.arange(1.0, 7), np.zeros(6)) == pytest.approx(2 / 64, abs=0.005)


def test_runs_differ_as_in_scipys_exact_test() -> None:
    first, second = np.random.default_rng(5).random((2, 10))
    exact = stats.permutation_test(
        (first - second,), np.mean, permutation_type="samples", n_resamples=math.inf, vectorized=True
    ).pvalue
    assert runs_differ(first, second) == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("scores", [np.full(50, 0.4), np.array([0.3])])
def test_equal_runs_do_not_differ(scores: Scores) -> None:
    assert runs_differ(scores, scores) == 1


def test_one_query_shows_nothing_of_runs() -> None:
    assert runs_differ(np.array([0.9]), np.array([0.1])) == 1


# --- time -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "made", [lambda table: compare_family(table, dict.fromkeys([*table[""]][1:], "0")), groups]
)
def test_thirty_methods_of_ms_marcos_size_take_seconds(made: Callable[[Table], object]) -> None:
    table = {"": {str(key): noisy(5, 6980, key=key) for key in range(30)}}
    started = time.perf_counter()
    made(table)
    took = time.perf_counter() - started
    tracemalloc.start()
    made(table)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    print(f"{took:.1f} s, {peak:.0f} MiB")
    assert took <= 20
    assert peak <= 2048
