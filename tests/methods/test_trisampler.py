"""TriSampler's two draws against worked numbers, and what both leave in a world."""

import numpy as np
import pytest

from negmark.methods.trisampler import TriSampler, log_nearness, log_side
from negmark.methods.types import NO_DOCUMENT, Batch
from world import take_steps


def test_the_first_draw_by_hand():
    """The positive at 2: candidates at 2, 1, 4 and -2 have 1, e^{-1/4}, e^{-1} and e^{-4}."""
    logs = log_nearness(np.array([[2.0, 1.0, 4.0, -2.0, -np.inf]]), np.array([2.0]), TriSampler.Params().a)
    assert np.exp(logs)[0].tolist() == pytest.approx([1, 0.778801, 0.367879, 0.018316, 0], abs=1e-6)


def test_the_second_draw_by_hand():
    """.7, .5 and .9 to the positive, .5, .6 and .4 to the query: .2, 0 and .5."""
    logs = log_side(np.array([[0.7, 0.5, 0.9]]), np.array([[0.5, 0.6, 0.4]]))
    assert np.exp(logs)[0].tolist() == pytest.approx([0.2, 0, 0.5])


def stored(world):
    return np.load(world.vectors / "documents.npy"), np.load(world.vectors / "queries.npy")


def test_no_negative_is_nearer_to_the_query_than_to_the_positive(world):
    documents, queries = stored(world)
    run = world.run("trisampler")
    filled = 0
    for batch, negatives in take_steps(run, 10):
        for query, positive, row in zip(
            batch.queries.tolist(), batch.positives.tolist(), negatives.ids.tolist(), strict=True
        ):
            for each in [each for each in row if each != NO_DOCUMENT]:
                assert documents[positive] @ documents[each] > queries[query] @ documents[each]
                filled += 1
    assert filled
    assert 0 < run.history[-1]["inside_share"] < 1


def test_draws_follow_the_product_where_one_candidate_is_kept_after_the_other(world):
    """With `spare` so great that all candidates pass the first draw, the second alone decides, here of one place."""
    documents, queries = stored(world)
    run = world.run("trisampler", params={"spare": 50, "depth": 6}, negatives=1)
    query = np.array([4])
    positive = np.array([next(d for q, d in sorted(world.positives) if q == 4)])
    ids, _ = world.pools["dense"].candidates(query, 6)
    weight = np.maximum(documents[ids[0]] @ documents[positive[0]] - documents[ids[0]] @ queries[4], 0)
    assert (weight > 0).sum() > 1
    rows = 4000
    batch = Batch(0, np.repeat(query, rows), np.repeat(positive, rows), None, None)
    drawn = run.method.negatives(batch).ids[:, 0]
    shares = np.array([(drawn == each).mean() for each in ids[0]])
    np.testing.assert_allclose(shares, weight / weight.sum(), atol=0.03)


def test_the_first_draw_decides_who_comes_to_the_second(world):
    """Sharp enough, it leaves the candidate nearest to the positive's score."""
    run = world.run("trisampler", params={"spare": 1, "a": 1e6}, negatives=1)
    pool = world.pools["dense"]
    met = 0
    for batch, negatives in take_steps(run, 6):
        ids, scores = pool.candidates(batch.queries, 200)
        gaps = np.abs(scores - pool.positive_scores(batch.queries, batch.positives)[:, None])
        nearest = np.take_along_axis(ids, gaps.argmin(axis=1)[:, None], axis=1)
        drawn = negatives.ids
        assert ((drawn == nearest) | (drawn == NO_DOCUMENT)).all()
        met += (drawn == nearest).sum()
    assert met
