"""CSV that a spreadsheet opens without running anything in it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from negmark.core.errors import UserError

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the start of a formula, https://owasp.org/www-community/attacks/CSV_Injection."""


NAMES = (
    "dataset", "row", "title", "tier", "track", "method", "start", "reference", "better_row", "worse_row", "claimed_by",
    "better", "worse", "groups", "params", "status",
)  # fmt: skip
"""Columns that hold names: text, also where a row is called `nan` or all datasets are years."""


def csv(table: pd.DataFrame, digits: str | None = None) -> str:
    """Return a table as CSV in full precision, or with numbers in a format such as `%.6g`.

    Text that a spreadsheet would run as a formula gets an apostrophe.
    """
    return table.map(_inert).to_csv(index=False, lineterminator="\n", float_format=digits)


def read_csv(path: Path, columns: Iterable[str], numbers: Iterable[str], what: str) -> pd.DataFrame:
    """Return these columns of a table that a stage wrote: an empty cell is NaN among `numbers`, "" elsewhere.

    A missing or broken file raises a `UserError` that names it and says `what` it should hold.
    """
    try:
        return _read(path, {name: [""] for name in numbers})[list(columns)]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: can't be read as {what} ({error}); delete it and run again") from None


def read_table(path: Path) -> pd.DataFrame:
    """Return a table as `csv` wrote it: an empty cell is NaN, names are text."""
    return _read(path, [""])


def _read(path: Path, empty: Any) -> pd.DataFrame:
    return pd.read_csv(path, dtype=dict.fromkeys(NAMES, str), keep_default_na=False, na_values=empty)


def _inert(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
