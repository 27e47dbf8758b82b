"""CSV that a spreadsheet opens without running anything in it."""

from typing import Any

import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the start of a formula, https://owasp.org/www-community/attacks/CSV_Injection."""


def csv(table: pd.DataFrame, digits: str | None = None) -> str:
    """Return a table as CSV in full precision, or with numbers in a format such as `%.6g`.

    Text that a spreadsheet would run as a formula gets an apostrophe.
    """
    return table.map(_inert).to_csv(index=False, lineterminator="\n", float_format=digits)


def _inert(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
