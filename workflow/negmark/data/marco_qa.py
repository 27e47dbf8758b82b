"""MS MARCO's question answering records as a collection: each question with its passages, some of them selected.

A folder with one or more files `*.json` or `*.jsonl`, plain or gzipped, each a list of records or a record a line, as
MS MARCO QA 1.1 and copies of its parts are handed out:

    {"query_id": 34300, "query": "...", "passages": {"passage_text": ["...", ...], "is_selected": [0, 1, ...]}}

or with `passages` as a list of objects. A file is the split that its name holds as a word (train, dev or test), else
`test`. Equal passages are one document; selected passages have grade 1, the others of a question grade 0, so a
question without any is a query without a relevant document, which the card counts.
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
"""What can stand in a column of labels, and in a file."""


class Question(NamedTuple):
    """A record: a question and its judged passages."""

    id: str
    text: str
    passages: list[tuple[str, int]]


def files_of(folder: Path) -> list[Path]:
    """Return the files of records in a folder that has no other layout; none where it has one."""
    names = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    if any(role(name) for name in names):
        return []
    return sorted(folder / name for name in names if FILE.fullmatch(name))


def write_beir(files: list[Path], folder: Path, shown: str) -> None:
    """Write the records of files as a collection in BEIR layout; `shown` is what messages call their folder.

    Raises `UserError` with the number of the first record that can't be read, and where two files are one split.
    """
    splits = {_split(file.name): file for file in files}
    if len(splits) != len(files):
        raise UserError(
            f"{shown}: two files are of one split; name a split in each: train, dev or test as a word"
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
    """The lines of passages that no question before had; numbers them."""
    for text, _ in question.passages:
        if text not in numbers:
            numbers[text] = f"p{len(numbers)}"
            yield json.dumps({"_id": numbers[text], "text": text}) + "\n"


def _labels(question: Question, numbers: dict[str, str]) -> Iterator[str]:
    """A line a passage, selected where it was so in any of the places where it stands."""
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
                pairs = [(one["passage_text"], one["is_selected"]) for one in passages]
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
    """Give the records of a file: those of a list, which is read whole, or one a line."""
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
        raise UserError(f"{shown}: not JSON in UTF-8 ({error}); get the file again") from None
