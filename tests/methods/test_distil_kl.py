"""Listwise distillation: the divergence by hand and by sentence-transformers, and its temperatures."""

import math
from dataclasses import replace

import pytest
import torch

from negmark.methods import teacher
from negmark.methods.distil_kl import DistilKL
from negmark.train.step import _example


def test_two_documents_by_hand(world, monkeypatch):
    """Teacher logits ln 3 and 0: 3/4 and 1/4. Student equal: 1/2 each. KL = .75 ln 1.5 + .25 ln .5."""
    run = world.run("distil_kl/faithful", negatives=1)
    example = _example(run, 0)
    taught = torch.tensor([[math.log(3), 0.0]]).expand(8, 2)
    monkeypatch.setattr(teacher, "logits", lambda *_: taught)
    scores = replace(example.scores, positive=torch.zeros(8), negatives=torch.zeros(8, 1))
    example = replace(example, scores=scores)
    wanted = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert run.method.faithful_loss(example).item() == pytest.approx(wanted, rel=1e-5)
    run.method.params = DistilKL.Params(teacher_temperature=2.0)  # 3 becomes its root
    share = math.sqrt(3) / (1 + math.sqrt(3))
    wanted = share * math.log(2 * share) + (1 - share) * math.log(2 * (1 - share))
    assert run.method.faithful_loss(example).item() == pytest.approx(wanted, rel=1e-5)


def test_it_is_that_of_sentence_transformers_but_for_the_factor(world, monkeypatch):
    from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss

    run = world.run("distil_kl/faithful", params={"teacher_temperature": 2.0})
    example = _example(run, 0)
    torch.manual_seed(1)
    taught = 3 * torch.randn(8, 5)
    monkeypatch.setattr(teacher, "logits", lambda *_: taught)
    batch = example.batch
    columns = [batch.query_vectors, batch.positive_vectors, *example.negative_vectors.unbind(dim=1)]
    theirs = DistillKLDivLoss(model=torch.nn.Identity(), student_temperature=0.05, teacher_temperature=2.0)
    wanted = theirs.compute_loss_from_embeddings(columns, taught).item() / 0.05**2
    assert run.method.faithful_loss(example).item() == pytest.approx(wanted, rel=1e-4)


def test_empty_places_take_no_part(shallow_world):
    run = shallow_world.run("distil_kl/faithful", negatives=8)
    example = _example(run, 0)
    assert (example.negatives.ids < 0).any()
    assert torch.isfinite(run.method.faithful_loss(example))
