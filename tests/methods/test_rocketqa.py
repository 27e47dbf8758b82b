"""RocketQA's denoising: the threshold, the probability of an encoder, and what fills the gaps."""

import math

import numpy as np
import pytest

from negmark.methods.rocketqa import RocketQA, confident, probabilities
from negmark.methods.sampling import filled, within
from negmark.methods.scale import rescaled
from negmark.methods.types import NO_DOCUMENT, Batch

CROSS_ENCODER = [0.95, 0.50, 0.09, 0.02, 0.11]


def test_only_scores_below_the_threshold_stay():
    """Of the sheet's example 2 and 3 stay; 0 would be a pseudo-positive, a stage that is not done here."""
    assert np.flatnonzero(confident(np.array([CROSS_ENCODER]), 0.1)[0]).tolist() == [2, 3]


def test_the_threshold_itself_does_not_stay():
    assert not confident(np.array([[0.1]]), 0.1).any()


def test_default_is_the_papers():
    assert RocketQA.Params().low == 0.1


def test_a_candidate_as_good_as_the_positive_has_one_half():
    assert probabilities(np.array([[0.7]]), np.array([0.7]), 0.05).item() == 0.5


def test_it_is_the_two_way_softmax_of_candidate_and_positive():
    scores, positive, temperature = [0.55, 0.62, 0.75], 0.6, 0.05
    own = math.exp(positive / temperature)
    expected = [math.exp(s / temperature) / (math.exp(s / temperature) + own) for s in scores]
    np.testing.assert_allclose(
        probabilities(np.array([scores]), np.array([positive]), temperature)[0], expected
    )


def test_a_tenth_is_a_margin_of_log_nine_temperatures():
    margin = 0.05 * math.log(9)
    found = probabilities(np.array([[0.5 - margin - 1e-6, 0.5 - margin + 1e-6]]), np.array([0.5]), 0.05)
    assert confident(found, 0.1).tolist() == [[True, False]]


def test_probabilities_of_extreme_scores_are_numbers():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = probabilities(np.array([[1.0, -1.0, 1.0]]), np.array([-1.0]), 0.001)
        other = probabilities(np.array([[-1.0]]), np.array([1.0]), 0.01)
    assert found.tolist() == [[1.0, 0.5, 1.0]]
    assert other.item() == pytest.approx(math.exp(-200))


def test_places_are_filled_in_order_as_far_as_the_spare_goes():
    chosen = np.array([[4, NO_DOCUMENT, NO_DOCUMENT], [1, 2, 3], [NO_DOCUMENT] * 3])
    spare = np.array([[NO_DOCUMENT, 8, 9], [7, 8, 9], [NO_DOCUMENT, 5, NO_DOCUMENT]])
    assert filled(chosen, spare).tolist() == [[4, 8, 9], [1, 2, 3], [5, NO_DOCUMENT, NO_DOCUMENT]]


def test_within_compares_row_by_row():
    assert within(np.array([[1, 2], [1, 2]]), np.array([[2, 5, 6], [7, 1, 8]])).tolist() == [
        [False, True], [True, False],
    ]  # fmt: skip


def given_by(run, step=0, **params):
    method = RocketQA(RocketQA.Params(**params), run.services)
    queries, positives = run.labels.batch(0, step, 8)
    return queries, positives, method.negatives(Batch(step, queries, positives, None, None)).ids


def stays(world, queries, positives, low, temperature=0.05):
    pool, chance = world.pools["dense"], world.run("rocketqa").services.chance(of_teacher=True)
    ids, scores = pool.candidates(queries)
    scores, own = rescaled(scores, chance), rescaled(pool.positive_scores(queries, positives), chance)
    kept = confident(probabilities(scores, own, temperature), low)
    return [set(row[keep].tolist()) for row, keep in zip(ids, kept, strict=True)], [*map(set, ids.tolist())]


@pytest.mark.parametrize("low", [0.1, 1e-4, 1e-7])
def test_confident_candidates_come_first_and_rejected_ones_never(world, low):
    """The random documents must not bring a rejected candidate back."""
    filled_up = 0
    for step in range(20):
        queries, positives, ids = given_by(world.run("rocketqa"), step, low=low)
        kept, candidates = stays(world, queries, positives, low)
        for row, good, all_of_them, query in zip(
            ids.tolist(), kept, candidates, queries.tolist(), strict=True
        ):
            real = [each for each in row if each != NO_DOCUMENT]
            mined = min(4, len(good))
            assert set(real[:mined]) <= good
            assert not set(real[mined:]) & all_of_them
            assert not {(query, each) for each in real} & world.positives
            assert len(set(real)) == len(real) == 4
            filled_up += len(real) - mined
    assert filled_up > 0 or low == 0.1


def test_without_backfill_places_stay_empty(world):
    for step in range(10):
        queries, positives, ids = given_by(world.run("rocketqa"), step, low=1e-5, backfill=False)
        kept, _ = stays(world, queries, positives, 1e-5)
        assert [int((row != NO_DOCUMENT).sum()) for row in ids] == [min(4, len(good)) for good in kept]


def test_kept_candidates_are_drawn_alike(world):
    run, counts = world.run("rocketqa"), {}
    queries, positives = run.labels.batch(0, 0, 8)
    rows = 4000
    batch = Batch(0, np.repeat(queries[:1], rows), np.repeat(positives[:1], rows), None, None)
    good = stays(world, queries[:1], positives[:1], 0.1)[0][0]
    assert len(good) > 4
    ids = run.method.negatives(batch).ids
    counts = np.unique(ids, return_counts=True)
    assert set(counts[0].tolist()) == good
    chance = 4 / len(good)
    assert (np.abs(counts[1] / rows - chance) < 5 * np.sqrt(chance * (1 - chance) / rows)).all()
