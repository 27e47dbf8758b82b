"""Extra memory, in MB, that a job needs for a corpus of a given size. Negligible for small ones.

The size is from the table of datasets, or from the card of a prepared dataset; nothing is counted here, as Snakemake
asks for every job. A corpus of unknown size adds nothing: then `--retries` doubles the memory.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from negmark.core.errors import UserError
from negmark.core.files import read_json
from negmark.data.catalogue import known_datasets
from negmark.store.vectors import ROWS_AT_A_TIME
from negmark.suite.datasets import Dataset
from negmark.suite.layout import Layout

WORDS, BYTES_A_WORD, DIMENSION = 60, 6, 768
"""Of a document if the table of datasets doesn't say, and of an encoder that hasn't encoded yet."""
OBJECT = 150
"""Bytes of Python objects for a text and its id."""
POSTING = 28
"""Bytes per word and document while BM25 is indexed: score and positions, and a second copy sorted by word."""


class Corpus(NamedTuple):
    """A corpus: number of documents, mean words of one, dimension of its vectors."""

    documents: int
    words: int
    dimension: int


class Footprint:
    """Extra megabytes by dataset."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._measured: dict[str, Corpus] = {}  # by dataset; needed for every job

    def texts(self, dataset: Dataset) -> int:
        """Return the memory for the texts of a corpus and one copy of them."""
        documents, words, _ = self._corpus(dataset)
        return _megabytes(documents * 2 * (OBJECT + words * BYTES_A_WORD))

    def vectors(self, dataset: Dataset, rows: float = math.inf) -> int:
        """Return the memory for the vectors of a corpus, or for `rows` of them, as float32."""
        documents, _, dimension = self._corpus(dataset)
        return _megabytes(min(documents, rows) * dimension * 4)

    def search(self, dataset: Dataset, kind: str) -> int:
        """Return the memory to search for a pool: BM25's postings, a block of vectors, or the index of one share."""
        if kind == "bm25":
            documents, words, _ = self._corpus(dataset)
            return _megabytes(documents * words * POSTING)
        if not self._layout.suite.pools.index.used():
            return self.vectors(dataset, ROWS_AT_A_TIME)
        return math.ceil(self.vectors(dataset) / self._layout.paths.pool_shares("dense")[0])

    def baseline(self, dataset: Dataset, baseline: str) -> int:
        """Return the memory to search for a baseline; vectors are searched block by block."""
        if baseline == "bm25_search":
            return self.search(dataset, "bm25")
        return self.vectors(dataset, ROWS_AT_A_TIME)

    def _corpus(self, dataset: Dataset) -> Corpus:
        if dataset.name not in self._measured:
            self._measured[dataset.name] = self._measure(dataset)
        return self._measured[dataset.name]

    def _measure(self, dataset: Dataset) -> Corpus:
        paths, settings = self._layout.paths, dataset.decides
        known = known_datasets().get(settings["source"])
        size = known.size if known is not None else None
        card, facts = (_facts(Path(path)) for path in (paths.card(dataset), paths.vector_facts(dataset)))
        documents = int(card.get("documents", size[0] if size else 0))
        return Corpus(
            min(documents, settings.get("documents") or documents),
            size[3] if size else WORDS,
            int(facts.get("dimension", DIMENSION)),
        )


def _facts(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (UserError, OSError):  # not there yet, or the stage that reads it reports what is wrong with it
        return {}


def _megabytes(size: float) -> int:
    return math.ceil(size / 1e6)


def memory(least: int, more: Callable[[Any], int] = lambda wildcards: 0) -> Callable[..., int]:
    """Return a resource function: `least` megabytes plus `more`, doubled each time a job is retried (`--retries`)."""

    def megabytes(wildcards: Any, attempt: int) -> int:
        return (least + more(wildcards)) * 2 ** (attempt - 1)

    return megabytes
