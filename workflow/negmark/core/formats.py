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
BOARD_KEYS = {"suite", "encoders", "datasets", "rows", "environments", "tolerances", "table"}


def hold_results(note: Path = NOTE) -> None:
    """Raise `UserError` if the results in this folder have another format; note the format where none is noted."""
    found = read_json(note) if note.is_file() else None
    if found is None:
        write_json(note, {"format": RESULTS})
    elif (number := _number(found)) != RESULTS:
        raise UserError(
            f"{note}: the results here were made by {_whose(number, RESULTS)}; move {note.parent}/ elsewhere, its "
            "leaderboards/ aside, and run again. Nothing was done"
        )


def read_board(manifest: Path) -> dict[str, Any]:
    """Read a board's manifest. Raises `UserError` if it has another format, or isn't one."""
    found = read_json(manifest)
    if (number := _number(found)) != BOARD:
        raise UserError(
            f"{manifest}: the board was made by {_whose(number, BOARD)}; check out the commit that made it (under "
            "environments: code), or run its suite anew"
        )
    if lacking := sorted(BOARD_KEYS - found.keys()):
        raise UserError(f"{manifest}: lacks {lacking[0]}, so it is no board's manifest; run the suite anew")
    return dict(found)


def _number(found: Any) -> Any:
    return found.get("format", FIRST) if isinstance(found, dict) else None


def _whose(number: Any, wanted: int) -> str:
    if not isinstance(number, int):
        return f"no negmark that is known (format {number!r}, this one has {wanted})"
    return (
        f"{'an earlier' if number < wanted else 'a later'} negmark (format {number}, this one has {wanted})"
    )
