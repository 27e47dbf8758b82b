"""KaLM's mixtures and focal weights against worked numbers, and its denominators over the whole batch."""

import numpy as np
import pytest
import torch
from scipy import stats

from negmark.methods import losses, shared
from negmark.methods.kalm import KaLM, mixture_of_list, window
from negmark.methods.types import NO_DOCUMENT
from negmark.train.step import _example
from world import take_steps

FAITHFUL = {"skip": 2, "last": 20}
"""The world's pools are 20 deep."""


@pytest.mark.parametrize(("gamma", "expected"), [(0.0, 4.1 / 3), (0.5, 1.250092), (2.0, 1.036399)])
def test_focal_weights_by_hand(gamma, expected):
    """Losses of .1, 1 and 3: p is .904837, .367879 and .049787."""
    rows = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    assert losses.focal(rows, gamma).item() == pytest.approx(expected, abs=1e-6)


def test_a_focal_weight_is_a_constant_in_the_gradient():
    rows = torch.tensor([0.1, 1.0, 3.0, 0.0], dtype=torch.float64, requires_grad=True)
    losses.focal(rows, 0.5).backward()
    assert rows.grad.tolist() == pytest.approx([0.308484 / 4, 0.795060 / 4, 0.974789 / 4, 0], abs=1e-6)


def test_the_mixture_of_a_list_by_hand():
    """Cosines of .6 and 0 at a temperature of .3: weights 1 / (1 + e^{-2}) = .880797 and .119203."""
    vectors = torch.tensor([[[0.6, 0.8], [0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    used = torch.tensor([[True, True, False]])
    found = mixture_of_list(torch.tensor([[1.0, 0.0]], dtype=torch.float64), vectors, used, 0.3)
    mixed = torch.tensor([0.880797 * 0.6, 0.880797 * 0.8 + 0.119203], dtype=torch.float64)
    torch.testing.assert_close(found[0], mixed / mixed.norm(), atol=1e-6, rtol=0)
    alone = mixture_of_list(torch.tensor([[1.0, 0.0]], dtype=torch.float64), vectors, used & False, 0.3)
    torch.testing.assert_close(alone[0], vectors[0, 0])


def spanned(vector, documents):
    """The coefficients of a vector by documents, and how far it lies from what they span."""
    solved, *_ = np.linalg.lstsq(documents.T, vector, rcond=None)
    return solved, np.abs(documents.T @ solved - vector).max()


def test_half_are_documents_and_half_mixtures_of_them(world):
    run = world.run("kalm", negatives=6)
    ((batch, negatives),) = take_steps(run, 1)
    assert negatives.ids.shape == (8, 3)
    assert negatives.vectors.shape == (8, 3, 16)
    documents, queries = (np.load(world.vectors / f"{side}.npy") for side in ("documents", "queries"))
    for query, ids, row in zip(batch.queries, negatives.ids, negatives.vectors.numpy(), strict=True):
        for vector in row[:2]:  # the adapter is the identity at step 0
            coefficients, gap = spanned(vector, documents[ids])
            assert gap < 1e-5
            assert (coefficients > -1e-5).all()
            assert (np.abs(coefficients) > 1e-4).sum() == 2
        weights = np.exp(documents[ids] @ queries[query] / 0.05)
        mixture = weights @ documents[ids]
        np.testing.assert_allclose(row[2], mixture / np.linalg.norm(mixture), atol=1e-5)
    assert run.method.idle() == ""


def test_shares_of_pairs_are_of_beta(world):
    run = world.run("kalm", params={"beta": 2.0}, negatives=8)
    draws = np.concatenate([run.method._draws(step, 64) for step in range(40)])
    assert draws.shape == (40 * 64, 3, 3)
    assert stats.kstest(draws[..., 2].ravel(), stats.beta(2, 2).cdf).pvalue > 1e-3
    assert stats.kstest(draws[..., 0].ravel(), stats.uniform().cdf).pvalue > 1e-3


def test_the_windows_of_both_tracks():
    assert window(KaLM.Params(), "controlled") == (0, 200)
    assert window(KaLM.Params(), "faithful") == (50, 100)
    assert window(KaLM.Params(skip=3, last=9), "faithful") == (3, 9)
    assert KaLM.drawn_from(KaLM.Params(), "controlled") == 200
    assert KaLM.drawn_from(KaLM.Params(), "faithful") == 50


def test_the_recipe_draws_seven_of_its_window_and_makes_eight(world):
    run = world.run("kalm/faithful", params=FAITHFUL)
    for batch, negatives in take_steps(run, 3):
        assert (negatives.ids.shape[1], negatives.vectors.shape[1]) == (7, 8)
        ids, _ = world.pools["dense"].candidates(batch.queries, 20)
        for row, pool in zip(negatives.ids.tolist(), ids.tolist(), strict=True):
            assert set(row) - {NO_DOCUMENT} <= set(pool[2:])


def test_a_query_with_one_document_has_no_mixture(world):
    run = world.run("kalm", params={"last": 1})
    ((_, negatives),) = take_steps(run, 1)
    assert not negatives.vectors_mask.any()
    assert run.method.idle() == "no mixture was made: it takes two drawn documents of a query"


def test_the_faithful_loss_has_the_documents_of_all_queries_by_hand(world):
    run = world.run("kalm/faithful", params={**FAITHFUL, "gamma": 2.0})
    example = _example(run, 0)
    batch, ids = example.batch, example.negatives.ids
    documents = run.encoder.documents(np.maximum(ids.ravel(), 0)).detach()
    rows = []
    shared_ones = 0
    for place, query in enumerate(batch.queries.tolist()):
        own = batch.query_vectors[place].detach()
        terms = [example.scores.positive[place].detach()]
        terms += [
            own @ batch.positive_vectors[other].detach()
            for other, document in enumerate(batch.positives.tolist())
            if (query, document) not in world.positives
        ]
        for number, document in enumerate(ids.ravel().tolist()):
            if document != NO_DOCUMENT and (query, document) not in world.positives:
                terms.append(own @ documents[number])
                shared_ones += number // 7 != place
        terms += [own @ each for each in example.negatives.vectors[place]]
        logits = torch.stack(terms) / 0.05
        rows.append(logits.logsumexp(dim=0) - logits[0])
    assert shared_ones
    expected = torch.stack([(1 - (-row).exp()) ** 2 * row for row in rows]).mean()
    assert run.method.faithful_loss(example).item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_step_without_given_documents_shares_none(world):
    run = world.run("inbatch")
    example = _example(run, 0)
    assert shared.with_documents_of_all(example, run.services) is example.scores
