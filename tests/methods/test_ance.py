"""ANCE against brute force with the weights as they were, and its loss by hand."""

import math

import numpy as np
import pytest
import torch

from brute_force import best
from negmark.methods import losses
from negmark.methods.ance import ANCE
from negmark.methods.base import Batch
from negmark.methods.types import NO_DOCUMENT
from negmark.train.checkpoint import Checkpoint
from negmark.train.step import _example
from world import take_steps


def started(world, name="ance", negatives=4, **params):
    run = world.run(name, negatives=negatives, learning_rate=0.1)
    run.method.params = ANCE.Params(**params)
    return run


def test_pairwise_loss_by_hand():
    ones = torch.ones(1, 1)
    loss = losses.pairwise_softplus(torch.tensor([2.0]), torch.tensor([[1.0]]), ones, ones.bool())
    assert loss.item() == pytest.approx(0.313262, abs=1e-6)


def test_defaults():
    assert ANCE.Params().model_dump() == {"refresh_steps": 100, "depth": 200}


def test_candidates_are_those_of_the_weights_at_the_last_refresh(world):
    """As deep as M, each draw is the whole pool, so the pools of six steps are seen entire."""
    run = started(world, refresh_steps=2, depth=4)
    maps, given = [], []
    for step in range(6):
        maps.append(run.encoder.moment().state_dict())
        given += take_steps(run, 1, step)
    stale = fresh = 0
    for batch, negatives in given:
        then = maps[batch.step - batch.step % 2]
        for query, row in zip(batch.queries.tolist(), negatives.ids.tolist(), strict=True):
            assert set(row) == set(best(world, then, query, 4))
            stale += set(row) != set(best(world, maps[0], query, 4))
            fresh += set(row) != set(best(world, maps[batch.step], query, 4))
    assert stale > 0  # else a pool that is never refreshed would pass
    assert fresh > 0  # else a live search would pass
    assert run.services.counters.refreshes == 3
    assert run.services.counters.searches == 6 * 8


@pytest.mark.parametrize(("refresh_steps", "refreshes"), [(1, 6), (4, 2), (100, 1)])
def test_refreshes_are_due_from_step_zero_on(refresh_steps, refreshes, world):
    run = started(world, refresh_steps=refresh_steps)
    take_steps(run, 6)
    assert run.services.counters.refreshes == refreshes


def test_draws_are_spread_over_the_top_without_positives_or_repeats(world):
    run = started(world, negatives=3, depth=6, refresh_steps=1000)
    maps = run.encoder.moment().state_dict()
    run.method.refresh(0)
    queries, positives = run.labels.batch(0, 0, 8)
    vectors = run.encoder.queries(queries), run.encoder.documents(positives)
    counts = np.zeros((8, 6))
    for step in range(400):
        ids = run.method.negatives(Batch(step, queries, positives, *vectors)).ids
        for place, query in enumerate(queries.tolist()):
            top = best(world, maps, query, 6)
            drawn = [top.index(document) for document in ids[place].tolist()]
            assert len(set(drawn)) == 3
            counts[place, drawn] += 1
    np.testing.assert_allclose(counts.sum(axis=0) / (400 * 8 * 3), 1 / 6, atol=0.02)


@pytest.mark.parametrize("resumed_at", [3, 4])
def test_a_resumed_run_draws_from_the_snapshot_it_had(world, tmp_path, resumed_at):
    """At step 3 the pool of step 2 is still in use, at step 4 a new one is due."""
    spec = world.spec("ance", learning_rate=0.1)
    unbroken = started(world, refresh_steps=2, depth=5)
    expected = take_steps(unbroken, 7)
    killed = started(world, refresh_steps=2, depth=5)
    take_steps(killed, resumed_at)
    Checkpoint(tmp_path, spec, every=resumed_at).save_if_due(killed, resumed_at, 7)
    resumed = started(world, refresh_steps=2, depth=5)
    assert Checkpoint(tmp_path, spec, every=resumed_at).restore(resumed) == resumed_at
    found = take_steps(resumed, 7 - resumed_at, resumed_at)
    for (_, one), (_, other) in zip(found, expected[resumed_at:], strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
    assert resumed.services.counters == unbroken.services.counters


def test_nothing_is_kept_before_the_first_refresh(world):
    run = started(world)
    assert run.method.state_dict() == {}
    run.method.load_state_dict({})
    run.method.refresh(7)  # a run may begin anywhere
    assert set(run.method.state_dict()) == {"query", "document", "refreshed"}


def test_faithful_loss_is_the_mean_over_triples_without_in_batch_negatives(world, tiny_world):
    for made, size in ((world, 8), (tiny_world, 6)):
        run = made.run("ance/faithful", batch_size=size)
        run.method.refresh(0)
        example = _example(run, 0)
        positive, negatives = example.scores.positive.tolist(), example.scores.negatives.tolist()
        each = [
            math.log1p(math.exp((other - positive[place]) / 0.05))
            for place, row in enumerate(example.negatives.ids.tolist())
            for document, other in zip(row, negatives[place], strict=True)
            if document != NO_DOCUMENT
        ]
        assert run.method.faithful_loss(example).item() == pytest.approx(np.mean(each), rel=1e-4)
    assert len(each) < example.negatives.ids.size  # the tiny corpus leaves places empty


def test_faithful_lowers_its_loss(world):
    run = world.run("ance/faithful", steps=30, batch_size=30)
    with torch.no_grad():
        run.encoder.query.copy_(run.encoder.query.roll(1, dims=0))  # a poor start
    take_steps(run, 30)
    assert run.history[-1]["loss"] < 0.7 * run.history[0]["loss"]
