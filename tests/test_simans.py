"""SimANS against numbers worked out by hand from the paper's formula and the released kernels."""

import numpy as np
import pytest

from methods import sampling
from methods.base import NO_DOCUMENT, Batch
from methods.simans import SimANS, log_weights

POSITIVE = 10.0
SCORES = [12.0, 11.0, 10.0, 9.0, 8.0, 5.0]
GAUSSIAN = [0.054489, 0.244201, 0.402619, 0.244201, 0.054489, 0.000002]
BELOW = [0.004708, 0.057349, 0.257022, 0.423757, 0.257022, 0.000142]
ABOVE = [0.257058, 0.423818, 0.257058, 0.057357, 0.004708, 0.000000]
LAPLACE = [0.002244, 0.045075, 0.905361, 0.045075, 0.002244, 0.000000]
INCLUDED_OF_TWO = [0.129564, 0.515835, 0.709200, 0.515835, 0.129564, 0.000004]
"""Chance of being one of two, drawn one after the other without replacement from GAUSSIAN."""


def weights_of(scores, positive=POSITIVE, **params):
    return log_weights(np.array([scores]), np.array([positive]), SimANS.Params(**params))[0]


def probabilities(scores, **params):
    weights = np.exp(weights_of(scores, **params))
    return weights / weights.sum()


def assert_frequencies(columns, expected, rows):
    """Each column's share of the rows lies within 5 standard errors of its chance."""
    shares = np.bincount(columns.ravel(), minlength=len(expected)) / rows
    expected = np.array(expected)
    assert (np.abs(shares - expected) <= 5 * np.sqrt(expected * (1 - expected) / rows) + 1e-5).all()


def test_paper_kernel_by_hand():
    weights = np.exp(weights_of(SCORES))
    np.testing.assert_allclose(weights, [0.135335, 0.606531, 1, 0.606531, 0.135335, 3.7e-06], atol=5e-7)
    np.testing.assert_allclose(probabilities(SCORES), GAUSSIAN, atol=5e-7)


def test_without_shift_equal_gaps_on_both_sides_weigh_the_same():
    weights = weights_of(SCORES)
    assert weights[0] == weights[4]
    assert weights[1] == weights[3]


@pytest.mark.parametrize(("b", "expected", "peak"), [(-1.0, BELOW, 9.0), (1.0, ABOVE, 11.0)])
def test_shift_has_the_papers_sign(b, expected, peak):
    found = probabilities(SCORES, b=b)
    np.testing.assert_allclose(found, expected, atol=5e-7)
    assert SCORES[found.argmax()] == peak


def test_laplace_kernel_of_the_released_run():
    np.testing.assert_allclose(probabilities(SCORES, kernel="laplace"), LAPLACE, atol=5e-7)


def test_laplace_reads_tau_and_neither_a_nor_b():
    assert weights_of([8.0], kernel="laplace", tau=0.25, a=7.0, b=5.0) == [-0.5]


def test_larger_a_is_a_narrower_band():
    np.testing.assert_allclose(weights_of([12.0, 10.0, 9.0], a=2.0), [-8.0, 0.0, -2.0])


def test_defaults_are_the_papers():
    assert SimANS.Params().model_dump() == {
        "a": 0.5, "b": 0.0, "kernel": "gaussian", "tau": 3.0, "depth": 200,
    }  # fmt: skip


def test_each_row_is_compared_with_its_own_positive():
    found = log_weights(np.array([[3.0, 1.0], [3.0, 1.0]]), np.array([3.0, 1.0]), SimANS.Params())
    np.testing.assert_allclose(found, [[0, -2], [-2, 0]])


def test_single_precision_scores_are_compared_in_double():
    """A gap of 1e4 + 1e-3 squared has more digits than float32."""
    scores, positive = np.array([[1e4]], dtype=np.float32), np.array([-1e-3], dtype=np.float32)
    exact = -0.5 * (1e4 - float(positive[0])) ** 2
    assert log_weights(scores, positive, SimANS.Params())[0, 0] == exact


def test_two_draws_include_each_candidate_as_successive_draws_do():
    rows = 200_000
    weights = np.broadcast_to(weights_of(SCORES), (rows, len(SCORES)))
    columns = sampling.top_n_by_gumbel(weights, 2, np.random.default_rng(3))
    assert_frequencies(columns, INCLUDED_OF_TWO, rows)
    assert_frequencies(columns[:, :1], GAUSSIAN, rows)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace"])
