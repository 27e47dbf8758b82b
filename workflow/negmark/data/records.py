"""The records of a collection, read line by line, in the forms in which people have them.

BEIR layout is a folder with

- `corpus.jsonl`: one document a line, `{"_id", "text"}`, with or without `"title"` and anything else;
- `queries.jsonl`: one query a line, `{"_id", "text"}`;
- `qrels/<split>.tsv`: relevance judgments.

MS MARCO's own layout is a folder with `collection.tsv` (id, tab, passage), `queries.<split>.tsv` (id, tab, query)
and `qrels.<split>.tsv`; the files of TREC's topics may keep the names under which they are handed out (`TOPICS`).

Either may have `graph.tsv`: document, tab, other document, tab, what the other is to the first (`ancestor` or
`sibling`), perhaps under a header.

Any file may be gzipped; where both are there, the plain one is read. Judgments may end in .tsv, .txt, .qrels or
.trec and are known by their content: three columns with tabs between are BEIR's (query, document, grade, perhaps
under a header), four columns are TREC's (query, anything, document, grade). Blank lines are skipped, Windows line
ends and a byte order mark are taken off, and `Records.met` counts them. A line that can't be read is a `UserError`
with its file and number.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from negmark.core.errors import UserError
from negmark.data.beir import Source, opened
from negmark.store.graph import RELATIONS

CORPUS, QUERIES, COLLECTION = "corpus.jsonl", "queries.jsonl", "collection.tsv"
GRAPH = "graph.tsv"
ENDINGS = (".tsv", ".txt", ".qrels", ".trec")
TOPICS = {
    "2019qrels-pass": "qrels/dl19",
    "2020qrels-pass": "qrels/dl20",
    "msmarco-test2019-queries": "queries/dl19",
    "msmarco-test2020-queries": "queries/dl20",
}
"""Files of the TREC Deep Learning tracks by the names that they are handed out under, without their endings."""
SPLIT_FILE = re.compile(r"(qrels|queries)[./]([^/]+)")
GRADE = re.compile(r"\s*[+-]?[0-9]{1,9}\s*")
"""A whole number that fits into 32 bits; `int` alone would also take 1_0 and digits of other scripts."""
LONGEST_LINE = 1 << 26
"""Bytes of a line beyond which a file is no collection: a gzipped one could hold gigabytes without a line end."""
HALF_A_SIGN = re.compile(r"\\u[dD][89a-fA-F]")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Text(NamedTuple):
    """A document, or a query with an empty title."""

    line: int
    id: str
    title: str
    text: str


class Judgment(NamedTuple):
    """What a person said of a query and a document."""

    line: int
    query: str
    document: str
    grade: int


class Related(NamedTuple):
    """Two documents, the second of which is in this relation to the first."""

    line: int
    document: str
    other: str
    relation: str


@dataclass(frozen=True)
class Records:
    """A collection in a folder. Every method reads its files anew, so nothing of them stays in memory."""

    folder: Path
    shown: str = ""
    """What messages call the folder; its own path if left out."""
    met: dict[tuple[str, str], int] = field(default_factory=dict)
    """Lines that were not plain, by kind and file, of the files that have been read to their end."""

    def documents(self) -> Iterator[Text]:
        """Give the documents in their order."""
        name = self.corpus()
        return self._tabbed(name) if name.startswith(COLLECTION) else self._objects(name)

    def queries(self) -> Iterator[tuple[str, Text]]:
        """Give the queries, each with its file's name."""
        for name in self.query_files():
            rows = self._objects(name) if name.startswith(QUERIES) else self._tabbed(name)
            yield from ((name, row) for row in rows)

    def judgments(self, split: str) -> Iterator[Judgment]:
        """Give the judgments of a split; the first line that isn't a header tells BEIR's columns from TREC's."""
        name, columns = self.judged(split), 0
        for number, line in self._lines(name):
            fields = _columns(line)
            if not columns and len(fields) == 3 and fields[-1].lower() == "score":
                continue
            columns = columns or len(fields)
            if not fields or len(fields) != columns or not GRADE.fullmatch(fields[-1]):
                raise UserError(
                    f"{self.place(name, number)}: expected query-id, corpus-id and a whole score with tabs between, "
                    "or TREC's four columns: query, anything, document, grade; fix the line"
                )
            yield Judgment(number, fields[0], fields[-2], int(fields[-1]))

    def relations(self) -> Iterator[Related]:
        """Give the pairs of related documents; none where the folder has no file of them."""
        for name in self._roles().get(GRAPH, []):
            for number, line in self._lines(name):
                document, _, rest = line.partition("\t")
                other, _, relation = rest.partition("\t")
                if number == 1 and relation == "relation":
                    continue
                if not document or not other or relation not in RELATIONS:
                    raise UserError(
                        f"{self.place(name, number)}: expected document-id, other-id and {' or '.join(RELATIONS)} with "
                        "tabs between; fix the line"
                    )
                yield Related(number, document, other, relation)

    def corpus(self) -> str:
        """Return the file of documents, by its name in the folder."""
        roles = self._roles()
        if found := roles.get(CORPUS) or roles.get(COLLECTION):
            return found[0]
        raise self._missing(CORPUS)

    def query_files(self) -> list[str]:
        """Return the files of queries: one in BEIR layout, one or more in MS MARCO's."""
        roles = self._roles()
        if CORPUS in roles and QUERIES in roles:
            return roles[QUERIES]
        if COLLECTION not in roles:
            raise self._missing(QUERIES if CORPUS in roles else CORPUS)
        if files := [name for role in sorted(roles) if role.startswith("queries/") for name in roles[role]]:
            return files
        raise self._missing("queries.<split>.tsv")

    def judged(self, split: str) -> str:
        """Return the file of a split's judgments, by its name in the folder."""
        files = self._judged().get(split, [])
        if len(files) > 1:
            raise UserError(
                f"{self.name()}: {' and '.join(files)} both hold the split {split}; keep one of them"
            )
        if not files:
            there = ", ".join(self.splits()) or "no split"
            raise UserError(
                f"{self.name()}: there is no qrels/{split}.tsv; a board needs a test split: put one there, name "
                f"another by `test_split` ({there} is there), or set training queries aside by `test_queries`"
            )
        return files[0]

    def splits(self) -> list[str]:
        """Return the splits that have judgments, by name."""
        return sorted(self._judged())

    def check(self) -> None:
        """Say in one line what the folder lacks, before any file is read."""
        self.query_files()
        if not self._judged():
            raise self._missing("qrels/test.tsv")

    def name(self) -> str:
        """Return what messages call the folder."""
        return self.shown or str(self.folder)

    def place(self, file: str, line: int | None = None) -> str:
        """Return what messages call a line of a file, or the file."""
        return f"{self.name()}/{file}" + ("" if line is None else f": line {line}")

    def _objects(self, name: str) -> Iterator[Text]:
        """Read JSON objects; what stands in them beside id, title and text is left alone."""
        for number, line in self._lines(name):
            try:
                row = json.loads(line)
                text = Text(number, row["_id"], row.get("title") or "", row["text"])
                whole = all(isinstance(part, str) for part in text[1:])
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                whole = False
            if not whole:
                raise UserError(
                    f'{self.place(name, number)}: expected a JSON object with strings "_id" and "text"; fix the line'
                )
            if HALF_A_SIGN.search(line) and _is_broken(text):
                raise UserError(
                    f"{self.place(name, number)}: an escape \\ud8.. to \\udf.. is half a character; fix it"
                )
            self._check_id(text.id, name, number)
            yield text

    def _tabbed(self, name: str) -> Iterator[Text]:
        for number, line in self._lines(name):
            identifier, tab, text = line.partition("\t")
            if not tab or not identifier:
                raise UserError(f"{self.place(name, number)}: expected an id, a tab and a text; fix the line")
            self._check_id(identifier, name, number)
            yield Text(number, identifier, "", text)

    def _check_id(self, identifier: str, name: str, number: int) -> None:
        """Refuse an id that trec_eval, which is written in C, can't tell from another."""
        if not identifier or "\0" in identifier:
            raise UserError(
                f"{self.place(name, number)}: the id {identifier!r} is empty or holds a NUL; give it another"
            )

    def _lines(self, name: str) -> Iterator[tuple[int, str]]:
        """Give the lines of a file that aren't blank, without their ends, each with its number."""
        marks = windows = blank = 0
        for number, raw in _raw_lines(self.folder / name, self.place(name)):
            if number == 1 and raw.startswith(BYTE_ORDER_MARK):
                raw, marks = raw.removeprefix(BYTE_ORDER_MARK), 1
            windows += raw.endswith(b"\r\n")
            try:
                line = raw.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise UserError(f"{self.place(name, number)}: not UTF-8; save the file as UTF-8") from None
            if not line or line.isspace():
                blank += 1
                continue
            yield number, line
        for kind, count in (
            ("byte order marks", marks),
            ("Windows line ends", windows),
            ("blank lines", blank),
        ):
            self.met[kind, name] = count

    def _judged(self) -> dict[str, list[str]]:
        """Return the files that hold each split, by its name."""
        return {
            role.removeprefix("qrels/"): names for role, names in self._roles().items() if "qrels/" in role
        }

    def _roles(self) -> dict[str, list[str]]:
        """Return the files of the collection by what they hold: `corpus.jsonl`, `qrels/test` and so on."""
        found: dict[str, list[str]] = {}
        for name in _plain_first(self.folder):
            if said := role(name):
                found.setdefault(said, []).append(name)
        return found

    def _missing(self, name: str) -> UserError:
        return UserError(
            f"{self.name()}: {name} is missing; expected the BEIR layout: corpus.jsonl, queries.jsonl and "
            "qrels/<split>.tsv, or MS MARCO's: collection.tsv, queries.<split>.tsv and qrels.<split>.tsv, each plain "
            "or .gz; or MS MARCO QA's JSON records"
        )


