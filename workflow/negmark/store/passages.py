"""Documents of a prepared dataset as they are, title and text apart, for the rows that are asked for."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from negmark.store.collection import DOCUMENTS, readable


class Passage(NamedTuple):
    """A document as the collection has it."""

    id: str
    title: str
    text: str


def read_passages(folder: Path, documents: NDArray[np.int64]) -> dict[int, Passage]:
    """Return the documents of these rows, each once, by row; the others are never in memory together."""
    wanted, start = np.unique(documents), 0
    found: dict[int, Passage] = {}
    with readable(folder / DOCUMENTS), pq.ParquetFile(folder / DOCUMENTS) as table:
        for batch in table.iter_batches(columns=list(Passage._fields)):
            rows = wanted[slice(*np.searchsorted(wanted, [start, start + len(batch)]))]
            part = batch.take(pa.array(rows - start)).to_pylist()
            found |= {row: Passage(**values) for row, values in zip(rows.tolist(), part, strict=True)}
            start += len(batch)
    return found
