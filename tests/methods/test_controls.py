"""The controls: hard negatives without any known positive, and with a known share of them."""

import numpy as np
import pytest

from negmark.methods.oracle import Oracle
from negmark.methods.poisoned import Poisoned
from negmark.methods.types import NO_DOCUMENT, Batch
from world import take_steps


class Services:
    """A pool that knows no label, and labels beside it."""

    def __init__(self, ids, positives, negatives, hidden=()):
        self.ids, self.labels, self.negatives = np.array(ids), np.array(positives), negatives
        self.hidden = np.array(hidden)

    def pool(self, name):
        assert name == "dense"
        return self

    def candidates(self, queries, depth=None):
        ids = self.ids[queries][:, :depth]
        return ids, np.zeros(ids.shape, dtype=np.float32)

    def positives(self, queries):
        return self.labels[queries]

    def is_positive(self, queries, documents):
        known = self.labels[queries]
        return (documents[:, :, None] == known[:, None]).any(axis=2) & (documents != NO_DOCUMENT)

    def is_hidden_positive(self, queries, documents):
        return np.isin(documents, self.hidden)

    def rng(self, step, purpose=""):
        return np.random.default_rng([step, *purpose.encode()])


def ask(method, services, queries, step=0, **params):
    rows = np.array(queries)
    return method(method.Params(**params), services).negatives(Batch(step, rows, rows, None, None)).ids


def test_oracle_leaves_out_positives_that_the_pool_does_not_know():
    services = Services([[5, 6, 7, 8], [6, 5, NO_DOCUMENT, NO_DOCUMENT]], [[5, 7], [5, NO_DOCUMENT]], 3)
    assert ask(Oracle, services, [0, 1]).tolist() == [[6, 8, NO_DOCUMENT], [6, NO_DOCUMENT, NO_DOCUMENT]]


def test_oracle_leaves_out_positives_that_are_hidden_from_training():
    services = Services([[5, 6, 7, 8, 9]], [[5]], 3, hidden=[6, 8])
    assert ask(Oracle, services, [0]).tolist() == [[7, 9, NO_DOCUMENT]]


def test_oracle_is_dense_topk_where_no_label_is_hidden(world):
    one, other = take_steps(world.run("oracle"), 4), take_steps(world.run("dense_topk"), 4)
    for (_, found), (_, expected) in zip(one, other, strict=True):
        np.testing.assert_array_equal(found.ids, expected.ids)


def test_oracle_pads_a_pool_that_is_less_deep_than_asked():
    assert ask(Oracle, Services([[5, 6]], [[9]], 4), [0]).tolist() == [[5, 6, NO_DOCUMENT, NO_DOCUMENT]]


HARD = list(range(100, 108))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6, 1.0])
def test_poison_has_its_share_where_there_are_enough_positives(share):
    rows = 20_000
    ids = ask(Poisoned, Services([HARD], [list(range(8))], 8), [0] * rows, share=share)
    by_place = (ids < 100).mean(axis=0)
    assert (np.abs(by_place - share) <= 5 * np.sqrt(share * (1 - share) / rows)).all()
    assert all(len(set(row)) == 8 for row in ids.tolist())
    assert ((ids < 100) | (ids == np.array(HARD))).all()


def test_a_query_gets_no_more_poison_than_it_has_positives():
    rows = 20_000
    services = Services([HARD], [[1, NO_DOCUMENT]], 8)
    assert ((ask(Poisoned, services, [0] * 50, share=1.0) < 100).sum(axis=1) == 1).all()
    found = (ask(Poisoned, services, [0] * rows) < 100).sum(axis=1)
    assert set(found.tolist()) == {0, 1}
    expected = 1 - 0.75**8
    assert found.mean() == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / rows))
    assert found.mean() / 8 == pytest.approx(0.11, abs=0.005)


def test_all_positives_are_poison_alike():
    ids = ask(Poisoned, Services([HARD], [list(range(12))], 8), [0] * 20_000)
    counts = np.bincount(ids[ids < 100], minlength=12)
    assert counts.shape == (12,)
    assert np.abs(counts / counts.sum() - 1 / 12).max() < 5 * np.sqrt(1 / 12 / counts.sum())


def test_the_ledger_of_a_poisoned_run_holds_the_share(world):
    """Query 0 has 15 positives; only of it the share is exact."""
    run = world.run("poisoned", steps=200)
    take_steps(run, 200)
    table = run.ledger.table()
    queries, documents = table["query"].to_numpy(), table["document"].to_numpy()
    poison = np.array(
        [pair in world.positives for pair in zip(queries.tolist(), documents.tolist(), strict=True)]
    )
    rich = queries == 0
    assert rich.sum() > 150
    assert poison[rich].mean() == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / rich.sum()))
    assert 0.1 < poison[~rich].mean() < 0.25


def test_poison_enters_the_loss(world):
    """The loop masks labelled positives in the batch, not those that a method gives: they are pushed away."""
    clean, poisoned = world.run("dense_topk"), world.run("poisoned")
    take_steps(clean, 3)
    take_steps(poisoned, 3)
    assert poisoned.history[0]["loss"] > clean.history[0]["loss"]
    assert poisoned.history[0]["negative_score_max"] > clean.history[0]["negative_score_max"]
