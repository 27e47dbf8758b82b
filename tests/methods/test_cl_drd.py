"""CL-DRD: its stages, lists and labels, and its loss by hand and as the released one is told."""

import math

import numpy as np
import pytest
import torch

from negmark.methods import losses
from negmark.methods.cl_drd import labels, listed, places
from negmark.methods.types import NO_DOCUMENT
from world import take_steps


def test_stages_are_five_ten_and_twenty_of_thirty_over_a_half_and_two_quarters():
    found = [places(step, 100, 30) for step in (0, 49, 50, 74, 75, 99)]
    assert found == [5, 5, 10, 10, 20, 20]
    assert [places(step, 8, 9) for step in range(8)] == [2, 2, 2, 2, 3, 3, 6, 6]
    assert places(0, 10, 2) == 1


def test_labels_are_those_of_the_released_modes():
    """Mode 8: 5 of 30 ordered, then 12 and 13 in the code; modes 9 and 10 halve what is left, as is done here."""
    taught = torch.arange(30, 0, -1.0)[None]
    ten = [1 / rank for rank in range(1, 11)] + [-0.25] * 10 + [-0.5] * 10
    assert labels(taught, 10)[0].tolist() == pytest.approx(ten)
    twenty = [1 / rank for rank in range(1, 21)] + [-0.25] * 5 + [-0.5] * 5
    assert labels(taught, 20)[0].tolist() == pytest.approx(twenty)
    mixed = labels(torch.tensor([[0.1, 3.0, 2.0, -torch.inf, 1.0]]), 2)[0].tolist()
    assert mixed == pytest.approx([-0.25, 1.0, 0.5, -0.5, -0.25])


def test_the_loss_of_four_documents_by_hand():
    """Labels 1, 1/2, 0, 0 and scores 1.23, 2.01, .4, 1.02: ranks 2, 1, 4, 3, so five pairs."""
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    scores, ranks = [1.23, 2.01, 0.4, 1.02], [2, 1, 4, 3]
    each = [abs(1 / ranks[i] - 1 / ranks[j]) * math.log1p(math.exp(scores[j] - scores[i])) for i, j in pairs]
    given = torch.tensor([scores], dtype=torch.float64, requires_grad=True)
    used = torch.ones(1, 4, dtype=torch.bool)
    loss = losses.lambda_mrr(given, torch.tensor([[1.0, 0.5, 0.0, 0.0]]), used)
    assert loss.item() == pytest.approx(sum(each) / 5)
    loss.backward()
    assert given.grad[0, 2] > 0 > given.grad[0, 0]


def test_the_mean_is_over_the_pairs_of_the_batch_and_empty_places_are_in_none():
    """A second list whose only pair has equal scores of ranks 1 and 2: |1 - 1/2| ln 2. The mean is over 1 + 1 pairs."""
    scores = torch.tensor([[2.0, 1.0, 9.0], [0.0, 0.0, 9.0]])
    used = torch.tensor([[True, True, False]] * 2)
    found = losses.lambda_mrr(scores, torch.tensor([[1.0, 0.5, 2.0]] * 2), used).item()
    assert found == pytest.approx((0.5 * math.log1p(math.exp(-1)) + 0.5 * math.log(2)) / 2)
    assert losses.lambda_mrr(scores, torch.zeros(2, 3), used).item() == 0


def test_a_list_has_the_best_and_a_draw_from_each_half_of_the_rest():
    ranked = np.array([[10, 11, 12, 13, 14, 15, 16, 17, 18, 19], [*range(20, 25), *[NO_DOCUMENT] * 5]])
    rows = np.repeat(ranked, 3000, axis=0)
    found = listed(rows, 2, 5, np.random.default_rng(0))
    first = found[:3000]
    assert (first[:, :2] == [10, 11]).all()
    assert set(first[:, 2:4].ravel().tolist()) == {12, 13, 14, 15}
    assert set(first[:, 4].tolist()) == {16, 17, 18, 19}
    _, counts = np.unique(first[:, 4], return_counts=True)
    assert (np.abs(counts / 3000 - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 3000)).all()
    second = found[3000:]
    assert set(second[:, 2:4].ravel().tolist()) == {22, 23}
    assert set(second[:, 4].tolist()) == {24}


def test_what_the_teacher_finds_best_is_in_the_list_and_more_of_it_in_each_stage(world):
    run = world.run("cl_drd/faithful", steps=8, negatives=5)
    given = take_steps(run, 8)
    for batch, negatives in given:
        count = places(batch.step, 8, 6) - 1
        ids, _ = run.services.pool("dense").candidates(batch.queries)
        np.testing.assert_array_equal(
            negatives.ids[:, :count], ids[:, :count]
        )  # the start teaches, by the same order
    assert {places(batch.step, 8, 6) for batch, _ in given} == {1, 2, 4}
