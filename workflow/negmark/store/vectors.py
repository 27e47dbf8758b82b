"""The vectors of a dataset as stored on disk: what every stage after encoding reads, without torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.floating[Any]]

DOCUMENTS, QUERIES = "documents.npy", "queries.npy"
SIDES = (DOCUMENTS, QUERIES)
ROWS_AT_A_TIME = 1 << 17
"""Rows per block: a multiple of what FAISS multiplies at once, so that blocks don't change any score."""


def load(folder: Path) -> tuple[Vectors, Vectors]:
    """Return document vectors [N, D] and query vectors [Q, D] as stored, memory-mapped.

    Only what is read takes memory, once for all processes. Changes are not written to disk.
    """
    documents, queries = (np.load(folder / name, mmap_mode="c") for name in SIDES)
    return documents, queries


def float32(vectors: Vectors) -> NDArray[np.float32]:
    """Return rows of vectors in the type that searches and towers compute in; no copy if they are stored in it."""
    return np.ascontiguousarray(vectors, dtype=np.float32)


def odd_row(vectors: Vectors) -> int | None:
    """Return the first row that holds NaN or an infinity, which no search finds and none can be found by; None if none.

    Rows are read block by block.
    """
    for rows in blocks(len(vectors)):
        block = vectors[rows]
        if (
            block.size and not np.isfinite([block.min(), block.max()]).all()
        ):  # NaN is both; no copy of the block
            return rows.start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
    return None


def blocks(rows: int) -> Iterator[slice]:
    """Split a corpus into blocks of rows, to be processed one after the other."""
    return (slice(start, min(start + ROWS_AT_A_TIME, rows)) for start in range(0, rows, ROWS_AT_A_TIME))
