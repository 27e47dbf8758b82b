"""Stages bm25_pool and dense_pool: candidates of every training query, computed once and shared by all methods.

A pool excludes what is no negative (`negmark.store.left_out`), but stores the positives' scores from the same scoring
pass, as samplers such as SimANS compare the two.
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
from negmark.search.index import BM25Searcher, DenseSearcher, Hits, Searcher, open_bm25
from negmark.search.scripts import AUTO, ENGLISH, TITLES
from negmark.store import collection
from negmark.store import left_out as others
from negmark.store.collection import Qrels
from negmark.store.left_out import LeftOut, read_left_out, with_left_out
from negmark.store.pool import ANALYZER, INDEX
from negmark.store.vectors import load as load_vectors

NO_DOCUMENT = -1
CHUNK = 2048


@dataclass(frozen=True)
class Chunk:
    """Some queries of a pool, searched together to `depth`; `rows` are queries of the pool, `pairs` its positives."""

    number: int
    rows: slice
    pairs: slice
    depth: int


class PoolSearches:
    """The searches of a pool: the queries with a training label, in order, each for `depth` candidates.

    Queries are searched in chunks, so the result is the same however the chunks are split among jobs.
    """

    def __init__(
        self, labels: collection.Qrels, documents: int, depth: int, left_out: LeftOut = others.NOTHING
    ) -> None:
        pairs = with_left_out(labels, left_out)
        self._left_out = np.unique(pairs.queries * documents + pairs.documents)
        labels = labels.positives()
        order = np.lexsort((labels.documents, labels.queries))
        self.labels = collection.Qrels(labels.queries[order], labels.documents[order], labels.grades[order])
        self.queries, self._starts, self._counts = np.unique(
            self.labels.queries, return_index=True, return_counts=True
        )
        self.documents, self.depth = documents, depth

    def chunks(self) -> list[Chunk]:
        """Return the chunks; each is searched deep enough to leave `depth` candidates after removing positives."""
        ends = np.searchsorted(self._left_out, (self.queries + 1) * self.documents)
        left_out, chunks = np.diff(ends, prepend=0), []
        for number, start in enumerate(range(0, len(self.queries), CHUNK)):
            rows = slice(start, min(start + CHUNK, len(self.queries)))
            pairs = slice(
                int(self._starts[start]), int(self._starts[rows.stop - 1] + self._counts[rows.stop - 1])
            )
            most = int(left_out[rows].max())
            chunks.append(Chunk(number, rows, pairs, min(self.documents, self.depth + most)))
        return chunks

    def candidates(self, chunk: Chunk, hits: Hits) -> Hits:
        """Return ids and scores [rows, depth] of a chunk without its positives and what else is no negative.

        Short rows end in -1 and -inf.
        """
        ids, scores = hits
        keys = self.queries[chunk.rows, None] * self.documents + ids
        bounds = np.searchsorted(
            self._left_out, self.queries[chunk.rows][[0, -1]] * self.documents + [0, self.documents]
        )
        usable = (ids != NO_DOCUMENT) & ~np.isin(keys, self._left_out[slice(*bounds)])
        best = np.argsort(~usable, axis=1, kind="stable")[:, : self.depth]
        filled = np.take_along_axis(usable, best, axis=1)
        return (
            np.where(filled, np.take_along_axis(ids, best, axis=1), NO_DOCUMENT),
            np.where(filled, np.take_along_axis(scores, best, axis=1), -np.inf).astype(np.float32),
        )


def search(searcher: Searcher, searches: PoolSearches, chunk: Chunk) -> tuple[Hits, NDArray[np.float32]]:
    """Return the hits of a chunk and the scores of its positives."""
    pairs = searches.labels.queries[chunk.pairs], searches.labels.documents[chunk.pairs]
    return searcher.search(searches.queries[chunk.rows], chunk.depth), searcher.score_pairs(*pairs)


def build_pool(
    searcher: Searcher,
    labels: collection.Qrels,
    documents: int,
    depth: int,
    left_out: LeftOut = others.NOTHING,
) -> dict[str, NDArray[Any]]:
    """Search all training queries and separate positives from candidates. Returns the arrays of a pool."""
    searches = PoolSearches(labels, documents, depth, left_out)
    return gather(searches, lambda chunk: search(searcher, searches, chunk))


def gather(
    searches: PoolSearches, find: Callable[[Chunk], tuple[Hits, NDArray[np.float32]]]
) -> dict[str, NDArray[Any]]:
    """Separate positives from candidates; `find` returns a chunk's hits as `search` does. Returns the pool's arrays."""
    ids = np.full((len(searches.queries), searches.depth), NO_DOCUMENT, dtype=np.int32)
    scores = np.full((len(searches.queries), searches.depth), -np.inf, dtype=np.float32)
    positive_scores = np.empty(len(searches.labels.queries), dtype=np.float32)
    for chunk in stage.progress(searches.chunks(), "searching"):
        hits, positive_scores[chunk.pairs] = find(chunk)
        candidates = searches.candidates(chunk, hits)
        width = candidates[0].shape[1]
        ids[chunk.rows, :width], scores[chunk.rows, :width] = candidates
    return {
        "queries": searches.queries.astype(np.int32),
        "ids": ids,
        "scores": scores,
        "documents": np.array([searches.documents], dtype=np.int64),
        "positive_queries": searches.labels.queries.astype(np.int32),
        "positive_documents": searches.labels.documents.astype(np.int32),
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
    """Open the searcher for a kind of pool; a dense one needs embeddings and may have a share of the blocks."""
    if kind == "dense":
        assert vectors is not None
        if index := options.get("index"):
            return ApproximateSearcher(*load_vectors(vectors), threads, share, index)
        return DenseSearcher(*load_vectors(vectors), threads, share)
    return open_bm25(dataset, options["bm25_k1"], options["bm25_b"], options.get("bm25_analyzer", AUTO))


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
    labels, left_out = collection.qrels(dataset, "train"), read_left_out(dataset)
    pool = build_pool(searcher, labels, searcher.documents, options["depth"], left_out)
    analyzer = analyzer_in(searcher)
    del searcher  # frees the index's vectors, which are read again to measure its recall
    facts = index_facts(pool, labels, left_out, options, vectors, threads)
    write_pool(output, pool, f"{kind} pool of {dataset.name}", started, facts, analyzer)


def analyzer_in(searcher: DenseSearcher | BM25Searcher) -> str:
    """Return the analyser of a search by words; empty for one by vectors."""
    return searcher.analyzer if isinstance(searcher, BM25Searcher) else ""


def index_facts(
    pool: dict[str, NDArray[Any]],
    labels: collection.Qrels,
    left_out: LeftOut,
    options: dict[str, Any],
    vectors: Path | None,
    threads: int,
) -> dict[str, Any]:
    """Return an approximate index's settings and its recall against exact search; empty for a flat index."""
    if "index" not in options or vectors is None:
        return {}
    searcher, sample = DenseSearcher(*load_vectors(vectors), threads), sample_labels(labels)
    exact = build_pool(searcher, sample, searcher.documents, options["depth"], left_out)
    depths = sorted({min(10, options["depth"]), options["depth"]})
    recalls = {str(depth): recall(pool, exact, depth) for depth in depths}
    settings = dict(options["index"])
    if "cells" in settings:
        settings["cells"] = cells_used(settings, searcher.documents)
    return {"settings": settings, "queries": len(exact["queries"]), "recall": recalls}


