"""TAS-B: the chances of margins by hand and by the released code's bins, and what its batches hold."""

import numpy as np
import pytest
import torch

from negmark.methods.sampling import top_n_by_gumbel
from negmark.methods.tas_b import balanced_weights
from world import take_steps

EMPTY = np.inf
"""The margin of an empty place, whose score is -inf."""


def chances(*margins):
    return np.exp(balanced_weights(np.array([margins], dtype=np.float64)))[0].tolist()


@pytest.mark.parametrize(
    ("margins", "expected"),
    [
        (range(10), [1 / 10] * 10),  # one in each bin
        ([0, 0, 0, 9], [1 / 6, 1 / 6, 1 / 6, 1 / 2]),  # two bins
        ([0, 0.85, 0.95, 10], [1 / 6, 1 / 6, 1 / 6, 1 / 2]),  # bins are 1 wide
        ([0, 0.95, 1.05, 10], [1 / 6, 1 / 6, 1 / 3, 1 / 3]),
        ([-3, -3, 5, EMPTY, EMPTY], [1 / 4, 1 / 4, 1 / 2, 0, 0]),
        ([2, 2, 2, EMPTY], [1 / 3] * 3 + [0]),  # margins without a width
        ([-1, EMPTY], [1, 0]),
        ([EMPTY, EMPTY], [0, 0]),
    ],
)
def test_the_chance_of_a_margin_by_hand(margins, expected):
    assert chances(*margins) == pytest.approx(expected)


def test_chances_are_those_of_bins_as_the_released_code_makes_them():
    """matchmaker: numpy.digitize over ten edges from the least margin on, a bin uniformly until one isn't empty."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        margins = rng.normal(size=40)
        low, high = margins.min(), margins.max()
        places = np.digitize(margins, low + np.arange(10) * (high - low) / 10)
        held = {place: int((places == place).sum()) for place in places}
        expected = [1 / len(held) / held[place] for place in places]
        assert chances(*margins) == pytest.approx(expected)


def test_a_margin_that_stands_alone_is_drawn_as_often_as_all_that_are_alike():
    weights = np.repeat(balanced_weights(np.array([[0.0, 0.01, 0.02, 9.0]])), 6000, axis=0)
    drawn = top_n_by_gumbel(weights, 1, np.random.default_rng(1))[:, 0]
    shares = np.bincount(drawn, minlength=4) / 6000
    assert shares.tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2], abs=0.03)


def test_margins_are_of_the_teacher_and_the_positive_of_the_step(world):
    run = world.run("tas_b", params={"size": 5, "balanced": True, "depth": 12}, negatives=12)
    (batch, negatives), *_ = take_steps(run, 2)
    pool = run.services.pool("dense").candidates(batch.queries, 12)[0]
    assert [sorted(row) for row in negatives.ids.tolist()] == [sorted(row) for row in pool.tolist()]
    assert run.services.counters.teacher_vectors > 0
    assert not negatives.backfilled
    one = world.run("tas_b", params={"size": 5, "balanced": True}, negatives=1)
    picked = {tuple(negatives.ids[:, 0].tolist()) for _, negatives in take_steps(one, 3)}
    assert len(picked) == 3


def test_without_a_teacher_only_the_batch_counts(world):
    run = world.run("tas_b", params={"size": 5})
    assert all(negatives.ids is None for _, negatives in take_steps(run, 3))
    assert run.services.counters.teacher_vectors == 0


def test_queries_of_a_topic_share_batches(world):
    """30 queries in clusters of about 5; in batches of 4 what is of one topic stands together."""
    run = world.run("tas_b", params={"size": 5}, batch_size=4, steps=7)
    take_steps(run, 7)
    assert run.method.idle() == ""
    same, chance, possible = run.method.together
    assert possible == 7 * 6
    assert same > 2 * chance


def test_one_topic_is_no_topic(world):
    run = world.run("tas_b")
    take_steps(run, 2)
    assert run.method.idle() == "its batches hold no more of a group than chance would give"


def test_topics_are_of_the_start_and_stay(world):
    run, other = world.run("tas_b", params={"size": 5}), world.run("tas_b", params={"size": 5})
    take_steps(run, 5)
    with torch.no_grad():
        other.encoder.query.mul_(-1)
    take_steps(other, 1)
    assert run.method.groups.tolist() == other.method.groups.tolist()
