"""Numbers of the file formats that outlive the code that wrote them, so that old files are refused and not misread.

A number is raised when what stands in its files changes its name, its place or its meaning; tests/formats.json holds
the shapes that go with the numbers, and a test compares. Files from before there were numbers have the first ones.
What is kept in the cache needs none: its names are hashes of all that it depends on, and damaged files are made again.
"""

from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.core.files import read_json, write_json

RESULTS = 1
"""What stages leave below results/ for other stages."""
BOARD = 1
"""A board's manifest and its leaderboard.csv, which are compared across versions."""
FIRST = 1
NOTE = Path("results/format.json")


def hold_results(note: Path = NOTE) -> None:
    """Raise `UserError` if the results in this folder have another format; note the format where none is noted."""
    found = read_json(note) if note.is_file() else None
    if found is None:
        write_json(note, {"format": RESULTS})
    elif (number := number_of(found)) != RESULTS:
        raise UserError(
            f"{note}: the results here were made by {whose(number, RESULTS)}; move {note.parent}/ elsewhere, its "
            "leaderboards/ aside, and run again. Nothing was done"
        )


def number_of(found: Any) -> Any:
    """Return the format number that a file names; the first one where it names none."""
    return found.get("format", FIRST) if isinstance(found, dict) else None


def whose(number: Any, wanted: int) -> str:
    """Say in words whether a format is older or newer than the one that is read."""
    if not isinstance(number, int):
        return f"no negmark that is known (format {number!r}, this one has {wanted})"
    return (
        f"{'an earlier' if number < wanted else 'a later'} negmark (format {number}, this one has {wanted})"
    )
