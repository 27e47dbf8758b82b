"""MS MARCO's question answering records as a collection: each question with its passages, some of them selected.

A folder with one or more files `*.json` or `*.jsonl`, plain or gzipped, each a list of records or one record per line,
as MS MARCO QA 1.1 and copies of its parts are distributed:

    {"query_id": 34300, "query": "...", "passages": {"passage_text": ["...", ...], "is_selected": [0, 1, ...]}}

or with `passages` as a list of objects. The split of a file is the word train, dev or test in its name, else `test`.
Equal passages are one document; selected passages have grade 1, the others of a question grade 0, so a question
without a selected one is a query without a relevant document, which the card counts.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from negmark.core.errors import UserError
from negmark.core.files import replacing
from negmark.data.beir import opened
from negmark.data.records import CORPUS, QUERIES, role
from negmark.store.collection import SPLITS

FILE = re.compile(r".*\.jsonl?(\.gz)?")
ID = re.compile(r"[^\t\r\n\0\ud800-\udfff]+")
"""What a column of labels can hold, and a UTF-8 file."""


class Question(NamedTuple):
    """A record: a question and its judged passages."""

    id: str
    text: str
    passages: list[tuple[str, int]]


def files_of(folder: Path) -> list[Path]:
    """Return the record files of a folder; none if it has another layout."""
    names = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    if any(role(name) for name in names):
        return []
    return sorted(folder / name for name in names if FILE.fullmatch(name))


def write_beir(files: list[Path], folder: Path, shown: str) -> None:
    """Write the records of files as a collection in BEIR layout; `shown` is the name of their folder in messages.

    Raises `UserError` with the number of the first record that can't be read, or if two files are of one split.
    """
    splits = {_split(file.name): file for file in files}
    if len(splits) != len(files):
        raise UserError(
            f"{shown}: two files are of one split; put the word train, dev or test into the name of each"
        )
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    numbers: dict[str, str] = {}
    with _writing(folder / CORPUS) as corpus, _writing(folder / QUERIES) as queries:
        for split, file in splits.items():
            with _writing(folder / "qrels" / f"{split}.tsv") as qrels:
                for question in _questions(file, f"{shown}/{file.name}"):
                    queries.write(json.dumps({"_id": question.id, "text": question.text}) + "\n")
                    corpus.writelines(_new_documents(question, numbers))
                    qrels.writelines(_labels(question, numbers))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[TextIO]:
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as stream:
        yield stream


def _new_documents(question: Question, numbers: dict[str, str]) -> Iterator[str]:
    """The corpus lines of passages that are new with this question; adds their ids to `numbers`."""
    for text, _ in question.passages:
        if text not in numbers:
            numbers[text] = f"p{len(numbers)}"
            yield json.dumps({"_id": numbers[text], "text": text}) + "\n"


def _labels(question: Question, numbers: dict[str, str]) -> Iterator[str]:
    """One line per passage; a passage that the question lists more than once is selected if any of them is."""
    grades: dict[str, int] = {}
    for text, selected in question.passages:
        grades[text] = max(selected, grades.get(text, 0))
    return (f"{question.id}\t{numbers[text]}\t{grade}\n" for text, grade in grades.items())


def _split(name: str) -> str:
    words = re.split(r"[^a-z]+", name.lower())
    return next((split for split in SPLITS if split in words), "test")


def _questions(file: Path, shown: str) -> Iterator[Question]:
    for number, record in enumerate(_records(file, shown), start=1):
        try:
            passages = record["passages"]
            if isinstance(passages, dict):
                pairs = list(zip(passages["passage_text"], passages["is_selected"], strict=True))
            else:
                pairs = [(passage["passage_text"], passage["is_selected"]) for passage in passages]
            texts = [record["query"], *(text for text, _ in pairs)]
            if not pairs or not all(isinstance(text, str) for text in texts):
                raise ValueError
            if not all(grade in (0, 1) for _, grade in pairs) or not ID.fullmatch(str(record["query_id"])):
                raise ValueError
            yield Question(
                str(record["query_id"]), record["query"], [(text, int(grade)) for text, grade in pairs]
            )
        except (KeyError, TypeError, ValueError):
            raise UserError(
                f"{shown}: record {number}: expected query_id, query and passages with passage_text and is_selected "
                "(0 or 1); fix the record"
            ) from None


def _records(file: Path, shown: str) -> Iterator[Any]:
    """Yield the records of a file: a JSON list, which is read at once, or one record per line."""
    try:
        with opened(file) as stream:
            first = stream.read(1)
            rest = stream.read() if first == b"[" else b""
            if first == b"[":
                yield from json.loads(first + rest)
                return
        with opened(file) as stream:
            for line in stream:
                if line.strip():
                    yield json.loads(line)
    except (ValueError, OSError, EOFError, RecursionError) as error:
        raise UserError(f"{shown}: not JSON in UTF-8 ({error}); download the file again") from None
