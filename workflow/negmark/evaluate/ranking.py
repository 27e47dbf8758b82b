"""A ranking of the corpus for each test query, and its metrics over all, seen and unseen queries."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmark.core.metrics import DEPTH
from negmark.core.names import SLICES
from negmark.core.seeds import stream
from negmark.evaluate.metrics import Evaluator, Run
from negmark.search.index import Searcher
from negmark.store import collection
from negmark.store.collection import Qrels


class TestSplit:
    """The test queries of a dataset with their labels and slices, read once for all runs of a job.

    `split` can name another split; `limit` keeps at most that many of its queries, always the same ones.
    """

    def __init__(self, dataset: Path, split: str = "test", limit: int | None = None) -> None:
        self.documents = np.array(collection.column(dataset, collection.DOCUMENTS, "id"), dtype=object)
        names = collection.column(dataset, collection.QUERIES, "id")
        slices = collection.column(dataset, collection.QUERIES, "slice")
        labels = collection.qrels(dataset, split)
        self.relevant = labels.relevant
        self.queries = np.unique(labels.queries)
        if limit is not None:
            self.queries = np.sort(stream(0, f"{split} queries").permutation(self.queries)[:limit])
        self.names = [names[row] for row in self.queries]
        self.slices = [slices[row] for row in self.queries]
        self.clusters = clusters(labels, self.queries)
        self.qrels: dict[str, dict[str, int]] = {name: {} for name in self.names}
        for query, document, grade in zip(labels.queries, labels.documents, labels.grades, strict=True):
            if (labelled := self.qrels.get(names[query])) is not None:
                labelled[self.documents[document]] = int(grade)
        # a document with the query's id is the query itself (ArguAna, Quora)
        rows = {name: row for row, name in enumerate(self.documents)}
        self.own = np.array([rows.get(name, -1) for name in self.names])
        self.place = np.empty(len(self.documents), dtype=np.int64)
        self.place[np.argsort(self.documents, kind="stable")] = np.arange(len(self.documents))


def rank(searcher: Searcher, split: TestSplit, depth: int = DEPTH) -> Run:
    """Return the ids and scores of the `depth` best documents of each query, without the query's own text.

    BEIR leaves that out as well; one more document is retrieved to make up for it. Ties are broken by document id
    descending, as in trec_eval.
    """
    documents, scores = searcher.search(split.queries, min(searcher.documents, depth + 1))
    excluded = (documents < 0) | (documents == split.own[:, None])
    scores = np.where(excluded, -np.inf, scores)
    order = np.lexsort((-split.place[documents], -scores), axis=1)[:, :depth]
    documents, scores = (
        np.take_along_axis(documents, order, axis=1),
        np.take_along_axis(scores, order, axis=1),
    )
    counts = np.minimum((~excluded).sum(axis=1), depth)
    return {
        name: dict(zip(split.documents[rows[:count]].tolist(), values[:count].tolist(), strict=True))
        for name, rows, values, count in zip(split.names, documents, scores, counts, strict=True)
    }


def measure(split: TestSplit, run: Run, evaluator: Evaluator) -> dict[str, list[Any]]:
    """Return one row per query of the split: its id, slice, cluster and metrics, in the order of the dataset."""
    by_query = evaluator.values(run)
    metrics = {metric: [by_query[name][metric] for name in split.names] for metric in evaluator.names}
    return {"query": split.names, "slice": split.slices, "cluster": split.clusters.tolist(), **metrics}


def clusters(labels: Qrels, queries: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each query [Q], equal for those that share a positive.

    A query's cluster is that of the positive which most of these queries share, of the lowest row if several do. So
    where queries have many positives, those of one cluster share one, and no chain makes one cluster of them all; some
    queries of two clusters share another. Without a positive a query is alone.
    """
    positives = labels.positives()
    asked = np.isin(positives.queries, queries)
    query, document = positives.queries[asked], positives.documents[asked]
    sharing = np.bincount(document, minlength=1)[document]
    order = np.lexsort((document, -sharing, query))
    known, first = np.unique(query[order], return_index=True)
    own = -1 - np.arange(len(queries))
    own[np.searchsorted(queries, known)] = document[order][first]
    return np.unique(own, return_inverse=True)[1].astype(np.int64)


def means(rows: dict[str, list[Any]]) -> dict[str, dict[str, float]]:
    """Return the number of queries and the mean of each metric per slice; slices without queries are left out."""
    metrics = [name for name in rows if name not in ("query", "slice", "cluster")]
    slices = np.array([slice_ or "" for slice_ in rows["slice"]])
    result: dict[str, dict[str, float]] = {}
    for name in SLICES:
        chosen = np.ones(len(slices), dtype=bool) if name == "all" else slices == name
        if chosen.any():
            values = {metric: float(np.mean(np.array(rows[metric])[chosen])) for metric in metrics}
            result[name] = {"queries": int(chosen.sum()), **values}
    return result
