"""Files of given negatives, read line by line, in the forms in which trainers take them.

An object of JSON, one a line or all in one array as in DPR's own files, is told by its keys: `negative_passages`
(Tevatron; `negative_document_ids` with a corpus of its own), `hard_negative_ctxs` and `negative_ctxs` (DPR), `neg`
(FlagEmbedding), or `negative`, `negative_1` and so on (sentence-transformers, whose first key is the query). Six
columns are a TREC run. Other keys are ignored. What is none of these raises `UserError` with its file and number.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from negmark.core.errors import UserError
from negmark.data.records import LONGEST_SHOWN, text_lines

FORMS = (
    "a JSON object of Tevatron (query, negative_passages), DPR (question, hard_negative_ctxs), FlagEmbedding (query, "
    "neg) or sentence-transformers (anchor, positive, negative or negative_1 ...), or the six columns of a TREC run"
)
FROM_ONE = "hard_negative_ctxs", "negative_ctxs"


class ScoreError(Exception):
    """A score is no finite number; its text is the argument."""


class GivenText(NamedTuple):
    """A given negative: its text if the file has one, else its id; both where it has both."""

    id: str | None
    texts: tuple[str, ...]
    """The text as an encoder reads it, with its title, then without."""
    score: float | None


class GivenLine(NamedTuple):
    """The negatives that a line gives to a query, which is known by id, by text, or by both."""

    place: str
    query_id: str | None
    query: str | None
    negatives: list[GivenText]


def read_given(file: Path) -> Iterator[GivenLine]:
    """Yield what a file, plain or gzipped, gives: a line, or an object of its array; blank lines are skipped."""
    lines = ((place, text) for place, line in text_lines(file) if (text := line.lstrip("\ufeff \t")))
    for place, text in lines:
        if text.startswith("["):
            yield from _of_array(file, (line for _, line in chain([(place, text)], lines)))
        else:
            yield _of_json(place, text) if text.startswith("{") else _of_run(place, text)


def _of_array(file: Path, lines: Iterable[str]) -> Iterator[GivenLine]:
    """Yield the objects of an array: what a file holds from a line that begins with [ on."""
    try:
        rows = json.loads("\n".join(lines))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{file}: not a whole JSON array ({error}); write it anew, or one object a line"
        ) from None
    for number, row in enumerate(rows, start=1):
        yield _of_object(f"{file}: object {number}", row)


def _of_run(place: str, line: str) -> GivenLine:
    columns = line.split()
    score = _number(columns[4]) if len(columns) == 6 else None
    if score is None:
        raise _odd(place, line)
    return GivenLine(place, columns[0], None, [GivenText(columns[2], (), score)])


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _of_json(place: str, line: str) -> GivenLine:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise _odd(place, line) from None
    return _of_object(place, row)


def _of_object(place: str, row: Any) -> GivenLine:
    found = next(
        (read for keys, read in READERS.items() if isinstance(row, dict) and row.keys() & set(keys)), None
    )
    try:
        if found is not None:
            return GivenLine(place, *found(row))
    except ScoreError as error:
        raise UserError(
            f"{place}: expected a number as the score of a negative, found {error.args[0]!r}; mend it, or leave the "
            "scores out"
        ) from None
    except (TypeError, KeyError, ValueError):
        pass
    raise _odd(place, json.dumps(row, ensure_ascii=False))


Fields = tuple[str | None, str | None, list[GivenText]]


def _of_tevatron(row: dict[str, Any]) -> Fields:
    if "negative_document_ids" in row:
        ids = [GivenText(_string(one), (), None) for one in _list(row["negative_document_ids"])]
        text = row.get("query_text")
        return _string(row["query_id"]), None if text is None else _string(text), ids
    query_id = row.get("query_id")
    named = None if query_id is None else _string(query_id)
    return named, _string(row["query"]), [_passage(one, "docid") for one in _list(row["negative_passages"])]


def _of_dpr(row: dict[str, Any]) -> Fields:
    passages = [one for key in FROM_ONE for one in _list(row.get(key, []))]
    return None, _string(row["question"]), [_passage(one, "passage_id") for one in passages]


def _of_bge(row: dict[str, Any]) -> Fields:
    texts = _list(row["neg"])
    scores = row.get("neg_scores") or [None] * len(texts)
    pairs = zip(texts, scores, strict=True)
    return (
        None,
        _string(row["query"]),
        [GivenText(None, (_string(text),), _score(score)) for text, score in pairs],
    )


def _of_tuple(row: dict[str, Any]) -> Fields:
    negatives = [text for key, text in row.items() if key == "negative" or key.startswith("negative_")]
    return (
        None,
        _string(next(iter(row.values()))),
        [GivenText(None, (_string(text),), None) for text in negatives],
    )


READERS: dict[tuple[str, ...], Callable[[dict[str, Any]], Fields]] = {
    ("negative_passages", "negative_document_ids"): _of_tevatron,
    FROM_ONE: _of_dpr,
    ("neg",): _of_bge,
    ("negative", "negative_1"): _of_tuple,
}
"""What reads an object, by keys of which it has one."""


def _passage(passage: dict[str, Any], key: str) -> GivenText:
    title, text = _string(passage.get("title") or ""), _string(passage["text"])
    name = passage.get(key)
    return GivenText(
        None if name is None else str(name), (f"{title} {text}".strip(), text), _score(passage.get("score"))
    )


def _score(score: Any) -> float | None:
    """Return a score; as text, which DPR's files have too. Raises `ScoreError` if it is no number."""
    number = None if score is None else _number(str(score))
    if number is None and score is not None:
        raise ScoreError(str(score)[:LONGEST_SHOWN])
    return number


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _odd(place: str, line: str) -> UserError:
    return UserError(f"{place}: expected {FORMS}; found {line[:LONGEST_SHOWN]!r}; mend it")
