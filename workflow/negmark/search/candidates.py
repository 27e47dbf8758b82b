"""Stages bm25_pool and dense_pool: candidates of every training query, made once and shared by all methods.

A pool leaves labelled positives out and keeps their scores beside, from the same scoring pass, as samplers
such as SimANS compare the two.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from typer import Option

from negmark.core import stage
from negmark.core.files import replacing
from negmark.search.approximate import ApproximateSearcher, cells_used
from negmark.search.index import BM25Searcher, DenseSearcher, Found, Searcher
from negmark.store import collection
from negmark.store.collection import Qrels
from negmark.store.pool import INDEX
from negmark.store.vectors import load as load_vectors

NO_DOCUMENT = -1
CHUNK = 2048


@dataclass(frozen=True)
class Chunk:
    """Some queries of a pool, which are searched together and `depth` deep."""

    number: int
    rows: slice
    pairs: slice
    depth: int


class Wanted:
    """What a pool holds: the queries that carry a training label, in order, each with `depth` candidates.

    Chunks of queries are the unit of search, so however they are shared among jobs, the same is found.
    """

    def __init__(self, labels: collection.Qrels, documents: int, depth: int) -> None:
        labels = labels.positives()
        order = np.lexsort((labels.documents, labels.queries))
        self.labels = collection.Qrels(labels.queries[order], labels.documents[order], labels.grades[order])
        self.queries, self._starts, self._counts = np.unique(
            self.labels.queries, return_index=True, return_counts=True
        )
        self.documents, self.depth = documents, depth

    def chunks(self) -> list[Chunk]:
        """Return the chunks; each is searched as deep as its positives demand, so that `depth` candidates are left."""
        found = []
        for number, start in enumerate(range(0, len(self.queries), CHUNK)):
            rows = slice(start, min(start + CHUNK, len(self.queries)))
            counts = self._counts[rows]
            pairs = slice(int(self._starts[start]), int(self._starts[rows.stop - 1] + counts[-1]))
            found.append(Chunk(number, rows, pairs, min(self.documents, self.depth + int(counts.max()))))
        return found

    def candidates(self, chunk: Chunk, found: Found) -> Found:
        """Return ids and scores [rows, depth] of a chunk without its positives; short rows end in -1 and -inf."""
        ids, scores = found
        keys = np.repeat(np.arange(len(ids)), self._counts[chunk.rows]) * self.documents
        keys += self.labels.documents[chunk.pairs]
        usable = (ids != NO_DOCUMENT) & ~np.isin(np.arange(len(ids))[:, None] * self.documents + ids, keys)
        best = np.argsort(~usable, axis=1, kind="stable")[:, : self.depth]
        kept = np.take_along_axis(usable, best, axis=1)
        return (
            np.where(kept, np.take_along_axis(ids, best, axis=1), NO_DOCUMENT),
            np.where(kept, np.take_along_axis(scores, best, axis=1), -np.inf).astype(np.float32),
        )


def search(searcher: Searcher, wanted: Wanted, chunk: Chunk) -> tuple[Found, NDArray[np.float32]]:
    """Return what is found for a chunk, and the scores of its positives."""
    pairs = wanted.labels.queries[chunk.pairs], wanted.labels.documents[chunk.pairs]
    return searcher.search(wanted.queries[chunk.rows], chunk.depth), searcher.score_pairs(*pairs)


def build_pool(
    searcher: Searcher, labels: collection.Qrels, documents: int, depth: int
) -> dict[str, NDArray[Any]]:
    """Search all training queries and part positives from candidates. Returns the arrays of a pool."""
    wanted = Wanted(labels, documents, depth)
    return gather(wanted, lambda chunk: search(searcher, wanted, chunk))


def gather(
    wanted: Wanted, find: Callable[[Chunk], tuple[Found, NDArray[np.float32]]]
) -> dict[str, NDArray[Any]]:
    """Part positives from what `find` gives for every chunk, as `search` does. Returns the arrays of a pool."""
    ids = np.full((len(wanted.queries), wanted.depth), NO_DOCUMENT, dtype=np.int32)
    scores = np.full((len(wanted.queries), wanted.depth), -np.inf, dtype=np.float32)
    positive_scores = np.empty(len(wanted.labels.queries), dtype=np.float32)
    for chunk in stage.progress(wanted.chunks(), "searching"):
        found, positive_scores[chunk.pairs] = find(chunk)
        best = wanted.candidates(chunk, found)
        width = best[0].shape[1]
        ids[chunk.rows, :width], scores[chunk.rows, :width] = best
    return {
        "queries": wanted.queries.astype(np.int32),
        "ids": ids,
        "scores": scores,
        "documents": np.array([wanted.documents], dtype=np.int64),
        "positive_queries": wanted.labels.queries.astype(np.int32),
        "positive_documents": wanted.labels.documents.astype(np.int32),
        "positive_scores": positive_scores,
    }


def open_searcher(
    kind: str,
    dataset: Path,
    options: dict[str, Any],
    vectors: Path | None,
    threads: int,
    share: tuple[int, int] = (0, 1),
) -> DenseSearcher | BM25Searcher:
    """Open the searcher of a kind of pool; a dense one has embeddings, and may have a share of the blocks."""
    if kind == "dense":
        assert vectors is not None
        if found := options.get("index"):
            return ApproximateSearcher(*load_vectors(vectors), threads, share, found)
        return DenseSearcher(*load_vectors(vectors), threads, share)
    return BM25Searcher(*collection.streamed(dataset), options["bm25_k1"], options["bm25_b"])


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
    searcher = open_searcher(kind, dataset, options, vectors, threads)
    labels = collection.qrels(dataset, "train")
    pool = build_pool(searcher, labels, searcher.documents, options["depth"])
    del searcher  # an index holds the vectors, which are read again for what it missed
    missed = index_facts(pool, labels, options, vectors, threads)
    write_pool(output, pool, f"{kind} pool of {dataset.name}", started, missed)


def index_facts(
    pool: dict[str, NDArray[Any]],
    labels: collection.Qrels,
    options: dict[str, Any],
    vectors: Path | None,
    threads: int,
) -> dict[str, Any]:
    """Return how an approximate index was made and what it found of the exact search's; nothing of a flat one."""
    if "index" not in options or vectors is None:
        return {}
    searcher, asked = DenseSearcher(*load_vectors(vectors), threads), sampled(labels)
    exact = build_pool(searcher, asked, searcher.documents, options["depth"])
    depths = sorted({min(10, options["depth"]), options["depth"]})
    found = {str(depth): recall(pool, exact, depth) for depth in depths}
    made = dict(options["index"])
    if "cells" in made:
        made["cells"] = cells_used(made, searcher.documents)
    return {"settings": made, "queries": len(exact["queries"]), "recall": found}


