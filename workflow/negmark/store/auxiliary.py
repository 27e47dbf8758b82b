"""Auxiliary documents on disk: texts made of the positives of training queries, in tables beside a collection.

A table has a row a text, judged before training (`negmark.train.judged_texts`). A run reads one table or several, whose
rows are numbered on. The ledger names row k by `negmark.methods.auxiliary.ids_of(k)`, the run's manifest the tables.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from negmark.methods.auxiliary import EDITS, WRITTEN, ids_of
from negmark.methods.types import NO_DOCUMENT, Ids
from negmark.store.collection import readable

AUXILIARY = "auxiliary"
"""The side of these texts, beside `query` and `document`."""
KINDS = {"edits": EDITS, "written": WRITTEN}
"""The kinds of texts by who makes them: a rule, or a small causal model."""
RETRIEVED = "retrieved"
"""What BM25 and the encoder find for the queries, judged as texts are that were made, to compare."""
COLUMNS = (
    "query",
    "document",
    "kind",
    "text",
    "score",
    "positive_score",
    "overlap",
    "equals",
    "answers",
    "passes",
)
"""Of a table: the rows of the query and of its positive that a text is made for, its kind, the text; the judge's scores
of it and of the positive; the share of the words of both that it has in common with the positive; the first document of
the corpus with that text (-1: none, so that it may be a negative), and if that is a positive of the query; and whether
the text passed the filter."""


class Auxiliary:
    """The texts of a run's tables, and which were made for which query."""

    def __init__(self, table: pa.Table) -> None:
        self.texts: list[str] = table.column("text").to_pylist()
        self._kinds = np.array(table.column("kind").to_pylist(), dtype=object)
        self._queries, self._documents, equals, self._scores = (
            table.column(name).to_numpy() for name in ("query", "document", "equals", "score")
        )
        self._usable = equals < 0
        self._passes = table.column("passes").to_numpy(zero_copy_only=False)

    def __len__(self) -> int:
        return len(self.texts)

    @functools.cache  # noqa: B019 - a run asks for one or two sets of kinds, and ends with its process
    def _of(self, kinds: tuple[str, ...], judged: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows [n] of these kinds by query, and their queries [n], which ascend."""
        chosen = self._usable & np.isin(self._kinds, kinds)
        rows = np.flatnonzero(chosen & self._passes if judged else chosen)
        queries = self._queries[rows].astype(np.int64)
        order = np.argsort(queries, kind="stable")
        return rows[order], queries[order]

    def candidates(
        self, queries: Ids, kinds: Sequence[str], judged: bool, positives: Ids | None = None
    ) -> tuple[Ids, NDArray[np.float32]]:
        """Return what `negmark.methods.base.Services.auxiliary` does, for queries [B]: ids [B, K] and scores."""
        rows, owners = self._of(tuple(kinds), judged)
        starts, ends = (np.searchsorted(owners, queries, side) for side in ("left", "right"))
        columns = np.arange((ends - starts).max(initial=0))
        places = starts[:, None] + columns
        held = places < ends[:, None]
        found = rows[np.where(held, places, 0)] if len(rows) else np.empty(held.shape, np.int64)
        if positives is not None:
            held, found = _first(held & (self._documents[found] == positives[:, None]), found)
        ids = np.where(held, ids_of(found), NO_DOCUMENT)
        scores = np.full(held.shape, -np.inf, np.float32)
        scores[held] = self._scores[found[held]]
        return ids, scores


def _first(held: NDArray[np.bool_], found: Ids) -> tuple[NDArray[np.bool_], Ids]:
    """Return what is held [B, K] at the start of each row, in its order, and no more columns than that takes."""
    order = np.argsort(~held, axis=1, kind="stable")[:, : held.sum(axis=1).max(initial=0)]
    return np.take_along_axis(held, order, axis=1), np.take_along_axis(found, order, axis=1)


def read_auxiliary(tables: Sequence[Path]) -> Auxiliary:
    """Read tables of texts, in their order. Raises `UserError` if one can't be read."""
    parts = []
    for path in tables:
        with readable(path):
            parts.append(pq.read_table(path, columns=list(COLUMNS)))
    return Auxiliary(pa.concat_tables(parts))
