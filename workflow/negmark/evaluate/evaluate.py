"""Stage evaluate: rank the corpus for every test query, and measure.

This stage alone reads the test split, but for the card, which counts its labels. Its outputs hold no time and no path,
so that equal configs give equal bytes: a TREC run, a row a query, and the means over all, seen and unseen queries.
"""

import gzip
import json
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
from typer import Argument, Option

from negmark.core import stage, tiers
from negmark.core.files import replacing, write_json
from negmark.core.seeds import stream
from negmark.evaluate.metrics import METRICS, Run, evaluate_run
from negmark.search.index import BM25Searcher, DenseSearcher, Searcher
from negmark.store import collection
from negmark.store.collection import write_table
from negmark.store.contents import METRICS_FILE, PER_QUERY, RUN, seed_of
from negmark.store.vectors import load as load_vectors

DEPTH = 100
MODEL = "model.safetensors"
SLICES = ("all", "seen", "unseen")
SPACE = re.compile(r"\s")


class TestSplit:
    """The test queries of a dataset with their labels and slices, read once for all runs of a job.

    Another split may be named; `wanted` takes so many of its queries at most, the same whenever it is asked.
    """

    def __init__(self, dataset: Path, split: str = "test", wanted: int | None = None) -> None:
        self.documents = np.array(collection.column(dataset, collection.DOCUMENTS, "id"), dtype=object)
        names = collection.column(dataset, collection.QUERIES, "id")
        slices = collection.column(dataset, collection.QUERIES, "slice")
        labels = collection.qrels(dataset, split)
        self.relevant = labels.relevant
        self.queries = np.unique(labels.queries)
        if wanted is not None:
            self.queries = np.sort(stream(0, f"{split} queries").permutation(self.queries)[:wanted])
        self.names = [names[row] for row in self.queries]
        self.slices = [slices[row] for row in self.queries]
        self.qrels: dict[str, dict[str, int]] = {name: {} for name in self.names}
        for query, document, grade in zip(labels.queries, labels.documents, labels.grades, strict=True):
            if (labelled := self.qrels.get(names[query])) is not None:
                labelled[self.documents[document]] = int(grade)
        # a document under the query's id is the query itself (ArguAna, Quora)
        rows = {name: row for row, name in enumerate(self.documents)}
        self.own = np.array([rows.get(name, -1) for name in self.names])
        self.place = np.empty(len(self.documents), dtype=np.int64)
        self.place[np.argsort(self.documents, kind="stable")] = np.arange(len(self.documents))


def rank(searcher: Searcher, split: TestSplit, depth: int = DEPTH) -> Run:
    """Return the `depth` best documents of each query by id, the query's own text in the corpus left out.

    BEIR leaves it out as well; one more is searched, so that as many are left. Equal scores are ordered by document
    id descending, as trec_eval reads them.
    """
    found, scores = searcher.search(split.queries, min(searcher.documents, depth + 1))
    out = (found < 0) | (found == split.own[:, None])
    scores = np.where(out, -np.inf, scores)
    order = np.lexsort((-split.place[found], -scores), axis=1)[:, :depth]
    found, scores = np.take_along_axis(found, order, axis=1), np.take_along_axis(scores, order, axis=1)
    counts = np.minimum((~out).sum(axis=1), depth)
    return {
        name: dict(zip(split.documents[rows[:count]].tolist(), values[:count].tolist(), strict=True))
        for name, rows, values, count in zip(split.names, found, scores, counts, strict=True)
    }


def measure(split: TestSplit, run: Run) -> dict[str, list[Any]]:
    """Return a row a query of the split: its id, its slice and its metrics, in the order of the dataset."""
    found = evaluate_run(split.qrels, run, split.relevant)
    metrics = {metric: [found[name][metric] for name in split.names] for metric in METRICS}
    return {"query": split.names, "slice": split.slices, **metrics}


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
    metrics: Annotated[list[Path], Argument(help="the metrics.json to write: of a run, beside its model")],
    about: Annotated[str, Option(help="what is evaluated, as JSON; goes into metrics.json")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    vectors: Annotated[Path | None, Option(help="folder of the embeddings; without it, BM25")] = None,
    threads: Annotated[int, Option(help="threads of the search")] = 1,
    models: Annotated[Path | None, Option(help="folder of the seeds' models, if elsewhere")] = None,
) -> None:
    """Evaluate the trained runs of one method, the untrained encoder or BM25 on the test split."""
    facts = json.loads(about)
    trained = facts["track"] != "baseline"
    split = TestSplit(dataset)
    for folder in [path.parent for path in metrics]:
        model = (models or folder.parent) / folder.name / MODEL if trained else None
        searcher = _searcher(facts, dataset, vectors, model, split, threads)
        _evaluate(searcher, split, {**facts, "seed": seed_of(folder) if trained else None}, folder)


def _evaluate(searcher: Searcher, split: TestSplit, facts: dict[str, Any], folder: Path) -> None:
    run = rank(searcher, split)
    rows = measure(split, run)
    write_table(folder / PER_QUERY, rows)
    write_run(folder / RUN, run, facts["method"])
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
    split: TestSplit,
    threads: int,
) -> Searcher:
    if model and (first := facts.get("first_stage")):
        lexical = first["name"] == "bm25_search"
        found = _searcher({"params": first}, dataset, None if lexical else vectors, None, split, threads)
        return tiers.module("evaluate", facts["tier"]).searcher(
            facts, model, dataset, found, split.place, threads
        )
    if vectors is None:
        return BM25Searcher(*collection.streamed(dataset), facts["params"]["k1"], facts["params"]["b"])
    if model is None:
        return DenseSearcher(*load_vectors(vectors), threads)
    side = tiers.module("evaluate", facts["tier"]).trained_side
    documents, queries = (
        side(facts, model, dataset, vectors, name, rows, threads)
        for name, rows in (("document", None), ("query", split.queries))
    )
    return DenseSearcher(documents, queries, threads)


def write_run(path: Path, run: Run, tag: str) -> None:
    """Write a TREC run, compressed; nine digits give every float32 back exactly.

    Its columns are parted by white space, so that within an id is written as in a web address: `a b` as `a%20b`.
    """
    lines = (
        f"{_word(query)} Q0 {_word(document)} {place} {score:.9g} {tag}\n"
        for query, documents in run.items()
        for place, (document, score) in enumerate(documents.items(), start=1)
    )
    packed = gzip.compress("".join(lines).encode(), compresslevel=3, mtime=0)
    with replacing(path) as partial:
        partial.write_bytes(packed)


def _word(name: str) -> str:
    return SPACE.sub(lambda found: quote(found[0]), name)


if __name__ == "__main__":
    stage.command(main)
