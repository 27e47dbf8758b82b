"""From the records of a collection to labels by row number; every odd record is refused in one line or counted.

Refused, with file and line: a record that can't be read; an id that is empty, holds a NUL or has two texts; a label of
an unknown query; two different labels of one pair; a labelled query without text; a split without a label; a corpus of
fewer than two documents.

Handled and counted: labels of documents missing from the corpus are left out (ArguAna has five), exact duplicate
records count once, documents without a text stay in the corpus, test queries without a relevant document stay in the
test split (and score 0), training queries without one are never used, splits but train, dev and the test split are
not read. All counts are of the original collection, before any cut.
"""

from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from negmark.core.errors import UserError
from negmark.data.records import TOPICS, Records, Text
from negmark.store.collection import SPLITS

TREC = frozenset(place.partition("/")[2] for place in TOPICS.values())
"""Splits that lie beside each other, of which a suite tests on one."""
Labels = dict[str, dict[str, int]]
"""Grades by query and document."""


@dataclass(frozen=True)
class Numbering:
    """The row numbers of a corpus, from 0 in the order of its file."""

    total: int
    """Documents, duplicates counted once."""
    rows: dict[str, int]
    """Rows of the labelled documents that the corpus has, by id."""
    repeated: NDArray[np.int64]
    """Positions of duplicate records in the file of documents; they have no row."""
    empty: int
    """Documents with neither title nor text: they stay, as for published figures."""


@dataclass(frozen=True)
class Reading:
    """Queries and labels of a collection; of its documents, only their numbering."""

    query_ids: list[str]
    queries: list[str]
    qrels: dict[str, NDArray[np.int64]]
    """Per split an array [rows, 3] of query, document and grade."""
    documents: Numbering
    met: dict[str, int]
    """Number of odd records that were handled, by kind."""


def read(records: Records, test_split: str | None = "test") -> Reading:
    """Read a collection with the split `test_split` as its test split; None if it has none.

    Queries without any label are left out.
    """
    available = records.splits()
    names: dict[str, str] = {
        split: split for split in ("train", "dev") if split in available and split != test_split
    }
    if test_split is not None:
        names["test"] = test_split
    odd: Counter[str] = Counter()
    labels = {split: _labels(records, name, odd) for split, name in names.items()}
    queries = _queries(records, odd)
    labelled = _labelled(records, names, queries)
    documents = number_documents(
        records, {name for part in labels.values() for row in part.values() for name in row}
    )
    query_rows = {query: row for row, query in enumerate(labelled)}
    qrels: dict[str, NDArray[np.int64]] = {}
    for split, part in labels.items():
        triples = [
            (query_rows[query], documents.rows[document], grade)
            for query, graded in part.items()
            for document, grade in graded.items()
            if document in documents.rows
        ]
        qrels[split] = np.array(triples, dtype=np.int64).reshape(-1, 3)
        missing = sum(map(len, part.values())) - len(triples)
        if not triples:
            _refuse_unknown(records, names[split])
        odd[f"{split} labels of documents that the corpus lacks"] = missing
        odd[f"{split} queries that lost all their labels so"] = len(part) - len(np.unique(qrels[split][:, 0]))
    odd["documents that come again"] = len(documents.repeated)
    odd["documents without a text"] = documents.empty
    if unread := sorted({*available} - {*names.values(), "test", *TREC}):
        odd[f"splits that nothing reads ({', '.join(unread)})"] = len(unread)
    for (kind, _), count in records.met.items():
        odd[kind] += count
    return Reading(
        list(labelled), list(labelled.values()), qrels, documents, {kind: n for kind, n in odd.items() if n}
    )


def without_positives(qrels: Mapping[str, NDArray[np.int64]], relevant: Mapping[str, int]) -> dict[str, int]:
    """Count the labelled queries without a relevant document per split; splits with none of them are left out."""
    counts = {}
    for split in (split for split in SPLITS if split in qrels):
        rows = qrels[split]
        answered = np.unique(rows[rows[:, 2] >= relevant.get(split, 1), 0])
        if unanswered := len(np.unique(rows[:, 0])) - len(answered):
            counts[f"{split} queries without a relevant document"] = unanswered
    return counts


