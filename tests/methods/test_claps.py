"""CLAPS-style perturbations against numbers of the sheet, the first of which the released function gives too."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.core.errors import UserError
from negmark.methods.claps import CLAPS, both_contrasts, likelihood_loss
from negmark.methods.types import Move
from negmark.suite.checks import load
from negmark.train import train
from negmark.train.perturb import perturbed
from negmark.train.run import set_up
from negmark.train.step import _example
from world import take_steps


class States:
    """An encoder whose text is one token, and its vector that token's."""

    def __init__(self, state):
        self.state = torch.tensor([state])

    def token_vectors(self, side, rows):
        return self.state

    def from_tokens(self, side, rows, shift, still):
        return self.state + shift


HEAD = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]])


def negative_likelihood(states):
    return functional.cross_entropy(states @ HEAD.T, torch.zeros(1, dtype=torch.long))


@pytest.mark.parametrize(
    ("size", "state", "loss"),
    [
        (0.0, [1.0, 0.0], 0.407606),
        (0.5, [0.607288, 0.309480], 0.764046),
        (1.0, [0.214577, 0.618959], 1.310328),
    ],
)
def test_an_imposter_is_that_of_the_released_code(size, state, loss):
    found = perturbed(States([1.0, 0.0]), "document", np.array([0]), [Move(negative_likelihood, size)])
    torch.testing.assert_close(found, torch.tensor([state]), atol=1e-5, rtol=0)
    assert negative_likelihood(found).item() == pytest.approx(loss, abs=1e-5)


def test_the_gradient_of_the_likelihood():
    state = torch.tensor([[1.0, 0.0]], requires_grad=True)
    negative_likelihood(state).backward()
    torch.testing.assert_close(state.grad, torch.tensor([[-0.424790, 0.334759]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("scale", "expected"), [(1.0, 0.758328), (0.1, 1.090184)])
def test_both_contrasts(scale, expected):
    cosines = torch.tensor([[0.8, 0.2], [0.1, 0.7]])
    found = both_contrasts(cosines, torch.tensor([0.75, 0.65]), torch.tensor([0.6, 0.5]), 0.1, scale)
    assert found.item() == pytest.approx(expected, abs=1e-5)
    parts = {"A": 0.475619, "B": 1.041038 if scale == 1 else 1.704749}
    distant = cosines.clone().fill_diagonal_(0.6)
    distant[1, 1] = 0.5
    for rows, (name, part) in zip((cosines / 0.1, distant / scale), parts.items(), strict=True):
        imposters = torch.tensor([[0.75], [0.65]]) / (0.1 if name == "A" else scale)
        with_imposter = torch.cat([rows, imposters], dim=1)
        assert functional.cross_entropy(with_imposter, torch.arange(2)).item() == pytest.approx(
            part, abs=1e-5
        )


QUERY, DOCUMENT = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.8, 0.6]])


@pytest.mark.parametrize(
    ("size", "score", "document", "loss"),
    [
        (0.1, 0.759257, 0.997880, 0.514076),
        (0.3, 0.640184, 0.973080, 0.189799),
        (1.0, -0.316228, 0.316228, None),
    ],
)
def test_a_step_in_vector_space_is_the_closed_form(size, score, document, loss):
    """The likelihood's gradient by the document is -(1 - p) q / T: so d - e q, of unit length."""
    other = torch.tensor([[0.3, math.sqrt(1 - 0.09)]])
    queries, documents = torch.cat([QUERY, QUERY]), torch.cat([DOCUMENT, other])

    def unlikely(moved):
        found = torch.cat([moved, other])
        return likelihood_loss(queries, documents, found, torch.ones(2, 2, dtype=torch.bool), 0.1)

    moved = perturbed(States([0.8, 0.6]), "document", np.array([0]), [Move(unlikely, size)])
    imposter = functional.normalize(moved, dim=1)
    found = (imposter @ QUERY.T).item()
    assert (imposter @ DOCUMENT.T).item() == pytest.approx(document, abs=1e-5)
    if size == 0.1:
        assert imposter[0].tolist() == pytest.approx([0.759257, 0.650791], abs=1e-5)
    assert found == pytest.approx(score, abs=1e-5)
    assert found == pytest.approx((0.8 - size) / math.sqrt(1 - 1.6 * size + size**2), abs=1e-5)
    alone = torch.tensor([8.0, 3.0])
    assert (alone.logsumexp(dim=0) - alone[0]).item() == pytest.approx(0.006715, abs=1e-6)
    if loss is not None:
        logits = torch.tensor([8.0, 3.0, 10 * found])
        assert (logits.logsumexp(dim=0) - logits[0]).item() == pytest.approx(loss, abs=1e-5)