def write_pool(
    output: Path,
    pool: dict[str, NDArray[Any]],
    name: str,
    started: float,
    facts: dict[str, Any],
    analyzer: str = "",
) -> None:
    """Write the arrays of a pool, with the facts about an approximate index and its analyser, and report it.

    The analyser is written if it isn't the English one. Queries without a candidate are told: methods have no negative
    for them.
    """
    header = {INDEX: json.dumps(facts)} if facts else {}
    header |= {ANALYZER: analyzer} if analyzer not in ("", ENGLISH) else {}
    with replacing(output) as partial:
        save_file(pool, partial, header or None)
    queries, depth = pool["ids"].shape
    told = "".join(f", recall@{at} {share:.3f}" for at, share in facts.get("recall", {}).items())
    told += f", by {TITLES[analyzer]}" if ANALYZER in header else ""
    stage.say(f"{name}: {queries:,} queries, {depth} deep{told}, {time.perf_counter() - started:.1f} s")
    if without := int((pool["ids"][:, 0] == NO_DOCUMENT).sum()):
        stage.say(
            f"{name}: {without:,} of {queries:,} queries have no candidate, so its methods give them no negative"
        )


SAMPLE_QUERIES = 1000
"""Evenly spread training queries whose candidates are compared with exact search."""


def sample_labels(labels: Qrels) -> Qrels:
    """Return the labels of at most `SAMPLE_QUERIES` queries, evenly spread."""
    queries = np.unique(labels.positives().queries)
    chosen = queries[np.unique(np.linspace(0, len(queries) - 1, SAMPLE_QUERIES).astype(np.int64))]
    rows = np.isin(labels.queries, chosen)
    return Qrels(labels.queries[rows], labels.documents[rows], labels.grades[rows])


def recall(
    pool: Mapping[str, NDArray[Any]], exact: Mapping[str, NDArray[Any]], depth: int | None = None
) -> float:
    """Return the share of the exact search's candidates, its best `depth` per query, that a pool has to that depth.

    `exact` holds some of the pool's queries; both are arrays of a pool.
    """
    rows, exact_ids = np.searchsorted(pool["queries"], exact["queries"]), exact["ids"][:, :depth]
    pool_ids = pool["ids"][rows, :depth]
    spread = int(pool["documents"][0])
    keys = [np.arange(len(ids))[:, None] * spread + ids for ids in (exact_ids, pool_ids)]
    return float(np.isin(keys[0], keys[1][pool_ids >= 0])[exact_ids >= 0].mean())


if __name__ == "__main__":
    stage.command(main)
