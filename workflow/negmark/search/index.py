"""Search over a whole corpus: BM25 by words (bm25s) and exact inner product by vectors (FAISS)."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from negmark.core.errors import UserError
from negmark.search.bm25_words import words_of
from negmark.search.scripts import AUTO, ENGLISH, analyzer_of
from negmark.store import collection
from negmark.store.vectors import ROWS_AT_A_TIME, Vectors, float32, odd_row

Hits = tuple[NDArray[np.int64], NDArray[np.float32]]
Find = Callable[[NDArray[np.float32], int], tuple[NDArray[np.float32], NDArray[np.int64]]]
"""A FAISS search: query vectors and a depth to scores and rows, best first, -1 where nothing is left."""
SCORES_AT_A_TIME = 1 << 23  # pairs of a query and a document that share a word: 300 MB with their order
TIE_ROOM = 16  # extra documents searched, to see how far a tie reaches


class Searcher(Protocol):
    """A retriever over the documents and queries of one dataset."""

    @property
    def documents(self) -> int:
        """Documents that are searched."""

    def search(self, queries: NDArray[np.int64], depth: int) -> Hits:
        """Return ids [len(queries), depth] and scores, best first; -1 and -inf where nothing matches."""

    def score_pairs(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the scores of pairs, on the same scale as the search."""


