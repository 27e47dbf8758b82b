"""Methods whose rule starts late or seldom, set so that it acts in a small world: what holds for all of them then."""

import pytest
import torch

from contract_checks import assert_fit, finite_gradients, same
from negmark.train import train
from negmark.train.checkpoint import Checkpoint
from negmark.train.step import train_until
from world import take_steps

NOW = {"period": 1, "rate": 0.1, "cap": 0.1}
ACTING = {
    "ance_tele": {"refresh_steps": 2},
    "ance_tele/faithful": {"refresh_steps": 2},
    "b3": {"skip": 0, "window": 4, "size": 4},
    "cde": {"size": 5},
    "asl": {},
    "asl/faithful": {},
    "dcl": {"sigma": 0.5},
    "dcl/faithful": {"sigma": 0.5, "views": True},
    "easy_to_hard": {},
    "feature_transformation": {},
    "feature_transformation/faithful": {"queue": 20},
    "hardness": {"of": "all"},
    "hardness/faithful": {"of": "given"},
    "kalm": {},
    "kalm/faithful": {"skip": 0, "last": 20},
    "large_loss": NOW,
    "large_loss/faithful": {**NOW, "scheme": "correct_for_good"},
    "lemon": {"clusters": 6, "hops": 2},
    "lemon/faithful": {"clusters": 6, "hops": 2, "side": "replaced", "min_cosine": 0.0},
    "mochi": {"pairs_start": 0.0, "query_start": 0.0, "queue": 20},
    "mochi/faithful": {"pairs_start": 0.0, "query_start": 0.0, "queue": 20},
    "self_guided": {"margin": 0.0},
    "self_guided/faithful": {"margin": 0.0},
    "ngame": {"refresh_steps": 2, "size": 5, "grows": False},
    "tas_b": {"size": 5, "balanced": True},
    "unpg": {"whisker": 0.5},
    "unpg/faithful": {"margin": 0.1},
}
acting = pytest.mark.parametrize(("name", "params"), ACTING.items(), ids=ACTING)


@acting
def test_it_acts_holds_the_contract_and_equal_seeds_give_equal_runs(name, params, world):
    run, other = world.run(name, params=params), world.run(name, params=params)
    given = take_steps(run, 12)
    assert run.method.idle() == ""
    assert_fit(given, world, granted=4, name=name)
    assert finite_gradients(run)
    assert same(given, take_steps(other, 12))
    assert run.history == other.history


@acting
@pytest.mark.parametrize("at", [1, 5])
def test_a_killed_run_ends_as_an_unbroken_one(name, params, world, tmp_path, at):
    spec = world.spec(name)
    unbroken, killed, resumed = (world.run(name, params=params) for _ in range(3))
    train_until(unbroken, 9, Checkpoint(tmp_path / "none", spec, every=100))
    take_steps(killed, at)
    Checkpoint(tmp_path / "state", spec, every=at).save_if_due(killed, at, 9)
    checkpoint = Checkpoint(tmp_path / "state", spec, every=at)
    train_until(resumed, 9, checkpoint)
    assert checkpoint.resumed_at is not None
    for folder, run in (("first", unbroken), ("second", resumed)):
        train.write_run(run, tmp_path / folder, {})
    for file in (train.MODEL, train.HISTORY, train.LEDGER, train.SCORES):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file
    one, other = unbroken.method.state_dict(), resumed.method.state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
