"""A committed board, read back."""

from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.core.files import read_json
from negmark.core.formats import BOARD, number_of, whose

BOARD_KEYS = {"suite", "encoders", "datasets", "rows", "environments", "tolerances", "table"}


def read_board(manifest: Path) -> dict[str, Any]:
    """Read a board's manifest. Raises `UserError` if it has another format, or isn't one."""
    found = read_json(manifest)
    if (number := number_of(found)) != BOARD:
        raise UserError(
            f"{manifest}: the board was made by {whose(number, BOARD)}; check out the commit that made it (under "
            "environments: code), or run its suite anew"
        )
    if lacking := sorted(BOARD_KEYS - found.keys()):
        raise UserError(f"{manifest}: lacks {lacking[0]}, so it is no board's manifest; run the suite anew")
    return dict(found)
