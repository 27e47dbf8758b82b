"""The spread-out regulariser against worked numbers and sentence-transformers' loss."""

from types import SimpleNamespace

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import GlobalOrthogonalRegularizationLoss
from torch.nn import functional

from negmark.methods import losses
from negmark.methods.spread_out import SpreadOut, regulariser
from steps import step_of_vectors
from world import take_steps

QUERIES = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]
DOCUMENTS = [[0.8, 0.6], [0.6, 0.8], [0.0, 1.0]]


def test_moments_by_hand():
    """Cosines 0, .6 and .8 of the first, .96, .6 and .8 of the second."""
    for rows, second, first in ((QUERIES, 1 / 3, 7 / 15), (DOCUMENTS, 0.640533, 0.786667)):
        vectors = torch.tensor(rows, dtype=torch.float64)
        assert losses.second_moment(vectors).item() == pytest.approx(second, abs=1e-6)
        assert losses.first_moment(vectors).item() == pytest.approx(first, abs=1e-6)
        assert losses.second_moment(vectors[:1]).item() == losses.first_moment(vectors[:1]).item() == 0


def test_the_loss_adds_both_sides_by_the_weight():
    step = step_of_vectors(QUERIES, DOCUMENTS, 0.5)
    plain = losses.info_nce(step.scores, 0.5).item()
    for weight in (1.0, 0.25):
        made = SpreadOut(SpreadOut.Params(weight=weight), SimpleNamespace(track="faithful"))
        expected = plain + weight * (1 / 3 + 0.6405333333)
        assert made.faithful_loss(step).item() == pytest.approx(expected, rel=1e-9)


def test_the_floor_is_the_moment_of_the_sphere():
    """1/2 in two dimensions: .333333 costs nothing, .640533 costs .140533; the mean squared .618844 comes on top."""
    low, high = (torch.tensor(rows, dtype=torch.float64) for rows in (QUERIES, DOCUMENTS))
    assert regulariser(low, floor=True, mean=False).item() == 0
    assert regulariser(high, floor=True, mean=False).item() == pytest.approx(0.140533, abs=1e-6)
    assert regulariser(high, floor=True, mean=True).item() == pytest.approx(0.140533 + 0.618844, abs=1e-6)


@pytest.mark.parametrize("mean", [False, True])
def test_with_floor_it_is_sentence_transformers_gor(mean):
    made = torch.Generator().manual_seed(6)
    vectors = functional.normalize(torch.randn(6, 3, generator=made, dtype=torch.float64) + 0.5, dim=1)
    theirs = GlobalOrthogonalRegularizationLoss(None, mean_weight=float(mean), aggregation="sum")
    expected = sum(theirs.compute_loss_from_embeddings([vectors], None).values()).item()
    assert expected > 0
    assert regulariser(vectors, floor=True, mean=mean).item() == pytest.approx(expected, rel=1e-12)


def test_it_spreads_the_vectors_of_a_run(world):
    """With a great weight, the second moment of the queries falls below that of a run without it."""
    moments = []
    for name, params in (("inbatch", {}), ("spread_out/faithful", {"weight": 30.0})):
        run = world.run(name, params=params, steps=30, batch_size=30, learning_rate=1e-2)
        given = take_steps(run, 30)
        moments.append(losses.second_moment(given[-1][0].query_vectors.detach()).item())
    assert moments[1] < 0.7 * moments[0]


def test_it_is_a_row_of_the_faithful_track_alone():
    assert SpreadOut.refusal(SpreadOut.Params(), "controlled")
    assert not SpreadOut.refusal(SpreadOut.Params(), "faithful")


def test_a_floor_that_leaves_nothing_is_said(world, monkeypatch):
    run, floored, plain = (
        world.run("spread_out/faithful", params=params)
        for params in ({"floor": True}, {"floor": True}, {"floor": False})
    )
    take_steps(run, 2)
    monkeypatch.setattr("negmark.methods.losses.second_moment", lambda vectors: vectors.square().mean() * 0)
    for each in (floored, plain):
        take_steps(each, 2)
    assert (run.method.idle(), plain.method.idle()) == ("", "")
    assert floored.method.idle() == "no moment was above the floor, so that it is InfoNCE"
