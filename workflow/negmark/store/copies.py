"""Documents that have the text of another: an encoder can't tell them apart, so neither may a label.

A copy of a positive under another id would be trained away from the query that its text answers. So wherever a positive
is kept out of the negatives, its copies are. Texts are equal if they differ in case and white space alone.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negmark.store import collection
from negmark.store.collection import Qrels

COPY_OF = "copy_of"
"""Column of the documents' table: the first row of the same text, null where no other document has it."""


class Copies(NamedTuple):
    """The documents whose text another one has, in order of their group: which they are, and the group's first row."""

    documents: NDArray[np.int64]
    groups: NDArray[np.int64]


NONE = Copies(np.empty(0, np.int64), np.empty(0, np.int64))
"""Where no text is there twice, or copies are kept as negatives."""


def normalised(text: str) -> str:
    """Return a text without differences of case and white space."""
    return " ".join(text.lower().split())


def hashes_of(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Return a hash [N] of each normalised text, by which texts are compared.

    Among 8.8 million passages two differing ones meet once in half a million corpora.
    """
    return np.fromiter(map(_hash, texts), dtype=np.uint64)


def first_of_equal(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the first row [N] that has each hash of a text, -1 where no other row has it."""
    _, first, group, sizes = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    return np.where(sizes[group] > 1, first[group], -1)


def read_copies(folder: Path) -> Copies:
    """Read which documents of a prepared dataset are copies; none where its settings keep them as negatives."""
    return copies_of(np.array(collection.column(folder, collection.DOCUMENTS, COPY_OF), dtype=np.float64))


def copies_of(first: NDArray[np.floating] | NDArray[np.int64]) -> Copies:
    """Return the copies among documents [N], given the first row of each one's text: -1 or NaN without another."""
    documents = np.flatnonzero(first >= 0)
    groups = first[documents].astype(np.int64)
    order = np.argsort(groups, kind="stable")
    return Copies(documents[order], groups[order])


def with_copies(labels: Qrels, copies: Copies) -> Qrels:
    """Return the positives among labels, and after them each one's copies that aren't labelled, with its grade."""
    positives = labels.positives()
    if not len(copies.documents):
        return positives
    order = np.argsort(copies.documents)
    places = np.minimum(np.searchsorted(copies.documents[order], positives.documents), len(order) - 1)
    places = order[places]
    rows = np.flatnonzero(copies.documents[places] == positives.documents)
    groups = copies.groups[places[rows]]
    starts, ends = (np.searchsorted(copies.groups, groups, side) for side in ("left", "right"))
    sizes = ends - starts
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    documents, rows = copies.documents[np.repeat(starts, sizes) + within], np.repeat(rows, sizes)
    pairs = np.column_stack([positives.queries[rows], documents])
    _, first = np.unique(pairs, axis=0, return_index=True)
    width = 1 + max(int(documents.max(initial=0)), int(positives.documents.max(initial=0)))
    known = positives.queries * width + positives.documents
    new = np.sort(first[~np.isin(pairs[first, 0] * width + pairs[first, 1], known)])
    return Qrels(
        np.concatenate([positives.queries, pairs[new, 0]]),
        np.concatenate([positives.documents, pairs[new, 1]]),
        np.concatenate([positives.grades, positives.grades[rows[new]]]),
        labels.relevant,
    )


def _hash(text: str) -> int:
    content = normalised(text).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())
