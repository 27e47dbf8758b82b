"""From which training set of a mixture a document or query is: its id has the name in front (`scifact:4983`).

Apart from what writes mixtures (`negmark.data.mixture`), so that training depends on no reader of raw data.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negmark.store.collection import QUERIES, column

BETWEEN = ":"


def source_of(name: str) -> str:
    """Return the source of a document or query of a mixture, by its id."""
    return name.partition(BETWEEN)[0]


def sources_of_queries(folder: Path) -> NDArray[np.int64]:
    """Return the number [Q] of the source of each query of a prepared mixture, from 0 on in the order of names."""
    names = [source_of(name) for name in column(folder, QUERIES, "id")]
    numbers: NDArray[np.int64] = np.unique(names, return_inverse=True)[1]
    return numbers
