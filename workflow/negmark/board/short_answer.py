"""The short answer of a board: a sentence for each dataset on who leads, and by how much."""

from typing import Any

import pandas as pd

from negmark.board.findings import LETTER, tells_nothing
from negmark.board.prose import REFERENCE, first_track, reference_row
from negmark.board.standings import datasets, ranked_by, ranking_slice, tiers
from negmark.core.metrics import decimals
from negmark.core.names import UNTRAINED, Row, records
from negmark.core.notation import listed

MOST = 5
"""Leaders that are named; of more, the first ones and their number."""


def short_answer(frame: pd.DataFrame, settings: dict[str, Any]) -> list[str]:
    """Return a sentence for each dataset and tier, by the first track; the rows are those of the whole board."""
    return [
        sentence(name, part, tier, settings) for name, part in datasets(frame) for tier in tiers(part) or [""]
    ]


def sentence(dataset: str, frame: pd.DataFrame, tier: str, settings: dict[str, Any]) -> str:
    """Return who leads a ranking; where it tells nothing, that."""
    ranking = first_track(frame, tier)
    where = f"On {dataset}" + (f", {tier} tier" if len(tiers(frame)) > 1 else "")
    if tells_nothing(ranking):
        return f"{where} no difference between methods is shown."
    by = f"{ranked_by(frame)}/{ranking_slice(frame)}/mean"
    best, leaders = records(ranking)[0], _leaders(ranking)
    several = len(leaders) > 1
    shown = leaders if len(leaders) <= MOST else [*leaders[: MOST - 1], f"{len(leaders) - MOST + 1} more"]
    others = [
        reference_row(ranking, settings.get("reference", REFERENCE)),
        *records(frame[frame["row"] == UNTRAINED]),
    ]
    digits = decimals(ranked_by(frame))
    against = [
        f"{row[by]:.{digits}f} of {row['title']}"
        for row in others
        if row is not None and row["row"] != best["row"]
    ]
    apart = " and can't be told apart" if several else ""
    value = f"{'up to ' if several else ''}{best[by]:.{digits}f}"
    than = f", against {listed(against)}" if against else ""
    return f"{where} {listed(shown)} lead{'' if several else 's'}{apart}: {ranked_by(frame)} {value}{than}."


def _leaders(ranking: pd.DataFrame) -> list[str]:
    """Return the titles of the first row and of those that share a letter with it, best first."""
    rows = records(ranking)
    first = _letters(rows[0])
    return [row["title"] for row in rows if row is rows[0] or first & _letters(row)]


def _letters(row: Row) -> set[str]:
    return set(LETTER.findall(row.get("groups") or ""))
