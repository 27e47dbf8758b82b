"""InfoNCE against worked examples and against torch's own cross-entropy."""

import math

import pytest
import torch
from torch.nn import functional

from negmark.methods.losses import info_nce, masked
from negmark.methods.types import Scores


def scores_of(matrix, positives=None, negatives=None, used=None, weights=None, allowed=None):
    """Scores of a batch whose query i has document i of `matrix` as positive (or column `positives[i]`)."""
    matrix = torch.as_tensor(matrix, dtype=torch.float32)
    size = len(matrix)
    positives = torch.arange(size) if positives is None else torch.tensor(positives)
    given = torch.empty(size, 0) if negatives is None else torch.as_tensor(negatives, dtype=torch.float32)
    mask = ~torch.eye(size, dtype=torch.bool) if allowed is None else torch.tensor(allowed)
    return Scores(
        positive=matrix[torch.arange(size), positives],
        in_batch=matrix[:, :size],
        in_batch_mask=mask,
        negatives=given,
        negatives_mask=torch.ones_like(given, dtype=torch.bool) if used is None else torch.tensor(used),
        weights=None if weights is None else torch.as_tensor(weights, dtype=torch.float32),
    )


DPR = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
DPR_LOSSES = [0.407606, 0.169846]
"""ln(1 + e^-1 + e^-2) and ln(1 + e^-3 + e^-2)."""


def test_dpr_example_by_hand():
    loss = info_nce(scores_of(DPR[:, :2], negatives=DPR[:, 2:]), 1.0)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(sum(DPR_LOSSES) / 2, abs=1e-6)


@pytest.mark.parametrize("row", [0, 1])
def test_dpr_example_row_by_row(row):
    others = [column for column in range(3) if column != row]
    one = scores_of(DPR[row : row + 1, row : row + 1], negatives=DPR[row : row + 1, others])
    assert info_nce(one, 1.0).item() == pytest.approx(DPR_LOSSES[row], abs=1e-6)


@pytest.mark.parametrize("size", [2, 7, 64])
def test_identical_pairs_cost_the_log_of_the_batch(size):
    loss = info_nce(scores_of(torch.full((size, size), 0.9)), 0.05)
    assert loss.item() == pytest.approx(math.log(size), abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.05, 0.01])