def test_as_many_draws_as_candidates_take_each_once(kernel):
    weights = np.broadcast_to(weights_of(SCORES, kernel=kernel), (500, len(SCORES)))
    columns = sampling.top_n_by_gumbel(weights, len(SCORES), np.random.default_rng(4))
    np.testing.assert_array_equal(np.sort(columns, axis=1), np.tile(np.arange(6), (500, 1)))


def test_far_scores_are_drawn_where_every_weight_underflows():
    """exp(-800) and exp(-1800) are both 0 in double precision; the nearer pair is still the one drawn."""
    far = weights_of([POSITIVE + 60, POSITIVE + 40, POSITIVE - 40, POSITIVE - 60])
    assert (np.exp(far) == 0).all()
    columns = sampling.top_n_by_gumbel(np.broadcast_to(far, (20_000, 4)), 2, np.random.default_rng(5))
    np.testing.assert_array_equal(np.sort(columns, axis=1), np.tile([1, 2], (20_000, 1)))
    assert_frequencies(columns[:, :1], [0, 0.5, 0.5, 0], 20_000)


class OneRowPool:
    """The same candidates for every query; records what it was asked."""

    def __init__(self, ids, cosines, positive):
        self.ids, self.cosines, self.positive = ids, cosines, positive
        self.asked = []

    def candidates(self, queries, depth=None):
        self.asked.append(("candidates", depth))
        ids, cosines = np.array(self.ids), np.array(self.cosines, dtype=np.float32)
        return tuple(np.tile(part[:depth], (len(queries), 1)) for part in (ids, cosines))

    def positive_scores(self, queries, positives):
        self.asked.append(("positives", positives.tolist()))
        return np.full(len(queries), self.positive, dtype=np.float32)


class FixedServices:
    def __init__(self, pool, negatives, temperature):
        self._pool, self.negatives, self.temperature = pool, negatives, temperature

    def pool(self, name):
        assert name == "dense"
        return self._pool

    def rng(self, step, purpose=""):
        return np.random.default_rng([step, *purpose.encode()])


def draw(pool, rows, negatives=1, temperature=0.05, **params):
    method = SimANS(SimANS.Params(**params), FixedServices(pool, negatives, temperature))
    numbers = np.arange(rows)
    return method.negatives(Batch(0, numbers, 1000 + numbers, None, None))


COSINES = [score * 0.05 for score in SCORES]
IDS = [70, 71, 72, 73, 74, 75]


@pytest.mark.parametrize(
    ("params", "expected"), [({}, GAUSSIAN), ({"b": -1.0}, BELOW), ({"kernel": "laplace"}, LAPLACE)]
)
def test_the_scale_is_cosine_over_temperature(params, expected):
    """On raw cosines, gaps of 0.05, the Gaussian draw would be almost uniform."""
    rows = 40_000
    ids = draw(OneRowPool(IDS, COSINES, 0.5), rows, **params).ids
    assert ids.shape == (rows, 1)
    assert_frequencies(ids - 70, expected, rows)


def test_the_temperature_is_the_suites():
    """At temperature 0.5 the same cosines lie 0 to 0.5 from the positive, so the draw is nearly flat."""
    nearly_flat = [0.168046, 0.170586, 0.171441, 0.170586, 0.168046, 0.151296]
    rows = 40_000
    ids = draw(OneRowPool(IDS, COSINES, 0.5), rows, temperature=0.5).ids
    assert_frequencies(ids - 70, nearly_flat, rows)


def test_depth_bounds_the_candidates_and_the_positive_is_the_batchs():
    pool = OneRowPool(IDS, COSINES, 0.5)
    ids = draw(pool, 300, depth=2).ids
    assert set(ids.ravel().tolist()) == {70, 71}
    assert pool.asked == [("candidates", 2), ("positives", list(range(1000, 1300)))]


@pytest.mark.parametrize("kernel", ["gaussian", "laplace"])
def test_empty_places_of_a_short_row_are_never_drawn(kernel):
    pool = OneRowPool([5, 6, NO_DOCUMENT, NO_DOCUMENT], [0.4, 0.3, -np.inf, -np.inf], 0.5)
    ids = draw(pool, 200, negatives=3, kernel=kernel).ids
    np.testing.assert_array_equal(np.sort(ids[:, :2], axis=1), np.tile([5, 6], (200, 1)))
    assert (ids[:, 2] == NO_DOCUMENT).all()
