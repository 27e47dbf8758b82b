"""Relations between documents: written as lists, read as sparse matrices, asked for the relatives of positives."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from negmark.core.errors import UserError
from negmark.store.collection import DOCUMENTS, Qrels, write_table
from negmark.store.graph import as_columns, holds, read_graph, related_to_positives, relation_of, within_hops

# 0 is above 1 and 2, which are siblings; 3 stands alone
PAIRS = {"ancestor": [(2, 0), (1, 0)], "sibling": [(2, 1), (1, 2), (1, 2)]}


def write(folder: Path, pairs: dict[str, list[tuple[int, int]]]) -> None:
    graph = {name: relation_of(part, 4) for name, part in pairs.items()}
    write_table(folder / DOCUMENTS, {"id": list("abcd"), **as_columns(graph)})


def test_relations_come_back_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path, PAIRS)
    stored = pq.read_table(tmp_path / DOCUMENTS)
    assert stored.column("ancestor").to_pylist() == [[], [0], [0], []]
    assert stored.column("sibling").to_pylist() == [[], [2], [1], []]
    found = read_graph(tmp_path)
    assert list(found) == ["ancestor", "sibling"]
    assert found["sibling"].toarray().tolist() == relation_of(PAIRS["sibling"], 4).toarray().tolist()
    assert found["ancestor"][[2, 3]].indices.tolist() == [0]


def test_a_dataset_without_relations_has_no_graph(tmp_path: Path) -> None:
    write(tmp_path, {})
    assert read_graph(tmp_path) == {}


def test_a_relation_of_which_no_pair_is_left_is_empty(tmp_path: Path) -> None:
    write(tmp_path, {"sibling": []})
    assert read_graph(tmp_path)["sibling"].nnz == 0


def test_relatives_of_positives_are_told_by_query() -> None:
    labels = Qrels(np.array([0, 0, 2]), np.array([1, 2, 3]), np.array([1, 1, 1]))
    near = related_to_positives(relation_of(PAIRS["ancestor"], 4), labels, 3)
    assert near.toarray().tolist() == [[True, False, False, False], [False] * 4, [False] * 4]
    assert holds(near, np.array([0, 0, 2]), np.array([0, 1, 0])).tolist() == [True, False, False]


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / DOCUMENTS).write_bytes(b"no table")
    with pytest.raises(UserError, match=r"documents\.parquet: can't be read"):
        read_graph(tmp_path)


@pytest.mark.parametrize(
    ("hops", "expected"),
    [(1, [[1, -1], [0, 2], [-1, -1], [4, -1]]), (2, [[1, 2, -1], [0, 2, -1], [-1, -1, -1], [4, 1, 3]]),
     (3, [[1, 2, -1, -1, -1], [0, 2, -1, -1, -1], [-1] * 5, [4, 1, 3, 0, 2]])],
)  # fmt: skip
def test_neighbours_by_any_relation_come_nearest_first_and_once(hops: int, expected: list[list[int]]) -> None:
    """0 and 1 lead to each other, 1 to 2; 5 leads to 4, which leads to 1, 3 and back to 5."""
    pairs = {"sibling": [(0, 1), (1, 0), (4, 5)], "ancestor": [(1, 2), (5, 4), (4, 1), (4, 3)]}
    graph = {name: relation_of(part, 6) for name, part in pairs.items()}
    assert within_hops(graph, np.array([0, 1, 2, 5]), hops).tolist() == expected


def test_without_relatives_there_is_no_column() -> None:
    graph = {"sibling": relation_of([(0, 1)], 6)}
    assert within_hops(graph, np.array([2, 3]), 2).shape == (2, 0)
    assert within_hops(graph, np.array([], dtype=np.int64), 2).shape == (0, 0)