def test_equals_cross_entropy_of_torch(temperature):
    generator = torch.Generator().manual_seed(7)
    in_batch = 2 * torch.rand(16, 16, generator=generator) - 1
    negatives = 2 * torch.rand(16, 5, generator=generator) - 1
    logits = torch.cat([in_batch, negatives], dim=1).double() / temperature
    expected = functional.cross_entropy(logits, torch.arange(16)).item()
    loss = info_nce(scores_of(in_batch, negatives=negatives), temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_gradients_are_those_of_cross_entropy():
    generator = torch.Generator().manual_seed(8)
    in_batch = torch.rand(6, 6, generator=generator).requires_grad_()
    negatives = torch.rand(6, 3, generator=generator).requires_grad_()
    logits = torch.cat([in_batch, negatives], dim=1) / 0.1
    expected = torch.autograd.grad(functional.cross_entropy(logits, torch.arange(6)), (in_batch, negatives))
    found = torch.autograd.grad(
        info_nce(scores_of(in_batch, negatives=negatives), 0.1), (in_batch, negatives)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_masking_a_duplicate_gives_the_loss_of_the_reduced_matrix():
    """Document 2 is document 0 again: without it query 0 has one negative in the batch fewer."""
    matrix = [[0.8, 0.3, 0.8], [0.2, 0.7, 0.2], [0.8, 0.1, 0.8]]
    allowed = [[False, True, False], [True, False, True], [False, True, False]]
    rows = [[0.8, 0.3], [0.7, 0.2, 0.2], [0.8, 0.1]]
    expected = sum(math.log(sum(math.exp(value / 0.5) for value in row)) - row[0] / 0.5 for row in rows) / 3
    masked_loss = info_nce(scores_of(matrix, allowed=allowed), 0.5).item()
    assert masked_loss == pytest.approx(expected, rel=1e-5)
    assert masked_loss < info_nce(scores_of(matrix), 0.5).item() - 0.1


def test_weight_two_equals_the_negative_twice():
    matrix = [[0.5, 0.1], [0.0, 0.6]]
    once = scores_of(matrix, negatives=[[0.4, 0.2], [0.3, 0.1]], weights=[[2.0, 1.0], [1.0, 2.0]])
    twice = scores_of(matrix, negatives=[[0.4, 0.4, 0.2], [0.3, 0.1, 0.1]])
    assert info_nce(once, 0.05).item() == pytest.approx(info_nce(twice, 0.05).item(), rel=1e-6)


def test_weights_of_one_change_nothing():
    matrix, negatives = [[0.5, 0.1], [0.0, 0.6]], [[0.4, 0.2], [0.3, 0.1]]
    plain, weighted = (
        scores_of(matrix, negatives=negatives),
        scores_of(matrix, negatives=negatives, weights=torch.ones(2, 2)),
    )
    assert torch.equal(info_nce(plain, 0.05), info_nce(weighted, 0.05))


def test_a_vanishing_weight_leaves_the_negative_out():
    matrix = [[0.5, 0.1], [0.0, 0.6]]
    weighted = scores_of(matrix, negatives=[[0.9, 0.2], [0.8, 0.1]], weights=[[1e-30, 1.0], [1e-30, 1.0]])
    without = scores_of(matrix, negatives=[[0.2], [0.1]])
    assert info_nce(weighted, 0.05).item() == pytest.approx(info_nce(without, 0.05).item(), rel=1e-5)


def test_masked_places_have_no_part_and_no_gradient():
    negatives = torch.tensor([[0.9, 0.2], [0.3, 0.8]], requires_grad=True)
    in_batch = torch.tensor([[0.5, 0.9], [0.1, 0.6]], requires_grad=True)
    scores = scores_of(
        in_batch,
        negatives=negatives,
        used=[[False, True], [True, False]],
        allowed=[[False, False], [True, False]],
    )
    loss = info_nce(scores, 0.1)
    by_hand = (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(-5) + math.exp(-3))) / 2
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)
    loss.backward()
    assert negatives.grad[0, 0] == negatives.grad[1, 1] == in_batch.grad[0, 1] == 0
    assert min(negatives.grad[0, 1], negatives.grad[1, 0], in_batch.grad[1, 0]) > 0


def test_masked_places_may_hold_anything():
    scores = scores_of([[0.5]], negatives=[[math.inf, 0.1, math.nan]], used=[[False, True, False]])
    assert info_nce(scores, 0.1).item() == pytest.approx(math.log(1 + math.exp(-4)), rel=1e-5)


def test_a_query_without_any_negative_has_loss_zero():
    matrix = torch.tensor([[0.3, 0.2], [0.9, -1.0]], requires_grad=True)
    nothing = [[False, False], [False, False]]
    loss = info_nce(
        scores_of(matrix, negatives=[[0.5], [0.4]], used=[[False], [False]], allowed=nothing), 0.01
    )
    loss.backward()
    assert loss.item() == 0
    assert (matrix.grad == 0).all()


def test_temperature_divides_scores():
    matrix, negatives = torch.tensor([[0.5, 0.1], [0.0, 0.6]]), torch.tensor([[0.4], [0.3]])
    scaled = info_nce(scores_of(matrix / 0.05, negatives=negatives / 0.05), 1.0)
    torch.testing.assert_close(info_nce(scores_of(matrix, negatives=negatives), 0.05), scaled)


def test_worst_scores_at_a_small_temperature_stay_finite():
    """The positive opposite, a negative equal: the loss is 2 / temperature, though e^100 has no float32."""
    matrix = torch.tensor([[-1.0]], requires_grad=True)
    loss = info_nce(scores_of(matrix, negatives=[[1.0]]), 0.01)
    loss.backward()
    assert loss.item() == pytest.approx(200.0)
    assert matrix.grad.item() == pytest.approx(-100.0)


def test_masked_puts_minus_infinity_where_keep_is_false():
    found = masked(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[True, False, True]]))
    assert found.tolist() == [[1.0, -math.inf, 3.0]]
