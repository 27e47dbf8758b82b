"""Which pairs of a query and a document are no negatives: positives, copies of their texts, and the query's own text.

Where the corpus holds the queries (ArguAna, Quora), each finds itself before all others. So a document under the
query's id is left out, and so is one with its text or with the text of that document. One that is labelled as a
positive stays a positive. Every pool, search and draw asks here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negmark.store import collection, copies
from negmark.store.collection import Qrels
from negmark.store.copies import Copies, read_copies, with_copies

OWN = "own"
"""Column of the queries' table: the rows of the documents that are the query itself."""

Pairs = NDArray[np.int64]


class LeftOut(NamedTuple):
    """What no query may have as a negative beside its positives."""

    copies: Copies = copies.NONE
    own: Pairs = np.empty((0, 2), np.int64)
    """Rows [P, 2] of a query and of a document that is the query itself."""


NOTHING = LeftOut()


def read_left_out(folder: Path) -> LeftOut:
    """Read from a prepared dataset which documents are copies, and which are a query's own."""
    own = collection.column(folder, collection.QUERIES, OWN)
    pairs = [(query, document) for query, documents in enumerate(own) for document in documents]
    return LeftOut(read_copies(folder), np.array(pairs, dtype=np.int64).reshape(-1, 2))


def own_documents(
    query_ids: Sequence[str],
    queries: NDArray[np.uint64],
    document_ids: Sequence[str],
    documents: NDArray[np.uint64],
) -> list[list[int]]:
    """Return for each query the rows of the documents that are the query itself, in order.

    Those under its id, those of its text, and those of the text of the one under its id; texts are given by their
    `copies.hashes_of`. Ids that only happen to be equal leave one document out of thousands, as BEIR's evaluation does.
    """
    asked = {name: row for row, name in enumerate(query_ids)}
    by_id = {asked[name]: row for row, name in enumerate(document_ids) if name in asked}
    wanted = np.concatenate([queries, documents[list(by_id.values())]])
    by_text: dict[int, list[int]] = {}
    for row in np.flatnonzero(np.isin(documents, wanted)).tolist():
        by_text.setdefault(int(documents[row]), []).append(row)
    own = []
    for row, text in enumerate(queries.tolist()):
        found = set(by_text.get(text, []))
        if row in by_id:
            found |= set(by_text[int(documents[by_id[row]])])
        own.append(sorted(found))
    return own


def unlabelled_own(labels: Qrels, own: Pairs) -> Pairs:
    """Return the pairs of a query that has a positive and of its own document, without those that are positives."""
    positives = labels.positives()
    own = own[np.isin(own[:, 0], positives.queries)]
    width = 1 + max(int(own[:, 1].max(initial=0)), int(positives.documents.max(initial=0)))
    labelled = positives.queries * width + positives.documents
    return own[~np.isin(own[:, 0] * width + own[:, 1], labelled)]


def with_left_out(labels: Qrels, left_out: LeftOut) -> Qrels:
    """Return the positives among labels, and after them, with a grade that counts, all else that is no negative.

    A pair that is left out for two reasons is there twice.
    """
    positives, own = with_copies(labels, left_out.copies), unlabelled_own(labels, left_out.own)
    return Qrels(
        np.concatenate([positives.queries, own[:, 0]]),
        np.concatenate([positives.documents, own[:, 1]]),
        np.concatenate([positives.grades, np.full(len(own), labels.relevant)]),
        labels.relevant,
    )
