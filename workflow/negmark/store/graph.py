"""Relations between the documents of a dataset, such as which stand above a code in its hierarchy.

They lie in the table of documents as columns of lists, one a relation: in each row the numbers of the rows that are
that document's ancestors, siblings or synonyms. So they have the row numbers of all else, and are cut as the documents
are. A dataset without relations has no such columns. In memory a relation is a sparse matrix [documents, documents] in
CSR form: `relation[rows]` gives the relatives of some documents, `positives @ relation` those of what queries ask for.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_array

from negmark.core.relations import RELATIONS
from negmark.store.collection import DOCUMENTS, Qrels, readable

Graph = Mapping[str, csr_array]
"""Sparse matrices [documents, documents] by relation: true where the column's document is such a one of the row's."""


def relation_of(pairs: Iterable[tuple[int, int]], documents: int) -> csr_array:
    """Return pairs of rows, of a document and of another that is related to it so, as a sparse matrix."""
    rows = np.array(list(pairs), dtype=np.int32).reshape(-1, 2)
    related = csr_array((np.ones(len(rows), bool), (rows[:, 0], rows[:, 1])), shape=(documents, documents))
    related.sum_duplicates()  # which sorts the columns of each row too
    return related


def as_columns(graph: Graph) -> dict[str, pa.ListArray]:
    """Return the columns of the documents' table that hold a graph."""
    return {
        name: pa.ListArray.from_arrays(
            pa.array(related.indptr.astype(np.int32)), pa.array(related.indices.astype(np.int32))
        )
        for name, related in graph.items()
    }


def read_graph(folder: Path) -> Graph:
    """Read the relations of a prepared dataset, by name; empty where it has none."""
    with readable(folder / DOCUMENTS):
        there = pq.read_schema(folder / DOCUMENTS).names
        names = [name for name in RELATIONS if name in there]
        table = pq.read_table(folder / DOCUMENTS, columns=names) if names else pa.table({})
    return {name: _matrix(table.column(name)) for name in names}


def related_to_positives(related: csr_array, labels: Qrels, queries: int) -> csr_array:
    """Return [queries, documents], true where a document is such a relative of a positive of the query."""
    positives = labels.positives()
    asked = csr_array(
        (np.ones(len(positives.queries), bool), (positives.queries, positives.documents)),
        shape=(queries, related.shape[0]),
    )
    return asked @ related


def within_hops(graph: Graph, rows: NDArray[np.int64], hops: int) -> NDArray[np.int64]:
    """Return the documents within so many hops of documents [B] by any relation, nearest first: [B, K].

    -1 after a row's last one; a document is none of its own. Those at one distance come in the order of their rows.
    """
    documents = next(iter(graph.values())).shape[0]
    any_relation = sum(graph.values(), csr_array((documents, documents), dtype=bool))
    reached = _one_each(rows, documents)
    found: list[list[NDArray[np.int64]]] = [[] for _ in rows]
    edge = reached
    for _ in range(hops):  # bool @ bool and bool + bool are bool, and > is `and not`
        edge = csr_array((edge @ any_relation) > reached)
        edge.sort_indices()
        reached = reached + edge
        for parts, first, last in zip(found, edge.indptr[:-1], edge.indptr[1:], strict=True):
            parts.append(edge.indices[first:last].astype(np.int64))
    joined = [np.concatenate(parts) if parts else np.empty(0, np.int64) for parts in found]
    padded = np.full((len(rows), max(map(len, joined), default=0)), -1, dtype=np.int64)
    for place, columns in enumerate(joined):
        padded[place, : len(columns)] = columns
    return padded


def _one_each(columns: NDArray[np.int64], width: int) -> csr_array:
    """Return a sparse matrix [B, width], true in one column of each row."""
    count = len(columns)
    return csr_array((np.ones(count, bool), columns, np.arange(count + 1)), shape=(count, width))


def holds(matrix: csr_array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of each pair of a row and a column if it is true in a sparse matrix."""
    found = matrix.tocoo()
    width = matrix.shape[1]
    return np.isin(rows * width + columns, found.row.astype(np.int64) * width + found.col)


def _matrix(column: pa.ChunkedArray) -> csr_array:
    lengths = pc.list_value_length(column).to_numpy()
    starts = np.concatenate([[0], np.cumsum(lengths)])
    others = pc.list_flatten(column).to_numpy()
    return csr_array((np.ones(len(others), bool), others, starts), shape=(len(column), len(column)))
