"""Known truth: which labels are hidden, that training never meets them, and that false negatives are counted."""

import os
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from builders import write_beir
from contract_checks import METHODS
from negmark.core.errors import UserError
from negmark.core.relations import RELATIONS
from negmark.data import prepare
from negmark.data.hidden import found_by, hide, share_of
from negmark.evaluate.audit import audit
from negmark.search.index import BM25Searcher
from negmark.store import collection
from negmark.store.collection import HIDDEN
from negmark.store.graph import read_graph, relation_of
from negmark.suite.settings import DatasetSettings, Related
from negmark.train import inputs
from world import World, take_steps, write_world

REAL = os.environ.get("NEGMARK_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="NEGMARK_DATA names no folder of datasets")
CONTROLS = {name for name, method in METHODS.items() if method.knows_hidden}
BM25 = {"how": "pooled", "retriever": "bm25", "k1": 1.2, "b": 0.75}
DOCUMENTS = ["cat dog", "cat", "bird song", "cat cat fish", "stone"]
QUERIES = ["cat fish", "bird", "fish stone", "nothing here"]
TRAIN = np.array([(0, 3, 1), (0, 1, 2), (0, 4, 1), (0, 2, 0), (1, 2, 1), (2, 0, 1), (2, 1, 1), (3, 4, 1)])


def settings(source: Path, **changes: Any) -> dict[str, Any]:
    return {
        **DatasetSettings().model_dump(),
        "name": "made",
        "source": str(source),
        "dev_queries": 0,
        **changes,
    }


def rows(array: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, array.tolist()))


def test_pooled_keeps_what_bm25_ranks_high_and_drops_a_query_without_any() -> None:
    dataset = {"name": "made", "seed": 0, "hide": {**BM25, "depth": 2}}
    kept, hidden, facts = hide(TRAIN, dataset, (DOCUMENTS, QUERIES), {})
    # query 0: 3 has both words, 1 is the shorter of the two that have one; query 2 finds 3 and 4, query 3 nothing
    assert rows(kept) == {(0, 3, 1), (0, 1, 2), (0, 2, 0), (1, 2, 1)}
    assert rows(hidden) == {(0, 4, 1)}
    assert facts == {
        **BM25, "depth": 2, "positives": 7, "positives_kept": 3, "positives_hidden": 1,
        "positives_left_out": 3, "queries_left_out": 2,
    }  # fmt: skip


def test_the_ranking_is_that_of_the_pools_searcher() -> None:
    searcher = BM25Searcher(DOCUMENTS, QUERIES, 1.2, 0.75)
    queries = np.unique(TRAIN[:, 0])
    best, _ = searcher.search(queries, 1)
    expected = [document == best[query, 0] for query, document, _ in TRAIN]
    assert found_by(searcher, TRAIN, 1).tolist() == expected
    assert found_by(searcher, TRAIN, 99).tolist() == [True, True, False, False, True, False, False, False]


def many(counts: list[int]) -> np.ndarray:
    return np.array([(query, 3 * row, 1) for query, count in enumerate(counts) for row in range(count)])


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.99])
def test_a_share_is_rounded_and_leaves_each_query_one(share: float) -> None:
    counts = [1, 2, 3, 7, 40]
    labels = many(counts)
    chosen = share_of(labels, share, 0)
    found = np.bincount(labels[chosen, 0], minlength=len(counts))
    assert found.tolist() == [max(1, int(share * count + 0.5)) for count in counts]


def test_a_share_is_drawn_evenly_and_by_its_seed() -> None:
    labels = many([40])
    draws = np.array([share_of(labels, 0.5, seed) for seed in range(400)])
    np.testing.assert_array_equal(draws[3], share_of(labels, 0.5, 3))
    assert np.abs(draws.mean(axis=0) - 0.5).max() < 5 * 0.5 / 20
    assert not share_of(np.array([(0, 1, 0), (0, 2, 1)]), 0.5, 0)[0], "grade 0 is no positive to be kept"


@pytest.mark.parametrize(
    ("labels", "how", "message"),
    [
        (TRAIN, {**BM25, "depth": 99, "how": "random", "share": 0.99}, "no label would be hidden"),
        (many([1, 1]), {"how": "random", "share": 0.5}, "no label would be hidden"),
        (TRAIN[-1:], {**BM25, "depth": 1}, r"hide\.depth: BM25 ranks no training positive among its best 1"),
    ],
)
def test_nothing_to_hide_or_to_train_on_is_said(
    labels: np.ndarray, how: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=f"datasets.made.*{message}"):
        hide(labels, {"name": "made", "seed": 0, "hide": how}, (DOCUMENTS, QUERIES), {})


# 0 is above 1 and 2, 1 above 3, 3 above 4
ABOVE = {"ancestor": relation_of([(1, 0), (2, 0), (3, 1), (3, 0), (4, 3), (4, 1), (4, 0)], 5)}
BY_RELATION = {"how": "related", "relation": "ancestor"}


