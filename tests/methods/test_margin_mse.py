"""Margin-MSE: the loss by hand, that of sentence-transformers, and what it teaches."""

import pytest
import torch

from negmark.core.errors import UserError
from negmark.methods import losses
from negmark.methods.margin_mse import MarginMSE
from negmark.suite.checks import load
from negmark.train.step import _example


def loss(student, taught, mask=None):
    student, taught = (torch.tensor(rows, dtype=torch.float64) for rows in (student, taught))
    mask = torch.ones_like(student[:, 1:], dtype=torch.bool) if mask is None else torch.tensor(mask)
    return losses.margin_mse(student[:, 0], student[:, 1:], taught[:, 0], taught[:, 1:], mask).item()


def test_the_sheets_margins():
    """Student (10, 7), teacher (8, 2): (3 - 6)^2 = 9. One that prefers the negative, (3, 5): (3 + 2)^2 = 25."""
    assert loss([[10, 7]], [[8, 2]]) == 9
    assert loss([[10, 7]], [[3, 5]]) == 25


def test_it_is_the_mean_over_the_pairs_in_use():
    """(3 - 6)^2 = 9, (1 - 1)^2 = 0 and, of the second query, (2 - 4)^2 = 4: 13 / 3; the masked place is not counted."""
    rows = [[10, 7, 9], [5, 3, 0]], [[8, 2, 7], [6, 2, -torch.inf]]
    assert loss(*rows, [[True, True], [True, False]]) == pytest.approx(13 / 3)
    assert loss([[1, 2]], [[0, -torch.inf]], [[False]]) == 0


def test_it_is_that_of_sentence_transformers():
    """Of its vectors: dot products of 3 queries with a positive and 2 negatives."""
    from sentence_transformers.sentence_transformer.losses import MarginMSELoss

    torch.manual_seed(0)
    vectors = [torch.randn(3, 4) for _ in range(4)]
    taught = torch.randn(3, 3)
    theirs = MarginMSELoss(model=torch.nn.Identity())
    wanted = theirs.compute_loss_from_embeddings(vectors, taught).item()
    student = torch.stack([(vectors[0] * one).sum(dim=1) for one in vectors[1:]], dim=1)
    assert loss(student.tolist(), taught.tolist()) == pytest.approx(wanted, rel=1e-6)


def test_it_pulls_the_margin_to_the_teachers():
    taught = torch.tensor([[2.0, 0.5, -1.0]])
    student = torch.zeros(1, 3, requires_grad=True)
    optimizer = torch.optim.SGD([student], lr=0.2)
    for _ in range(200):
        optimizer.zero_grad()
        mask = torch.ones(1, 2, dtype=torch.bool)
        losses.margin_mse(student[:, 0], student[:, 1:], taught[:, 0], taught[:, 1:], mask).backward()
        optimizer.step()
    margins = (student[:, :1] - student[:, 1:]).detach()
    torch.testing.assert_close(margins, torch.tensor([[1.5, 3.0]]), atol=1e-4, rtol=0)


def test_a_runs_loss_reads_cosines_over_the_temperature_of_student_and_teacher(world):
    run = world.run("margin_mse/faithful")
    example = _example(run, 0)
    assert run.method.faithful_loss(example).item() < 1e-6, "the start is its own teacher"
    moved = example.scores.negatives + torch.linspace(0, 1, 32).reshape(8, 4)
    wanted = (torch.linspace(0, 1, 32) / 0.05).square().mean().item()
    scores = type(example.scores)(**{**vars(example.scores), "negatives": moved})
    example = type(example)(**{**vars(example), "scores": scores})
    assert run.method.faithful_loss(example).item() == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("name", ["margin_mse", "distil_kl", "cl_drd"])
def test_it_needs_a_teacher_and_the_faithful_track(name):
    suite = {"suite": "s", "datasets": {"scifact": None}, "methods": {"inbatch": None, name: None}}
    with pytest.raises(
        UserError, match=f"methods.{name}: this row of {name} can't be in the controlled track.*faithful"
    ):
        load(suite, "s.yaml")
    suite["methods"][name] = {"track": "faithful"}
    with pytest.raises(UserError, match=f"methods.{name}: this row learns from a teacher alone"):
        load(suite, "s.yaml")
    load({**suite, "teacher": {"ranker": "./r"}}, "s.yaml")


def test_its_loss_is_lent_to_methods_that_give_documents():
    assert MarginMSE.has_own_loss("faithful")
    assert not MarginMSE.has_own_loss("controlled")
