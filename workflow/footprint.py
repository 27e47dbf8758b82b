"""What jobs need for a corpus beside what they need anyway, in megabytes: a small one is lost in that, a large one not.

Told from the table of datasets, or from the card of a dataset that is there already; nothing is counted for it, as
Snakemake asks for every job. A corpus whose size nobody knows adds nothing: then `--retries` doubles the memory.
"""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from workflow.catalogue import known_datasets
from workflow.errors import UserError
from workflow.files import read_json
from workflow.layout import Layout
from workflow.vectors import ROWS_AT_A_TIME

WORDS, BYTES_A_WORD, DIMENSION = 60, 6, 768
"""Of a document where the table of datasets doesn't say, and of an encoder that hasn't encoded yet."""
OBJECT = 150
"""Bytes of Python's for a text and its id."""
POSTING = 28
"""Bytes of a word in a document while BM25 is indexed: its score and places, once more in the order of words."""


class Footprint:
    """Megabytes by dataset, or by the key that its folders are named after."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.texts = cache(self._texts)
        self.vectors = cache(self._vectors)

    def _texts(self, dataset: str) -> int:
        """Return what the texts of a corpus take, with a copy that is being made of them."""
        documents, words = self._size(self._name(dataset))
        return _megabytes(documents * 2 * (OBJECT + words * BYTES_A_WORD))

    def _vectors(self, dataset: str) -> int:
        """Return what the vectors of a corpus take as float32."""
        name = self._name(dataset)
        return _megabytes(self._size(name)[0] * self._dimension(name) * 4)

    def search(self, dataset: str, kind: str) -> int:
        """Return what the search for a pool takes: the postings of BM25, a block of vectors, or an index of a share."""
        name = self._name(dataset)
        documents, words = self._size(name)
        if kind == "bm25":
            return self.texts(dataset) + _megabytes(documents * words * POSTING)
        if not self._layout.suite.pools.index.used():
            return self._block(name)
        return math.ceil(self.vectors(dataset) / self._layout.pool_shares("dense")[0])

    def baseline(self, dataset: str, baseline: str) -> int:
        """Return what the search of a baseline takes; that of vectors goes block by block."""
        return self.search(dataset, "bm25") if baseline == "bm25_search" else self._block(self._name(dataset))

    def _block(self, name: str) -> int:
        return _megabytes(min(self._size(name)[0], ROWS_AT_A_TIME) * self._dimension(name) * 4)

    def _name(self, dataset: str) -> str:
        return dataset if dataset in self._layout.suite.datasets else self._layout.by_key(dataset)

    def _size(self, name: str) -> tuple[int, int]:
        """Return the documents of a dataset and the words of one."""
        layout = self._layout
        settings = layout.suite.dataset(name)
        card, known = Path(layout.card(name)), known_datasets().get(settings["source"])
        told = known.size if known is not None else None
        documents = told[0] if told else 0
        documents = int(_told(card).get("documents", documents))
        return min(documents, settings.get("documents") or documents), told[3] if told else WORDS

    def _dimension(self, name: str) -> int:
        facts = _told(Path(self._layout.vectors(name), "embeddings.json"))
        return int(facts.get("dimension", DIMENSION))


def _told(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (UserError, OSError):  # not there yet, or the stage that reads it tells what is wrong with it
        return {}


def _megabytes(size: float) -> int:
    return math.ceil(size / 1e6)


def memory(least: int, more: Callable[[Any], int] = lambda wildcards: 0) -> Callable[..., int]:
    """Ask for `least` megabytes and `more`, and for twice as many each time that a job is tried again (`--retries`)."""

    def asked(wildcards: Any, attempt: int) -> int:
        return (least + more(wildcards)) * 2 ** (attempt - 1)

    return asked
