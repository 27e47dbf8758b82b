"""The ledger: every negative that a run trained on, compact enough to keep for every run."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from negmark.store.collection import write_table

VECTOR = -2
"""The document of a negative that is a vector. Below it are texts that are in no corpus: `negmark.store.auxiliary`."""
POSITIVE = "positive"
"""Column of a ledger whose method may change positives."""


class Ledger:
    """Collects the negatives of a run step by step; empty places of short pools are left out."""

    def __init__(self) -> None:
        self._rows: list[tuple[NDArray[np.int32], ...]] = []
        self._floats: list[tuple[NDArray[np.float32], ...]] = []
        self._backfilled: list[NDArray[np.bool_]] = []
        self._sources: list[tuple[str, int]] = []
        self._positives: list[NDArray[np.int32]] = []
        """The positives of the queries, only where a method may change them."""

    def add(
        self,
        step: int,
        queries: NDArray[np.int64],
        documents: NDArray[np.int64],
        scores: NDArray[np.float32],
        weights: NDArray[np.float32],
        used: NDArray[np.bool_],
        backfilled: NDArray[np.bool_],
        source: str,
        positives: NDArray[np.int64] | None = None,
    ) -> None:
        """Add the negatives [B, M] of a step where `used` is true; `backfilled` marks those that only fill a place.

        `positives` [B] are those that the queries had, of a method that may change them: then at every step.
        """
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
        self._backfilled.append(backfilled[rows, columns])
        self._sources.append((source, len(rows)))
        if positives is not None:
            self._positives.append(positives[rows].astype(np.int32))

    def __len__(self) -> int:
        return sum(count for _, count in self._sources)

    def table(self) -> dict[str, pa.Array]:
        """Return the columns: step, query, document, score, weight, source and backfilled.

        Where a method may change positives, also `positive`: the one that the query had when it had this negative.
        """
        step, query, document = (self._joined(self._rows, column, np.int32) for column in range(3))
        score, weight = (self._joined(self._floats, column, np.float32) for column in range(2))
        # a source that gave nothing isn't named: a ledger that was written and read again doesn't know it either
        sources = [(source, count) for source, count in self._sources if count]
        names = list(dict.fromkeys(source for source, _ in sources))
        codes = [names.index(source) for source, _ in sources]
        indices = np.repeat(np.array(codes, np.int32), [count for _, count in sources])
        positives = {POSITIVE: pa.array(np.concatenate(self._positives))} if self._positives else {}
        return {
            "step": pa.array(step),
            "query": pa.array(query),
            "document": pa.array(document),
            "score": pa.array(score),
            "weight": pa.array(weight),
            "source": pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())),
            "backfilled": pa.array(np.concatenate([*self._backfilled, np.empty(0, np.bool_)])),
            **positives,
        }

    def backfilled(self) -> float:
        """Return the share of negatives that only fill a place; NaN without any negative."""
        return float(np.concatenate(self._backfilled).mean()) if len(self) else math.nan

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
        self._backfilled = [table.column("backfilled").to_numpy()]
        self._positives = [table.column(POSITIVE).to_numpy()] if POSITIVE in table.column_names else []
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
    """Read a ledger: the columns of `Ledger.table`; the document is below 0 where a negative is none of the corpus."""
    return pq.read_table(path)