def _labels(records: Records, split: str, odd: Counter[str]) -> Labels:
    labels: Labels = {}
    count = 0
    for line, query, document, grade in records.judgments(split):
        count += 1
        graded = labels.setdefault(query, {})
        if graded.setdefault(document, grade) != grade:
            raise UserError(
                f"{records.place(records.judged(split), line)}: query {query!r} and document {document!r} already "
                f"have the grade {graded[document]}, here {grade}; keep one of the two lines"
            )
    if not labels:
        raise UserError(f"{records.place(records.judged(split))}: has no entry; fill the file or remove it")
    odd["labels that come again"] += count - sum(map(len, labels.values()))
    return labels


def _queries(records: Records, odd: Counter[str]) -> dict[str, tuple[str, str, int]]:
    """Return text, file and line of each query by id."""
    queries: dict[str, tuple[str, str, int]] = {}
    for name, query in records.queries():
        text, file, line = queries.setdefault(query.id, (query.text, name, query.line))
        if text != query.text:
            raise UserError(
                f"{records.place(name, query.line)}: the id {query.id!r} is already used on line {line} of {file} "
                "with another text; give each query an id of its own"
            )
        # some queries of MS MARCO are in two of its files
        odd["queries that come again"] += file == name and line != query.line
    return queries


def _labelled(
    records: Records, names: Mapping[str, str], queries: Mapping[str, tuple[str, str, int]]
) -> dict[str, str]:
    """Return the texts of the labelled queries by id, in the order of the labels."""
    labelled: dict[str, str] = {}
    for name in names.values():
        for line, query, _, _ in records.judgments(name):
            if query in labelled:
                continue
            place = records.place(records.judged(name), line)
            if query not in queries:
                files = ", ".join(records.query_files())
                raise UserError(
                    f"{place}: query {query!r} is not in {files}; add it there or remove its labels"
                )
            text, file, number = queries[query]
            if not text.strip():
                raise UserError(
                    f"{records.place(file, number)}: query {query!r} has labels but no text; add a text, or remove both"
                )
            labelled[query] = text
    return labelled


def _refuse_unknown(records: Records, split: str) -> NoReturn:
    name, first = records.judged(split), next(records.judgments(split))
    raise UserError(
        f"{records.place(name, first.line)}: document {first.document!r} is not in {records.corpus()}, nor is "
        f"any other of {name}; use the same ids in the two files"
    )


def number_documents(records: Records, labelled: Collection[str]) -> Numbering:
    """Read a corpus once and number its documents, with the rows of the `labelled` ids; keeps 8 bytes per document.

    Exact duplicates of a document count once. Raises `UserError` if an id is used again with another content, or if
    the corpus has fewer than two documents.
    """
    hashes, empty = array("q"), 0
    places: dict[str, int] = {}
    for place, document in enumerate(records.documents()):
        hashes.append(hash(document.id))
        if document.id in labelled:
            places.setdefault(document.id, place)
        empty += not (document.title or document.text).strip()
    repeated = _repeated(records, np.frombuffer(hashes, dtype=np.int64) if hashes else np.empty(0, np.int64))
    total = len(hashes) - len(repeated)
    if total < 2:
        raise UserError(
            f"{records.place(records.corpus())}: {total} documents; a corpus needs at least two to choose from: "
            "add some"
        )
    return Numbering(total, {name: _row(place, repeated) for name, place in places.items()}, repeated, empty)


def read_documents(records: Records, rows: Sequence[int], repeated: NDArray[np.int64]) -> Iterator[Text]:
    """Read the documents of these rows, in ascending order; `repeated` are the positions of duplicates."""
    duplicates, remaining = set(repeated.tolist()), iter(rows)
    row, next_row = 0, next(remaining, None)
    for place, document in enumerate(records.documents()):
        if next_row is None:
            return
        if place in duplicates:
            continue
        if row == next_row:
            yield document
            next_row = next(remaining, None)
        row += 1


def _row(place: int, repeated: NDArray[np.int64]) -> int:
    return place - int(np.searchsorted(repeated, place))


def _repeated(records: Records, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of duplicate documents. Equal hashes are only suspects: the ids decide."""
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
                f"{records.place(records.corpus(), document.line)}: the id {document.id!r} is already used on line "
                f"{before.line} with another content; give each document an id of its own"
            )
        places.append(place)
    return np.array(places, dtype=np.int64)
