"""RLHN: what a verdict changes in negatives, positives and queries, and its upper bound by the truth."""

import json

import numpy as np
import pytest
import torch

from negmark.core.errors import UserError
from negmark.data import verdicts
from negmark.evaluate.audit import WHOLE_RUN, audit
from negmark.methods.rlhn import RLHN, left_out
from negmark.methods.types import NO_DOCUMENT
from negmark.share import to_judge
from negmark.share.negatives import chosen_of
from negmark.store import collection
from negmark.store.ledger import Ledger, read_ledger
from negmark.store.pool import CandidatePool
from negmark.suite.checks import load
from negmark.train import train
from negmark.train.run import set_up
from negmark.train.step import _example
from world import take_steps, write_world


def relevant_to(world, query):
    """The documents that the world's verdicts find relevant to a query: `world.verdicts_of`."""
    ids, scores = world.pools["verdicts"].candidates(np.array([query]))
    return set(ids[0][scores[0] >= 1].tolist())


def faithful(world, **params):
    return world.run("rlhn/faithful", params={"technique": "relabel", **params})


def test_what_is_found_relevant_is_never_a_negative_nor_one_of_the_batch(world):
    run, met = world.run("rlhn"), 0
    for step in range(12):
        example = _example(run, step)
        batch = example.batch
        for place, query in enumerate(batch.queries.tolist()):
            found = relevant_to(world, query)
            assert not set(example.negatives.ids[place].tolist()) & found
            inside = [column for column, document in enumerate(batch.positives.tolist()) if document in found]
            assert not example.scores.in_batch_mask[place, inside].any()
            met += len(inside)
    assert met
    assert run.method.changed[0] > 0
    assert run.method.idle() == ""


def test_better_alone_counts_less():
    class Pool:
        def candidates(self, queries):
            return np.array([[4, 5, 6]]), np.array([[2.0, 1.0, 0.0]], np.float32)

    class Services:
        def pool(self, name):
            return Pool()

    def found(**params):
        return RLHN(RLHN.Params(**params), Services()).relevant(np.array([0])).tolist()

    assert found() == [[4, 5, NO_DOCUMENT]]
    assert found(counts="better") == [[4, NO_DOCUMENT, NO_DOCUMENT]]


def test_more_than_eight_leave_a_query_out_and_one_does_where_queries_are_removed():
    rows = np.full((3, 9), NO_DOCUMENT)
    rows[0], rows[1, :8] = 1, 1
    assert left_out(rows, RLHN.Params()).tolist() == [True, False, False]
    assert left_out(rows, RLHN.Params(technique="remove_query")).tolist() == [True, True, False]


def test_a_positive_is_drawn_alike_from_labelled_and_made_ones(world):
    run = faithful(world)
    query = next(
        row for row in run.services.queries.tolist() if len(relevant_to(world, row)) == 2 and row % 3 == 2
    )
    known = {document for asked, document in world.positives if asked == query}
    assert len(known) == 2
    rows = 6000
    drawn = np.random.default_rng(0).choice(sorted(known), rows)  # as the loop draws, uniformly
    _, found = run.method.examples(0, np.full(rows, query), drawn)
    documents, counts = np.unique(found, return_counts=True)
    assert set(documents.tolist()) == known | relevant_to(world, query)
    assert (np.abs(counts / rows - 0.25) < 5 * np.sqrt(0.25 * 0.75 / rows)).all()


def test_the_loop_trains_on_the_positives_that_were_made(world):
    run = faithful(world)
    before = [run.labels.batch(0, step, 8) for step in range(6)]
    given = take_steps(run, 6)
    made = 0
    for (batch, _), (queries, positives) in zip(given, before, strict=True):
        np.testing.assert_array_equal(batch.queries, queries)
        changed = batch.positives != positives
        for query, document in zip(
            batch.queries[changed].tolist(), batch.positives[changed].tolist(), strict=True
        ):
            assert document in relevant_to(world, query)
        expected = run.encoder.documents(batch.positives).shape
        assert batch.positive_vectors.shape == expected
        made += int(changed.sum())
    assert made > 5
    assert sum(row["positives_made"] for row in run.history) == made == run.method.changed[1]


def test_removed_queries_have_others_in_their_place(world):
    run = world.run("rlhn/faithful", params={"technique": "remove_query"})
    before = [run.labels.batch(0, step, 8) for step in range(6)]
    for (batch, _), (queries, _) in zip(take_steps(run, 6), before, strict=True):
        stay = [query for query in queries.tolist() if not relevant_to(world, query)]
        assert set(stay) <= set(batch.queries.tolist())
        assert not any(relevant_to(world, query) for query in batch.queries.tolist())
        assert len(batch.queries) == 8
        assert len(set(batch.queries.tolist())) >= len(set(queries.tolist())), (
            "an epoch may end within a batch"
        )
        pairs = zip(batch.queries.tolist(), batch.positives.tolist(), strict=True)
        assert set(pairs) <= world.positives
    assert run.method.changed[2] > 0
    out = sum(bool(relevant_to(world, query)) for query in run.services.queries.tolist())
    assert sum(row["queries_replaced"] for row in run.history) == run.method.changed[2]
    assert 0 < out < len(run.services.queries)


def test_if_nobody_is_left_it_is_one_line(world):
    run = world.run("rlhn/faithful", params={"technique": "remove_query"})
    run.method.relevant = lambda queries: np.zeros((len(queries), 1), np.int64)
    with pytest.raises(
        UserError, match=r"rlhn: examples\(\) must return 1 to 8 queries.*nothing to train on"
    ):
        _example(run, 0)


