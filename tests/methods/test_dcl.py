"""The decoupled losses against worked numbers, of which some are also an independent implementation's."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch

from negmark.methods import losses
from negmark.methods.dcl import DCL
from negmark.train.step import _example
from steps import scores_of, step_of, step_of_vectors

POSITIVE, NEGATIVES = 0.8, [0.5, 0.2, -0.1]
FIRST = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]
SECOND = [[0.8, 0.6], [0.6, 0.8], [0.0, 1.0]]
THIRD = [[0.6, 0.8], [0.8, 0.6], [0.8, 0.6]]


def method(track="controlled", **params):
    return DCL(DCL.Params(**params), SimpleNamespace(track=track))


def rows_of(step, **params):
    """The losses of the rows of a step, each alone, under weights of the whole batch."""
    weights = None
    if params:
        weights = losses.decoupled_weights(step.scores.positive, **params)
    found = []
    for row in range(len(step.scores.positive)):
        one = dataclasses.replace(
            step.scores,
            **{
                name: getattr(step.scores, name)[row : row + 1]
                for name in ("positive", "in_batch", "in_batch_mask", "negatives", "negatives_mask")
            },
        )
        own = None if weights is None else weights[row : row + 1]
        found.append(losses.decoupled_info_nce(one, step.temperature, own).item())
    return found


def one_way(queries, documents, temperature, **params):
    """What the implementation computes: pairs of two queries are negatives too."""
    step = step_of_vectors(queries, documents, temperature)
    vectors = step.batch.query_vectors
    scores = losses.with_more(step.scores, vectors @ vectors.T, step.scores.in_batch_mask)
    weights = losses.decoupled_weights(scores.positive, **params) if params else None
    return losses.decoupled_info_nce(scores, temperature, weights).item()


@pytest.mark.parametrize(
    ("temperature", "coupled", "decoupled"), [(0.1, 0.051063, -2.949054), (0.5, 0.700770, 0.015189)]
)
def test_one_row_by_hand(temperature, coupled, decoupled):
    scores = scores_of([POSITIVE], [NEGATIVES])
    assert losses.info_nce(scores, temperature).item() == pytest.approx(coupled, abs=1e-6)
    assert losses.decoupled_info_nce(scores, temperature).item() == pytest.approx(decoupled, abs=1e-6)


def test_weights_of_positives_by_hand():
    weights = losses.decoupled_weights(torch.tensor([0.9, 0.6, 0.3]), 0.5)
    assert weights.tolist() == pytest.approx([0.378384, 1.110038, 1.511578], abs=1e-6)
    assert weights.mean().item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("temperature", "forth", "back"), [(0.1, 1.146537, 2.354697), (0.5, 1.094113, 1.378550)]
)
def test_both_directions_of_two_views_by_hand(temperature, forth, back):
    assert one_way(FIRST, SECOND, temperature) == pytest.approx(forth, abs=1e-6)
    assert one_way(SECOND, FIRST, temperature) == pytest.approx(back, abs=1e-6)
    step = step_of_vectors(FIRST, SECOND, temperature)
    loss = method("faithful", views=True).faithful_loss(step)
    assert loss.item() == pytest.approx(forth + back, abs=2e-6)


@pytest.mark.parametrize(("temperature", "expected"), [(0.1, 0.844547), (0.05, 1.457147)])
def test_queries_against_documents_by_hand(temperature, expected):
    step = step_of_vectors(FIRST, SECOND, temperature)
    assert method().loss(step).item() == pytest.approx(expected, abs=1e-6)
    if temperature == 0.1:
        assert rows_of(step) == pytest.approx([-1.997524, 2.018150, 2.513015], abs=1e-6)


def test_weighted_losses_by_hand():
    assert one_way(FIRST, THIRD, 0.1) == pytest.approx(2.172859, abs=1e-6)
    assert one_way(THIRD, FIRST, 0.1) == pytest.approx(3.604762, abs=1e-6)
    assert one_way(FIRST, THIRD, 0.1, sigma=0.5) == pytest.approx(2.797025, abs=1e-6)
    step = step_of_vectors(FIRST, THIRD, 0.1)
    weights = losses.decoupled_weights(step.scores.positive, 0.5)
    assert weights.tolist() == pytest.approx([1.260069, 1.260069, 0.479862], abs=1e-6)
    assert rows_of(step, sigma=0.5) == pytest.approx([1.132732, 0.566513, 5.906344], abs=1e-6)
    assert method().loss(step).item() == pytest.approx(1.911030, abs=1e-6)
    assert method(sigma=0.5).loss(step).item() == pytest.approx(2.535196, abs=1e-6)


def test_a_positive_pulls_as_hard_however_easy_it_is():
    """-1 / t, where InfoNCE's pull fades with 1 - p."""
    for positive in (0.2, POSITIVE):
        scores = scores_of([positive], [NEGATIVES], grad=True)
        losses.decoupled_info_nce(scores, 0.1).backward()
        assert scores.positive.grad.item() == pytest.approx(-10)
        terms = [math.exp(each / 0.1) for each in (positive, *NEGATIVES)]
        coupled = scores_of([positive], [NEGATIVES], grad=True)
        losses.info_nce(coupled, 0.1).backward()
        assert coupled.positive.grad.item() == pytest.approx(-(1 - terms[0] / sum(terms)) / 0.1)


