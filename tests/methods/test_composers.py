"""What every method must hold to that puts batches together: a new file in `methods/` is tested here by itself.

Each in the small world with parameters that let it act; one that isn't listed runs with its defaults.
"""

import numpy as np
import pytest

from builders import unit
from contract_checks import METHODS
from negmark.methods.registry import available
from negmark.train import train
from negmark.train.batches import composed_pairs
from negmark.train.checkpoint import Checkpoint
from negmark.train.run import set_up
from negmark.train.step import train_until
from world import take_steps, write_world

ACTING = {
    "tas_b": {"size": 5},
    "cde": {"size": 5, "filtered": False},
    "b3": {"skip": 0, "window": 4, "size": 4},
    "ngame": {"refresh_steps": 2, "size": 5, "grows": False},
}
COMPOSERS = [name for name, kind in available().items() if kind.composition(kind.Params()) is not None]
every_composer = pytest.mark.parametrize("name", COMPOSERS)
STEPS, SIZE, QUERIES = 10, 8, 30
"""Two epochs and two thirds, which meet within batches."""


def composing(world, name, row=None, **more):
    return world.run(name, row=row, params=ACTING.get(name, {}), **{"steps": STEPS, **more})


def pairs_of(given):
    return [
        pair
        for batch, _ in given
        for pair in zip(batch.queries.tolist(), batch.positives.tolist(), strict=True)
    ]


def test_all_five_are_found():
    assert {"tas_b", "cde", "b3", "ngame", "one_source"} <= set(COMPOSERS)
    assert "inbatch" not in COMPOSERS
    assert all(name in METHODS for name in COMPOSERS)


@every_composer
def test_a_run_has_the_pairs_of_the_shared_order_epoch_by_epoch(name, world):
    found = pairs_of(take_steps(composing(world, name), STEPS))
    wanted = pairs_of(take_steps(world.run("inbatch", steps=STEPS), STEPS))
    assert found != wanted
    for start in range(0, STEPS * SIZE, QUERIES):
        assert sorted(found[start : start + QUERIES]) == sorted(wanted[start : start + QUERIES])


def five_topics(documents, queries, labels):
    """Documents lie near one of five axes, queries on the last of their positives."""
    axes = np.eye(documents.shape[1])[np.arange(len(documents)) % 5]
    documents[:] = unit(axes + 0.15 * np.random.default_rng(3).normal(size=documents.shape))
    labelled = labels[labels[:, 2] > 0]
    queries[labelled[:, 0]] = documents[labelled[:, 1]]


@pytest.fixture(scope="module")
def topical_world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("topical")
    return write_world(folder, change=five_topics, source=lambda positives: f"topic{positives[-1] % 5}")


@every_composer
def test_in_batch_negatives_are_harder(name, topical_world):
    """By the cosines of the first epoch, of an encoder that isn't trained."""
    shared = topical_world.run("inbatch", steps=STEPS, learning_rate=0.0)
    runs = composing(topical_world, name, learning_rate=0.0), shared
    hardness = []
    for run in runs:
        take_steps(run, 3)
        hardness.append(np.mean([row["in_batch_score"] for row in run.history]))
    assert hardness[0] > hardness[1] + 0.1
    assert runs[0].method.idle() == ""


@every_composer
def test_the_plan_counts_what_is_encoded(name, world):
    run = composing(world, name)
    take_steps(run, STEPS)
    composition = run.method.composition(run.method.params)
    pairs = composed_pairs(composition, STEPS, SIZE, QUERIES)
    assert run.services.counters.extra_vectors == composition.encodings * pairs


@every_composer
@pytest.mark.parametrize("at", [2, 4, 7])
def test_a_killed_run_ends_as_an_unbroken_one(name, world, tmp_path, at):
    """Killed within the first epoch, after the batch in which the second begins, and within that."""
    spec = world.spec(name, steps=STEPS)
    unbroken, killed, resumed = (composing(world, name) for _ in range(3))
    train_until(unbroken, STEPS, Checkpoint(tmp_path / "none", spec, every=100))
    take_steps(killed, at)
    Checkpoint(tmp_path / "state", spec, every=at).save_if_due(killed, at, STEPS)
    checkpoint = Checkpoint(tmp_path / "state", spec, every=100)
    train_until(resumed, STEPS, checkpoint)
    assert checkpoint.resumed_at == at
    for folder, run in (("first", unbroken), ("second", resumed)):
        train.write_run(run, tmp_path / folder, {})
    for file in (train.MODEL, train.HISTORY, train.LEDGER, train.SCORES):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file
    assert resumed.services.counters == unbroken.services.counters


def lent(world, name, row, method="random"):
    spec = world.spec(method, row=row, steps=STEPS)
    spec["composer"] = {"method": name, "params": ACTING.get(name, {})}
    pools = {kind: world.pools[kind] for kind in available()[method].pools}
    return set_up(spec, train.load_materials(world.dataset, world.vectors, pools))


@every_composer
def test_a_row_may_take_the_batches_of_another_with_its_own_negatives(name, world):
    """The first epoch is composed before any step is taken, so it is that of the composer's own row."""
    own = pairs_of(take_steps(composing(world, name, row="whatever"), 2))
    given = take_steps(lent(world, name, "random_too"), 2)
    assert pairs_of(given) == own
    assert all((negatives.ids >= 0).all() for _, negatives in given)


@every_composer
def test_a_killed_run_with_the_batches_of_another_goes_on(name, world, tmp_path):
    unbroken, killed, resumed = (lent(world, name, "random_too") for _ in range(3))
    wanted = pairs_of(take_steps(unbroken, STEPS))
    spec = {**world.spec("random"), "composer": {"method": name, "params": {}}}
    take_steps(killed, 5)
    Checkpoint(tmp_path, spec, every=5).save_if_due(killed, 5, STEPS)
    assert Checkpoint(tmp_path, spec, every=5).restore(resumed) == 5
    assert pairs_of(take_steps(resumed, STEPS - 5, 5)) == wanted[5 * SIZE :]
    assert killed.batches.state_dict().keys() == resumed.batches.state_dict().keys()


def test_a_checkpoint_belongs_to_who_composed_it(world, tmp_path):
    spec = {**world.spec("random"), "composer": {"method": "tas_b", "params": {}}}
    run = lent(world, "tas_b", "random_too")
    take_steps(run, 2)
    Checkpoint(tmp_path, spec, every=2).save_if_due(run, 2, STEPS)
    assert Checkpoint(tmp_path, world.spec("random"), every=2).restore(world.run("random")) == 0
