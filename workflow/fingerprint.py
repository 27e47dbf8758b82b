"""One hash that says whether two copies of a dataset hold the same collection.

Hashes of files differ as soon as a copy is gzipped, has other line ends or spells its JSON differently. So the
hash here is over what a retriever and an evaluator see: ids, titles and texts of the documents in their order
(the order settles ties), ids and texts of the queries, and the judgments of each split.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow.beir_source import Source, opened, plain_or_gz
from workflow.errors import UserError
from workflow.files import canonical

SPLITS = ("train", "dev", "test")


def collection_sha256(folder: Path) -> str:
    """Hex SHA-256 of the content of a folder in BEIR layout, plain or gzipped; splits it lacks are left out."""
    digest = hashlib.sha256()
    for row in _rows(folder):
        digest.update(canonical(row).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def check_fingerprint(name: str, folder: Path, expected: str | None) -> None:
    """Refuse a dataset whose content isn't the recorded one; with nothing recorded there is nothing to check."""
    if expected is None:
        return
    found = collection_sha256(folder)
    if found != expected:
        raise UserError(
            f"{name}: not the dataset that was asked for: its content has SHA-256 {found}, expected {expected}."
            " Use an unchanged copy of the same version: mend or remove the one in the folder NEGBENCH_DATA names"
        )


def _rows(folder: Path) -> Iterator[list[Any]]:
    """All that is hashed, row by row, each begun with the part it belongs to."""
    for document in _json_lines(folder, "corpus.jsonl"):
        yield ["document", document["_id"], document.get("title") or "", document["text"]]
    queries = ((query["_id"], query["text"]) for query in _json_lines(folder, "queries.jsonl"))
    for query_id, text in sorted(queries):
        yield ["query", query_id, text]
    for split in SPLITS:
        if plain_or_gz(folder, f"qrels/{split}.tsv"):
            yield from ([split, *judgment] for judgment in sorted(_judgments(folder, f"qrels/{split}.tsv")))


def _json_lines(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    for where, line in _lines(folder, name):
        try:
            row = json.loads(line)
            whole = isinstance(row["_id"], str) and isinstance(row["text"], str)
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise UserError(f'{where}: expected a JSON object with strings "_id" and "text"; mend the line')
        yield row


def _judgments(folder: Path, name: str) -> Iterator[tuple[str, str, int]]:
    for number, (where, line) in enumerate(_lines(folder, name)):
        fields = line.split("\t")
        if number == 0 and fields[-1] == "score":
            continue
        try:
            query_id, document_id, score = fields
            yield query_id, document_id, int(score)
        except ValueError:
            raise UserError(
                f"{where}: expected query-id, corpus-id and a whole score, with tabs between"
            ) from None


def _lines(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """The lines of a file that aren't blank, without their ends, each with its place for error messages."""
    file = plain_or_gz(folder, name)
    if file is None:
        raise UserError(f"{folder / name}: there is no such file, nor {name}.gz; expected the BEIR layout")
    yield from ((where, text) for where, text in text_lines(file) if text.strip())


def text_lines(file: Source) -> Iterator[tuple[str, str]]:
    """The lines of a UTF-8 file, plain or gzipped, without their ends, each with its place for error messages."""
    with opened(file) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield f"{file}: line {number}", line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise UserError(f"{file}: line {number}: not UTF-8; save the file as UTF-8") from None
