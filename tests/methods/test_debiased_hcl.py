"""The debiased and the reweighted denominator against the authors' formulas, by hand and in plain arithmetic."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from negmark.methods import losses
from negmark.methods.debiased import Debiased
from negmark.methods.hcl import HCL
from negmark.methods.types import Scores

POSITIVE, NEGATIVES, TEMPERATURE = 0.8, [0.5, 0.2, -0.1], 0.5
PLAIN = 0.700770
HCL_TABLE = [
    (0.0, 5.028837, 3.936586, 0.584884),
    (0.5, 5.598436, 4.569473, 0.653658),
    (1.0, 6.135564, 5.166282, 0.714446),
    (2.0, 6.987261, 6.112612, 0.803845),
]
"""beta, R, Ng, L at temperature 0.5 and tau+ 0.1."""


def scores_of(positive, negatives, keep=None, grad=False):
    """Rows of positives and in-batch documents; the contract's square shape does not matter to the loss."""
    positive = torch.tensor(positive, dtype=torch.float64, requires_grad=grad)
    in_batch = torch.tensor(negatives, dtype=torch.float64, requires_grad=grad)
    mask = torch.ones(in_batch.shape, dtype=torch.bool) if keep is None else torch.tensor(keep)
    none = torch.empty(len(positive), 0)
    return Scores(positive, in_batch, mask, none, none.bool(), None)


def example(tau_plus, beta=0.0, **options):
    scores = scores_of([POSITIVE], [NEGATIVES])
    return losses.debiased_info_nce(scores, TEMPERATURE, tau_plus, beta, **options).item()


def denominator(loss, positive=POSITIVE, temperature=TEMPERATURE):
    """Ng, solved from L = log(1 + Ng / e^{s+/t})."""
    return math.expm1(loss) * math.exp(positive / temperature)


def released(positive, negatives, temperature, tau_plus, beta):
    """criterion() of the released HCL code on one row, in plain arithmetic."""
    own = math.exp(positive / temperature)
    others = [math.exp(each / temperature) for each in negatives]
    importance = [each**beta for each in others]
    reweighted = sum(i * n for i, n in zip(importance, others, strict=True)) / (
        sum(importance) / len(importance)
    )
    ng = (reweighted - tau_plus * len(others) * own) / (1 - tau_plus)
    return -math.log(own / (own + max(ng, len(others) * math.exp(-1 / temperature))))


def test_debiased_by_hand():
    loss = example(0.1)
    assert loss == pytest.approx(0.584884, abs=1e-6)
    assert denominator(loss) == pytest.approx(3.936586, abs=1e-6)


def test_without_prior_it_is_info_nce():
    assert example(0.0) == pytest.approx(PLAIN, abs=1e-6)
    scores = scores_of([0.3, 0.5], [[0.2, 0.1, 0.4], [0.6, -0.3, 0.0]], [[True, True, False], [True] * 3])
    plain, found = losses.info_nce(scores, 0.05), losses.debiased_info_nce(scores, 0.05, 0.0)
    assert found.item() == pytest.approx(plain.item(), rel=1e-12)


def test_the_floor_is_the_least_sum_that_cosines_can_have():
    """At tau+ 0.5 the corrected sum is -4.801423."""
    loss = example(0.5)
    assert denominator(loss) == pytest.approx(3 * math.exp(-2))
    assert denominator(loss) == pytest.approx(0.406006, abs=1e-6)


@pytest.mark.parametrize(("beta", "reweighted", "ng", "loss"), HCL_TABLE)
def test_hcl_by_hand(beta, reweighted, ng, loss):
    logits = torch.tensor([NEGATIVES], dtype=torch.float64) / TEMPERATURE
    everything = torch.ones_like(logits, dtype=torch.bool)
    found = losses.log_reweighted_sum(logits, everything, beta).exp().item()
    assert found == pytest.approx(reweighted, abs=1e-6)
    assert denominator(example(0.1, beta)) == pytest.approx(ng, abs=2e-6)
    assert example(0.1, beta) == pytest.approx(loss, abs=1e-6)
    assert example(0.1, beta, detach=True) == pytest.approx(loss, abs=1e-6)


