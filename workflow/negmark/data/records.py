"""The records of a collection, read line by line, in the layouts in which people have them.

The BEIR layout is a folder with

- `corpus.jsonl`: one document per line, `{"_id", "text"}`, with or without `"title"` and other keys;
- `queries.jsonl`: one query per line, `{"_id", "text"}`;
- `qrels/<split>.tsv`: relevance judgments.

MS MARCO's own layout is a folder with `collection.tsv` (id, tab, passage), `queries.<split>.tsv` (id, tab, query)
and `qrels.<split>.tsv`; files of TREC topics may keep the names under which they are published (`TOPICS`).

Either may have `graph.tsv`: document, tab, other document, tab, the relation of the other to the first (`ancestor`,
`sibling` or `synonym`); a header is optional.

Any file may be gzipped; if both copies exist, the plain one is read. Judgments may end in .tsv, .txt, .qrels or .trec
and are recognised by their content: three tab-separated columns are BEIR's (query, document, grade; a header is
optional), four columns are TREC's (query, anything, document, grade). A header is a first line with a word in the place
of the grade, whatever the word. Blank lines are skipped, Windows line ends and
byte order marks are removed, and `Records.met` counts them. A line that can't be read raises `UserError` with its file
and number.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from negmark.core.errors import UserError
from negmark.core.relations import RELATIONS
from negmark.data.beir import Source, opened

CORPUS, QUERIES, COLLECTION = "corpus.jsonl", "queries.jsonl", "collection.tsv"
GRAPH = "graph.tsv"
ENDINGS = (".tsv", ".txt", ".qrels", ".trec")
TOPICS = {
    "2019qrels-pass": "qrels/dl19",
    "2020qrels-pass": "qrels/dl20",
    "msmarco-test2019-queries": "queries/dl19",
    "msmarco-test2020-queries": "queries/dl20",
}
"""What the files of the TREC Deep Learning tracks hold, by their published names without endings."""
SPLIT_FILE = re.compile(r"(qrels|queries)[./]([^./][^/]*)")
GRADE = re.compile(r"\s*[+-]?[0-9]{1,9}\s*")
"""A whole number that fits into 32 bits; `int` alone would also accept 1_0 and digits of other scripts."""
WORD = re.compile(r"""\s*["']?(?!(nan|inf|infinity)\W*$)[^\W\d_]""", re.IGNORECASE)
"""How the last column of a header begins; any other column of judgments is a number."""
OF_DOCUMENTS = re.compile(r"doc|corpus|passage|\bpid", re.IGNORECASE)
OF_QUERIES = re.compile(r"quer|topic|qid", re.IGNORECASE)
OF_GRADES = re.compile(r"score|grade|label|rel", re.IGNORECASE)
"""What the columns of judgments are called."""
KEYS = ("_id", "title", "text")
"""The keys of a record that are read."""
STARTS = {
    b"\x1f\x8b": "gzipped: end its name in .gz",
    b"PK\x03\x04": "a zip archive: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it",
    b"\xfd7zXZ": "compressed by xz: unpack it",
    b"BZh": "compressed by bzip2: unpack it",
    b"\xff\xfe": "UTF-16: save the file as UTF-8",
    b"\xfe\xff": "UTF-16: save the file as UTF-8",
}
"""What a file that is not UTF-8 is, by its first bytes."""
LONGEST_SHOWN = 60
"""Characters of a line in a message."""
LONGEST_LINE = 1 << 26
"""Bytes of the longest line that is read: a gzipped file could hold gigabytes without a line end."""
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Text(NamedTuple):
    """A document, or a query with an empty title."""

    line: int
    id: str
    title: str
    text: str


class Judgment(NamedTuple):
    """The relevance of a document to a query, as judged by a person."""

    line: int
    query: str
    document: str
    grade: int


class Related(NamedTuple):
    """Two documents, and the relation of the second to the first."""

    line: int
    document: str
    other: str
    relation: str


