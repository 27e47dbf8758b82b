"""STAR against numbers that the released loss was run for, and its documents shared by the batch."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.methods import losses
from negmark.methods.base import Batch
from negmark.methods.star import STAR
from negmark.methods.types import NO_DOCUMENT
from negmark.train.step import _example
from world import take_steps

IN_BATCH = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
HARD = torch.tensor([[1.5, 0.5], [1.0, 2.0]])
OTHERS = torch.tensor([[False, True], [True, False]])
ALL = torch.ones(2, 2, dtype=torch.bool)


def loss_of(hard_mask=ALL, alpha=None, in_batch_mask=OTHERS, scale=1.0):
    return losses.star_pairwise(
        scale * IN_BATCH.diagonal(), scale * IN_BATCH, in_batch_mask, scale * HARD, hard_mask, alpha
    )


def test_one_average_over_all_pairs_as_in_the_released_code():
    assert loss_of().item() == pytest.approx(0.246255, abs=1e-6)


def test_a_hard_document_that_is_labelled_for_another_query_is_none_of_its_negatives():
    labelled = torch.tensor([[True, True], [False, True]])
    assert loss_of(labelled).item() == pytest.approx(0.270120, abs=1e-6)


def test_alpha_weighs_the_mean_over_random_pairs():
    assert loss_of(alpha=0.1).item() == pytest.approx(0.297012, abs=1e-6)
    assert loss_of(alpha=0.0).item() == pytest.approx(1.115680 / 4, abs=1e-6)


@pytest.mark.parametrize("alpha", [None, 0.1])
def test_without_any_pair_the_loss_is_zero(alpha):
    assert loss_of(~ALL, alpha, ~ALL).item() == 0


@pytest.mark.parametrize("alpha", [None, 0.1])
def test_scores_that_lie_far_apart_stay_finite(alpha):
    scores = (1000 * IN_BATCH).requires_grad_()
    loss = losses.star_pairwise(scores.diagonal(), -scores, OTHERS, 1000 * HARD, ALL, alpha)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(scores.grad).all()


def test_defaults():
    assert STAR.Params().model_dump() == {"depth": 200, "alpha": None}


def test_controlled_draws_the_granted_number_from_the_top_of_the_static_pool(world):
    run = world.run("star", negatives=3)
    run.method.params = STAR.Params(depth=5)
    for batch, negatives in take_steps(run, 4):
        best, _ = world.pools["dense"].candidates(batch.queries, 5)
        assert negatives.ids.shape == (8, 3)
        assert all(set(row) <= set(top) for row, top in zip(negatives.ids, best, strict=True))


def test_every_candidate_of_the_pool_is_drawn_equally_often(world):
    run = world.run("star", negatives=2)
    run.method.params = STAR.Params(depth=4)
    queries, positives = run.labels.batch(0, 0, 8)
    best, _ = world.pools["dense"].candidates(queries, 4)
    vectors = run.encoder.queries(queries), run.encoder.documents(positives)
    draws = 1000
    counts = sum(
        (run.method.negatives(Batch(step, queries, positives, *vectors)).ids[:, :, None]
         == best[:, None, :]).sum(axis=(0, 1))
        for step in range(draws)
    )  # fmt: skip
    np.testing.assert_allclose(counts / (draws * 8 * 2), 0.25, atol=0.02)


@pytest.mark.parametrize("alpha", [None, 0.3])
def test_faithful_shares_every_hard_document_but_labelled_ones(world, alpha):
    """The loss of a step against a loop over queries, documents and labels."""
    run = world.run("star/faithful", batch_size=30)
    run.method.params = STAR.Params(alpha=alpha)
    example = _example(run, 0)
    queries, positives, ids = example.batch.queries, example.batch.positives, example.negatives.ids
    assert ids.shape == (30, 1)
    ids[3] = NO_DOCUMENT
    random, hard, skipped = [], [], 0
    for i, query in enumerate(queries.tolist()):

        def logit(document, i=i):
            return (example.batch.query_vectors[i] @ run.encoder.documents(np.array([document]))[0]) / 0.05

        for documents, losses_of in ((positives, random), (ids[:, 0], hard)):
            for document in documents.tolist():
                if document == NO_DOCUMENT:
                    continue
                if (query, document) in world.positives:
                    skipped += documents is not positives
                    continue
                losses_of.append(functional.softplus(logit(document) - logit(positives[i])))
    assert skipped > 0
    random, hard = torch.stack(random), torch.stack(hard)
    expected = torch.cat([random, hard]).mean() if alpha is None else alpha * random.mean() + hard.mean()
    torch.testing.assert_close(run.method.faithful_loss(example), expected)


def test_faithful_trains_both_towers_and_lowers_its_loss(world):
    run = world.run("star/faithful", batch_size=30, steps=30)
    take_steps(run, 30)
    assert run.method.trained_towers() == {"query", "document"}
    assert run.history[-1]["loss"] < 0.8 * run.history[0]["loss"]
