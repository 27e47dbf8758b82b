"""The vectors of a dataset as they lie on disk: what every stage after the encoding reads, without torch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DOCUMENTS, QUERIES = "documents.npy", "queries.npy"
SIDES = (DOCUMENTS, QUERIES)


def load(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return document vectors [N, D] and query vectors [Q, D], memory-mapped and read-only."""
    return np.load(folder / DOCUMENTS, mmap_mode="r"), np.load(folder / QUERIES, mmap_mode="r")
