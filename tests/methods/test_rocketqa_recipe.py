"""RocketQA's released steps: the first confident ones in rank order, their filling, and what the batch shares."""

import numpy as np
import pytest
import torch

from negmark.core.errors import UserError
from negmark.methods.rocketqa_recipe import RocketQARecipe
from negmark.methods.types import NO_DOCUMENT, Batch
from negmark.suite.checks import load
from negmark.train.step import _example

SCORES = [0.95, 0.50, 0.09, 0.02, 0.11, 0.05, 0.30, 0.01]
"""The sheet's cross-encoder, and three more."""


class Services:
    """One query, number 0, whose positive is document 99; the pool's ranks are documents 0 to 7."""

    ranker_teaches, temperature = True, 0.05

    def __init__(self, negatives=3, track="controlled", scores=SCORES):
        self.negatives, self.track = negatives, track
        self.table = np.zeros(100)
        self.table[: len(scores)], self.table[99] = scores, 0.8
        self.count = len(scores)

    def pool(self, name):
        return self

    def candidates(self, queries, depth=None):
        ids = np.tile(np.arange(self.count)[:depth], (len(queries), 1))
        return ids, np.zeros(ids.shape, np.float32)

    def judgments(self, queries, documents):
        p = self.table[np.maximum(documents, 0)]
        return np.where(documents < 0, -np.inf, np.log(p / (1 - p))).astype(np.float32)

    def positives(self, queries):
        return np.full((len(queries), 1), 99)

    def rng(self, step, purpose=""):
        return np.random.default_rng([step, *purpose.encode()])


def given(services, rows=1, **params):
    method = RocketQARecipe(RocketQARecipe.Params(**params), services)
    vectors = torch.ones(rows, 2)
    return method.negatives(Batch(0, np.zeros(rows, np.int64), np.full(rows, 99), vectors, vectors))


def test_the_first_confident_ones_of_the_window_in_rank_order():
    assert given(Services()).ids.tolist() == [[2, 3, 5]]
    assert given(Services(negatives=2)).ids.tolist() == [[2, 3]]


def test_ranks_behind_the_window_fill_up_unjudged():
    """Of the first 4 ranks 2 and 3 are left; one of 4 to 7 is drawn, .30 among them."""
    found = given(Services(), rows=4000, window=4)
    assert (found.ids[:, :2] == [2, 3]).all()
    drawn, counts = np.unique(found.ids[:, 2], return_counts=True)
    assert drawn.tolist() == [4, 5, 6, 7]
    assert (np.abs(counts / 4000 - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4000)).all()
    assert (found.backfilled == [False, False, True]).all()


def test_the_faithful_track_draws_one_of_four():
    found = given(Services(track="faithful"), rows=4000)
    assert found.ids.shape == (4000, 1)
    drawn, counts = np.unique(found.ids, return_counts=True)
    assert drawn.tolist() == [2, 3, 5, 7]
    assert (np.abs(counts / 4000 - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4000)).all()
    assert not found.backfilled.any()


def test_the_best_candidate_above_the_threshold_is_a_pseudo_positive():
    method = RocketQARecipe(RocketQARecipe.Params(augment=True), Services(track="faithful"))
    assert method.relevant(np.array([0])).tolist() == [[0]]
    queries, positives = np.zeros(4000, np.int64), np.full(4000, 99)
    same, found = method.examples(0, queries, positives)
    assert same is queries
    assert set(found.tolist()) == {0, 99}
    assert abs((found == 0).mean() - 0.5) < 5 * np.sqrt(0.25 / 4000)
    low = RocketQARecipe(RocketQARecipe.Params(augment=True, high=0.96), Services(track="faithful"))
    assert low.relevant(np.array([0])).tolist() == [[NO_DOCUMENT]]
    assert low.idle() == "no candidate is as probable as 0.96"


def test_pseudo_positives_change_labels_so_only_the_faithful_track_has_them():
    suite = {"suite": "s", "datasets": {"scifact": None}, "methods": {"rocketqa_recipe": {"augment": True}}}
    with pytest.raises(UserError, match="can't be in the controlled track: `augment` changes the labels"):
        load({**suite, "reference": "rocketqa_recipe"}, "s.yaml")


def test_hard_negatives_of_the_batch_are_shared_but_never_a_querys_own_positive(world):
    run = world.run("rocketqa_recipe/faithful")
    example = _example(run, 0)
    batch, ids = example.batch, example.negatives.ids
    assert ids.shape == (8, 1)
    rows = []
    for place, query in enumerate(batch.queries.tolist()):
        own = batch.query_vectors[place]
        others = [*batch.positives.tolist(), *ids.ravel().tolist()]
        others = np.array([document for document in others if (query, document) not in world.positives])
        logits = torch.cat([batch.positive_vectors[[place]], run.encoder.documents(others)]) @ own / 0.05
        rows.append(logits.logsumexp(dim=0) - logits[0])
    assert run.method.faithful_loss(example).item() == pytest.approx(
        torch.stack(rows).mean().item(), rel=1e-5
    )
