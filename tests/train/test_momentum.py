"""Momentum copies of the towers: how they follow, what they cost, and that a killed run keeps them exactly."""

import numpy as np
import pytest
import torch

from negmark.core.errors import UserError
from negmark.methods import registry
from negmark.methods.base import Method
from negmark.methods.types import Negatives
from negmark.suite.checks import load
from negmark.train.checkpoint import Checkpoint
from negmark.train.counters import Counters
from negmark.train.momentum import MomentumCopy
from negmark.train.step import one_step, train_until
from world import take_steps


class Steady:
    """An encoder of one number, which is 1."""

    def __init__(self, value=1.0):
        self.value = torch.tensor([value])

    def live(self):
        return {"number": self.value}

    def by_copy(self, side, rows, parameters):
        return parameters["number"].expand(len(rows), 1)


def test_a_copy_comes_near_by_the_same_share_at_each_step():
    encoder = Steady(0.0)
    copy = MomentumCopy(encoder, Counters(), 0.995)
    encoder.value = torch.tensor([1.0])
    found = []
    for _ in range(3):
        copy.follow()
        found.append(copy.queries(np.array([0])).item())
    assert found == pytest.approx([0.005, 0.009975, 0.014925], abs=1e-6)
    assert np.log(0.5) / np.log(0.995) == pytest.approx(138.28, abs=0.01), "its half-life in steps"


class Target(Method):
    """Draws every query to what a slow copy makes of it."""

    def refresh(self, step):
        self.copy = self.services.momentum(0.9)

    def negatives(self, batch):
        return Negatives()

    def loss(self, step):
        aim = self.copy.documents(step.batch.positives) - self.copy.queries(step.batch.queries)
        return ((step.batch.query_vectors - aim) ** 2).mean()


@pytest.fixture
def start(world, monkeypatch):
    def started(**training):
        Target.name, Target.title = "toy", "Toy"
        monkeypatch.setattr(registry, "available", lambda: {"toy": Target})
        return world.run("toy", **training)

    return started


def test_it_starts_as_the_towers_and_follows_after_each_step_of_the_optimiser(start):
    run = start(accumulation=2)
    expected = {name: value.clone() for name, value in run.encoder.live().items()}
    for step in range(6):
        one_step(run, step, keep_scores=False)
        if step % 2:
            for name, value in run.encoder.live().items():
                expected[name] = 0.9 * expected[name] + 0.1 * value
        for name, value in run.services._momentum._parameters.items():
            torch.testing.assert_close(value, expected[name])
    moved = run.method.copy.queries(np.arange(5))
    assert not torch.allclose(moved, run.encoder.queries(np.arange(5)), atol=1e-5)
    assert not torch.allclose(moved, run.services.warmup_queries(np.arange(5)), atol=1e-5)
    assert not moved.requires_grad


def test_its_vectors_are_counted_and_empty_places_are_not(start):
    run = start()
    take_steps(run, 3)
    assert run.services.counters.extra_vectors == 3 * 2 * 8
    shape = run.method.copy.documents(np.array([[3, -1], [-1, -1]])).shape
    assert shape == (2, 2, 16)
    assert run.services.counters.extra_vectors == 3 * 2 * 8 + 1


def test_it_survives_a_restart_exactly(start, world, tmp_path):
    unbroken, killed, resumed = start(), start(), start()
    spec = world.spec("toy")
    train_until(unbroken, 8, Checkpoint(tmp_path / "none", spec, every=100))
    take_steps(killed, 5)
    Checkpoint(tmp_path / "state", spec, every=5).save_if_due(killed, 5, 8)
    checkpoint = Checkpoint(tmp_path / "state", spec, every=5)
    train_until(resumed, 8, checkpoint)
    assert checkpoint.resumed_at == 5
    assert unbroken.history == resumed.history
    first, second = (run.services.state_dict() for run in (unbroken, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert set(first) == {"decay", "query", "document"}


def test_a_run_without_one_saves_none(world):
    run = world.run("random")
    take_steps(run, 2)
    assert run.services.state_dict() == {}


@pytest.mark.parametrize("name", ["buir", "moco_dual_view"])
def test_a_cross_encoder_has_none_and_says_so_in_one_line(name):
    row = {"track": "faithful", "tier": "rerank"}
    with pytest.raises(UserError) as told:
        load({"suite": "s", "datasets": {"scifact": None}, "methods": {name: row}}, "s.yaml")
    assert (
        f"this row of {name} needs momentum copies of its towers, which a cross-encoder doesn't have"
        in str(told.value)
    )
    assert "\n" not in str(told.value)