def test_gradient_flows_through_the_weights():
    positive = torch.tensor([0.9, 0.6, 0.3], requires_grad=True)
    losses.decoupled_weights(positive, 0.5)[0].backward()
    assert positive.grad[0] < 0 < positive.grad[1]


def test_a_row_without_a_negative_has_no_loss_and_no_gradient():
    mask = torch.tensor([[True, True], [False, False]])
    scores = scores_of([0.5, 0.5], [[0.1, 0.4], [0.9, 0.9]], grad=True, in_batch_mask=mask)
    loss = losses.decoupled_info_nce(scores, 0.1)
    loss.backward()
    assert loss.item() == pytest.approx((math.log(math.exp(1) + math.exp(4)) - 5) / 2)
    assert scores.positive.grad[1] == 0
    assert torch.isfinite(scores.in_batch.grad).all()


def test_weighted_negatives_enter_as_their_logarithm():
    scores = scores_of([0.5], [[0.1]], [[0.3]], weights=torch.tensor([[3.0]]))
    expected = math.log(math.exp(1) + 3 * math.exp(3)) - 5
    assert losses.decoupled_info_nce(scores, 0.1).item() == pytest.approx(expected)


def test_back_means_the_other_queries_of_a_document():
    """A document that is labelled for another query is no negative of that query, nor that query one of it."""
    step = step_of_vectors(FIRST, SECOND, 0.1)
    mask = step.scores.in_batch_mask.clone()
    mask[0, 1] = False
    step = step_of(dataclasses.replace(step.scores, in_batch_mask=mask), 0.1)
    s = [[sum(a * b for a, b in zip(q, d, strict=True)) / 0.1 for d in SECOND] for q in FIRST]
    forth = [math.exp(s[0][2]), math.exp(s[1][0]) + math.exp(s[1][2]), math.exp(s[2][0]) + math.exp(s[2][1])]
    back = [math.exp(s[1][0]) + math.exp(s[2][0]), math.exp(s[2][1]), math.exp(s[0][2]) + math.exp(s[1][2])]
    expected = sum(math.log(each) - s[row % 3][row % 3] for row, each in enumerate([*forth, *back])) / 3
    assert method("faithful").faithful_loss(step).item() == pytest.approx(expected)


def test_no_labelled_positive_is_in_the_denominator(world):
    run = world.run("dcl")
    shared = 0
    for number in range(6):
        example = _example(run, number)
        scores, expected = example.scores, 0.0
        for row, query in enumerate(example.batch.queries.tolist()):
            others = [
                column
                for column, document in enumerate(example.batch.positives.tolist())
                if (query, document) not in world.positives
            ]
            shared += 7 - len(others)
            expected += scores.in_batch[row, others].div(0.05).logsumexp(dim=0) - scores.positive[row] / 0.05
        torch.testing.assert_close(run.method.loss(example), expected / 8)
    assert shared


def test_a_baseline_may_be_trained_with_the_faithful_loss():
    """Given negatives are in the query's denominator."""
    mask = torch.zeros(1, 1, dtype=torch.bool)
    scores = scores_of([0.5], [[0.5]], [[0.1, 0.3]], in_batch_mask=mask)
    loss = method("faithful").faithful_loss(step_of(scores, 0.1))
    assert loss.item() == pytest.approx(math.log(math.exp(1) + math.exp(3)) - 5)
