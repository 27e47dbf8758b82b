"""Batches that a method puts together, where whole encoders are trained: a killed run ends as an unbroken one."""

import pytest

from killed_runs import killed, same
from negmark.methods.registry import available
from negmark.train import train
from negmark.train.checkpoint import Checkpoint
from negmark.train.run import set_up
from negmark.train.step import train_until
from texts import Texts
from world import take_steps

PARAMS = {
    "tas_b": {"size": 10},
    "cde": {"size": 10},
    "b3": {"skip": 1, "window": 6, "size": 4},
    "ngame": {"refresh_steps": 3, "size": 8, "grows": False},
}
every_composer = pytest.mark.parametrize("name", PARAMS)


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Texts:
    return Texts(tmp_path_factory.mktemp("texts"))


@every_composer
def test_a_transformer_goes_on_within_the_second_epoch(name, texts, stop_at, tmp_path):
    """60 queries in batches of 8: the eighth has the end of the first epoch. Killed at step 10, saved after 9."""
    params = available()[name].Params(**PARAMS[name]).model_dump(mode="json")
    spec = {**texts.spec(name, steps=11, checkpoint_steps=3), "params": params}
    whole = texts.train(tmp_path / "whole", spec)
    killed(texts, stop_at, tmp_path / "again", spec, at=10)
    taken = stop_at()
    assert same(whole, texts.train(tmp_path / "again", spec))
    assert taken == [9, 10]


@every_composer
def test_a_token_table_goes_on_within_the_second_epoch(name, world, tmp_path):
    """30 queries in batches of 8: the fourth has the end of the first epoch."""
    spec = {**world.spec("claps", steps=8), "method": name, "row": name, "params": PARAMS[name]}
    assert spec["tier"] == "static"

    def start():
        pools = {kind: world.pools[kind] for kind in available()[name].pools}
        return set_up(spec, train.load_materials(world.dataset, world.vectors, pools))

    unbroken, stopped, resumed = start(), start(), start()
    train_until(unbroken, 8, Checkpoint(tmp_path / "none", spec, every=100))
    take_steps(stopped, 5)
    Checkpoint(tmp_path / "state", spec, every=5).save_if_due(stopped, 5, 8)
    train_until(resumed, 8, Checkpoint(tmp_path / "state", spec, every=100))
    assert resumed.history == unbroken.history
    assert [row["step"] for row in resumed.history] == list(range(8))