def write_pool(
    output: Path, pool: dict[str, NDArray[Any]], name: str, started: float, index: dict[str, Any]
) -> None:
    """Write the arrays of a pool, with the facts about an approximate index, and say so."""
    with replacing(output) as partial:
        save_file(pool, partial, {INDEX: json.dumps(index)} if index else None)
    queries, depth = pool["ids"].shape
    recalls = "".join(f", recall@{at} {share:.3f}" for at, share in index.get("recall", {}).items())
    stage.say(f"{name}: {queries:,} queries, {depth} deep{recalls}, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    stage.command(main)


ASKED = 1000
"""Training queries, spread evenly, whose candidates are held against the exact search's."""


def sampled(labels: Qrels) -> Qrels:
    """Return the labels of at most `ASKED` queries, spread evenly."""
    queries = np.unique(labels.positives().queries)
    chosen = queries[np.unique(np.linspace(0, len(queries) - 1, ASKED).astype(np.int64))]
    rows = np.isin(labels.queries, chosen)
    return Qrels(labels.queries[rows], labels.documents[rows], labels.grades[rows])


def recall(
    pool: Mapping[str, NDArray[Any]], exact: Mapping[str, NDArray[Any]], depth: int | None = None
) -> float:
    """Return the share of the exact search's candidates, its best `depth` a query, that a pool has to that depth.

    `exact` has some of the pool's queries; both are arrays of a pool.
    """
    rows, wanted = np.searchsorted(pool["queries"], exact["queries"]), exact["ids"][:, :depth]
    found = pool["ids"][rows, :depth]
    spread = int(pool["documents"][0])
    keys = [np.arange(len(ids))[:, None] * spread + ids for ids in (wanted, found)]
    return float(np.isin(keys[0], keys[1][found >= 0])[wanted >= 0].mean())
