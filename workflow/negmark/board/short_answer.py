"""The short answer of a board: a sentence for each dataset on who leads, and by how much."""

from typing import Any

import pandas as pd

from negmark.board.findings import alike, tells_nothing
from negmark.board.prose import REFERENCE, first_track, reference_row, unreached
from negmark.board.standings import datasets, ranked_by, ranking_slice, tiers
from negmark.core.metrics import decimals
from negmark.core.names import UNTRAINED, records
from negmark.core.notation import first_of, listed

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
    by = f"{ranked_by(frame)}/{ranking_slice(frame)}/mean"
    best = records(ranking)[0]
    none = f" None reaches {listed(above, 'or')}." if (above := unreached(best, frame)) else ""
    if tells_nothing(ranking):
        return f"{where} no difference between methods is shown.{none}"
    leaders = [best["title"], *alike(ranking)]
    several = len(leaders) > 1
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
    who = listed(first_of(leaders, MOST))
    return f"{where} {who} lead{'' if several else 's'}{apart}: {ranked_by(frame)} {value}{than}.{none}"
