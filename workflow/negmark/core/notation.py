"""How values, counts and names are written on a board."""

import html
import math
import re
from typing import Any

from negmark.core.names import Row

MISSING = "—"
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
STILL_RISING = "↑"
DID_NOT_ACT = "∅"
LEAST = 0.001
"""The smallest p-value that is written out."""


def number(mean: float, low: float = math.nan, digits: int = 3) -> str:
    """`0.409 ±0.001`: a mean and the half-width of its interval; a dash if there is none."""
    if math.isnan(mean):
        return MISSING
    if math.isnan(low):
        return f"{mean:.{digits}f}"
    least = 10**-digits
    spread = f"{mean - low:.{digits}f}" if mean - low >= least / 2 else f"<{least:.{digits}f}"
    return f"{mean:.{digits}f} ±{spread}"


def compact(count: float) -> str:
    """`461k`: a count to three digits; the page has the full number as a tooltip, and the CSV has it too."""
    count = float(f"{count:.3g}")
    size, unit = next(((size, unit) for size, unit in UNITS if count >= size), (1.0, ""))
    return f"{count / size:g}{unit}"


def counted(n: int, one: str, many: str = "") -> str:
    """`3 queries`: a number of things."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def plain(text: str) -> str:
    """Text escaped so that Markdown shows it as it is: no tag, emphasis, table cell or list."""
    text = html.escape(" ".join(text.split()), quote=False)
    text = re.sub(r"([\\`*_{}\[\]|#~$]|^[-+=])", r"\\\1", text)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", text)


def marked(row: Row, with_tier: bool = False) -> str:
    """A row's title, with its tier if asked for and any track but `controlled` in brackets."""
    words = [row["tier"] if with_tier else "", row["track"] if row["track"] != "controlled" else ""]
    notes = ", ".join(word for word in words if word)
    return f"{row['title']} ({notes})" if notes else row["title"]


def titled(row: Row, with_tier: bool = False) -> str:
    """A row's title in a table: `marked`, with `signs` after it."""
    return " ".join([marked(row, with_tier), *signs(row)])


def signs(row: Row) -> list[str]:
    """What stands after a row's title: an arrow if dev still rose at its last step, a sign if its rule never acted."""
    found = {STILL_RISING: row.get("dev_rising") is True, DID_NOT_ACT: bool(row.get("idle"))}
    return [sign for sign, stands in found.items() if stands]


def _absent(value: Any) -> bool:
    import pandas as pd  # here, as plans read this module too and would wait a second for it

    return bool(pd.isna(value))


def rank_text(row: Row) -> str:
    """The rank, empty for a baseline."""
    return "" if _absent(row["rank"]) else str(row["rank"])


def mean_rank_text(row: Row) -> str:
    """The mean rank over datasets, empty for a row without one."""
    return "" if _absent(row["rank"]) else f"{row['rank']:.1f}"


def seeds_text(row: Row) -> str:
    """The number of seeds, empty for a baseline."""
    return "" if _absent(row["seeds"]) else str(row["seeds"])


def chance(p: float, bound: bool = False) -> str:
    """`0.012`: a p-value; a dash if nothing was tested. `<0.002` where only a `bound` of it is known."""
    if math.isnan(p):
        return MISSING
    if bound and p >= LEAST:
        return f"<{math.ceil(round(p / LEAST, 6)) * LEAST:.3f}"
    return f"<{LEAST}" if p < LEAST else f"{p:.3f}"


def first_of(words: list[str], most: int) -> list[str]:
    """Return words that fit into `most` places: all, or the first ones and how many more there are."""
    return words if len(words) <= most else [*words[: most - 1], f"{len(words) - most + 1} more"]


def listed(words: list[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def clock(seconds: float) -> str:
    """`2:05`, `1:02:05` or `3.4 days`: a duration, as people read it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
