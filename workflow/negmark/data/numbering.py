"""From the records of a collection to labels by number, with every odd record refused in one line or counted.

Refused, with file and line: a record that can't be read, an id that is empty, holds a NUL or stands for two texts, a
label of an unknown query, two labels of one pair that differ, a labelled query without text, a split without a label,
a corpus of fewer than two documents.

Handled, and counted in what is returned: labels of documents that the corpus lacks are left out (ArguAna has five),
records that come again word for word count once, documents without a text stay in the corpus, test queries without a
relevant document stay in the test split (and get 0), training queries without one are never asked. All counts are of
the collection as it lies there, before any cut.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from negmark.core.errors import UserError
from negmark.data.records import Records
from negmark.data.subset import Numbering, number_documents
from negmark.store.collection import SPLITS

Labels = dict[str, dict[str, int]]
"""Grades by query and document."""


@dataclass(frozen=True)
class Reading:
    """Queries and labels of a collection; of its documents, only what numbers them."""

    query_ids: list[str]
    queries: list[str]
    qrels: dict[str, NDArray[np.int64]]
    """Arrays [rows, 3] of query, document and grade a split."""
    documents: Numbering
    met: dict[str, int]
    """How many odd records were handled, by kind."""


def read(records: Records, test_split: str | None = "test") -> Reading:
    """Read a collection, with the split `test_split` as its test split, None where it has none.

    Queries without any label are left out.
    """
    there = records.splits()
    names: dict[str, str] = {
        split: split for split in ("train", "dev") if split in there and split != test_split
    }
    if test_split is not None:
        names["test"] = test_split
    odd: Counter[str] = Counter()
    labels = {split: _labels(records, name, odd) for split, name in names.items()}
    queries = _queries(records, odd)
    asked = _asked(records, names, queries)
    documents = number_documents(
        records, {name for part in labels.values() for row in part.values() for name in row}
    )
    query_rows = {query: row for row, query in enumerate(asked)}
    qrels: dict[str, NDArray[np.int64]] = {}
    for split, part in labels.items():
        known = [
            (query_rows[query], documents.rows[document], grade)
            for query, graded in part.items()
            for document, grade in graded.items()
            if document in documents.rows
        ]
        qrels[split] = np.array(known, dtype=np.int64).reshape(-1, 3)
        unknown = sum(map(len, part.values())) - len(known)
        if not known:
            _refuse_unknown(records, names[split])
        odd[f"{split} labels of documents that the corpus lacks"] = unknown
        odd[f"{split} queries that lost all their labels so"] = len(part) - len(np.unique(qrels[split][:, 0]))
    odd["documents that come again"] = len(documents.repeated)
    odd["documents without a text"] = documents.empty
    for (kind, _), count in records.met.items():
        odd[kind] += count
    return Reading(
        list(asked), list(asked.values()), qrels, documents, {kind: n for kind, n in odd.items() if n}
    )


def without_positives(qrels: Mapping[str, NDArray[np.int64]], relevant: Mapping[str, int]) -> dict[str, int]:
    """Count the labelled queries of each split that have no relevant document; splits without any are left out."""
    counts = {}
    for split in (split for split in SPLITS if split in qrels):
        rows = qrels[split]
        answered = np.unique(rows[rows[:, 2] >= relevant.get(split, 1), 0])
        if lacking := len(np.unique(rows[:, 0])) - len(answered):
            counts[f"{split} queries without a relevant document"] = lacking
    return counts


def _labels(records: Records, split: str, odd: Counter[str]) -> Labels:
    labels: Labels = {}
    count = 0
    for line, query, document, grade in records.judgments(split):
        count += 1
        graded = labels.setdefault(query, {})
        if graded.setdefault(document, grade) != grade:
            raise UserError(
                f"{records.place(records.judged(split), line)}: query {query!r} and document {document!r} have the "
                f"grade {graded[document]} already, here {grade}; keep one of the two lines"
            )
    if not labels:
        raise UserError(f"{records.place(records.judged(split))}: has no entry; fill the file or remove it")
    odd["labels that come again"] += count - sum(map(len, labels.values()))
    return labels


def _queries(records: Records, odd: Counter[str]) -> dict[str, tuple[str, str, int]]:
    """Return text, file and line of each query by its id."""
    queries: dict[str, tuple[str, str, int]] = {}
    for name, query in records.queries():
        found = queries.setdefault(query.id, (query.text, name, query.line))
        if found[0] != query.text:
            raise UserError(
                f"{records.place(name, query.line)}: the id {query.id!r} stands on line {found[2]} of {found[1]} "
                "already, with another text; give each query an id of its own"
            )
        # MS MARCO hands out some queries in two files
        odd["queries that come again"] += found[1] == name and found[2] != query.line
    return queries


def _asked(
    records: Records, names: Mapping[str, str], queries: Mapping[str, tuple[str, str, int]]
) -> dict[str, str]:
    """Return the labelled queries by id, in the order in which the labels name them."""
    asked: dict[str, str] = {}
    for name in names.values():
        for line, query, _, _ in records.judgments(name):
            if query in asked:
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
                    f"{records.place(file, number)}: query {query!r} has labels but no text; write one, or remove both"
                )
            asked[query] = text
    return asked


def _refuse_unknown(records: Records, split: str) -> NoReturn:
    name, first = records.judged(split), next(records.judgments(split))
    raise UserError(
        f"{records.place(name, first.line)}: document {first.document!r} is not in {records.corpus()}, nor is "
        f"any other of {name}; the ids of the two files must be the same"
    )
