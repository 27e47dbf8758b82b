"""STS files: pairs of sentences with a score of how similar people find them, from the user's data folder.

A task is a folder `<data>/sts/<task>/`. Its pairs are those of all its files together ("all" of SentEval and
SimCSE: one correlation over the joined sub-sets, not a mean over them). The files are as they were published:
lines `score <tab> sentence <tab> sentence` in `*.tsv`; STS-B's `sts-test.csv`; SICK's `SICK_test_annotated.txt`.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from negmark.core.errors import UserError
from negmark.data.records import text_lines


class Pair(NamedTuple):
    """Two sentences and their score, named after file and line."""

    name: str
    score: float
    first: str
    second: str


class Form(NamedTuple):
    """The files of a task's pairs, and their tab-separated fields, counted from 0.

    `folder` is where the files are, if not in a folder of the task's name.
    """

    files: str = "*.tsv"
    score: int = 0
    first: int = 1
    second: int = 2
    header: bool = False
    folder: str = ""


FORMS = {
    "stsbenchmark": Form("sts-test.csv", 4, 5, 6),
    "stsbenchmark-train": Form("sts-train.csv", 4, 5, 6, folder="stsbenchmark"),
    "sick2014": Form("SICK_test_annotated.txt", 3, 1, 2, header=True),
    "sick2014-train": Form("SICK_train.txt", 3, 1, 2, header=True, folder="sick2014"),
}


def read_task(task: str, data: Path | None) -> list[Pair]:
    """Return the pairs of a task. Raises `UserError` if there are no files or a line is not a scored pair."""
    form = FORMS.get(task, Form())
    folder = Path(data or "<data>", "sts", form.folder or task)
    files = sorted(folder.glob(form.files)) if data else []
    if not files:
        raise UserError(
            f"sts: there is no {folder / form.files} with the pairs of {task}; put them there, with lines "
            "score<tab>sentence<tab>sentence, and set NEGMARK_DATA to <data>"
        )
    return [pair for file in files for pair in _pairs(file, form, task)]


def as_queries(tasks: dict[str, list[Pair]]) -> tuple[list[str], list[str], dict[str, list[Any]]]:
    """Return the pairs of tasks as rows of a queries' table, two per pair: ids, texts, and further columns."""
    rows = [(task, pair) for task, pairs in tasks.items() for pair in pairs]
    ids = [f"{pair.name}/{side}" for _, pair in rows for side in "ab"]
    texts = [text for _, pair in rows for text in (pair.first, pair.second)]
    columns: dict[str, list[Any]] = {
        "slice": [task for task, _ in rows for _ in "ab"],
        "score": [pair.score for _, pair in rows for _ in "ab"],
    }
    return ids, texts, columns


def _pairs(file: Path, form: Form, task: str) -> Iterator[Pair]:
    """Yield the pairs of a file; those without a score (most of STS15 and STS16) are left out."""
    for number, (where, line) in enumerate(text_lines(file)):
        if not line.strip() or (form.header and number == 0):
            continue
        fields = line.split("\t")
        if len(fields) > max(form[1:4]) and not fields[form.score].strip():
            continue
        try:
            score, first, second = float(fields[form.score]), fields[form.first], fields[form.second]
        except (ValueError, IndexError):
            score, first, second = math.nan, "", ""
        if not (math.isfinite(score) and first.strip() and second.strip()):
            raise UserError(
                f"{where}: expected a score and two sentences, tab-separated, in the fields "
                f"{form.score + 1}, {form.first + 1} and {form.second + 1}"
            )
        yield Pair(f"{task}/{file.stem}/{number + 1}", score, first.strip(), second.strip())