def test_equal_negatives_weigh_alike_for_every_beta():
    scores = scores_of([0.5], [[0.3] * 4])
    found = [losses.debiased_info_nce(scores, 0.1, 0.01, beta).item() for beta in (0.0, 0.5, 3.0, 50.0)]
    assert found == pytest.approx([found[0]] * 4)


def test_a_large_beta_leaves_the_hardest_alone():
    logits = torch.tensor([[3.0, 1.0, 2.0]])
    found = losses.log_reweighted_sum(logits, torch.ones(1, 3, dtype=torch.bool), 1000.0)
    assert found.item() == pytest.approx(math.log(3) + 3.0)


def test_equals_the_released_formula_row_by_row():
    rng = np.random.default_rng(5)
    positive, negatives, keep = rng.uniform(-1, 1, 8), rng.uniform(-1, 1, (8, 8)), rng.random((8, 8)) < 0.7
    scores = scores_of(positive, negatives, keep.tolist())
    for setting in itertools.product((0.5, 0.05), (0.0, 0.01, 0.1), (0.0, 0.5, 1.0, 2.0)):
        rows = [
            released(own, row[mask].tolist(), *setting)
            for own, row, mask in zip(positive, negatives, keep, strict=True)
        ]
        found = losses.debiased_info_nce(scores, *setting).item()
        assert found == pytest.approx(np.mean(rows), rel=1e-9), setting  # temperature, tau+, beta


@pytest.mark.parametrize("detach", [False, True])
def test_gradients_are_those_of_the_released_formula(detach):
    positive, negatives = torch.tensor([0.4], dtype=torch.float64), torch.tensor([[0.3, 0.1, -0.2]])
    scores = scores_of(positive.tolist(), negatives.double().tolist(), grad=True)
    losses.debiased_info_nce(scores, 0.5, 0.1, 1.0, detach).backward()
    own = positive.clone().requires_grad_()
    others = negatives.double().clone().requires_grad_()
    pos, neg = (own / 0.5).exp(), (others / 0.5).exp()
    importance = neg.detach() if detach else neg
    reweighted = (importance * neg).sum(dim=1) / importance.mean(dim=1)
    ng = (-0.1 * 3 * pos + reweighted) / 0.9
    (-(pos / (pos + ng)).log()).mean().backward()
    torch.testing.assert_close(scores.positive.grad, own.grad)
    torch.testing.assert_close(scores.in_batch.grad, others.grad)


def test_a_row_on_the_floor_has_no_gradient_to_its_negatives():
    scores = scores_of([POSITIVE], [NEGATIVES], grad=True)
    losses.debiased_info_nce(scores, TEMPERATURE, 0.5).backward()
    assert (scores.in_batch.grad == 0).all()
    assert scores.positive.grad.item() < 0


