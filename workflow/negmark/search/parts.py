"""Stages pool_part and pool_gather: a pool's search shared among jobs, by queries and, for vectors, by documents.

The units are chunks of queries and blocks of documents, the same ones that a single job goes through, so that the
gathered pool is the single job's, byte for byte. Part number p of D shares of the documents and Q of the queries has
share p % D of the blocks and p // D of the chunks. BM25 needs the whole corpus for its weights: D is 1.
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
from negmark.search.candidates import Chunk, Wanted, gather, index_facts, open_searcher, search, write_pool
from negmark.search.index import Found, merged
from negmark.store import collection


def make_part(
    part: int,
    shares: tuple[int, int],
    dataset: Path,
    settings: str,
    output: Path,
    vectors: Path | None,
    threads: int,
) -> None:
    """Search a part and write what is found: for every chunk its ids, scores, and the scores of its positives."""
    options, (documents, queries) = json.loads(settings), shares
    kind = "dense" if vectors else "bm25"
    searcher = open_searcher(kind, dataset, options, vectors, threads, (part % documents, documents))
    wanted = Wanted(collection.qrels(dataset, "train"), searcher.documents, options["depth"])
    arrays: dict[str, NDArray] = {}
    for chunk in stage.progress(wanted.chunks()[part // documents :: queries], f"part {part}"):
        (ids, scores), positives = search(searcher, wanted, chunk)
        found = {"ids": ids.astype(np.int32), "scores": scores, "positives": positives}
        # safetensors writes a view of an array as if it were whole.
        arrays |= {f"{chunk.number}.{name}": np.ascontiguousarray(part) for name, part in found.items()}
    with replacing(output) as partial:
        save_file(arrays, partial)


def find(parts: list[Path], shares: tuple[int, int], chunk: Chunk) -> tuple[Found, NDArray[np.float32]]:
    """Return what all parts together found for a chunk; `parts` are in the order of their numbers."""
    documents, queries = shares
    first = chunk.number % queries * documents
    found, positives = zip(
        *(_read(path, chunk.number) for path in parts[first : first + documents]), strict=True
    )
    return functools.reduce(lambda one, other: merged(one, other, chunk.depth), found), positives[0]


def _read(path: Path, number: int) -> tuple[Found, NDArray[np.float32]]:
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
    labels, options = collection.qrels(dataset, "train"), json.loads(settings)
    wanted = Wanted(labels, collection.count(dataset), options["depth"])
    pool = gather(wanted, lambda chunk: find(parts or [], shares, chunk))
    missed = index_facts(pool, labels, options, vectors, threads)
    name = f"{output.stem} pool of {dataset.name}, in {len(parts or [])} parts"
    write_pool(output, pool, name, started, missed)


if __name__ == "__main__":
    stage.command(main)