def run_of(world, track="controlled", **params):
    spec = {**world.spec(f"claps/{track}"), "params": params}
    return set_up(spec, train.load_materials(world.dataset, world.vectors, {}))


def test_an_imposter_is_less_likely_and_the_farther_the_less(world):
    scores = []
    for size in (0.05, 0.3, 1.0, 5.0):
        run = run_of(world, imposter=size)
        example = _example(run, 0)
        assert (example.scores.negatives[:, 0] < example.scores.positive + 1e-6).all()
        scores.append(example.scores.negatives.mean().item())
    assert scores == sorted(scores, reverse=True)


def test_the_imposter_is_trained_unless_it_is_detached(world):
    for detach in (False, True):
        run = run_of(world, detach=detach)
        assert _example(run, 0).negatives.vectors.requires_grad is not detach


def test_making_perturbations_leaves_no_gradient_behind(world):
    """What the released trainers of translation add to the loss unasked."""
    run = run_of(world, "faithful")
    example = _example(run, 0)
    run.method._distant(example.batch, 0.05)
    assert not run.encoder.tables["both"].collected
    assert all(parameter.grad is None for parameter in run.method.projection.parameters())


def test_a_distant_positive_is_farther_from_its_query_than_the_positive(world):
    run = run_of(world, "faithful", distant=0.5)
    example = _example(run, 0)
    batch = example.batch
    away = run.method._distant(batch, 0.05)
    queries = run.method._projected(batch.query_vectors)
    far, near = (
        (queries * run.method._projected(vectors)).sum(dim=1).mean()
        for vectors in (away, batch.positive_vectors)
    )
    assert far < near


def test_all_passes_are_counted_as_cost(world):
    for track, passes in (("controlled", 2), ("faithful", 5)):
        run = run_of(world, track)
        take_steps(run, 3)
        assert run.services.counters.extra_vectors == 3 * 8 * passes
        assert run.services.counters.document_vectors == 3 * 8


@pytest.mark.parametrize(
    ("tier", "words"),
    [("adapter", "claps needs the vectors of tokens for perturbations, which the tier adapter doesn't have"),
     ("rerank", "needs vectors that come from tokens, which a cross-encoder doesn't have")],
)  # fmt: skip
def test_other_tiers_are_refused_in_one_line(tier, words):
    config = {"suite": "s", "datasets": {"scifact": None}, "methods": {"claps": {"tier": tier}}}
    with pytest.raises(UserError) as told:
        load(config, "s.yaml")
    assert str(told.value).startswith("s.yaml: methods.claps.tier: ")
    assert words in str(told.value)
    assert "\n" not in str(told.value)
    assert load({**config, "methods": {"claps": {"tier": "finetune"}}}, "s.yaml")


def test_defaults_are_a_tenth_of_the_papers_moves():
    assert CLAPS.Params().model_dump() == {
        "imposter": 0.1, "distant": 0.3, "distant_temperature": False, "detach": False,
    }  # fmt: skip


def test_footnotes_have_the_sizes_of_the_row():
    params = CLAPS.Params(imposter=0.3)
    assert CLAPS.own_notes(params, "controlled") == [
        "moves of 0.3 instead of the paper's 1, in units of the tokens' length"
    ]
    assert CLAPS.own_notes(params, "faithful") == [
        "moves of 0.3 and 0.3 instead of the paper's 1 and 3, in units of the tokens' length"
    ]
    assert "tenth" not in " ".join(note.text for note in CLAPS.footnotes)