def test_masked_places_have_no_part_and_no_gradient():
    scores = scores_of([0.5], [[0.9, 0.3, math.nan]], [[False, True, False]], grad=True)
    loss = losses.debiased_info_nce(scores, 0.1, 0.01, 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(released(0.5, [0.3], 0.1, 0.01, 1.0))
    assert scores.in_batch.grad[0, [0, 2]].tolist() == [0, 0]
    assert scores.in_batch.grad[0, 1] > 0


def test_a_query_without_any_document_has_loss_zero():
    scores = scores_of([0.3, 0.5], [[0.2, 0.9], [0.1, 0.4]], [[False, False], [True, True]], grad=True)
    loss = losses.debiased_info_nce(scores, 0.01, 0.1, 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(released(0.5, [0.1, 0.4], 0.01, 0.1, 1.0) / 2)
    assert scores.positive.grad[0] == 0
    assert torch.isfinite(scores.in_batch.grad).all()


def test_nothing_overflows_in_single_precision():
    """At temperature 0.01 e^{s/t} reaches e^100 and HCL's products e^1100: neither has a float32."""
    rows = itertools.product((-1.0, 0.0, 1.0), ([1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]))
    positive, others = zip(*rows, strict=True)
    none = torch.empty(len(positive), 0)
    for setting in itertools.product((0.0, 0.1, 0.9), (0.0, 1.0, 10.0)):
        own, in_batch = torch.tensor(positive, requires_grad=True), torch.tensor(others, requires_grad=True)
        everything = torch.ones(in_batch.shape, dtype=torch.bool)
        scores = Scores(own, in_batch, everything, none, none.bool(), None)
        loss = losses.debiased_info_nce(scores, 0.01, *setting)
        loss.backward()
        for found in (loss, own.grad, in_batch.grad):
            assert torch.isfinite(found).all(), setting  # tau+, beta


def test_the_worst_row_costs_two_over_the_temperature():
    loss = losses.debiased_info_nce(scores_of([-1.0], [[1.0]]), 0.01, 0.0, 1.0)
    assert loss.item() == pytest.approx(200.0)


class OneStep:
    """As much of a step as a loss reads."""

    scores, temperature = scores_of([POSITIVE], [NEGATIVES]), TEMPERATURE


def in_track(track):
    """As much of the services as these methods read."""
    return SimpleNamespace(track=track)


def test_the_faithful_track_has_the_papers_prior_and_at_its_temperature_its_sharpness():
    for kind, beta in ((Debiased, 0.0), (HCL, 1.0)):
        found = kind(kind.Params(), in_track("faithful")).faithful_loss(OneStep).item()
        assert found == pytest.approx(released(POSITIVE, NEGATIVES, 0.5, 0.1, beta)), kind


def test_the_controlled_track_has_a_prior_of_retrieval_and_keeps_the_sharpness_at_any_temperature():
    """beta s / t is 2 s, as the paper's 1 s / 0.5: 0.1 at 0.05."""
    step = SimpleNamespace(scores=scores_of([POSITIVE], [NEGATIVES]), temperature=0.05)
    for kind, beta in ((Debiased, 0.0), (HCL, 0.1)):
        found = kind(kind.Params(), in_track("controlled")).loss(step).item()
        assert found == pytest.approx(released(POSITIVE, NEGATIVES, 0.05, 0.001, beta), rel=1e-6), kind


def test_the_default_prior_leaves_gradient_where_the_papers_has_none():
    """The positive at .45, 63 others from 0 to .35: the sum of e^{s/.05} is about 10,300, that of the prior .001 times
    63 e^9, 510, and of .1 51,000, so that there the row rests on the floor."""
    for prior, on_floor in ((0.001, False), (0.1, True)):
        scores = scores_of([0.45], [np.linspace(0, 0.35, 63).tolist()], grad=True)
        losses.debiased_info_nce(scores, 0.05, prior).backward()
        assert bool((scores.in_batch.grad == 0).all()) is on_floor


@pytest.mark.parametrize("beta", [row[0] for row in HCL_TABLE])
def test_methods_pass_their_parameters_on(beta):
    found = HCL(HCL.Params(beta=beta, tau_plus=0.2), in_track("controlled")).loss(OneStep).item()
    assert found == pytest.approx(released(POSITIVE, NEGATIVES, TEMPERATURE, 0.2, beta))
    debiased = Debiased(Debiased.Params(tau_plus=0.2), in_track("controlled")).loss(OneStep).item()
    assert debiased == pytest.approx(released(POSITIVE, NEGATIVES, TEMPERATURE, 0.2, 0.0))


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        (Debiased, {"tau_plus": 0}, "tau+ is 0, so that it is InfoNCE"),
        (Debiased, {}, ""),
        (HCL, {"beta": 0, "tau_plus": 0}, "beta and tau+ are 0, so that it is InfoNCE"),
        (HCL, {"beta": 0}, ""),
        (HCL, {"tau_plus": 0}, ""),
    ],
)
def test_what_is_info_nce_by_its_parameters_did_not_act(method, params, words):
    services = SimpleNamespace(track="controlled")
    assert method(method.Params(**params), services).idle() == words
