"""One hash that says whether two copies of a dataset hold the same collection.

File hashes differ as soon as a copy is gzipped, has other line ends or writes its JSON differently. So this hash is
over what a retriever and an evaluator see: ids, titles and texts of the documents in their order (which breaks ties),
ids and texts of the queries, the judgments of each split, and the relations between documents, if there are any.
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
    """Hex SHA-256 of the content of a folder that `Records` can read; missing splits are left out.

    `shown` is the name of the folder in messages.
    """
    digest = hashlib.sha256()
    for row in _rows(Records(folder, shown), splits):
        digest.update(canonical(row).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def check_fingerprint(name: str, actual: str, expected: str | None) -> None:
    """Refuse a dataset whose content isn't the recorded one. Without a recorded hash nothing is checked."""
    if expected is not None and actual != expected:
        raise UserError(
            f"{name}: not the expected dataset: its content has SHA-256 {actual}, expected {expected}."
            " Use an unchanged copy of the same version: replace or remove the one in the folder of NEGMARK_DATA"
        )


def _rows(records: Records, splits: Sequence[str]) -> Iterator[list[Any]]:
    """All that is hashed, row by row; the first item of a row names its part."""
    for document in records.documents():
        yield ["document", document.id, document.title, document.text]
    for query_id, text in sorted({(query.id, query.text) for _, query in records.queries()}):
        yield ["query", query_id, text]
    available = records.splits()
    for split in (split for split in splits if split in available):
        judged = ((row.query, row.document, row.grade) for row in records.judgments(split))
        yield from ([split, *judgment] for judgment in sorted(judged))
    yield from sorted(["graph", *related[1:]] for related in records.relations())
