"""Stages pool_part and pool_gather: a pool's search split among jobs, by queries and, for vectors, by documents.

The units are chunks of queries and blocks of documents, the same as in a single job, so the gathered pool equals the
single job's, byte for byte. With D shares of the documents and Q of the queries, part p has share p % D of the blocks
and share p // D of the chunks. BM25 needs the whole corpus for its weights: D is 1.
"""

import functools
import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from typer import Option

from negmark.core import stage
from negmark.core.files import replacing
from negmark.search.candidates import (
    Chunk,
    PoolSearches,
    analyzer_in,
    gather,
    index_facts,
    open_searcher,
    search,
    write_pool,
)
from negmark.search.index import Hits, merge
from negmark.store import collection
from negmark.store.left_out import read_left_out
from negmark.store.pool import ANALYZER


def make_part(
    part: int,
    shares: tuple[int, int],
    dataset: Path,
    settings: str,
    output: Path,
    vectors: Path | None,
    threads: int,
) -> None:
    """Search a part and write, for each chunk, its ids, its scores and the scores of its positives."""
    options, (documents, queries) = json.loads(settings), shares
    kind = "dense" if vectors else "bm25"
    searcher = open_searcher(kind, dataset, options, vectors, threads, (part % documents, documents))
    labels = collection.qrels(dataset, "train")
    searches = PoolSearches(labels, searcher.documents, options["depth"], read_left_out(dataset))
    arrays: dict[str, NDArray] = {}
    for chunk in stage.progress(searches.chunks()[part // documents :: queries], f"part {part}"):
        (ids, scores), positives = search(searcher, searches, chunk)
        chunk_arrays = {"ids": ids.astype(np.int32), "scores": scores, "positives": positives}
        # safetensors writes a view of an array as if it were the whole array.
        arrays |= {
            f"{chunk.number}.{name}": np.ascontiguousarray(part) for name, part in chunk_arrays.items()
        }
    with replacing(output) as partial:
        save_file(arrays, partial, {ANALYZER: analyzer_in(searcher)})


def find(parts: list[Path], shares: tuple[int, int], chunk: Chunk) -> tuple[Hits, NDArray[np.float32]]:
    """Return the merged hits of all parts for a chunk, and its positives' scores; `parts` are in order of number."""
    documents, queries = shares
    first = chunk.number % queries * documents
    hits, positives = zip(
        *(_read(path, chunk.number) for path in parts[first : first + documents]), strict=True
    )
    return functools.reduce(lambda one, other: merge(one, other, chunk.depth), hits), positives[0]


def _analyzer(parts: list[Path]) -> str:
    with safe_open(parts[0], "numpy") as arrays:
        return (arrays.metadata() or {}).get(ANALYZER, "")


def _read(path: Path, number: int) -> tuple[Hits, NDArray[np.float32]]:
    with safe_open(path, "numpy") as arrays:
        ids = arrays.get_tensor(f"{number}.ids").astype(np.int64)
        return (ids, arrays.get_tensor(f"{number}.scores")), arrays.get_tensor(f"{number}.positives")


def main(
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    settings: Annotated[str, Option(help="settings of the pools, as JSON")],
    output: Annotated[Path, Option(help="the safetensors file of the part, or of the pool")],
    documents: Annotated[int, Option(help="shares of the documents")],
    queries: Annotated[int, Option(help="shares of the queries")],
    part: Annotated[int | None, Option(help="number of the part to search")] = None,
    parts: Annotated[list[Path] | None, Option(help="files of all parts in order, to gather")] = None,
    vectors: Annotated[Path | None, Option(help="folder of the embeddings, for a dense pool")] = None,
    threads: Annotated[int, Option(help="threads of the search")] = 1,
) -> None:
    """Search a part of a pool, or gather the pool from its parts."""
    started, shares = time.perf_counter(), (documents, queries)
    if part is not None:
        make_part(part, shares, dataset, settings, output, vectors, threads)
        return
    labels, left_out, options = (
        collection.qrels(dataset, "train"),
        read_left_out(dataset),
        json.loads(settings),
    )
    searches = PoolSearches(labels, collection.count(dataset), options["depth"], left_out)
    pool = gather(searches, lambda chunk: find(parts or [], shares, chunk))
    facts = index_facts(pool, labels, left_out, options, vectors, threads)
    name = f"{output.stem} pool of {dataset.name}, in {len(parts or [])} parts"
    write_pool(output, pool, name, started, facts, _analyzer(parts or []))


if __name__ == "__main__":
    stage.command(main)