def test_the_controlled_track_may_not_change_labels():
    suite = {
        "suite": "s",
        "datasets": {"scifact": {"verdicts": __file__}},
        "methods": {"rlhn": {"technique": "relabel"}},
    }
    with pytest.raises(UserError, match="`technique: relabel` changes the labels; add `track: faithful`"):
        load({**suite, "reference": "rlhn"}, "s.yaml")
    suite["methods"] = {"rlhn": None}
    load({**suite, "reference": "rlhn"}, "s.yaml")
    with pytest.raises(
        UserError, match=r"datasets.scifact.verdicts: the row rlhn relabels by verdicts; name their file"
    ):
        load({**suite, "datasets": {"scifact": None}, "reference": "rlhn"}, "s.yaml")
    with pytest.raises(UserError, match=r"datasets.scifact.verdicts: there is no file ./none.jsonl"):
        load({**suite, "datasets": {"scifact": {"verdicts": "./none.jsonl"}}, "reference": "rlhn"}, "s.yaml")


def test_the_ledger_shows_positives_the_audit_counts_them_and_a_restart_keeps_them(world, tmp_path):
    run = faithful(world)
    given = take_steps(run, 3)  # each query once
    run.ledger.write(tmp_path / "ledger.parquet")
    table = read_ledger(tmp_path / "ledger.parquet")
    rows = table.to_pandas()
    had = {(batch.step, query): document for batch, _ in given
           for query, document in zip(batch.queries.tolist(), batch.positives.tolist(), strict=True)}  # fmt: skip
    assert [had[key] for key in zip(rows["step"], rows["query"], strict=True)] == rows["positive"].tolist()
    restored = Ledger()
    restored.restore(tmp_path / "ledger.parquet")
    restored.write(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "ledger.parquet").read_bytes()
    made = [
        pair for (_, query), document in had.items() if (pair := (query, document)) not in world.positives
    ]
    true = collection.Qrels(*np.array([(*pair, 1) for pair in made[:2]], np.int64).T)
    codes = np.arange(world.documents)
    whole = audit(rows, world.labels, codes, 3, true).set_index("window").loc[WHOLE_RUN]
    assert whole["relabelled"] == len(made) == run.method.changed[1]
    assert whole["relabelled_rate"] == pytest.approx(len(made) / 24)
    hits = sum(pair in set(made[:2]) for pair in made)
    assert whole["relabelled_true_rate"] == pytest.approx(hits / len(made))
    assert "relabelled" not in audit(rows.drop(columns="positive"), world.labels, codes, 3)
    assert "positive" not in world.run("rlhn").ledger.table()
    written = {
        one.query_id: {passage.id for passage in one.positives}
        for one in chosen_of(world.dataset, "w", rows, rows)
    }
    query, document = made[0]
    assert f"d{document}" in written[f"q{query}"]


@pytest.fixture(scope="module")
def hiding(tmp_path_factory):
    """A world that hides a candidate of every other query."""
    folder = tmp_path_factory.mktemp("plain")
    plain = write_world(folder)
    ids, _ = plain.pools["dense"].candidates(np.arange(0, 30, 2), 5)
    pairs = [(query, int(row[2 + query % 3])) for query, row in zip(range(0, 30, 2), ids, strict=True)]
    return write_world(tmp_path_factory.mktemp("hiding"), hidden=pairs), folder


def test_a_file_of_the_hidden_positives_is_the_upper_bound(hiding, tmp_path):
    """The control, and the same method with a file made of the truth, train alike."""
    world, _ = hiding
    pool = world.dataset.parent / "dense.safetensors"
    file = tmp_path / "truth.jsonl"
    to_judge.main(pool, world.dataset, file, depth=20, by_truth=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["judge"] for line in lines} == {"hidden labels"}
    assert sum(line["verdict"] == "relevant" for line in lines) == 15
    verdicts.main(file, world.dataset, tmp_path / "verdicts.safetensors")
    params = {"technique": "relabel", "depth": 20}
    ours = {**world.spec("rlhn/faithful", row="one"), "params": params}
    pools = {"dense": world.pools["dense"], "verdicts": CandidatePool(tmp_path / "verdicts.safetensors")}
    one = set_up(ours, train.load_materials(world.dataset, world.vectors, pools))
    two = world.run("rlhn_truth/faithful", row="one", params=params)
    first, second = take_steps(one, 6), take_steps(two, 6)
    for (batch, given), (other, same) in zip(first, second, strict=True):
        np.testing.assert_array_equal(batch.positives, other.positives)
        np.testing.assert_array_equal(given.ids, same.ids)
        assert torch.equal(given.in_batch, same.in_batch)
    assert one.history == two.history
    assert one.method.changed.tolist() == two.method.changed.tolist()
    assert one.method.changed[1] > 0
    hidden = collection.qrels(world.dataset, "hidden")
    known = set(zip(hidden.queries.tolist(), hidden.documents.tolist(), strict=True))
    for batch, given in second:
        rows = zip(batch.queries.tolist(), given.ids.tolist(), strict=True)
        assert not {(query, document) for query, row in rows for document in row} & known


def test_where_nothing_is_hidden_the_bound_did_not_act(world):
    run = world.run("rlhn_truth")
    take_steps(run, 2)
    assert run.method.idle() == "it found nothing relevant beside the labels"


def test_a_baseline_may_have_its_track(world):
    spec = {**world.spec("dense_uniform/faithful"), "loss": {"method": "rlhn", "params": {}}}
    run = set_up(spec, train.load_materials(world.dataset, world.vectors, world.pools))
    take_steps(run, 1)
    assert "positive" not in run.ledger.table()
