"""One hash that says whether two copies of a dataset hold the same collection.

Hashes of files differ as soon as a copy is gzipped, has other line ends or spells its JSON differently. So the
hash here is over what a retriever and an evaluator see: ids, titles and texts of the documents in their order
(the order settles ties), ids and texts of the queries, the judgments of each split, and how documents are related,
where the dataset tells.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.core.files import canonical
from negmark.data.records import Records

SPLITS = ("train", "dev", "test")


def collection_sha256(folder: Path, splits: Sequence[str] = SPLITS, shown: str = "") -> str:
    """Hex SHA-256 of the content of a folder that `Records` can read; splits it lacks are left out.

    `shown` is what messages call the folder.
    """
    digest = hashlib.sha256()
    for row in _rows(Records(folder, shown), splits):
        digest.update(canonical(row).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def check_fingerprint(name: str, found: str, expected: str | None) -> None:
    """Refuse a dataset whose content isn't the recorded one; with nothing recorded there is nothing to check."""
    if expected is not None and found != expected:
        raise UserError(
            f"{name}: not the dataset that was asked for: its content has SHA-256 {found}, expected {expected}."
            " Use an unchanged copy of the same version: fix or remove the copy in the folder NEGMARK_DATA names"
        )


def _rows(records: Records, splits: Sequence[str]) -> Iterator[list[Any]]:
    """All that is hashed, row by row, each begun with the part it belongs to."""
    for document in records.documents():
        yield ["document", document.id, document.title, document.text]
    for query_id, text in sorted({(query.id, query.text) for _, query in records.queries()}):
        yield ["query", query_id, text]
    there = records.splits()
    for split in (split for split in splits if split in there):
        judged = ((row.query, row.document, row.grade) for row in records.judgments(split))
        yield from ([split, *judgment] for judgment in sorted(judged))
    yield from sorted(["graph", *related[1:]] for related in records.relations())