class DenseSearcher:
    """Exact search by inner product, one block of documents at a time: vectors on disk are never all in memory."""

    def __init__(
        self,
        documents: Vectors,
        queries: Vectors,
        threads: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Search the documents of all blocks, or of one of several shares of the blocks: (number, of how many)."""
        import faiss

        faiss.omp_set_num_threads(threads)
        self._documents, self._queries = documents, queries
        self._blocks = range(0, len(documents), ROWS_AT_A_TIME)[share[0] :: share[1]]

    @property
    def documents(self) -> int:
        """Documents that are searched."""
        return len(self._documents)

    def search(self, queries: NDArray[np.int64], depth: int) -> Hits:
        """Return the documents of highest inner product; ties go to the lowest row.

        A share of the blocks may hold fewer than `depth`.
        """
        vectors = finite(self._queries[queries], "query")
        best: Hits = np.empty((len(vectors), 0), np.int64), np.empty((len(vectors), 0), np.float32)
        for start, block in self._read(self._blocks):
            ids, scores = best_of(_knn(block), vectors, len(block), depth)
            best = merge(best, (ids + start, scores), depth)
        return best

    def _read(self, starts: Iterable[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Read blocks from the disk, one at a time: the first row of each, and its vectors."""
        for start in starts:
            yield start, finite(self._documents[start : start + ROWS_AT_A_TIME], "document", start)

    def score_pairs(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return inner products."""
        left, right = float32(self._queries[queries]), float32(self._documents[documents])
        return np.einsum("nd,nd->n", left, right).astype(np.float32)


def finite(vectors: Vectors, what: str, start: int = 0) -> NDArray[np.float32]:
    """Return rows of vectors as `float32` does; `what` they are of, and the number of the first, are for messages.

    Raises `UserError` if one holds NaN or an infinity: FAISS would leave it out of every result and say nothing.
    """
    if (row := odd_row(vectors)) is not None:
        raise UserError(
            f"the vector of {what} {start + row} (counted from 0) is not finite: training diverged, or the encoder's "
            "numbers are too large for its precision; lower the learning rate, or set `dtype: float32`"
        )
    return float32(vectors)


def merge(one: Hits, other: Hits, depth: int) -> Hits:
    """Return the best `depth` of two results that are each complete to that depth, as one search of both would."""
    ids = np.concatenate([one[0], other[0]], axis=1)
    ids, scores = _ties_by_row(ids, np.concatenate([one[1], other[1]], axis=1))
    return ids[:, :depth], scores[:, :depth]


def best_of(find: Find, vectors: NDArray[np.float32], size: int, depth: int, width: int = 0) -> Hits:
    """Return the best `depth` of `size` documents; ties go to the lowest row.

    `find` is called for a few more, and for still more if the tie at `depth` reaches that far: its lowest rows may be
    further down.
    """
    depth, width = min(depth, size), min(width or depth + TIE_ROOM, size)
    scores, ids = find(vectors, width)
    ids, scores = _ties_by_row(ids.astype(np.int64), np.where(ids < 0, -np.inf, scores))
    tied = np.flatnonzero((scores[:, depth - 1] == scores[:, -1]) & (ids[:, -1] >= 0))
    ids, scores = ids[:, :depth], scores[:, :depth]
    if len(tied) and width < size:
        ids[tied], scores[tied] = best_of(find, vectors[tied], size, depth, 2 * width)
    return ids, scores


def _knn(block: NDArray[np.float32]) -> Find:
    import faiss

    return lambda vectors, width: faiss.knn(vectors, block, width, faiss.METRIC_INNER_PRODUCT)


class BM25Searcher:
    """BM25 over stemmed words without stop words, scored as Lucene does.

    bm25s computes the score of every (word, document) pair when it indexes; a query's scores are the sums of
    its words' rows. Summing a batch of queries as one sparse product gives the same as `bm25s.BM25.retrieve`,
    many times faster, as only documents that share a word are touched.
    """

    def __init__(
        self,
        documents: Iterable[str],
        queries: Iterable[str],
        k1: float,
        b: float,
        analyzer: str = ENGLISH,
    ) -> None:
        import bm25s

        self.analyzer = analyzer
        words = words_of(documents, analyzer)
        self._vocabulary, count = words.vocab, len(words.ids)
        by_word = sparse.csc_array((count, 0), dtype=np.float32)
        if words.vocab:  # bm25s can't index a corpus of nothing but stop words
            index = bm25s.BM25(method="lucene", k1=k1, b=b)
            # Words are in alphabetical order, so sums of floats are the same in every process.
            index.index(words, create_empty_token=False, show_progress=False)
            parts = index.scores["data"], index.scores["indices"], index.scores["indptr"]
            by_word = sparse.csc_array(parts, shape=(count, len(words.vocab)))
        self._by_document = by_word.tocsr()
        self._by_word = by_word.T.tocsr()
        self._queries = words_of(queries, analyzer).counts(self._vocabulary)

    @property
    def documents(self) -> int:
        """Documents that are searched."""
        return int(self._by_document.shape[0])

    def search(self, queries: NDArray[np.int64], depth: int) -> Hits:
        """Return the documents of highest BM25 score; ties go to the lowest row.

        Documents that share no word with the query are left out. Queries are batched so that memory grows neither
        with their number nor with that of the documents.
        """
        ids = np.full((len(queries), depth), -1, dtype=np.int64)
        scores = np.full((len(queries), depth), -np.inf, dtype=np.float32)
        shared = (self._queries[queries] != 0).astype(np.int64) @ np.diff(self._by_word.indptr)
        parts = (np.cumsum(shared) - shared) // SCORES_AT_A_TIME
        for part in np.split(np.arange(len(queries)), np.flatnonzero(np.diff(parts)) + 1):
            ids[part], scores[part] = self._best(queries[part], depth)
        return ids, scores

    def _best(self, queries: NDArray[np.int64], depth: int) -> Hits:
        products = (self._queries[queries] @ self._by_word).tocoo()
        order = np.lexsort((products.col, -products.data, products.row))
        rows, columns, values = products.row[order], products.col[order], products.data[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, np.arange(len(queries)))[rows]
        kept = (rank < depth) & (values > 0)
        ids = np.full((len(queries), depth), -1, dtype=np.int64)
        scores = np.full((len(queries), depth), -np.inf, dtype=np.float32)
        ids[rows[kept], rank[kept]], scores[rows[kept], rank[kept]] = columns[kept], values[kept]
        return ids, scores

    def score_pairs(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return BM25 scores of pairs; 0 if no word is shared."""
        products = self._queries[queries].multiply(self._by_document[documents])
        return np.asarray(products.sum(axis=1), dtype=np.float32).ravel()


def open_bm25(dataset: Path, k1: float, b: float, analyzer: str = AUTO) -> BM25Searcher:
    """Open BM25 over a prepared dataset; `auto` is the analyser that fits its documents."""
    if analyzer == AUTO:
        analyzer = analyzer_of(collection.streamed(dataset)[0], collection.count(dataset))
    return BM25Searcher(*collection.streamed(dataset), k1, b, analyzer)


def _ties_by_row(ids: NDArray[np.int64], scores: NDArray[np.float32]) -> Hits:
    """Order equal scores by document row: the library's own order of ties may change with threads."""
    order = np.lexsort((ids, -scores), axis=1)
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
