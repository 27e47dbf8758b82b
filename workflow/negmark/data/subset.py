"""Part of a corpus that is too large for memory: documents are numbered in one pass and read in a second.

A passage collection has 8.8 million passages; a subset has every judged one and some drawn at random. Which those are
is decided on row numbers alone (`negmark.data.prepare` draws them), so no more texts are in memory than stay in it.
"""

from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from negmark.core.errors import UserError
from negmark.data.records import Records, Text


@dataclass(frozen=True)
class Numbering:
    """The rows of a corpus, counted from 0 in the order of its file."""

    total: int
    """Documents, each counted once."""
    rows: dict[str, int]
    """Rows of the documents that were asked for and are there, by id."""
    repeated: NDArray[np.int64]
    """Places among all lines of documents that stand there for the second time; they have no row."""
    empty: int
    """Documents with neither title nor text: they stay, as in published figures."""


def number_documents(records: Records, wanted: Collection[str]) -> Numbering:
    """Read a corpus once and number its documents; eight bytes a document stay in memory.

    A document that comes again word for word counts once. Raises `UserError` where an id comes again with another
    content, and where the corpus has fewer than two documents.
    """
    hashes, empty = array("q"), 0
    places: dict[str, int] = {}
    for place, document in enumerate(records.documents()):
        hashes.append(hash(document.id))
        if document.id in wanted:
            places.setdefault(document.id, place)
        empty += not (document.title or document.text).strip()
    repeated = _repeated(records, np.frombuffer(hashes, dtype=np.int64) if hashes else np.empty(0, np.int64))
    total = len(hashes) - len(repeated)
    if total < 2:
        raise UserError(
            f"{records.place(records.corpus())}: {total} documents; a corpus needs two, or there is nothing to choose "
            "from: add some"
        )
    return Numbering(total, {name: _row(place, repeated) for name, place in places.items()}, repeated, empty)


def read_documents(records: Records, rows: Sequence[int], repeated: NDArray[np.int64]) -> Iterator[Text]:
    """Read the documents of these rows, which ascend."""
    again, wanted = set(repeated.tolist()), iter(rows)
    row, next_row = 0, next(wanted, None)
    for place, document in enumerate(records.documents()):
        if next_row is None:
            return
        if place in again:
            continue
        if row == next_row:
            yield document
            next_row = next(wanted, None)
        row += 1


def _row(place: int, repeated: NDArray[np.int64]) -> int:
    return place - int(np.searchsorted(repeated, place))


def _repeated(records: Records, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of documents that come again. Equal hashes only raise a suspicion: the ids decide."""
    ordered = np.sort(hashes)
    suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not suspects:
        return np.empty(0, np.int64)
    first: dict[str, Text] = {}
    places = []
    for place, document in enumerate(records.documents()):
        if hash(document.id) not in suspects:
            continue
        before = first.setdefault(document.id, document)
        if before is document:
            continue
        if before[1:] != document[1:]:
            raise UserError(
                f"{records.place(records.corpus(), document.line)}: the id {document.id!r} stands on line "
                f"{before.line} already, with another content; give each document an id of its own"
            )
        places.append(place)
    return np.array(places, dtype=np.int64)
