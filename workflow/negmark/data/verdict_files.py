"""Files of verdicts on pairs, read line by line: what a judge made of a document for a query.

A line is a JSON object: `query` and `document`, each by id or by text; `verdict`, one of `VERDICTS`; and `judge`, who
said so, which may be left out. Other keys are ignored. A line that is none of these raises `UserError` with its file
and number. `snakemake to_judge` writes what to ask a judge for such lines.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from negmark.core.errors import UserError
from negmark.data.records import LONGEST_SHOWN, text_lines
from negmark.methods.relabelling import BETTER, IRRELEVANT, WORSE

VERDICTS = {"better": BETTER, "relevant": BETTER, "worse": WORSE, "irrelevant": IRRELEVANT}
"""What a verdict counts: `better`, relevant and as good as the labelled positive or better; `relevant`, the same of a
judge who doesn't compare; `worse`, relevant but less than the labelled positive."""
NOBODY = "unnamed"
FORM = (
    "a JSON object with query and document (ids or texts), verdict "
    f"({', '.join(list(VERDICTS)[:-1])} or {list(VERDICTS)[-1]}) and judge"
)


class Verdict(NamedTuple):
    """A line of the file."""

    place: str
    query: str
    document: str
    verdict: int
    judge: str


def read_verdicts(file: Path) -> Iterator[Verdict]:
    """Yield the verdicts of a file, plain or gzipped; blank lines are skipped."""
    for place, line in text_lines(file):
        text = line.removeprefix("\ufeff")
        if text.strip():
            yield _verdict(place, text)


def _verdict(place: str, line: str) -> Verdict:
    try:
        row = json.loads(line)
        query, document = (_name(row[key]) for key in ("query", "document"))
        judge = _name(row.get("judge", NOBODY))
        return Verdict(place, query, document, VERDICTS[row["verdict"]], judge)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UserError(
            f"{place}: expected {FORM}; found {line.strip()[:LONGEST_SHOWN]!r}; fix the line"
        ) from None


def _name(value: Any) -> str:
    """Return an id or a text; an id may be a number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    return str(value)
