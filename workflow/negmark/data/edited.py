"""Stage edits: the positives of training queries, edited so that they no longer answer (`negmark.data.edits`).

A line a text: query and document by their ids, kind, number and text. Texts that equal a document of the corpus are
marked and left out later, where both edits and a model's texts are judged (`negmark.train.judged_texts`).
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from typer import Option

from negmark.core import stage
from negmark.core.files import replacing
from negmark.data.edits import Pair, Stock, sentences, versions
from negmark.methods.auxiliary import EDITS
from negmark.search.index import BM25Searcher
from negmark.search.scripts import AUTO, analyzer_of
from negmark.store import collection
from negmark.store.collection import DOCUMENTS, QUERIES
from negmark.store.labels import Labels
from negmark.store.left_out import read_left_out
from negmark.store.passages import read_passages

SPARE = 16
"""Sentences searched beside those that are spliced in, as some are of a positive."""


def pairs_of(dataset: Path) -> tuple[list[Pair], NDArray[np.int64]]:
    """Return the training queries with their positives, and the rows [P, 2] of both, by query and document."""
    labels = collection.qrels(dataset, "train").positives()
    rows = np.unique(np.column_stack([labels.queries, labels.documents]), axis=0)
    ids, texts = (collection.column(dataset, QUERIES, key) for key in ("id", "text"))
    found = read_passages(dataset, rows[:, 1])
    return [
        Pair(ids[query], found[document].id, texts[query], found[document].title, found[document].text)
        for query, document in rows.tolist()
    ], rows


class Sentences:
    """The sentences of a corpus, searched by BM25 for queries of the same collection."""

    def __init__(self, dataset: Path, k1: float, b: float, analyzer: str) -> None:
        titles, texts = (collection.column(dataset, DOCUMENTS, key) for key in ("title", "text"))
        parts = [sentences(title, text) for title, text in zip(titles, texts, strict=True)]
        self.lines = [line for part in parts for line in part]
        self._owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        self._labels = Labels(collection.qrels(dataset, "train"), len(parts), read_left_out(dataset))
        if analyzer == AUTO:
            analyzer = analyzer_of(iter(self.lines), len(self.lines))
        queries = collection.column(dataset, QUERIES, "text")
        self._searcher = BM25Searcher(self.lines, queries, k1, b, analyzer)

    def best(self, queries: NDArray[np.int64], count: int) -> dict[int, list[str]]:
        """Return for each query (a row) its best sentences of documents that may be its negatives, best first."""
        rows = np.unique(queries)
        depth = min(count + SPARE, len(self.lines))
        found, _ = self._searcher.search(rows, depth)
        owners = np.where(found < 0, -1, self._owners[found])
        usable = (found >= 0) & ~self._labels.is_positive(rows, owners)
        return {
            int(row): [self.lines[place] for place in places[mask][:count]]
            for row, places, mask in zip(rows, found, usable, strict=True)
        }


def edited(dataset: Path, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the edits of a collection's training pairs, a line each."""
    pairs, rows = pairs_of(dataset)
    count = settings["versions"]
    stock = Stock.of(collection.streamed(dataset)[0])
    lines = Sentences(dataset, *(settings[key] for key in ("bm25_k1", "bm25_b", "bm25_analyzer")))
    best = lines.best(rows[:, 0], count)
    for pair, query in zip(pairs, rows[:, 0].tolist(), strict=True):
        for kind, number, text in versions(pair, stock, EDITS, count, best[query]):
            yield {
                "query": pair.query_id, "positive": pair.document_id, "kind": kind, "number": number, "text": text,
            }  # fmt: skip


def main(
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    settings: Annotated[str, Option(help="versions a kind and settings of BM25, as JSON")],
    output: Annotated[Path, Option(help="the JSON lines to write")],
) -> None:
    """Edit the positives of a dataset's training queries."""
    started = time.perf_counter()
    made: Counter[str] = Counter()
    with replacing(output) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for line in edited(dataset, json.loads(settings)):
            made[line["kind"]] += 1
            file.write(json.dumps(line) + "\n")
    told = ", ".join(f"{count:,} {kind}" for kind, count in made.items()) or "none"
    stage.say(f"edits of {dataset.name}: {told}, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    stage.command(main)
