"""Documents with the text of a positive: found by normalised text, and left out wherever the positive is."""

from pathlib import Path

import numpy as np
import pytest

from contract_checks import METHODS
from negmark.board.card import _of_positives
from negmark.core.errors import UserError
from negmark.search.candidates import PoolSearches
from negmark.store.collection import Qrels, texts, write_table
from negmark.store.copies import copies_of, first_of_equal, hashes_of, read_copies, with_copies
from negmark.store.labels import Labels
from negmark.store.left_out import LeftOut
from world import World, masked_in_batch, take_steps, write_world

TEXTS = ["a b", "c", " A\tb ", "c d", "", "a  B", "C"]
FIRST = [0, 1, 0, -1, -1, 0, 1]
LABELS = Qrels(np.array([0, 0, 1, 2, 3]), np.array([2, 1, 3, 5, 6]), np.array([2, 1, 1, 0, 1]))


def pairs(labels: Qrels) -> list[tuple[int, int]]:
    return list(zip(labels.queries.tolist(), labels.documents.tolist(), strict=True))


def test_texts_are_equal_but_for_case_and_white_space() -> None:
    assert first_of_equal(hashes_of(TEXTS)).tolist() == FIRST
    assert first_of_equal(hashes_of([])).tolist() == []


def test_each_positive_brings_its_copies_once() -> None:
    found = with_copies(LABELS, copies_of(np.array(FIRST)))
    assert pairs(found)[:4] == [(0, 2), (0, 1), (1, 3), (3, 6)], (
        "the labelled ones as they were, grade 0 dropped"
    )
    assert sorted(pairs(found)[4:]) == [(0, 0), (0, 5), (0, 6), (3, 1)]
    grades = dict(zip(pairs(found), found.grades.tolist(), strict=True))
    assert (grades[0, 5], grades[0, 6], grades[3, 1]) == (2, 1, 1)


def test_a_label_of_both_copies_adds_none() -> None:
    both = Qrels(np.array([4, 4]), np.array([0, 1]), np.array([1, 1]))
    assert pairs(with_copies(both, copies_of(np.array([0, 0])))) == [(4, 0), (4, 1)]


def test_labels_mark_copies_but_never_draw_them() -> None:
    labels = Labels(LABELS, len(TEXTS), LeftOut(copies_of(np.array(FIRST))))
    queries, everything = np.array([0, 1, 3]), np.arange(len(TEXTS))
    marked = labels.is_positive(queries, everything)
    assert [np.flatnonzero(row).tolist() for row in marked] == [[0, 1, 2, 5, 6], [3], [1, 6]]
    assert [np.flatnonzero(row).tolist() for row in labels.is_copy(queries, everything)] == [
        [0, 5, 6],
        [],
        [1],
    ]
    assert labels.most_positives(queries) == 5
    assert labels.most_positives(queries[1:]) == 2
    assert labels.positives(queries).tolist() == [[1, 2], [3, -1], [6, -1]]
    drawn = {
        pair
        for step in range(50)
        for pair in zip(*map(np.ndarray.tolist, labels.batch(0, step, 3)), strict=True)
    }
    assert drawn == {(0, 1), (0, 2), (1, 3), (3, 6)}


def test_a_pool_is_searched_deep_enough_to_leave_copies_out() -> None:
    searches = PoolSearches(LABELS, len(TEXTS), 2, LeftOut(copies_of(np.array(FIRST))))
    (chunk,) = searches.chunks()
    assert chunk.depth == 7, "five are left out for query 0"
    ids = np.tile(np.arange(7), (3, 1))
    found, _ = searches.candidates(chunk, (ids, -ids.astype(np.float32)))
    assert found.tolist() == [[3, 4], [0, 1], [0, 2]]


def test_a_card_counts_unlabelled_copies() -> None:
    assert _of_positives(TEXTS, LABELS) == {"documents": 4, "pairs": 4}


def of_another_query(labels: np.ndarray) -> dict[int, int]:
    """Each of some documents that one query alone has as positive becomes a copy of another query's positive."""
    positives = labels[labels[:, 2] > 0]
    alone = [row for row in np.unique(positives[:, 1]) if (positives[:, 1] == row).sum() == 1]
    return {int(copy): int(original) for copy, original in zip(alone[::2], alone[1::2], strict=False)}


@pytest.fixture(scope="module")
def copying(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("copies"), copied=of_another_query)


def unlabelled(world: World) -> set[tuple[int, int]]:
    return set(pairs(with_copies(world.labels, read_copies(world.dataset)))) - world.positives


@pytest.mark.parametrize("name", METHODS)
def test_no_method_trains_on_a_copy_of_a_positive(name: str, copying: World) -> None:
    run = copying.run(name, steps=8)
    take_steps(run, 8)
    table = run.ledger.table()
    given = set(zip(table["query"].to_pylist(), table["document"].to_pylist(), strict=True))
    assert unlabelled(copying)
    assert not given & unlabelled(copying)


def test_the_batch_holds_no_copy_against_a_query(copying: World) -> None:
    run = copying.run("inbatch", batch_size=30)
    masked = masked_in_batch(run)
    assert masked & unlabelled(copying)
    assert masked <= unlabelled(copying) | copying.positives
    assert run.history[0]["in_batch_copies"] == len(masked & unlabelled(copying))


def test_a_dataset_may_keep_them(tmp_path: Path) -> None:
    world = write_world(tmp_path, copied=of_another_query, keeps_copies=True)
    assert not unlabelled(world)
    run = world.run("dense_topk", steps=8)
    take_steps(run, 8)
    table = run.ledger.table()
    given = set(zip(table["query"].to_pylist(), table["document"].to_pylist(), strict=True))
    same = copies_of(first_of_equal(hashes_of(texts(world.dataset)[0])))
    assert given & (set(pairs(with_copies(world.labels, same))) - world.positives)
    assert {row["in_batch_copies"] for row in run.history} == {0}


def test_a_dataset_of_an_earlier_form_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "documents.parquet", {"id": ["a"], "title": [""], "text": ["a"]})
    with pytest.raises(UserError, match="delete it and run again"):
        read_copies(tmp_path)
