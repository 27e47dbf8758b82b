"""A prepared dataset on disk: three tables whose row numbers name queries and documents everywhere else."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from negmark.core.errors import UserError
from negmark.core.files import replacing

SPLITS = ("train", "dev", "test")
HIDDEN = "hidden"
"""The split of what is relevant but hidden from training: only audits and the controls that declare it may read it."""
DOCUMENTS, QUERIES, QRELS = "documents.parquet", "queries.parquet", "qrels.parquet"
RELEVANT = b"relevant"
"""Metadata of the labels' table: the lowest relevant grade of each split for which it isn't 1."""
SCORE = "score"
"""Column of the queries' table for graded pairs, which take two rows each."""


@dataclass(frozen=True)
class Qrels:
    """Labels of one split as parallel arrays, in the order of the source."""

    queries: NDArray[np.int64]
    documents: NDArray[np.int64]
    grades: NDArray[np.int64]
    relevant: int = 1
    """The lowest grade that counts as relevant."""

    def positives(self) -> "Qrels":
        """Return only the labels that count as relevant."""
        keep = self.grades >= self.relevant
        return Qrels(self.queries[keep], self.documents[keep], self.grades[keep], self.relevant)


def column(folder: Path, table: str, name: str) -> list[Any]:
    """Read one column of a table of a prepared dataset as a list."""
    return _table(folder / table, [name]).column(name).to_pylist()


def texts(folder: Path) -> tuple[list[str], list[str]]:
    """Return what encoders and BM25 read: documents as title + space + text, as BEIR does, and queries."""
    documents, queries = streamed(folder)
    return list(documents), queries


def streamed(folder: Path) -> tuple[Iterator[str], list[str]]:
    """Return the same as `texts`, but read the documents from disk lazily, never all at once."""
    return _documents(folder / DOCUMENTS), column(folder, QUERIES, "text")


def _documents(path: Path) -> Iterator[str]:
    with readable(path), pq.ParquetFile(path) as table:
        for batch in table.iter_batches(columns=["title", "text"]):
            part = batch.to_pydict()
            yield from joined(part["title"], part["text"])


def joined(titles: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return documents as one text each: title + space + text."""
    return [f"{title} {text}".strip() for title, text in zip(titles, texts, strict=True)]


def count(folder: Path) -> int:
    """Return how many documents there are."""
    return int(pq.read_metadata(folder / DOCUMENTS).num_rows)


def qrels(folder: Path, split: str) -> Qrels:
    """Return the labels of a split."""
    table = _table(folder / QRELS, ["split", "query", "document", "grade"])
    relevant = json.loads((table.schema.metadata or {}).get(RELEVANT, b"{}")).get(split, 1)
    table = table.filter(pa.compute.equal(table.column("split"), split))
    queries, documents, grades = (
        table.column(name).to_numpy().astype(np.int64, copy=False) for name in ("query", "document", "grade")
    )
    return Qrels(queries, documents, grades, relevant)


def graded_pairs(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return graded pairs as rows [P, 2] of the queries' table, and their scores [P]; none if it has no scores."""
    if SCORE not in pq.read_schema(folder / QUERIES).names:
        return np.empty((0, 2), np.int64), np.empty(0)
    scores = column(folder, QUERIES, SCORE)
    rows = np.array([row for row, score in enumerate(scores) if score is not None], dtype=np.int64)
    return rows.reshape(-1, 2), np.array([scores[row] for row in rows[::2]], dtype=np.float64)


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Turn rows with the same keys into the columns of a table, in the order of the first row."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def write_table(path: Path, columns: dict[str, Any], metadata: dict[bytes, bytes] | None = None) -> None:
    """Write columns as one parquet file, whole or not at all; equal columns give equal bytes."""
    with replacing(path) as partial:
        pq.write_table(pa.table(columns, metadata=metadata), partial, compression="zstd")


def _table(path: Path, columns: list[str]) -> pa.Table:
    with readable(path):
        return pq.read_table(path, columns=columns)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an error of reading a table into a `UserError` that names the file."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: can't be read ({error}); delete it and run again") from error
