"""What tuning chose, as `tune` leaves it and a board says it. Snakemake imports this when it plans: nothing heavy here.

A row is tuned in two stages on the dev split, so that what helped is known: first the learning rate at the row's own
parameters, then its method's main parameter at the best rate. The rates are the same for all rows.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from negmark.core.errors import UserError
from negmark.core.files import read_json

TUNED = "_tuned"


class Chosen(BaseModel):
    """What tuning chose for a row on a dataset, and the numbers that decided."""

    factor: float
    """Factor of the row's own learning rate; 1 and no `params` are the row as it is."""
    learning_rate: float
    params: dict[str, Any]
    """The tuned parameter with its value; empty where the row's own is the best, or it has none to tune."""
    dev: float
    """Metric on the dev queries, mean over seeds."""
    default: float | None
    """The same for the row as it is; None where that diverged."""
    low: float | None
    """Lower bound of the 95 % interval of `dev` - `default` over other seeds and other queries; None where there is
    none: the row as it is was chosen, or diverged, or there is a single seed or query."""
    high: float | None
    within_noise: bool
    """Does that interval hold 0? False where there is none."""
    at_edge: bool
    """Is the best rate the lowest or highest that was tried, after the grid has grown?"""
    trials: int
    """Settings tried, each with all seeds."""
    failed: int
    """How many of them diverged, or couldn't run, with a seed."""
    seeds: int
    slice: str
    """The dev queries that decided: `all` or `unseen`."""
    queries: int
    """Number of these queries."""
    under: str
    """Hash of all settings under which the trials ran."""

    @property
    def is_default(self) -> bool:
        """Is the choice the row as it is?"""
        return self.factor == 1 and not self.params


class Tuned(BaseModel):
    """The file that `tune` writes and a suite with `tuned:` reads."""

    suite: str
    metric: str
    seeds: list[int]
    """Seeds of the trials, none of which is one of the board's."""
    rates: dict[str, list[float]]
    """By dataset: the factors that all rows tried."""
    datasets: dict[str, dict[str, Chosen]]
    """By dataset and row."""


def rate_of(rate: float, factor: float) -> float:
    """Return a learning rate times a factor, to six significant digits."""
    return float(f"{rate * factor:.6g}")


def read_tuned(path: Path) -> Tuned:
    """Read the file that `tune` wrote."""
    try:
        return Tuned.model_validate(read_json(path))
    except ValueError as error:
        raise UserError(
            f"{path}: not a file of this version's `tune` ({error}); delete it and tune again"
        ) from None


def chosen_for(tuned: Tuned, path: Path, dataset: str, row: str, under: str) -> Chosen:
    """Return what was chosen for a row on a dataset. Raises `UserError` if it is missing or of other settings."""
    chosen = tuned.datasets.get(dataset, {}).get(row)
    if chosen is None:
        raise UserError(
            f"{path}: {row} on {dataset} is missing; delete the file, and the same command tunes anew"
        )
    if chosen.under != under:
        raise UserError(
            f"{path}: {row} on {dataset} was tuned under other settings than the suite has now; delete the file, "
            "and the same command tunes anew"
        )
    return chosen


def footnote(chosen: Chosen, metric: str) -> str:
    """Return a footnote that says in one sentence what was chosen, from what, and how sure that is."""
    part = "" if chosen.slice == "all" else f"{chosen.slice} "
    failed = f" ({chosen.failed} of them diverged or couldn't run)" if chosen.failed else ""
    edge = "; the rate lies at the edge of those tried" if chosen.at_edge else ""
    return (
        f"tuned: {_choice(chosen)}, the best of {chosen.trials} settings{failed} by {metric} on {chosen.queries} "
        f"{part}dev queries, {chosen.seeds} seed{'s' * (chosen.seeds > 1)} each{_against_default(chosen)}{edge}"
    )


def _choice(chosen: Chosen) -> str:
    rate = f"learning rate {chosen.learning_rate:g}"
    if chosen.is_default:
        return f"the row's own settings were not beaten ({rate})"
    times = "" if chosen.factor == 1 else f"{chosen.factor:.3g} x "
    values = [f"{name} {value}" for name, value in chosen.params.items()]
    return ", ".join([f"{rate} ({times}the row's own)", *values])


def _against_default(chosen: Chosen) -> str:
    if chosen.is_default:
        return ""
    if chosen.default is None:
        return "; the default diverged"
    gain = f"{chosen.dev - chosen.default:+.3f} against the default"
    if chosen.low is None or chosen.high is None:
        return f"; {gain}"
    noise = ": within noise of the default" if chosen.within_noise else ""
    return f"; {gain} (95 % interval {chosen.low:+.3f} to {chosen.high:+.3f}{noise})"