def role(name: str) -> str | None:
    """Return what a file holds by its name in a collection's folder, or None if it is none of the collection's."""
    name = name.removesuffix(".gz")
    if name in (CORPUS, QUERIES, COLLECTION, GRAPH):
        return name
    ending = next((ending for ending in ENDINGS if name.endswith(ending)), None)
    stem = name.removesuffix(ending) if ending else ""
    if found := TOPICS.get(stem) or SPLIT_FILE.fullmatch(stem):
        return found if isinstance(found, str) else f"{found[1]}/{found[2]}"
    return None


def text_lines(file: Source) -> Iterator[tuple[str, str]]:
    """The lines of a UTF-8 file, plain or gzipped, without their ends, each with its place for error messages."""
    for number, raw in _raw_lines(file, str(file)):
        try:
            yield f"{file}: line {number}", raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise UserError(f"{file}: line {number}: not UTF-8; save the file as UTF-8") from None


def _raw_lines(file: Source, shown: str) -> Iterator[tuple[int, bytes]]:
    with opened(file) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE), b""), start=1):
            if len(line) == LONGEST_LINE:
                raise UserError(
                    f"{shown}: line {number}: longer than {LONGEST_LINE >> 20} MB; end it with a line end"
                )
            yield number, line


def _plain_first(folder: Path) -> list[str]:
    """Return the names of a folder's files and of those in its `qrels`, a gzipped copy of a plain one left out."""
    found = [file.name for file in folder.iterdir() if file.is_file()]
    if (folder / "qrels").is_dir():
        found += [f"qrels/{file.name}" for file in (folder / "qrels").iterdir() if file.is_file()]
    names = set(found)
    return sorted(name for name in found if not (name.endswith(".gz") and name.removesuffix(".gz") in names))


def _columns(line: str) -> list[str]:
    """Split a judgment: three or four columns by tabs, or four by any white space."""
    fields = line.split("\t")
    if len(fields) not in (3, 4):
        fields = line.split()
    return fields if len(fields) == 4 or ("\t" in line and len(fields) == 3) else []


def _is_broken(text: Text) -> bool:
    """Say if a text holds half a surrogate pair, which no file can hold as UTF-8."""
    try:
        "".join(text[1:]).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
