"""Groups and orders of pairs: counts by hand, whole batches of one group, and clusters of points that lie apart."""

import numpy as np
import pytest

from negmark.methods.company import clustered, clusters_of, concatenated, met, one_group_each, unacted


def rng(seed=0):
    return np.random.default_rng(seed)


def batches_of(pairs, size, begun=0):
    return (begun + np.arange(pairs)) // size


def as_batches(order, groups, batches):
    """The groups of each batch, sorted."""
    return [sorted(groups[order[batches == batch]].tolist()) for batch in np.unique(batches)]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([0, 0, 1, 1], [2, 2 * 2 / 6, 2]),
        ([0, 1, 0, 1], [0, 2 * 2 / 6, 2]),
        ([0, 0, 0, 1], [1, 2 * 3 / 6, 2]),
        ([0, 0, 0, 0], [2, 2, 2]),
        ([0, 1, 2, 3], [0, 0, 2]),
    ],
)
def test_meetings_by_hand(groups, expected):
    """Two batches of two places: 2 of 6 pairs of places share a batch."""
    assert met(np.array(groups), np.array([0, 0, 1, 1])).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("together", "words"), [([3, 2, 9], ""), ([2, 2, 9], "its batches hold no more")])
def test_more_meetings_than_by_chance_is_acting(together, words):
    assert unacted(np.array(together)).startswith(words)
    assert bool(unacted(np.array(together))) is bool(words)


def test_groups_stand_one_after_the_other_in_any_order():
    groups = np.array([2, 0, 2, 1, 0, 2])
    seen = set()
    for seed in range(200):
        order = concatenated(groups, rng(seed))
        assert sorted(order.tolist()) == list(range(6))
        assert np.count_nonzero(np.diff(groups[order])) == 2
        seen.add(tuple(order.tolist()))
    assert len(seen) > 60, "3! orders of groups times 3! 2! 1! within them are 72"


def test_a_topic_of_forty_fills_a_batch_of_thirty_two():
    """The rest of it, 8, shares the other batch with those of another topic."""
    groups = np.array([0] * 40 + [1] * 24)
    found = as_batches(one_group_each(groups, batches_of(64, 32), rng()), groups, batches_of(64, 32))
    assert sorted(found) == [[0] * 32, [0] * 8 + [1] * 24]


def test_topics_of_ten_share_a_batch_of_thirty_two():
    groups = np.arange(64) // 10
    order = one_group_each(groups, batches_of(64, 32), rng())
    assert np.count_nonzero(np.diff(groups[order])) == 6, "each topic stands in one piece"


def test_whole_batches_are_of_one_group_also_where_an_epoch_begins_within_a_batch():
    """Ten, five and three pairs, batches of 4 of which the first has 2 places left: 2 + 4 * 4."""
    groups, batches = np.repeat([0, 1, 2], [10, 5, 3]), batches_of(18, 4, begun=2)
    orders = {tuple(map(tuple, as_batches(one_group_each(groups, batches, rng(seed)), groups, batches)))
              for seed in range(50)}  # fmt: skip
    for found in orders:
        whole = [batch for batch in found if len(batch) == 4]
        assert len(found[0]) == 2
        assert sorted(whole)[:2] == [(0, 0, 0, 0)] * 2
        assert (1, 1, 1, 1) in whole
        left = sorted(group for batch in found if batch not in ((0,) * 4, (1,) * 4) for group in batch)
        assert left == [0, 0, 1, 2, 2, 2]
    assert len(orders) > 10, "where the whole batches stand is drawn"


def test_more_whole_groups_than_whole_batches():
    groups, batches = np.repeat([0, 1], 4), batches_of(8, 4, begun=2)
    for seed in range(20):
        order = one_group_each(groups, batches, rng(seed))
        assert sorted(order.tolist()) == list(range(8))
        first, whole, last = as_batches(order, groups, batches)
        assert whole in ([0] * 4, [1] * 4)
        assert first == last == [1 - whole[0]] * 2


def test_an_epoch_of_one_short_batch():
    assert sorted(one_group_each(np.array([1, 0, 1]), batches_of(3, 8), rng()).tolist()) == [0, 1, 2]


def test_the_number_of_clusters():
    assert [clusters_of(pairs, 200) for pairs in (400_000, 20_000, 299, 301, 5)] == [2000, 100, 1, 2, 1]


def apart():
    middles = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    points = np.repeat(middles, 40, axis=0) + 0.1 * rng(3).standard_normal((120, 3))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def test_clusters_of_points_that_lie_apart_are_found_alike_each_time():
    labels = clustered(apart(), 3, 25, rng(5))
    assert [len(set(labels[start : start + 40].tolist())) for start in (0, 40, 80)] == [1, 1, 1]
    assert len(set(labels.tolist())) == 3
    assert labels.tolist() == clustered(apart(), 3, 25, rng(5)).tolist()


def test_only_the_direction_of_a_point_counts():
    """By distance 3 * (0, 1) and (0, 1) would be of different clusters."""
    points = np.array([[1, 0], [0.99, 0.1], [0, 1], [0.1, 0.99]], np.float32)
    long = points * np.array([[1], [5], [3], [0.5]], np.float32)
    labels = clustered(long, 2, 25, rng())
    assert labels[0] == labels[1] != labels[2] == labels[3]


def test_equal_points_and_few_points():
    assert set(clustered(np.ones((9, 2), np.float32), 4, 5, rng()).tolist()) <= set(range(4))
    assert len(set(clustered(apart()[[0, 50, 100]], 15, 5, rng()).tolist())) == 3