@dataclass(frozen=True)
class Records:
    """A collection in a folder. Every method reads the files again, so nothing of them is kept in memory."""

    folder: Path
    shown: str = ""
    """The name of the folder in messages; its own path if left out."""
    met: dict[tuple[str, str], int] = field(default_factory=dict)
    """Number of odd lines by kind and file, of the files that have been read to their end."""

    def documents(self) -> Iterator[Text]:
        """Yield the documents in their order."""
        name = self.corpus()
        return self._tabbed(name) if name.startswith(COLLECTION) else self._objects(name)

    def queries(self) -> Iterator[tuple[str, Text]]:
        """Yield the queries, each with the name of its file."""
        for name in self.query_files():
            rows = self._objects(name) if name.startswith(QUERIES) else self._tabbed(name)
            yield from ((name, row) for row in rows)

    def judgments(self, split: str) -> Iterator[Judgment]:
        """Yield the judgments of a split; the first line after a header decides if the columns are BEIR's or TREC's."""
        name, columns, met = self.judged(split), 0, False
        for number, line in self._lines(name):
            fields = _columns(line)
            is_first, met = not met, True
            if is_first and fields and WORD.match(fields[-1]):
                self._check_header(fields, name, number)
                continue
            columns = columns or len(fields)
            if not fields or len(fields) != columns or not GRADE.fullmatch(fields[-1]):
                found = (
                    f"the score {fields[-1]!r}"
                    if len(fields) == columns and fields
                    else repr(line[:LONGEST_SHOWN])
                )
                raise UserError(
                    f"{self.place(name, number)}: expected query-id, corpus-id and a whole score, tab-separated, "
                    f"or TREC's four columns: query, anything, document, grade; found {found}; fix the line"
                )
            yield Judgment(number, fields[0], fields[-2], int(fields[-1]))

    def _check_header(self, fields: list[str], name: str, number: int) -> None:
        """Refuse a header that says of a column that it holds something else than is read from it."""
        query, document = fields[0], fields[-2]
        swapped = OF_DOCUMENTS.search(query) and OF_QUERIES.search(document)
        if swapped or (len(fields) == 4 and OF_GRADES.search(document)):
            raise UserError(
                f"{self.place(name, number)}: the columns are {', '.join(fields)}; expected query-id, corpus-id and "
                "score, or TREC's query, anything, document, grade; put them in this order"
            )

    def relations(self) -> Iterator[Related]:
        """Yield the pairs of related documents; none if the folder has no `graph.tsv`."""
        for name in self._roles().get(GRAPH, []):
            for number, line in self._lines(name):
                document, _, rest = line.partition("\t")
                other, _, relation = rest.partition("\t")
                if number == 1 and relation.strip(" \"'").lower() == "relation":
                    continue
                if not document or not other or relation not in RELATIONS:
                    raise UserError(
                        f"{self.place(name, number)}: expected document-id, other-id and {' or '.join(RELATIONS)}, "
                        "tab-separated; fix the line"
                    )
                yield Related(number, document, other, relation)

    def corpus(self) -> str:
        """Return the file name of the documents."""
        roles = self._roles()
        if files := roles.get(CORPUS) or roles.get(COLLECTION):
            return files[0]
        raise self._missing(CORPUS)

    def query_files(self) -> list[str]:
        """Return the file names of the queries: one in BEIR layout, one or more in MS MARCO's."""
        roles = self._roles()
        if CORPUS in roles and QUERIES in roles:
            return roles[QUERIES]
        if COLLECTION not in roles:
            raise self._missing(QUERIES if CORPUS in roles else CORPUS)
        if files := [name for role in sorted(roles) if role.startswith("queries/") for name in roles[role]]:
            return files
        raise self._missing("queries.<split>.tsv")

    def judged(self, split: str) -> str:
        """Return the file name of a split's judgments."""
        files = self._judged().get(split, [])
        if len(files) > 1:
            raise UserError(
                f"{self.name()}: {' and '.join(files)} both hold the split {split}; keep one of them"
            )
        if not files:
            available = ", ".join(self.splits()) or "none"
            raise UserError(
                f"{self.name()}: there is no qrels/{split}.tsv; a board needs a test split: add the file, name "
                f"another split by `test_split` (available: {available}), or set `test_queries`"
            )
        return files[0]

    def splits(self) -> list[str]:
        """Return the names of the splits that have judgments."""
        return sorted(self._judged())

    def check(self) -> None:
        """Raise `UserError` for a missing file before any file is read."""
        self.query_files()
        if not self._judged():
            raise self._missing("qrels/test.tsv")

    def name(self) -> str:
        """Return the name of the folder in messages."""
        return self.shown or str(self.folder)

    def place(self, file: str, line: int | None = None) -> str:
        """Return the name of a file, or of a line of it, in messages."""
        return f"{self.name()}/{file}" + ("" if line is None else f": line {line}")

    def _objects(self, name: str) -> Iterator[Text]:
        """Read JSON objects; other keys than id, title and text are ignored."""
        for number, line in self._lines(name):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise UserError(
                    f'{self.place(name, number)}: expected a JSON object with strings "_id" and "text"; fix the line, '
                    f"which begins with {line[:LONGEST_SHOWN]!r}"
                )
            if (twice := _repeated(line)) is not None:
                raise UserError(
                    f'{self.place(name, number)}: "{twice}" is there twice in one object; keep one of the two'
                )
            if (odd := _odd_field(row)) is not None:
                found = (
                    f"found {json.dumps(row[odd], ensure_ascii=False)[:LONGEST_SHOWN]}"
                    if odd in row
                    else "there is none"
                )
                wanted = "a string, or left out" if odd == "title" else "a string"
                raise UserError(
                    f'{self.place(name, number)}: "{odd}": expected {wanted}, {found}; a line is a JSON object with '
                    'strings "_id" and "text"; fix the line'
                )
            text = Text(number, row["_id"], row.get("title") or "", row["text"])
            if SURROGATE.search(line) and _is_broken(text):
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
        """Refuse an id that trec_eval, written in C, can't tell from another."""
        if not identifier or "\0" in identifier:
            raise UserError(
                f"{self.place(name, number)}: the id {identifier!r} is empty or has a NUL in it; use another"
            )

    def _lines(self, name: str) -> Iterator[tuple[int, str]]:
        """Yield the lines of a file that aren't blank, without line ends, each with its number."""
        marks = windows = blank = 0
        for number, raw in _raw_lines(self.folder / name, self.place(name)):
            if number == 1 and raw.startswith(BYTE_ORDER_MARK):
                raw, marks = raw.removeprefix(BYTE_ORDER_MARK), 1
            windows += raw.endswith(b"\r\n")
            try:
                line = raw.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise _not_utf8(self.place(name, number), raw) from None
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
        """Return the file names of the judgments by split."""
        return {
            role.removeprefix("qrels/"): names for role, names in self._roles().items() if "qrels/" in role
        }

    def _roles(self) -> dict[str, list[str]]:
        """Return the file names of the collection by role: `corpus.jsonl`, `qrels/test` and so on."""
        roles: dict[str, list[str]] = {}
        for name in _plain_first(self.folder):
            if name_role := role(name):
                roles.setdefault(name_role, []).append(name)
        return roles

    def _missing(self, name: str) -> UserError:
        return UserError(
            f"{self.name()}: {name} is missing; expected the BEIR layout: corpus.jsonl, queries.jsonl and "
            "qrels/<split>.tsv, or MS MARCO's: collection.tsv, queries.<split>.tsv and qrels.<split>.tsv, each plain "
            "or .gz; or MS MARCO QA's JSON records"
        )


