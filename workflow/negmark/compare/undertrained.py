"""Where training did harm or nothing: no row reaches what it starts from, or the ranking that it re-ranks.

The order of such rows is that of how far each was from being trained. It says nothing of methods.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from negmark.core.metrics import decimals
from negmark.core.tiers import in_order
from negmark.store.query_scores import QueryScores


class Trained(NamedTuple):
    """A trained row of a dataset: its tier, the baseline that training began with, and its mean over seeds."""

    row: str
    tier: str
    before: str
    mean: float


def undertrained(rows: Iterable[Trained], baselines: Mapping[str, float], metric: str) -> dict[str, str]:
    """Return for each tier whose rows are all below the baseline that they began with what the best of them reaches.

    `baselines` are the means of the dataset's baselines by name. A tier whose baseline isn't among them is left out.
    """
    by_tier: dict[str, list[Trained]] = {}
    for row in rows:
        by_tier.setdefault(row.tier, []).append(row)
    digits = decimals(metric)
    found = {}
    for tier in in_order(list(by_tier)):
        best = max(by_tier[tier], key=lambda row: row.mean)
        floor = baselines.get(best.before)
        if floor is not None and best.mean < floor:
            found[tier] = (
                f"every trained row is below {best.before} ({metric} {floor:.{digits}f}); the best, {best.row}, has "
                f"{best.mean:.{digits}f}"
            )
    return found


def undertrained_tiers(scores: QueryScores, controls: Collection[str] = ()) -> dict[str, str]:
    """Return the same for the rows of a dataset but controls, by the metric and on the slice that rank it."""
    means = {name: _mean(scores, name) for name in scores.rows}
    abouts = {name: row.about for name, row in scores.rows.items()}
    trained = [
        Trained(name, about["tier"], about["before"], means[name])
        for name, about in abouts.items()
        if about["track"] != "baseline" and name not in controls
    ]
    baselines = {name: means[name] for name, about in abouts.items() if about["track"] == "baseline"}
    return undertrained(trained, baselines, scores.metric)


def below_start(scores: QueryScores) -> dict[str, str]:
    """Return for each trained row of a dataset that doesn't reach what training began with that baseline's name."""
    means = {name: _mean(scores, name) for name in scores.rows}
    before = {name: row.about["before"] for name, row in scores.rows.items()}
    return {name: start for name, start in before.items() if means[name] < means.get(start, -math.inf)}


def _mean(scores: QueryScores, name: str) -> float:
    runs = scores.of(name, scores.metric, scores.ranking()).values()
    return float(sum(run.mean() for run in runs) / len(runs))
