"""CET against the released code's formulas, worked out by hand, and the two models' separation."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.methods import losses
from negmark.methods.cet import CET
from negmark.methods.types import NO_DOCUMENT
from negmark.train import train
from negmark.train.run import set_up
from negmark.train.step import _example
from world import take_steps

RELEVANCE = torch.tensor([[2.0, 1.0], [0.5, 1.5]])
SELECTION = torch.tensor([[1.0, 3.0], [0.0, -2.0]])
"""Logits of two pairs; columns are positive and negative."""
ALL = torch.ones(2, 1, dtype=torch.bool)


def run_of(world, track="", seed=0, params=None, **training):
    spec = {**world.spec(f"cet/{track}" if track else "cet", seed, **training), "params": params or {}}
    return set_up(spec, train.load_materials(world.dataset, world.vectors, {"dense": world.pools["dense"]}))


def pairwise(logits, other, temperature, mask=ALL):
    weights = losses.coupled_weights(other[:, 1:], temperature)
    return losses.pairwise_softplus(logits[:, 0], logits[:, 1:], weights, mask)


@pytest.mark.parametrize(
    ("logit", "temperature", "expected"),
    [(0, 10, 2), (5, 10, 2.648721), (-5, 10, 1.606531), (5, 2, 13.182494)],
)
def test_weights_by_hand(logit, temperature, expected):
    weight = losses.coupled_weights(torch.tensor(float(logit), dtype=torch.float64), temperature).item()
    assert weight == pytest.approx(expected, abs=5e-7)
    assert weight == pytest.approx(1 / (1 - 1 / (1 + np.exp(-logit / temperature))))


@pytest.mark.parametrize(
    ("temperature", "relevance", "selection"), [(10, 1.562295, 2.375972), (2, 1.756793, 3.014637)]
)
def test_both_losses_by_hand(temperature, relevance, selection):
    assert pairwise(RELEVANCE, SELECTION, temperature).item() == pytest.approx(relevance, abs=1e-6)
    assert pairwise(SELECTION, RELEVANCE, temperature).item() == pytest.approx(selection, abs=1e-6)


def test_neither_loss_has_a_gradient_for_the_other_models_logits():
    logits = RELEVANCE.clone().requires_grad_(), SELECTION.clone().requires_grad_()
    for own, other in (logits, logits[::-1]):
        gradients = torch.autograd.grad(pairwise(own, other, 10), [own, other], allow_unused=True)
        assert gradients[0].abs().min() > 0
        assert gradients[1] is None


def test_a_large_temperature_doubles_the_plain_losses():
    for own, other in ((RELEVANCE, SELECTION), (SELECTION, RELEVANCE)):
        plain = functional.softplus(own[:, 1] - own[:, 0]).mean()
        torch.testing.assert_close(pairwise(own, other, 1e9), 2 * plain)


def test_empty_places_are_no_pairs():
    extra = torch.tensor([[7.0], [8.0]])
    wide = torch.cat([RELEVANCE, extra], 1), torch.cat([SELECTION, extra], 1)
    mask = torch.tensor([[True, False]] * 2)
    torch.testing.assert_close(pairwise(*wide, 10, mask), pairwise(RELEVANCE, SELECTION, 10))
    assert pairwise(*wide, 10, torch.zeros_like(mask)).item() == 0


def test_weights_of_a_step_are_the_selection_models_own(world):
    run = run_of(world, params={"noise": 0.0, "standardise": False})
    example = _example(run, 0)
    ids = example.negatives.ids
    left = run.services.warmup_queries(example.batch.queries)
    cosines = torch.einsum("bd,bmd->bm", left, run.services.warmup_documents(ids))
    torch.testing.assert_close(example.scores.weights, 1 + (cosines / 0.05 / 10).exp())
    torch.testing.assert_close(example.scores.negatives.detach(), cosines)  # both start at the identity


def test_noise_tells_the_models_apart_from_the_start_and_follows_the_seed(world):
    maps = [run_of(world, seed=seed).method.selection.query.detach() for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])
    assert (maps[0] - torch.eye(16)).std().item() == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("track", ["", "faithful"])
def test_the_total_trains_each_model_by_its_own_part_alone(world, track):
    """Gradients of the sum are those of the parts, to the last bit: nothing is exchanged."""

    def gradients(part):
        run = run_of(world, track)
        example = _example(run, 0)
        method, scores = run.method, example.scores
        parts = {
            "both": method.faithful_loss if track else method.loss,
            "selection": method.selection_loss,
            "relevance": lambda step: (
                losses.pairwise_softplus(
                    scores.positive / 0.05, scores.negatives / 0.05, scores.weights, scores.negatives_mask
                )
                if track
                else losses.info_nce(scores, 0.05)
            ),
        }
        assert not scores.weights.requires_grad
        names = [run.encoder.query, run.encoder.document, method.selection.query, method.selection.document]
        return torch.autograd.grad(parts[part](example), names, allow_unused=True)

    both, selection, relevance = map(gradients, ("both", "selection", "relevance"))
    assert selection[0] is selection[1] is relevance[2] is relevance[3] is None
    for found, expected in zip(both, [*relevance[:2], *selection[2:]], strict=True):
        assert torch.equal(found, expected)
        assert found.abs().sum() > 0


def test_the_faithful_loss_is_both_pairwise_losses(world):
    run = run_of(world, "faithful", params={"temperature": 2.0, "standardise": False})
    example = _example(run, 0)
    batch, scores = example.batch, example.scores
    pairs = np.column_stack([batch.positives, example.negatives.ids])
    selection = run.method.selection(batch.queries, pairs).detach().double()
    relevance = torch.cat([scores.positive[:, None], scores.negatives], dim=1).detach().double() / 0.05
    expected = 0.0
    for own, other in ((relevance, selection), (selection, relevance)):
        gaps = np.log1p(np.exp((own[:, 1:] - own[:, :1]).numpy()))
        expected += (gaps / (1 - 1 / (1 + np.exp(-other[:, 1:].numpy() / 2)))).mean()
    assert run.method.faithful_loss(example).item() == pytest.approx(expected, rel=1e-5)


def test_the_selection_model_is_trained(world):
    run = run_of(world)
    before = run.method.selection.query.clone()
    take_steps(run, 2)
    assert not torch.equal(run.method.selection.query, before)


def weights_of(logits, used=None, step=0, standardise=False, ranker=None, **params):
    method = CET.__new__(CET)
    method.params, method._ranker = CET.Params(standardise=standardise, **params), ranker
    logits = torch.tensor(logits)
    used = torch.ones_like(logits, dtype=torch.bool) if used is None else torch.tensor(used)
    return method.weights(logits, used, step)


def test_clip_bounds_the_weights():
    torch.testing.assert_close(
        weights_of([[0.0, 40.0]], clip=5.0, temperature=2.0), torch.tensor([[2.0, 5.0]])
    )
    assert weights_of([[40.0]], temperature=2.0).item() == pytest.approx(1 + np.exp(20), rel=1e-5)


def test_normalised_weights_have_mean_one_over_the_places_in_use():
    found = weights_of([[0.0, 5.0, 99.0]], used=[[True, True, False]], normalise=True)
    mean = (2 + 2.648721) / 2
    torch.testing.assert_close(found, torch.tensor([[2 / mean, 2.648721 / mean, 1.0]]))


def test_weights_are_one_in_the_first_steps_if_asked():
    assert weights_of([[5.0]], step=3, warmup_steps=4).item() == 1
    assert weights_of([[5.0]], step=4, warmup_steps=4).item() == pytest.approx(2.648721)


def test_defaults_are_those_of_the_released_script():
    params = CET.Params()
    assert (params.clip, params.normalise, params.warmup_steps) == (None, False, 0)
    assert weights_of([[5.0]]).item() == pytest.approx(1 + np.exp(5 / 10))  # T = 10, as in ranker.sh
    ranker = torch.nn.Identity()
    assert weights_of([[5.0, 7.0]], standardise=True, ranker=ranker)[0, 0] == weights_of([[5.0]])[0, 0]


def test_standardised_logits_weigh_alike_wherever_they_lie():
    """Two standard deviations apart: 1 + e^(-1/2) and 1 + e^(1/2), T being 2; the empty place counts for nothing."""
    for logits in ([[6.0, 8.0, 99.0]], [[-0.1, 0.1, -9.0]]):
        found = weights_of(logits, used=[[True, True, False]], standardise=True)
        torch.testing.assert_close(found, torch.tensor([[1.606531, 2.648721, 1.0]]))
    assert weights_of([[3.0, 3.0]], standardise=True).tolist() == [[2.0, 2.0]]


def test_weights_of_a_bi_encoder_spread(world):
    """The released T = 10 on cosine / .05 left them constant."""
    spreads = {}
    for name, params in (("default", {}), ("raw", {"standardise": False})):
        run = run_of(world, params=params)
        take_steps(run, 3)
        spreads[name] = [row["weight_spread"] / row["weight_mean"] for row in run.history]
    assert min(spreads["default"]) > 0.25
    assert max(spreads["raw"]) < 0.2


def test_each_pair_through_the_selection_model_is_counted(world, shallow_world):
    run = run_of(world)
    take_steps(run, 3)
    assert run.services.counters.network_forwards == 3 * 8 * (4 + 1 + 4)
    assert run.services.counters.extra_vectors == 0
    short = run_of(shallow_world, negatives=8)
    given = take_steps(short, 1)
    used = int((given[0][1].ids != NO_DOCUMENT).sum())
    assert used < 8 * 8
    assert short.services.counters.network_forwards == 2 * used + 8


@pytest.mark.parametrize("track", ["", "faithful"])
def test_the_history_watches_the_selection_model(world, track):
    run = run_of(world, track)
    take_steps(run, 3)
    for row in run.history:
        assert row["selection_loss"] > 0
        assert row["weight_mean"] > 1
        assert -1 <= row["score_correlation"] <= 1
    assert run.history[0]["score_correlation"] > 0.9
