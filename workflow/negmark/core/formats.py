"""Version numbers of files that outlive the code that wrote them, so that old files are refused, not misread.

A number is raised when the content of its files changes in name, place or meaning; tests/formats.json holds the shapes
for each number, and a test compares. Files older than the numbering count as version 1.
The cache needs no versions: file names are hashes of everything the content depends on, and damaged files are rebuilt.
"""

from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.core.files import read_json, write_json

RESULTS = 2
"""What stages write under results/ for other stages."""
BOARD = 2
"""A board's manifest and its leaderboard.csv, which are compared across versions."""
FIRST = 1
NOTE = Path("results/format.json")


def hold_results(note: Path = NOTE) -> None:
    """Raise `UserError` if the results in this folder have another format; record the format if none is recorded."""
    recorded = read_json(note) if note.is_file() else None
    if recorded is None:
        write_json(note, {"format": RESULTS})
    elif (number := number_of(recorded)) != RESULTS:
        raise UserError(
            f"{note}: the results here were made by {whose(number, RESULTS)}; move {note.parent}/ elsewhere, its "
            "leaderboards/ aside, and run again. Nothing was done"
        )


def number_of(content: Any) -> Any:
    """Return the format number in a file's JSON; 1 if it has none."""
    return content.get("format", FIRST) if isinstance(content, dict) else None


def whose(number: Any, expected: int) -> str:
    """Return in words whether a format is older or newer than the expected one."""
    if not isinstance(number, int):
        return f"no negmark that is known (format {number!r}, this one has {expected})"
    return f"{'an earlier' if number < expected else 'a later'} negmark (format {number}, this one has {expected})"
