"""The short answer of a board: a sentence for each dataset on who leads, and by how much."""

from typing import Any

import pandas as pd

from negmark.board.findings import COMPARED, alike, tells_nothing, without_controls
from negmark.board.prose import REFERENCE, first_track, reference_row, unreached
from negmark.board.standings import datasets, ranked_by, ranking_slice, tiers
from negmark.compare.statistics import CONFIDENCE
from negmark.core.metrics import decimals
from negmark.core.names import TUNED_TITLE, UNTRAINED, Row, records
from negmark.core.notation import counted, first_of, listed

MOST = 5
"""Leaders that are named; of more, the first ones and their number."""


def short_answer(frame: pd.DataFrame, settings: dict[str, Any]) -> list[str]:
    """Return a sentence for each dataset and tier, by the first track; the rows are those of the whole board.

    Where rows are tuned those that aren't have no rank, so that no name here needs to say it.
    """
    short = frame.assign(title=frame["title"].str.removesuffix(TUNED_TITLE))
    return [
        sentence(name, part, tier, settings) for name, part in datasets(short) for tier in tiers(part) or [""]
    ]


def sentence(dataset: str, frame: pd.DataFrame, tier: str, settings: dict[str, Any]) -> str:
    """Return who leads a ranking; where it tells nothing, or the reference is as good as the first, that."""
    ranking = first_track(frame, tier)
    where = f"On {dataset}" + (f", {tier} tier" if len(tiers(frame)) > 1 else "")
    methods = without_controls(ranking)
    best, reference = records(methods)[0], reference_row(ranking, settings.get("reference", REFERENCE))
    none = f" None reaches {listed(above, 'or')}." if (above := unreached(best, frame)) else ""
    if tells_nothing(ranking):
        return f"{where} no difference between methods is shown.{none}"
    leaders = [best["title"], *alike(methods)]
    if len(leaders) > 1 and reference is not None and reference["title"] in leaders:
        who = f"{_differing(methods, reference)} no leader can be told apart"
    else:
        apart = "s" if len(leaders) == 1 else " and can't be told apart"
        who = f"{listed(first_of(leaders, MOST))} lead{apart}"
    return f"{where} {who}: {_values(best, reference, frame, several=len(leaders) > 1)}.{none}"


def _differing(methods: pd.DataFrame, reference: Row) -> str:
    """Return how many of the methods compared with the reference differ from it, and a word that leads on."""
    compared = methods[methods[COMPARED].astype(bool)]
    count = int((compared["p"] < 1 - CONFIDENCE).sum())
    differ = f"{count or 'none'} of {counted(len(compared), 'method')} differ{'' if count > 1 else 's'}"
    return f"{differ} from {reference['title']}, {'but' if count else 'and'}"


def _values(best: Row, reference: Row | None, frame: pd.DataFrame, *, several: bool) -> str:
    """Return what the first reaches, and what the reference and the untrained encoder do."""
    metric = ranked_by(frame)
    by, digits = f"{metric}/{ranking_slice(frame)}/mean", decimals(metric)
    others = [reference, *records(frame[frame["row"] == UNTRAINED])]
    against = [
        f"{row[by]:.{digits}f} of {row['title']}"
        for row in others
        if row is not None and row["row"] != best["row"]
    ]
    value = f"{metric} {'up to ' if several else ''}{best[by]:.{digits}f}"
    return value + (f", against {listed(against)}" if against else "")
