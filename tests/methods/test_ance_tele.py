"""Teleportation negatives: the four pools against brute force, their shares, and the loss over all passages."""

import numpy as np
import pytest
import torch

from brute_force import best
from negmark.methods import losses, sampling
from negmark.methods.ance_tele import ANCETele
from negmark.methods.types import NO_DOCUMENT
from negmark.train.checkpoint import Checkpoint
from negmark.train.step import _example
from world import take_steps


def started(world, name="ance_tele", negatives=4, **params):
    run = world.run(name, negatives=negatives, learning_rate=0.1)
    run.method.params = ANCETele.Params(**params)
    return run


def ahead(world, maps, query, positive, depth):
    """The unlabelled documents nearest to a positive, by the map of documents."""
    documents = np.load(world.vectors / "documents.npy") @ maps["document"].numpy().T
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    order = np.argsort(-documents @ documents[positive])
    return [row for row in order.tolist() if (query, row) not in world.positives][:depth]


@pytest.fixture
def asked(monkeypatch):
    """What was drawn from at every step: lists and shares."""
    seen = []
    draw = sampling.draw_from_sources

    def listening(sources, shares, n, rng):
        seen.append((sources, list(shares)))
        return draw(sources, shares, n, rng)

    monkeypatch.setattr(sampling, "draw_from_sources", listening)
    return seen


def test_the_pools_are_those_of_now_and_of_the_last_refresh(world, asked):
    run = started(world, refresh_steps=2, depth=4)
    maps, batches = [], []
    for step in range(6):
        maps.append(run.encoder.moment().state_dict())
        batches += [batch for batch, _ in take_steps(run, 1, step)]
    differ = 0
    for batch, (sources, shares) in zip(batches, asked, strict=True):
        now = maps[batch.step - batch.step % 2]
        wanted = [now, now]
        if batch.step >= 2:
            before = maps[batch.step - batch.step % 2 - 2]
            wanted += [before, before]
        assert len(sources) == len(wanted)
        assert shares == pytest.approx([1 / len(wanted)] * len(wanted))
        for place, (query, positive) in enumerate(
            zip(batch.queries.tolist(), batch.positives.tolist(), strict=True)
        ):
            for number, (found, then) in enumerate(zip(sources, wanted, strict=True)):
                expected = (
                    ahead(world, then, query, positive, 4) if number % 2 else best(world, then, query, 4)
                )
                assert set(found[place].tolist()) == set(expected)
            differ += len({frozenset(each[place].tolist()) for each in sources}) == len(sources)
    assert differ


def test_shares_by_hand(world, asked):
    run = started(world, refresh_steps=1, momentum=0.75, lookahead=0.2)
    take_steps(run, 2)
    assert asked[0][1] == pytest.approx([0.8, 0.2])
    assert asked[1][1] == pytest.approx([0.2, 0.05, 0.6, 0.15])


@pytest.mark.parametrize(
    ("params", "lists", "searches"),
    [
        ({"momentum": 0.0, "lookahead": 0.0}, 1, 6),
        ({"momentum": 0.0}, 2, 12),
        ({"lookahead": 0.0}, 2, 10),
        ({}, 4, 20),
    ],
)
def test_what_is_not_drawn_from_is_not_searched(params, lists, searches, world, asked):
    run = started(world, refresh_steps=2, **params)
    take_steps(run, 6)
    assert len(asked[-1][0]) == lists
    assert run.services.counters.searches == searches * 8
    work = ANCETele.work(run.method.params, "controlled", 6, 8)
    assert (work.corpus_encodings, work.searches) == (3, searches * 8)


@pytest.mark.parametrize("resumed_at", [1, 3, 4])
def test_a_resumed_run_draws_from_the_snapshots_it_had(world, tmp_path, resumed_at):
    spec = world.spec("ance_tele", learning_rate=0.1)
    unbroken, killed, resumed = (started(world, refresh_steps=2, depth=5) for _ in range(3))
    expected = take_steps(unbroken, 7)
    take_steps(killed, resumed_at)
    Checkpoint(tmp_path, spec, every=resumed_at).save_if_due(killed, resumed_at, 7)
    assert Checkpoint(tmp_path, spec, every=resumed_at).restore(resumed) == resumed_at
    found = take_steps(resumed, 7 - resumed_at, resumed_at)
    for (_, one), (_, other) in zip(found, expected[resumed_at:], strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
    assert resumed.services.counters == unbroken.services.counters
    assert resumed.method.idle() == ""


def test_without_a_second_refresh_it_says_so(world):
    run = started(world)
    take_steps(run, 3)
    assert run.method.idle() == "no refresh: the first is after 100 steps"


def test_the_faithful_loss_is_a_softmax_over_all_passages_of_the_batch(world):
    run = started(world, "ance_tele/faithful")
    run.method.refresh(0)
    example = _example(run, 0)
    batch, ids = example.batch, example.negatives.ids
    documents = [*batch.positives.tolist(), *ids.ravel().tolist()]
    vectors = run.encoder.documents(np.maximum(np.array(documents), 0))
    total = 0.0
    for place, query in enumerate(batch.queries.tolist()):
        used = [
            number == place or (each != NO_DOCUMENT and (query, each) not in world.positives)
            for number, each in enumerate(documents)
        ]
        logits = (batch.query_vectors[place] @ vectors.T) / 0.05
        total += (logits[torch.tensor(used)].logsumexp(dim=0) - logits[place]).item() / 8
    assert run.method.faithful_loss(example).item() == pytest.approx(total, rel=1e-4)
    assert losses.info_nce(example.scores, 0.05).item() < total
