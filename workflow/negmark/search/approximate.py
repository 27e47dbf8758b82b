"""Approximate search for dense pools by FAISS, IVF and HNSW; their recall against exact search is measured.

IVF splits the corpus into cells around centroids and searches the cells nearest to a query, each exactly. The centroids
come from an even sample of the whole corpus, so jobs that each search a share of it together find what one job finds.
HNSW walks a graph of near neighbours, which can't be split; it is built on one thread, as FAISS adds links in the order
in which threads arrive.

Jegou, Douze and Schmid 2011 (IVF); Malkov and Yashunin 2018 (HNSW); both as implemented in FAISS.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmark.core import stage
from negmark.search.index import DenseSearcher, Hits, best_of, finite
from negmark.store.vectors import Vectors

SAMPLES_PER_CELL = 64
"""Documents that each centroid is trained on; FAISS wants at least 39."""


class ApproximateSearcher(DenseSearcher):
    """Searches an index in memory, the only copy of the vectors there; scores of pairs are exact."""

    def __init__(
        self,
        documents: Vectors,
        queries: Vectors,
        threads: int,
        share: tuple[int, int],
        settings: Mapping[str, Any],
    ) -> None:
        """Index the documents of a share of the blocks; `settings` are `settings.IndexSettings`."""
        super().__init__(documents, queries, threads, share)
        self._index = {"ivf": self._ivf, "hnsw": self._hnsw}[settings["kind"]](settings, threads)

    def search(self, queries: NDArray[np.int64], depth: int) -> Hits:
        """Return documents of high inner product; ties among those found go to the lowest row."""
        vectors, index = finite(self._queries[queries], "query"), self._index
        if not index.ntotal:
            return np.empty((len(vectors), 0), np.int64), np.empty((len(vectors), 0), np.float32)
        return best_of(index.search, vectors, index.ntotal, depth)

    def _ivf(self, settings: Mapping[str, Any], threads: int) -> Any:
        import faiss

        rows, dimension = self._documents.shape
        cells = cells_used(settings, rows)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, cells, faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = 1  # a small corpus has no more, and FAISS would warn
        index.cp.max_points_per_centroid = SAMPLES_PER_CELL
        sample = np.unique(np.linspace(0, rows - 1, SAMPLES_PER_CELL * cells).astype(np.int64))
        index.train(finite(self._documents[sample], "a sampled document"))
        index.nprobe = min(settings["probes"], cells)
        for start, block in self._read(stage.progress(self._blocks, "indexing")):
            index.add_with_ids(block, np.arange(start, start + len(block)))
        return index

    def _hnsw(self, settings: Mapping[str, Any], threads: int) -> Any:
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.IndexHNSWFlat(self._documents.shape[1], settings["links"], faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = index.hnsw.efSearch = settings["breadth"]
        for _, block in self._read(stage.progress(self._blocks, "indexing")):
            index.add(block)
        faiss.omp_set_num_threads(threads)
        return index


def cells_of(documents: int) -> int:
    """Return the default number of IVF cells: four times the root of the documents, as FAISS's guide advises."""
    return max(1, round(4 * math.sqrt(documents)))


def cells_used(settings: Mapping[str, Any], documents: int) -> int:
    """Return the number of IVF cells under these settings; no more than there are documents."""
    return min(settings["cells"] or cells_of(documents), documents)
