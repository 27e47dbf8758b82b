"""Stages bm25_pool and dense_pool: candidates of every training query, made once and shared by all methods.

A pool leaves labelled positives out and keeps their scores beside, from the same scoring pass, as samplers
such as SimANS compare the two.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from typer import Option

from workflow import collection, stage
from workflow.errors import UserError
from workflow.files import replacing
from workflow.index import BM25Searcher, DenseSearcher, Searcher
from workflow.vectors import load as load_vectors

NO_DOCUMENT = -1
CHUNK = 2048


class CandidatePool:
    """Candidates of the training queries: a `methods.base.Pool`."""

    def __init__(self, path: Path) -> None:
        try:
            arrays = load_file(path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: can't be read ({error}); delete it and run again") from error
        self._ids, self._scores = arrays["ids"], arrays["scores"]
        self._row = np.full(int(arrays["queries"].max()) + 1, -1, dtype=np.int64)
        self._row[arrays["queries"]] = np.arange(len(arrays["queries"]))
        self._documents = int(arrays["documents"][0])
        keys = arrays["positive_queries"].astype(np.int64) * self._documents + arrays["positive_documents"]
        order = np.argsort(keys)
        self._keys, self._positive_scores = keys[order], arrays["positive_scores"][order]

    @property
    def depth(self) -> int:
        """Places a query."""
        return int(self._ids.shape[1])

    def candidates(
        self, queries: NDArray[np.int64], depth: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return ids [B, K] and scores [B, K], best first; short rows end in -1 with score -inf."""
        rows = self._row[queries]
        if (rows < 0).any():
            raise KeyError("a query that carries no training label has no candidates in the pool")
        return self._ids[rows, :depth].astype(np.int64), self._scores[rows, :depth]

    def positive_scores(
        self, queries: NDArray[np.int64], positives: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the scores [B] of labelled pairs. Raises KeyError if a pair carries no training label."""
        keys = queries * self._documents + positives
        places = np.searchsorted(self._keys, keys)
        if (places >= len(self._keys)).any() or (self._keys[places] != keys).any():
            raise KeyError("a pair that carries no training label has no score in the pool")
        return self._positive_scores[places]


def build_pool(
    searcher: Searcher, labels: collection.Qrels, documents: int, depth: int
) -> dict[str, NDArray[Any]]:
    """Search the training queries and part positives from candidates. Returns the arrays of a pool.

    A query is searched as deep as its own number of positives demands, so that `depth` candidates are left.
    """
    labels = labels.positives()
    order = np.lexsort((labels.documents, labels.queries))
    labels = collection.Qrels(labels.queries[order], labels.documents[order], labels.grades[order])
    queries, starts, counts = np.unique(labels.queries, return_index=True, return_counts=True)
    ids = np.full((len(queries), depth), NO_DOCUMENT, dtype=np.int32)
    scores = np.full((len(queries), depth), -np.inf, dtype=np.float32)
    for start in stage.progress(range(0, len(queries), CHUNK), "searching"):
        rows = slice(start, start + CHUNK)
        found, values = searcher.search(queries[rows], min(documents, depth + int(counts[rows].max())))
        first, last = starts[rows][0], starts[rows][-1] + counts[rows][-1]
        keys = np.repeat(np.arange(len(found)), counts[rows]) * documents + labels.documents[first:last]
        usable = (found != NO_DOCUMENT) & ~np.isin(np.arange(len(found))[:, None] * documents + found, keys)
        best = np.argsort(~usable, axis=1, kind="stable")[:, :depth]
        kept = np.take_along_axis(usable, best, axis=1)
        width = best.shape[1]
        ids[rows, :width] = np.where(kept, np.take_along_axis(found, best, axis=1), NO_DOCUMENT)
        scores[rows, :width] = np.where(kept, np.take_along_axis(values, best, axis=1), -np.inf)
    return {
        "queries": queries.astype(np.int32),
        "ids": ids,
        "scores": scores,
        "documents": np.array([documents], dtype=np.int64),
        "positive_queries": labels.queries.astype(np.int32),
        "positive_documents": labels.documents.astype(np.int32),
        "positive_scores": searcher.score_pairs(labels.queries, labels.documents),
    }


def main(
    kind: Annotated[str, Option(help="bm25 or dense")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    settings: Annotated[str, Option(help="settings of the pools, as JSON")],
    output: Annotated[Path, Option(help="the pool's safetensors file")],
    vectors: Annotated[Path | None, Option(help="folder of the embeddings, for dense")] = None,
    threads: Annotated[int, Option(help="threads of the search")] = 1,
) -> None:
    """Make the candidate pool of one retriever for all training queries."""
    started = time.perf_counter()
    options = json.loads(settings)
    if kind == "dense":
        assert vectors is not None
        searcher: Searcher = DenseSearcher(*load_vectors(vectors), threads)
    else:
        searcher = BM25Searcher(*collection.texts(dataset), options["bm25_k1"], options["bm25_b"])
    pool = build_pool(searcher, collection.qrels(dataset, "train"), searcher.documents, options["depth"])
    with replacing(output) as partial:
        save_file(pool, partial)
    stage.say(
        f"{kind} pool of {dataset.name}: {len(pool['queries']):,} queries, "
        f"{options['depth']} deep, {time.perf_counter() - started:.1f} s"
    )


if __name__ == "__main__":
    stage.command(main)