def test_related_hides_what_is_above_a_positive_and_has_no_label_of_its_own() -> None:
    dataset = {"name": "made", "seed": 0, "hide": BY_RELATION}
    labels = np.array([(0, 3, 1), (0, 1, 1), (1, 4, 1), (1, 1, 0), (2, 0, 1), (3, 2, 0)])
    kept, hidden, facts = hide(labels, dataset, ([], []), ABOVE)
    np.testing.assert_array_equal(kept, labels)
    # query 0: above 3 are 1, a positive itself, and 0, which is above 1 too; query 1: above 4 are 3, 0 and 1, which was
    # judged; nothing is above 0; query 3 has no positive
    assert hidden.tolist() == [[0, 0, 1], [1, 0, 1], [1, 3, 1]]
    assert facts == {**BY_RELATION, "positives": 4, "related_hidden": 3, "queries_with_hidden": 2}


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({"sibling": ABOVE["ancestor"]}, "no relation 'ancestor'; they have sibling"),
        ({}, "no relation 'ancestor'; they have none; use how: pooled or how: random"),
        ({"ancestor": relation_of([(2, 0)], 5)}, "no unlabelled document is ancestor of a training positive"),
    ],
)
def test_a_relation_that_hides_nothing_is_said(graph: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"datasets\.made\.hide\.relation: .*{message}"):
        hide(TRAIN[:2], {"name": "made", "seed": 0, "hide": BY_RELATION}, ([], []), graph)


def test_a_suite_may_name_every_relation_that_a_collection_can_have() -> None:
    assert get_args(Related.model_fields["relation"].annotation) == RELATIONS


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """Sixty queries with four positives each, of which BM25 finds those that share the query's own word."""
    corpus = {f"d{row}": ("", f"word{row // 4} {'alpha' if row % 4 < 2 else 'other'}") for row in range(240)}
    queries = {f"t{row}": f"word{row} alpha" for row in range(60)} | {"a": "word3", "b": "word7"}
    train = [(f"t{query}", f"d{(4 * query + row) % 240}", 1) for query in range(60) for row in range(4)]
    return write_beir(
        tmp_path / "made", corpus, queries, {"train": train, "test": [("a", "d14", 1), ("b", "d28", 1)]}
    )


def test_a_dataset_keeps_what_is_hidden_in_a_split_of_its_own(beir: Path, tmp_path: Path) -> None:
    made, card = prepare.prepare(settings(beir, hide={**BM25, "depth": 2}))
    assert card["hidden"]["positives_kept"] == card["labels"]["train"] == 120
    assert card["hidden"]["positives_hidden"] == len(made.qrels[HIDDEN]) == 120
    assert not rows(made.qrels["train"]) & rows(made.qrels[HIDDEN])
    prepare.write(made, tmp_path / "out")
    for split in ("train", HIDDEN):
        found = collection.qrels(tmp_path / "out", split)
        assert rows(np.column_stack([found.queries, found.documents, found.grades])) == rows(
            made.qrels[split]
        )


def test_related_documents_are_in_no_other_split(beir: Path, tmp_path: Path) -> None:
    """d0 is above d14, a training and test positive, of which t3 and a ask; d2 above d1, a positive of t0, as is d2."""
    (beir / "graph.tsv").write_text("d14\td0\tancestor\nd1\td2\tancestor\n")
    made, card = prepare.prepare(settings(beir, hide=BY_RELATION))
    prepare.write(made, tmp_path / "out")
    found = collection.qrels(tmp_path / "out", HIDDEN)
    pairs = [
        (made.query_ids[q], made.document_ids[d]) for q, d in zip(found.queries, found.documents, strict=True)
    ]
    assert pairs == [("t3", "d0")]
    assert card["labels"] == {"train": 240, "dev": 0, "test": 2}
    assert len(collection.qrels(tmp_path / "out", "test").queries) == 2
    assert len(found.positives().queries) == 1
    query, rows_of = int(found.queries[0]), {name: row for row, name in enumerate(made.document_ids)}
    ledger = pd.DataFrame(
        {"step": 0, "query": query, "document": [rows_of[name] for name in ("d0", "d1", "d2", "d99")]}
    ).assign(score=0.5, weight=[3.0, 1.0, 1.0, 1.0])
    table = audit(
        ledger,
        collection.qrels(tmp_path / "out", "train"),
        np.arange(240),
        1,
        found,
        read_graph(tmp_path / "out"),
    )
    whole = table[table["window"] == -1].iloc[0]
    assert (whole["false_negative_rate"], whole["ancestor_rate"]) == (1 / 4, 1 / 4), "d0 alone"
    assert whole["false_negative_weight"] == 3 / 6


