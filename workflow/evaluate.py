"""Stage evaluate: rank the corpus for every test query, and measure.

This stage alone reads the test split. Its outputs hold no time and no path, so that equal configs give equal
bytes: a TREC run, a row a query, and the means over all, seen and unseen queries.
"""

import gzip
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from typer import Option

from workflow import collection, stage
from workflow.adapter_maps import load_maps, mapped
from workflow.collection import write_table
from workflow.files import replacing, write_json
from workflow.index import BM25Searcher, DenseSearcher, Searcher
from workflow.metrics import METRICS, evaluate_run, ranked
from workflow.vectors import load as load_vectors

DEPTH = 100
METRICS_FILE, PER_QUERY, RUN = "metrics.json", "per_query.parquet", "run.trec.gz"
SLICES = ("all", "seen", "unseen")


def rank(searcher: Searcher, dataset: Path, queries: NDArray[np.int64]) -> dict[str, dict[str, float]]:
    """Return the 100 best documents of each query by id, the query's own text in the corpus left out.

    A document under the query's id is the query itself (ArguAna, Quora); BEIR leaves it out as well. One more
    is searched, so that 100 are left.
    """
    document_ids = collection.column(dataset, collection.DOCUMENTS, "id")
    query_ids = collection.column(dataset, collection.QUERIES, "id")
    found, scores = searcher.search(queries, min(searcher.documents, DEPTH + 1))
    run: dict[str, dict[str, float]] = {}
    for query, documents, values in zip(queries, found, scores, strict=True):
        name = query_ids[query]
        entries = {
            document_ids[document]: float(value)
            for document, value in zip(documents, values, strict=True)
            if document >= 0 and document_ids[document] != name
        }
        run[name] = dict(ranked(entries)[:DEPTH])
    return run


def measure(dataset: Path, run: dict[str, dict[str, float]], split: str = "test") -> dict[str, list[Any]]:
    """Return a row a query of the split: its id, its slice and its metrics, in the order of the dataset."""
    document_ids = collection.column(dataset, collection.DOCUMENTS, "id")
    query_ids = collection.column(dataset, collection.QUERIES, "id")
    slices = collection.column(dataset, collection.QUERIES, "slice")
    labels = collection.qrels(dataset, split)
    qrels: dict[str, dict[str, int]] = {}
    for query, document, grade in zip(labels.queries, labels.documents, labels.grades, strict=True):
        qrels.setdefault(query_ids[query], {})[document_ids[document]] = int(grade)
    found = evaluate_run(qrels, run)
    rows = [row for row, name in enumerate(query_ids) if name in qrels]
    return {
        "query": [query_ids[row] for row in rows],
        "slice": [slices[row] for row in rows],
        **{metric: [found[query_ids[row]][metric] for row in rows] for metric in METRICS},
    }


def means(rows: dict[str, list[Any]]) -> dict[str, dict[str, float]]:
    """Return the number of queries and the mean of each metric a slice; a slice without queries is left out."""
    told = np.array([slice_ or "" for slice_ in rows["slice"]])
    result: dict[str, dict[str, float]] = {}
    for name in SLICES:
        chosen = np.ones(len(told), dtype=bool) if name == "all" else told == name
        if chosen.any():
            values = {metric: float(np.mean(np.array(rows[metric])[chosen])) for metric in METRICS}
            result[name] = {"queries": int(chosen.sum()), **values}
    return result


def main(
    about: Annotated[str, Option(help="what is evaluated, as JSON; goes into metrics.json")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    folder: Annotated[Path, Option(help="where the outputs go")],
    vectors: Annotated[Path | None, Option(help="folder of the embeddings; without it, BM25")] = None,
    model: Annotated[
        Path | None, Option(help="the trained adapter; without it, the untrained encoder")
    ] = None,
    threads: Annotated[int, Option(help="threads of the search")] = 1,
) -> None:
    """Evaluate a trained run, the untrained encoder or BM25 on the test split."""
    facts = json.loads(about)
    queries = np.unique(collection.qrels(dataset, "test").queries)
    run = rank(_searcher(facts, dataset, vectors, model, queries, threads), dataset, queries)
    rows = measure(dataset, run)
    write_table(folder / PER_QUERY, rows)
    _write_run(folder / RUN, run, facts["method"])
    slices = means(rows)
    write_json(folder / METRICS_FILE, {**facts, "status": "ok", "slices": slices})
    seed = "" if facts["seed"] is None else f", seed {facts['seed']}"
    told = ", ".join(f"{values['nDCG@10']:.4f} on {name}" for name, values in slices.items())
    stage.say(f"{facts['dataset']}: {facts['title']}{seed}: nDCG@10 {told}")


def _searcher(
    facts: dict[str, Any],
    dataset: Path,
    vectors: Path | None,
    model: Path | None,
    asked: NDArray[np.int64],
    threads: int,
) -> Searcher:
    if vectors is None:
        return BM25Searcher(*collection.texts(dataset), facts["params"]["k1"], facts["params"]["b"])
    documents, queries = load_vectors(vectors)
    if model is not None:
        maps = load_maps(model)
        documents = mapped(documents, maps["document"])
        changed = np.zeros_like(queries)  # only the queries that are asked are mapped
        changed[asked] = mapped(queries[asked], maps["query"])
        queries = changed
    return DenseSearcher(documents, queries, threads)


def _write_run(path: Path, run: dict[str, dict[str, float]], tag: str) -> None:
    """Write a TREC run, compressed; nine digits give every float32 back exactly."""
    lines = (
        f"{query} Q0 {document} {place} {score:.9g} {tag}\n"
        for query, documents in run.items()
        for place, (document, score) in enumerate(documents.items(), start=1)
    )
    packed = gzip.compress("".join(lines).encode(), compresslevel=3, mtime=0)
    with replacing(path) as partial:
        partial.write_bytes(packed)


if __name__ == "__main__":
    stage.command(main)