def files_of_collection(folder: Path) -> list[Path]:
    """Return the files of a folder that `Records` reads."""
    return [folder / name for name in _plain_first(folder) if role(name)]


def role(name: str) -> str | None:
    """Return what a file of a collection's folder holds, by its name; None if it isn't part of the collection."""
    name = name.removesuffix(".gz")
    if name in (CORPUS, QUERIES, COLLECTION, GRAPH):
        return name
    ending = next((ending for ending in ENDINGS if name.endswith(ending)), None)
    stem = name.removesuffix(ending) if ending else ""
    if stem in TOPICS:
        return TOPICS[stem]
    match = SPLIT_FILE.fullmatch(stem)
    return f"{match[1]}/{match[2]}" if match else None


def text_lines(file: Source) -> Iterator[tuple[str, str]]:
    """The lines of a UTF-8 file, plain or gzipped, without line ends, each with its place for error messages."""
    for number, raw in _raw_lines(file, str(file)):
        try:
            yield f"{file}: line {number}", raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise _not_utf8(f"{file}: line {number}", raw) from None


def _not_utf8(place: str, raw: bytes) -> UserError:
    """Return the error for a line that is not UTF-8: what the file is, if its first bytes tell, and how to mend it."""
    found = next((told for start, told in STARTS.items() if raw.startswith(start)), "save the file as UTF-8")
    return UserError(f"{place}: not UTF-8; {found}")


def _raw_lines(file: Source, shown: str) -> Iterator[tuple[int, bytes]]:
    with opened(file) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE), b""), start=1):
            if len(line) == LONGEST_LINE:
                raise UserError(
                    f"{shown}: line {number}: longer than {LONGEST_LINE >> 20} MB; break the line"
                )
            yield number, line


def _plain_first(folder: Path) -> list[str]:
    """Return the names of the files in a folder and its `qrels`, without gzipped copies of plain ones."""
    files = [file.name for file in folder.iterdir() if file.is_file()]
    if (folder / "qrels").is_dir():
        files += [f"qrels/{file.name}" for file in (folder / "qrels").iterdir() if file.is_file()]
    names = set(files)
    return sorted(name for name in files if not (name.endswith(".gz") and name.removesuffix(".gz") in names))


def _columns(line: str) -> list[str]:
    """Split a judgment: three or four columns by tabs, or four by any white space."""
    fields = line.split("\t")
    if len(fields) not in (3, 4):
        fields = line.split()
    return fields if len(fields) == 4 or ("\t" in line and len(fields) == 3) else []


def _odd_field(row: dict[str, Any]) -> str | None:
    """Return the first key of a document or query whose value is no string; a title may be null or left out."""
    if row.get("title") is None:
        row = {**row, "title": ""}
    return next((key for key in KEYS if not isinstance(row.get(key), str)), None)


def _repeated(line: str) -> str | None:
    """Return a key that a record has twice; JSON alone would take the last one. Few lines are read again for it."""
    if all(line.count(f'"{key}"') < 2 for key in KEYS):
        return None
    names: list[str] = []

    def named(pairs: list[tuple[str, Any]]) -> None:
        names[:] = [name for name, _ in pairs]  # the outermost object comes last

    json.loads(line, object_pairs_hook=named)
    return next((key for key in KEYS if names.count(key) > 1), None)


def _is_broken(text: Text) -> bool:
    """Say whether a text has half a surrogate pair, which UTF-8 can't encode."""
    try:
        "".join(text[1:]).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