def test_dev_labels_stay(beir: Path) -> None:
    made, card = prepare.prepare(settings(beir, dev_queries=5, hide={**BM25, "depth": 2}))
    assert card["labels"]["dev"] == 20
    assert not set(made.qrels[HIDDEN][:, 0]) & set(made.qrels["dev"][:, 0])


def test_seen_goes_by_what_training_sees(beir: Path) -> None:
    made, card = prepare.prepare(settings(beir, hide={**BM25, "depth": 2}))
    # d14 is the third positive of t3, which BM25 doesn't find; d28 the first of t7
    slice_of = dict(zip(made.query_ids, prepare.slices(made), strict=True))
    assert (slice_of["a"], slice_of["b"]) == ("unseen", "seen")
    assert (card["seen_test_queries"], card["unseen_test_queries"]) == (1, 1)


def test_random_hiding_follows_the_seed_of_the_dataset(beir: Path) -> None:
    how = {"how": "random", "share": 0.5}
    first, again, other = (
        rows(prepare.prepare(settings(beir, seed=seed, hide=how))[0].qrels[HIDDEN]) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert len(first) == 120


# --- who may know ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, world: World) -> World:
    """The world of the conformance tests with the dense pool's best candidates as hidden positives."""
    queries = np.unique(world.labels.positives().queries)
    best, _ = world.pools["dense"].candidates(queries, 2)
    hidden = [
        (int(query), int(document)) for query, found in zip(queries, best, strict=True) for document in found
    ]
    return write_world(tmp_path_factory.mktemp("truth"), hidden=hidden)


@pytest.mark.parametrize("name", METHODS)
def test_hidden_labels_change_nothing_for_a_method(name: str, world: World, truth: World) -> None:
    one, other = world.run(name), truth.run(name)
    take_steps(one, 6)
    take_steps(other, 6)
    ledgers = [
        pd.DataFrame({key: part.to_pylist() for key, part in run.ledger.table().items()})
        for run in (one, other)
    ]
    if name in CONTROLS:
        assert not ledgers[0].equals(ledgers[1])
    else:
        pd.testing.assert_frame_equal(*ledgers)
        assert one.history == other.history


@pytest.mark.parametrize("name", sorted(METHODS.keys() - CONTROLS))
def test_no_method_but_a_control_is_told(name: str, truth: World, monkeypatch: pytest.MonkeyPatch) -> None:
    splits_read: list[str] = []
    read = collection.qrels
    monkeypatch.setattr(
        collection, "qrels", lambda folder, split: splits_read.append(split) or read(folder, split)
    )
    run = truth.run(name)
    take_steps(run, 2)
    assert set(splits_read) == {"train"}
    with pytest.raises(PermissionError, match="only a control with `knows_hidden`"):
        run.services.is_hidden_positive(np.array([0]), np.array([[0]]))


def test_controls_alone_are_told() -> None:
    assert {name.partition("/")[0] for name in CONTROLS} == {"oracle", "rlhn_truth"}
    assert all("(control)" in METHODS[name].title for name in CONTROLS)


def test_a_hidden_positive_is_a_candidate_like_any_other(truth: World) -> None:
    """Neither labels nor pools leave it out; only the oracle does, and its false negatives are none."""
    hidden = collection.qrels(truth.dataset, HIDDEN)
    loaded = inputs.load_materials(truth.dataset, truth.vectors, truth.pools)
    known = loaded.labels.is_positive(hidden.queries, hidden.documents[:, None])
    assert not known.any()
    found, _ = truth.pools["dense"].candidates(hidden.queries)
    assert (found == hidden.documents[:, None]).any(axis=1).all()

    rates = {}
    for name in ("dense_topk", "random", "oracle"):
        run = truth.run(name)
        take_steps(run, 6)
        ledger = pd.DataFrame({key: part.to_pylist() for key, part in run.ledger.table().items()})
        codes = np.arange(truth.documents)
        table = audit(ledger, collection.qrels(truth.dataset, "train"), codes, 6, hidden)
        rates[name] = table.loc[table["window"] == -1, "false_negative_rate"].item()
    assert rates["dense_topk"] == 0.5  # the two best of four are hidden, of every query
    assert 0 < rates["random"] < 0.2
    assert rates["oracle"] == 0


@needs_data
def test_nfcorpus_hides_most_of_its_labels_from_a_shallow_pool() -> None:
    dataset = settings(Path("nfcorpus"), train_queries=300, hide={**BM25, "depth": 10})
    made, card = prepare.prepare(dataset)
    counts = card["hidden"]
    assert counts["positives"] == (
        counts["positives_kept"] + counts["positives_hidden"] + counts["positives_left_out"]
    )
    assert counts["positives_hidden"] > 5 * counts["positives_kept"]
    assert card["queries"]["train"] + counts["queries_left_out"] == 300
    assert len(np.unique(made.qrels["train"][:, 0])) == card["queries"]["train"]
