"""The vectors of a dataset as they lie on disk: what every stage after the encoding reads, without torch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DOCUMENTS, QUERIES = "documents.npy", "queries.npy"
SIDES = (DOCUMENTS, QUERIES)


def load(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return document vectors [N, D] and query vectors [Q, D], memory-mapped and read-only.

    Vectors stored as float16 are read into memory as float32, which is what searches and towers compute in.
    """
    return _side(folder / DOCUMENTS), _side(folder / QUERIES)


def _side(path: Path) -> NDArray[np.float32]:
    stored = np.load(path, mmap_mode="r")
    return stored if stored.dtype == np.float32 else stored.astype(np.float32)
