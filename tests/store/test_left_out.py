"""A query that stands in the corpus itself is no negative of its own, whoever chooses: by its id and by its text."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contract_checks import METHODS
from negmark.board.card import own_texts
from negmark.board.card_text import markdown
from negmark.evaluate.audit import audit
from negmark.search.candidates import PoolSearches
from negmark.store.collection import Qrels
from negmark.store.copies import copies_of, hashes_of
from negmark.store.labels import Labels
from negmark.store.left_out import (
    NOTHING,
    LeftOut,
    own_documents,
    read_left_out,
    unlabelled_own,
    with_left_out,
)
from world import World, masked_in_batch, take_steps, write_world

QUERIES = {"a": "What is it?", "b": "Who", "c": "Where"}
CORPUS = {"b": "Wer", "x": " what  IS it?", "y": "wer", "z": "else", "c": "Where", "w": "who"}
"""`b` has another text there, as in a corpus of titles and texts: y has that text, w the query's own."""
OWN = [[1], [0, 2, 5], [4]]
LABELS = Qrels(np.array([0, 1, 1, 2]), np.array([3, 2, 3, 3]), np.array([1, 1, 1, 0]))
PAIRS = np.array([(query, document) for query, documents in enumerate(OWN) for document in documents])


def pairs(labels: Qrels) -> list[tuple[int, int]]:
    return list(zip(labels.queries.tolist(), labels.documents.tolist(), strict=True))


def test_a_query_is_found_by_its_id_by_its_text_and_by_the_text_under_its_id() -> None:
    queries, documents = hashes_of(QUERIES.values()), hashes_of(CORPUS.values())
    assert own_documents(list(QUERIES), queries, list(CORPUS), documents) == OWN
    assert own_documents(["q"], hashes_of(["q"]), ["d"], hashes_of(["d"])) == [[]]


def test_a_positive_stays_one_and_a_query_without_any_is_left_alone() -> None:
    assert unlabelled_own(LABELS, PAIRS).tolist() == [[0, 1], [1, 0], [1, 5]]
    found = with_left_out(LABELS, LeftOut(copies_of(np.array([-1, -1, -1, -1, 4, 4])), PAIRS))
    assert pairs(found) == [(0, 3), (1, 2), (1, 3), (0, 1), (1, 0), (1, 5)]
    assert found.positives().queries.tolist() == found.queries.tolist()


def test_labels_mark_it_and_never_draw_it() -> None:
    labels, queries = Labels(LABELS, len(CORPUS), LeftOut(own=PAIRS)), np.array([0, 1])
    everything = np.arange(len(CORPUS))
    marked = labels.is_positive(queries, everything)
    assert [np.flatnonzero(row).tolist() for row in marked] == [[1, 3], [0, 2, 3, 5]]
    assert [np.flatnonzero(row).tolist() for row in labels.is_own(queries, everything)] == [[1], [0, 5]]
    assert not labels.is_copy(queries, everything).any()
    assert labels.most_positives(queries) == 4
    assert labels.positives(queries).tolist() == [[3, -1], [2, 3]]


def test_a_pool_is_searched_deep_enough() -> None:
    (chunk,) = PoolSearches(LABELS, len(CORPUS), 2, LeftOut(own=PAIRS)).chunks()
    assert chunk.depth == 6
    (chunk,) = PoolSearches(LABELS, len(CORPUS), 1, NOTHING).chunks()
    assert chunk.depth == 3


def test_the_card_says_it() -> None:
    counts = own_texts(LABELS, PAIRS)
    assert counts == {"queries": 2, "documents": 3}
    card = {
        "name": "n", "dataset": "d", "source": "s", "licence": "l", "sha256": "x", "regime": "standard",
        "documents": 6, "documents_full": 6, "queries": {"train": 2}, "metric": "nDCG@10", "lengths": {},
        "labels_a_query": {}, "graded": False, "copies": {"documents": 0, "queries": {}, "queries_across": {}},
        "self_ids": {"policy": "p", "queries": 2}, "own_texts": counts,
    }  # fmt: skip
    assert "3 documents under the id or with the text of 2 training queries" in markdown(card)


def test_an_audit_counts_it() -> None:
    columns = {"step": [0, 0, 0, 0], "query": [0, 0, 1, 1], "document": [1, 4, 5, 2], "score": [0.5] * 4}
    ledger = pd.DataFrame({**columns, "weight": [1.0] * 4})
    table = audit(ledger, LABELS, np.arange(len(CORPUS)), 1, own=PAIRS)
    assert table["own_text_rate"].tolist() == [0.5, 0.5], "(0, 1) and (1, 5); (1, 2) is a positive"


def with_own(folder: Path) -> tuple[World, set[tuple[int, int]]]:
    """A world in which ten queries stand in the corpus; and these pairs, without two that are also positives."""
    plain = write_world(folder / "plain")
    positive = {document for _, document in plain.positives}
    free = [document for document in range(plain.documents) if document not in positive]
    alone = [
        (query, document)
        for query, document in sorted(plain.positives)
        if 10 <= query < 20 and document % 2 == 0
    ]
    own = {document: query for query, document in enumerate(free[:8], start=2)}
    other = {document: 20 + place for place, (query, document) in enumerate(alone[:2])}
    labelled = {document: query for query, document in alone[2:4]}
    world = write_world(folder / "world", own={**own, **other, **labelled})
    return world, {(query, document) for document, query in {**own, **other}.items()} - world.positives


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, set[tuple[int, int]]]:
    return with_own(tmp_path_factory.mktemp("own"))


def test_a_dataset_on_disk_names_them(world: tuple[World, set[tuple[int, int]]]) -> None:
    made, own = world
    found = unlabelled_own(made.labels, read_left_out(made.dataset).own)
    assert own
    assert {(query, document) for query, document in found.tolist()} >= own


@pytest.mark.parametrize("name", METHODS)
def test_no_method_trains_against_the_query_itself(
    name: str, world: tuple[World, set[tuple[int, int]]]
) -> None:
    made, own = world
    run = made.run(name, steps=8)
    take_steps(run, 8)
    table = run.ledger.table()
    given = set(zip(table["query"].to_pylist(), table["document"].to_pylist(), strict=True))
    assert not given & own


def test_the_batch_holds_no_query_against_itself(world: tuple[World, set[tuple[int, int]]]) -> None:
    """A query's own text may be another query's positive."""
    made, own = world
    run = made.run("inbatch", batch_size=30)
    masked = masked_in_batch(run)
    assert masked & own
    assert masked <= own | made.positives
    assert run.history[0]["in_batch_own"] == len(masked & own)
    assert run.history[0]["in_batch_copies"] == 0


def test_adore_neither_ranks_nor_rewards_it(world: tuple[World, set[tuple[int, int]]]) -> None:
    made, own = world
    query, document = min(own)
    ids, relevant = made.run("adore/faithful").method._list(np.array([query]), np.array([[document]]))
    assert ids[0, 0] == -1
    assert not relevant[0, 0]
    assert relevant[0, 1:].any(), "its positives are appended"
