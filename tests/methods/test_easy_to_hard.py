"""Hardness by step: the schedule and the draw against worked numbers."""

import numpy as np
import pytest

from negmark.methods.easy_to_hard import log_chances, sharpness
from negmark.methods.types import NO_DOCUMENT, Batch
from world import take_steps


@pytest.mark.parametrize(
    ("step", "pace", "expected"),
    [(0, 1.0, 0.0), (100, 1.0, 0.5), (399, 1.0, 1.995), (100, 0.5, 1.0), (200, 0.5, 2.0), (399, 0.5, 2.0)],
)
def test_the_schedule_by_hand(step, pace, expected):
    assert sharpness(step, 400, sharpest=2.0, pace=pace) == pytest.approx(expected)


def test_chances_by_hand():
    """b = 1/2 at scores of 8, 6 and 2 temperatures: e^4, e^3 and e^1."""
    ids, scores = np.array([[3, 1, 2, NO_DOCUMENT]]), np.array([[8.0, 6.0, 2.0, -np.inf]])
    chances = np.exp(log_chances(ids, scores, 0.5))[0]
    assert (chances / chances.sum()).tolist() == pytest.approx([0.705385, 0.259496, 0.035119, 0], abs=1e-6)
    assert np.exp(log_chances(ids, scores, 0.0))[0].tolist() == [1, 1, 1, 0]


def drawn_at(world, step):
    run = world.run("easy_to_hard", steps=100, negatives=1, params={"depth": 8})
    query = np.repeat(np.array([7]), 8000)
    ids = run.method.negatives(Batch(step, query, query, None, None)).ids[:, 0]
    candidates, scores = world.pools["dense"].candidates(np.array([7]), 8)
    return np.array([(ids == each).mean() for each in candidates[0]]), scores[0] / 0.05


def test_draws_are_uniform_at_first_and_the_losss_own_softmax_at_the_end(world):
    found, logits = drawn_at(world, 0)
    np.testing.assert_allclose(found, 1 / 8, atol=0.02)
    found, _ = drawn_at(world, 100)
    wanted = np.exp(logits - logits.max())
    np.testing.assert_allclose(found, wanted / wanted.sum(), atol=0.02)
    assert np.ptp(found) > 0.1


def test_the_history_tells_the_sharpness_and_a_run_of_one_step_that_there_was_none(world):
    run = world.run("easy_to_hard", steps=4)
    take_steps(run, 4)
    assert [row["sharpness"] for row in run.history] == [0, 0.25, 0.5, 0.75]
    assert run.method.idle() == ""
    short = world.run("easy_to_hard", steps=1)
    take_steps(short, 1)
    assert short.method.idle() == "the run ended before its draw grew sharper"
