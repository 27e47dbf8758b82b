"""The ledger: every negative that a run trained on, compact enough to keep for every run."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from negmark.store.collection import write_table

VECTOR = -2
"""The document of a negative that is a vector."""


class Ledger:
    """Collects the negatives of a run step by step; empty places of short pools are left out."""

    def __init__(self) -> None:
        self._rows: list[tuple[NDArray[np.int32], ...]] = []
        self._floats: list[tuple[NDArray[np.float32], ...]] = []
        self._sources: list[tuple[str, int]] = []

    def add(
        self,
        step: int,
        queries: NDArray[np.int64],
        documents: NDArray[np.int64],
        scores: NDArray[np.float32],
        weights: NDArray[np.float32],
        used: NDArray[np.bool_],
        source: str,
    ) -> None:
        """Add the negatives [B, M] of a step where `used` is true."""
        rows, columns = np.nonzero(used)
        self._rows.append(
            (
                np.full(len(rows), step, np.int32),
                queries[rows].astype(np.int32),
                documents[rows, columns].astype(np.int32),
            )
        )
        self._floats.append(
            (scores[rows, columns].astype(np.float32), weights[rows, columns].astype(np.float32))
        )
        self._sources.append((source, len(rows)))

    def __len__(self) -> int:
        return sum(count for _, count in self._sources)

    def table(self) -> dict[str, pa.Array]:
        """Return the columns: step, query, document, score, weight and source."""
        step, query, document = (self._joined(self._rows, column, np.int32) for column in range(3))
        score, weight = (self._joined(self._floats, column, np.float32) for column in range(2))
        names = list(dict.fromkeys(source for source, _ in self._sources))
        codes = [names.index(source) for source, _ in self._sources]
        indices = np.repeat(np.array(codes, np.int32), [count for _, count in self._sources])
        return {
            "step": pa.array(step),
            "query": pa.array(query),
            "document": pa.array(document),
            "score": pa.array(score),
            "weight": pa.array(weight),
            "source": pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())),
        }

    def write(self, path: Path) -> None:
        """Write the ledger as parquet."""
        write_table(path, self.table())

    def restore(self, path: Path) -> None:
        """Replace the entries by those of a written ledger."""
        table = pq.read_table(path)
        columns = {
            name: table.column(name).to_numpy() for name in ("step", "query", "document", "score", "weight")
        }
        self._rows = [(columns["step"], columns["query"], columns["document"])]
        self._floats = [(columns["score"], columns["weight"])]
        sources = table.column("source").combine_chunks()
        runs = pa.compute.run_end_encode(sources.cast(pa.string()))
        ends = runs.run_ends.to_pylist()
        self._sources = [
            (source, end - start)
            for source, start, end in zip(runs.values.to_pylist(), [0, *ends][: len(ends)], ends, strict=True)
        ]

    @staticmethod
    def _joined(parts: list[tuple[NDArray, ...]], column: int, dtype: type) -> NDArray:
        return np.concatenate([part[column] for part in parts]) if parts else np.empty(0, dtype)


def read_ledger(path: Path) -> pa.Table:
    """Read a ledger: step, query row, document row (`VECTOR` for none), cosine similarity, weight, source."""
    return pq.read_table(path)
