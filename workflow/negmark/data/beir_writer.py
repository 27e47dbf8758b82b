"""A collection that is read from elsewhere, written in BEIR layout: from there on it is as any folder of a user's."""

from collections.abc import Iterable
from pathlib import Path

from negmark.core.errors import UserError
from negmark.core.files import replacing, write_json_lines
from negmark.data.records import CORPUS, QUERIES


def write_documents(folder: Path, documents: Iterable[tuple[str, str, str]]) -> int:
    """Write documents as (id, title, text) and return how many there are."""
    return write_json_lines(
        folder / CORPUS, ({"_id": key, "title": title, "text": text} for key, title, text in documents)
    )


def write_queries(folder: Path, queries: Iterable[tuple[str, str]]) -> int:
    """Write queries as (id, text) and return how many there are."""
    return write_json_lines(folder / QUERIES, ({"_id": key, "text": text} for key, text in queries))


def write_labels(folder: Path, split: str, labels: Iterable[tuple[str, str, int]]) -> int:
    """Write a split's labels as (query, document, grade) and return how many there are."""
    path, count = folder / "qrels" / f"{split}.tsv", 0
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for query, document, grade in labels:
            if any(mark in key for key in (query, document) for mark in "\t\r\n"):
                raise UserError(f"{split}: the id {query!r} or {document!r} has a tab or a line end in it")
            file.write(f"{query}\t{document}\t{grade}\n")
            count += 1
    return count
