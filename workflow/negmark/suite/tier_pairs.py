"""Which rows of two tiers are the same method, so that the orders of the tiers can be compared.

Snakemake imports this when it plans, so nothing heavy is imported here.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from negmark.core.files import canonical
from negmark.core.tiers import in_order
from negmark.store.contents import Comparison
from negmark.suite.rows import Row

FEWEST = 3  # the order of only two methods says nothing


class Entry(NamedTuple):
    """A row of a suite: what identifies its method, and the tier in which it is trained."""

    row: str
    kind: str  # the method's name, `class` in metrics.json
    track: str
    params: Mapping[str, Any]
    tier: str
    start: str | None = None  # the row whose model it starts from
    loss: str = ""  # the row whose loss it is trained with, if not its own

    @classmethod
    def of(cls, row: Row) -> "Entry":
        """Return the entry of a row."""
        loss = row.lender.row if row.lender else ""
        return cls(row.name, row.method.name, row.track, row.defaults, row.tier.name, row.start, loss)


def comparisons(entries: Sequence[Entry]) -> list[Comparison]:
    """Return a comparison for every pair of tiers and track with three or more methods in common.

    Rows are the same method if class, track, parameters and the method they start from are equal. Tracks are never
    mixed. If several rows of a tier are the same method, the first is taken.
    """
    by_row = {entry.row: entry for entry in entries}
    by_tier: dict[tuple[str, str], dict[str, str]] = {}  # (track, tier) -> method -> row
    for entry in entries:
        rows = by_tier.setdefault((entry.track, entry.tier), {})
        rows.setdefault(_method(entry, by_row), entry.row)
    pairs = list(combinations(in_order([entry.tier for entry in entries]), 2))
    parts = [
        Comparison(cheap=cheap, costly=costly, track=track, rows=_common(by_tier, track, cheap, costly))
        for cheap, costly in pairs
        for track in dict.fromkeys(entry.track for entry in entries)
    ]
    return [part for part in parts if len(part.rows) >= FEWEST]


def _common(
    by_tier: Mapping[tuple[str, str], Mapping[str, str]], track: str, cheap: str, costly: str
) -> list[tuple[str, str]]:
    first, second = by_tier.get((track, cheap), {}), by_tier.get((track, costly), {})
    return [(first[method], second[method]) for method in first if method in second]


def _method(entry: Entry, by_row: Mapping[str, Entry]) -> str:
    start = _method(by_row[entry.start], by_row) if entry.start else None
    return canonical([entry.kind, entry.track, entry.params, start])
