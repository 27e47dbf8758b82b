"""The vectors of a dataset as they lie on disk: what every stage after the encoding reads, without torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.floating[Any]]

DOCUMENTS, QUERIES = "documents.npy", "queries.npy"
SIDES = (DOCUMENTS, QUERIES)
ROWS_AT_A_TIME = 1 << 17
"""Of a corpus: a multiple of the rows that FAISS multiplies at once, so that blocks decide no score."""


def load(folder: Path) -> tuple[Vectors, Vectors]:
    """Return document vectors [N, D] and query vectors [Q, D] as they lie on disk, memory-mapped.

    Nothing is in memory but what was looked at, and that once for all processes. A change stays in memory.
    """
    documents, queries = (np.load(folder / name, mmap_mode="c") for name in SIDES)
    return documents, queries


def float32(vectors: Vectors) -> NDArray[np.float32]:
    """Return rows of vectors as what searches and towers compute in; no copy where they are stored so."""
    return np.ascontiguousarray(vectors, dtype=np.float32)


def blocks(rows: int) -> Iterator[slice]:
    """Part a corpus into blocks of rows, to be computed with one after the other."""
    return (slice(start, min(start + ROWS_AT_A_TIME, rows)) for start in range(0, rows, ROWS_AT_A_TIME))
