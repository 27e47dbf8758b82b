"""Numbers as people write them in a config: what YAML and Snakemake's command line hand over as text.

YAML 1.1 reads 2e-5, without a dot, as a string, and Snakemake the numbers and words inside `--config 'seeds=[0,1]'` or
`--config 'tracking={models: true}'`. Such a text is parsed as the value it means; anything else stays as it is, and
its field's type refuses it.
"""

from typing import Any

LARGEST = 2**31 - 1
"""The largest whole number: rows, steps and seeds are stored in 32 bits."""


def whole(value: Any) -> Any:
    """Parse digits as a whole number. Raises ValueError if it doesn't fit 32 bits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(LARGEST)):
        value = int(value)
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError(f"input should lie within {LARGEST:,} of 0")
    return value


def number(value: Any) -> Any:
    """Parse a text that Python reads as a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def truth(value: Any) -> Any:
    """Parse the words true and false as booleans."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value
