"""Batches that a method puts together: the pairs of the shared order in other company, with their place as state."""

from types import SimpleNamespace

import numpy as np
import pytest

from negmark.core.errors import UserError
from negmark.methods.base import Method
from negmark.methods.types import Composition, Negatives
from negmark.store.collection import Qrels
from negmark.store.labels import Labels
from negmark.train.batches import Batches, composed_pairs

QUERIES = 10
LABELS = Labels(
    Qrels(np.repeat(np.arange(QUERIES), 2), np.arange(2 * QUERIES), np.ones(2 * QUERIES, np.int64)), 30
)
"""Ten queries, of two positives each."""


class Composer(Method):
    """Puts pairs into the order of their queries, or what a test says, and keeps what it was given."""

    name = title = "composer"

    def __init__(self, every=None, order=lambda pairs: np.argsort(pairs.queries)):
        super().__init__(SimpleNamespace(every=every), SimpleNamespace(documents=30))
        self.order, self.given = order, []

    @classmethod
    def composition(cls, params):
        return Composition(every=params.every, encodings=1)

    def composed(self, pairs):
        self.given.append(pairs)
        return self.order(pairs)

    def negatives(self, batch):
        return Negatives()


def taken(batches, steps, first=0):
    return [tuple(side.tolist() for side in batches.taken(step)) for step in range(first, first + steps)]


def pairs_of(batches):
    return [pair for queries, positives in batches for pair in zip(queries, positives, strict=True)]


def shared(size, steps, seed=0):
    return [tuple(side.tolist() for side in LABELS.batch(seed, step, size)) for step in range(steps)]


def test_the_shared_order_needs_nobody_and_keeps_nothing():
    nobody = SimpleNamespace(params=None, composition=lambda params: None)
    batches = Batches(LABELS, 0, 4, 5, nobody)
    assert taken(batches, 5) == shared(4, 5)
    assert batches.state_dict() == {}


def test_batches_are_cut_from_the_order_that_a_method_gives():
    """Ten queries in batches of 4: the third takes what is left of the first epoch, and begins the second."""
    composer = Composer()
    found = taken(Batches(LABELS, 0, 4, 5, composer), 5)
    assert [queries for queries, _ in found] == [
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1], [2, 3, 4, 5], [6, 7, 8, 9]
    ]  # fmt: skip
    assert [pairs.step for pairs in composer.given] == [0, 2]
    assert [pairs.batches.tolist() for pairs in composer.given] == [
        [0, 0, 0, 0, 1, 1, 1, 1, 2, 2], [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "steps"), [(4, 5), (4, 6), (3, 9), (10, 3), (7, 1), (25, 2), (1, 23)])
@pytest.mark.parametrize("every", [None, 1, 2])
@pytest.mark.parametrize("seed", [0, 3])
def test_a_run_goes_through_the_same_pairs_as_in_the_shared_order(size, steps, every, seed):
    """Each query with the same positive in each epoch; of the last epoch the same part."""
    rng = np.random.default_rng(seed)
    composer = Composer(every, lambda pairs: rng.permutation(len(pairs.queries)))
    found = pairs_of(taken(Batches(LABELS, seed, size, steps, composer), steps))
    wanted = pairs_of(shared(size, steps, seed))
    for start in range(0, len(wanted), QUERIES):
        assert sorted(found[start : start + QUERIES]) == sorted(wanted[start : start + QUERIES])
    assert found != wanted or len(wanted) < 3


def test_what_is_left_of_an_epoch_is_put_together_anew():
    composer = Composer(every=1)
    found = taken(Batches(LABELS, 0, 3, 7, composer), 7)
    assert [len(pairs.queries) for pairs in composer.given] == [10, 7, 4, 10, 8, 5, 1]
    assert [pairs.step for pairs in composer.given] == [0, 1, 2, 3, 4, 5, 6]
    for before, after in ((0, 1), (1, 2), (3, 4), (4, 5)):
        left, all_of_them = (set(composer.given[place].queries.tolist()) for place in (after, before))
        assert left < all_of_them
    assert len(found) == 7


@pytest.mark.parametrize("every", [None, 1, 2, 3, 5, 100])
@pytest.mark.parametrize(("size", "steps"), [(3, 7), (4, 5), (10, 4), (25, 3), (2, 20), (6, 11)])
def test_the_pairs_that_are_put_together_are_counted_as_a_plan_counts_them(size, steps, every):
    composer = Composer(every)
    taken(Batches(LABELS, 0, size, steps, composer), steps)
    counted = composed_pairs(Composition(every), steps, size, QUERIES)
    assert counted == sum(len(pairs.queries) for pairs in composer.given)


def test_pairs_put_together_by_hand():
    """20,000 queries, 400 batches of 64: 25,600, and what is left of the first epoch after 100, 200 and 300 steps."""
    assert composed_pairs(Composition(), 400, 64, 20_000) == 25_600
    left = [20_000 - 6_400, 20_000 - 12_800, 20_000 - 19_200]
    assert composed_pairs(Composition(100), 400, 64, 20_000) == 25_600 + sum(left)


def drawing(pairs):
    return pairs.rng.permutation(len(pairs.queries))


@pytest.mark.parametrize("at", range(1, 9))
@pytest.mark.parametrize("every", [None, 2])
def test_batches_go_on_where_they_were(at, every):
    unbroken = taken(Batches(LABELS, 0, 4, 9, Composer(every, drawing)), 9)
    killed, resumed = (Batches(LABELS, 0, 4, 9, Composer(every, drawing)) for _ in range(2))
    assert taken(killed, at) == unbroken[:at]
    resumed.load_state_dict(killed.state_dict())
    assert taken(resumed, 9 - at, at) == unbroken[at:]


def test_draws_belong_to_seed_and_step():
    one, same, other = (taken(Batches(LABELS, seed, 4, 5, Composer(None, drawing)), 5) for seed in (0, 0, 1))
    assert one == same != other
    assert one[:2] != one[3:]


def test_a_run_that_goes_on_after_its_end_has_whole_epochs():
    composer = Composer()
    taken(Batches(LABELS, 0, 4, 2, composer), 6)
    assert [len(pairs.queries) for pairs in composer.given] == [8, 2, 10, 10]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (lambda pairs: np.arange(9), r"composed\(\) must return int64 of shape \[10\], found int64 \(9,\)"),
        (
            lambda pairs: np.zeros(10),
            r"composed\(\) must return int64 of shape \[10\], found float64 \(10,\)",
        ),
        (lambda pairs: list(range(10)), r"composed\(\) must return int64 of shape \[10\], found list"),
        (lambda pairs: np.zeros(10, np.int64), r"composed\(\) must have each place from 0 to 9 once"),
        (lambda pairs: np.arange(1, 11), r"composed\(\) must have each place from 0 to 9 once"),
    ],
)
def test_an_order_that_loses_or_repeats_a_pair_is_a_breach(order, words):
    with pytest.raises(UserError, match=f"composer: {words}"):
        Batches(LABELS, 0, 4, 5, Composer(order=order)).taken(0)


def test_whoever_composes_must_say_how():
    composer = Composer()
    with pytest.raises(NotImplementedError, match="Composer says that it composes batches, and doesn't"):
        Method.composed(composer, None)
