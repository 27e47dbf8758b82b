"""The ledger gives back every negative that was entered, also after a restart."""

import numpy as np
import pytest

from negmark.store.ledger import VECTOR, Ledger, read_ledger

NONE = -1


def entry(step, queries, documents, source="pool", weights=None, used=None, backfilled=None):
    documents = np.array(documents, dtype=np.int64)
    scores = (documents / 8 + step).astype(np.float32)
    weights = np.ones(documents.shape, np.float32) if weights is None else np.array(weights, np.float32)
    used = documents != NONE if used is None else np.array(used)
    backfilled = np.zeros(documents.shape, np.bool_) if backfilled is None else np.array(backfilled)
    return step, np.array(queries), documents, scores, weights, used, backfilled, source


def filled(*entries) -> Ledger:
    ledger = Ledger()
    for one in entries:
        ledger.add(*one)
    return ledger


ENTRIES = [
    entry(
        0,
        [7, 9],
        [[1, 2], [3, NONE]],
        weights=[[0.5, 2.0], [0.25, 9.0]],
        backfilled=[[False, True], [True, True]],
    ),
    entry(1, [8, 7], [[NONE, NONE], [NONE, NONE]]),
    entry(2, [9, 7], [[VECTOR, 4], [5, VECTOR]], source="centroid"),
    entry(3, [7], [[6]], source="pool"),
]


def test_rows_by_hand(tmp_path):
    filled(*ENTRIES).write(tmp_path / "l.parquet")
    rows = [tuple(row.values()) for row in read_ledger(tmp_path / "l.parquet").to_pylist()]
    assert rows == [
        (0, 7, 1, 0.125, 0.5, "pool", False),
        (0, 7, 2, 0.25, 2.0, "pool", True),
        (0, 9, 3, 0.375, 0.25, "pool", True),
        (2, 9, -2, 1.75, 1.0, "centroid", False),
        (2, 9, 4, 2.5, 1.0, "centroid", False),
        (2, 7, 5, 2.625, 1.0, "centroid", False),
        (2, 7, -2, 1.75, 1.0, "centroid", False),
        (3, 7, 6, 3.75, 1.0, "pool", False),
    ]
    assert filled(*ENTRIES).backfilled() == 2 / 8
    assert np.isnan(Ledger().backfilled())


def test_types_are_compact(tmp_path):
    filled(*ENTRIES).write(tmp_path / "l.parquet")
    types = {field.name: str(field.type) for field in read_ledger(tmp_path / "l.parquet").schema}
    assert list(types) == ["step", "query", "document", "score", "weight", "source", "backfilled"]
    assert types["step"] == types["query"] == types["document"] == "int32"
    assert types["score"] == types["weight"] == "float"
    assert types["source"].startswith("dictionary")


@pytest.mark.parametrize("done", range(len(ENTRIES) + 1))
def test_restored_ledger_goes_on_as_an_unbroken_one(tmp_path, done):
    filled(*ENTRIES).write(tmp_path / "whole.parquet")
    filled(*ENTRIES[:done]).write(tmp_path / "part.parquet")
    resumed = Ledger()
    resumed.restore(tmp_path / "part.parquet")
    for one in ENTRIES[done:]:
        resumed.add(*one)
    resumed.write(tmp_path / "resumed.parquet")
    assert (tmp_path / "resumed.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_source_that_gave_nothing_is_not_named(tmp_path):
    """Else a ledger that was read again in between would have other bytes."""
    ledger = filled(entry(0, [7], [[NONE]], source="nothing"), *ENTRIES)
    assert ledger.table()["source"].dictionary.to_pylist() == ["pool", "centroid"]


def test_empty_ledger_has_all_columns(tmp_path):
    Ledger().write(tmp_path / "l.parquet")
    table = read_ledger(tmp_path / "l.parquet")
    assert table.num_rows == 0
    assert table.column_names == ["step", "query", "document", "score", "weight", "source", "backfilled"]


def test_places_not_in_use_are_left_out_whatever_stands_there():
    ledger = filled(entry(0, [1, 2], [[5, 6], [7, 8]], used=[[False, True], [False, False]]))
    assert ledger.table()["document"].to_pylist() == [6]
    assert ledger.table()["query"].to_pylist() == [1]
