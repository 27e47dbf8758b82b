"""What a run says of places for negatives that its method could not fill, and of a rule that never acted."""

import json

import numpy as np
import pandas as pd
import pytest

from negmark.core.errors import UserError
from negmark.evaluate.audit import audit
from negmark.methods.rocketqa import RocketQA
from negmark.methods.types import NO_DOCUMENT, Negatives
from negmark.store.collection import qrels
from negmark.store.ledger import read_ledger
from negmark.train import train
from world import take_steps, write_world


def manifest(run, folder):
    train.write_run(run, folder, {})
    return json.loads((folder / "manifest.json").read_text())


def giving(world, chosen):
    """A run of `random` that gives what `chosen` makes of its ids."""
    run = world.run("random", steps=4)
    given = run.method.negatives
    run.method.negatives = lambda batch: chosen(given(batch).ids)
    take_steps(run, 4)
    return run


def half(ids):
    """Half of the queries get nothing, the others half of their places, one of the two drawn to fill it."""
    kept = np.where(np.arange(8)[:, None] % 2 | (np.arange(4) < 2), NO_DOCUMENT, ids)
    return Negatives(ids=kept, backfilled=(kept != NO_DOCUMENT) & (np.arange(4) == 3))


def test_empty_and_backfilled_places_are_in_manifest_and_audit(world, tmp_path):
    run = giving(world, half)
    told = manifest(run, tmp_path)
    assert told["filled"] == {"places_empty": 0.75, "queries_without": 0.5, "backfilled": 0.5}
    assert told["idle"] == ""
    table = audit(
        read_ledger(tmp_path / train.LEDGER).to_pandas(), qrels(world.dataset, "train"), np.arange(60), 4,
        history=pd.read_parquet(tmp_path / train.HISTORY),
    )  # fmt: skip
    columns = ["places_empty", "queries_without", "backfilled", "in_batch_copies", "in_batch_own"]
    assert table[columns].to_numpy().tolist() == [[0.75, 0.5, 0.5, 0, 0]] * 5, (
        "four windows and the whole run"
    )


def test_a_method_that_never_gave_a_negative_did_not_act(world, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NEGMARK_LOG", "log")
    run = giving(world, lambda ids: Negatives(ids=np.full_like(ids, NO_DOCUMENT)))
    told = manifest(run, tmp_path)
    assert told["filled"] == {"places_empty": 1, "queries_without": 1, "backfilled": None}
    assert told["idle"] == "it never gave a negative"
    assert capsys.readouterr().err.endswith(", seed 0: it never gave a negative\n")


def test_a_method_without_places_of_its_own_lacks_nothing(world, tmp_path):
    run = world.run("inbatch")
    take_steps(run, 3)
    told = manifest(run, tmp_path)
    assert told["filled"] == dict.fromkeys(("places_empty", "queries_without", "backfilled"))
    assert told["idle"] == ""


def test_rocketqa_marks_what_it_drew_to_fill(world):
    run = world.run("rocketqa", steps=4)
    run.method.params = RocketQA.Params(low=1e-7)
    given = take_steps(run, 4)
    pool = run.services.pool("dense")
    for batch, negatives in given:
        candidates = pool.candidates(batch.queries)[0]
        outside = ~(negatives.ids[:, :, None] == candidates[:, None]).any(axis=2)
        np.testing.assert_array_equal(negatives.backfilled, outside & (negatives.ids != NO_DOCUMENT))
    assert 0 < run.ledger.backfilled() < 1


def test_the_oracle_acts_where_it_meets_what_is_hidden(world, tmp_path, tmp_path_factory):
    run = world.run("oracle")
    take_steps(run, 4)
    assert manifest(run, tmp_path)["idle"] == "nothing is hidden here, so that it is dense_topk"

    queries = np.arange(30)
    best = world.pools["dense"].candidates(queries, 1)[0][:, 0]
    truth = write_world(tmp_path_factory.mktemp("hiding"), hidden=list(zip(queries, best, strict=True)))
    run = truth.run("oracle")
    take_steps(run, 4)
    assert run.method.idle() == ""
    again = truth.run("oracle").method
    again.load_state_dict(run.method.state_dict())
    assert again.idle() == "", "as after a restart"


@pytest.mark.parametrize("places", [np.zeros((8, 3), bool), np.zeros((8, 4)), [True]])
def test_backfilled_places_have_the_shape_of_the_ids(world, places):
    with pytest.raises(UserError, match="backfilled must be bool"):
        giving(world, lambda ids: Negatives(ids=ids, backfilled=places))
