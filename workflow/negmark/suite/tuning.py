"""The trials of tuning, and what was chosen. Snakemake imports this when it plans, so nothing heavy is imported here.

A trial is an ordinary run of a row with another learning rate and other parameters, drawn as a Latin hypercube (McKay,
Beckman and Conover 1979): every trial of a row has another learning rate, and all values of a parameter are tried
equally often. The rates and their order are the same for all rows, so every row gets the same number of trials and the
same rates, and a row without parameters of its own is at no disadvantage. Trial 0 is the untuned row.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from negmark.core.errors import UserError
from negmark.core.files import read_json
from negmark.core.seeds import stream
from negmark.methods.types import Tried

TRIAL, TUNED = ".trial-", "_tuned"


class Point(NamedTuple):
    """A point in the space of a row: a factor of the tier's learning rate, and values of the row's parameters."""

    factor: float
    params: dict[str, Any]


class Chosen(BaseModel):
    """What tuning chose for a row on a dataset, and the numbers that decided."""

    trial: int
    """Number of the trial; 0 is the untuned row."""
    factor: float
    """Factor of the tier's learning rate."""
    learning_rate: float
    params: dict[str, Any]
    """Values of the tuned parameters."""
    dev: float
    """Metric on the dev queries, mean over seeds."""
    default: float
    """The same for trial 0."""
    slice: str
    """The dev queries that decided: `all` or `unseen`."""
    queries: int
    """Number of these queries."""
    under: str
    """Hash of all settings under which the trials ran."""


class Tuned(BaseModel):
    """The file that `tune` writes and a suite with `tuned: true` reads."""

    suite: str
    metric: str
    trials: int
    seeds: list[int]
    datasets: dict[str, dict[str, Chosen]]
    """By dataset and row."""


def points(
    space: Mapping[str, Tried], rates: Sequence[float], trials: int, seed: int, name: str
) -> list[Point]:
    """Return the trials of a method: the untuned row, then a seeded Latin hypercube; `name` keys its own draws."""
    others = [rate for rate in rates if rate != 1]
    factors = [others[place] for place in stream(seed, "tuning rates").permutation(len(others))]
    columns = {key: _column(tried, trials - 1, seed, name, key) for key, tried in space.items()}
    drawn = [
        Point(factors[number], {key: column[number] for key, column in columns.items()})
        for number in range(trials - 1)
    ]
    return [Point(1.0, {}), *drawn]


def _column(tried: Tried, count: int, seed: int, name: str, key: str) -> list[Any]:
    """Draw `count` values of a parameter: permutations of all its values, one after the other."""
    size = len(tried.values)
    order = [
        int(place)
        for cycle in range(-(-count // size))
        for place in stream(seed, "tuning", name, key, step=cycle).permutation(size)
    ]
    return [tried.values[place] for place in order[:count]]


def rate_of(rate: float, factor: float) -> float:
    """Return a learning rate times a factor, to six significant digits."""
    return float(f"{rate * factor:.6g}")


def trial_name(row: str, number: int) -> str:
    """Return the name of a trial of a row; no row of a suite can have this name."""
    return f"{row}{TRIAL}{number}"


def read_tuned(path: Path) -> Tuned:
    """Read the file that `tune` wrote."""
    try:
        return Tuned.model_validate(read_json(path))
    except ValueError as error:
        raise UserError(f"{path}: not a file of `tune` ({error}); delete it and tune again") from None


def chosen_for(tuned: Tuned, path: Path, dataset: str, row: str, under: str) -> Chosen:
    """Return what was chosen for a row on a dataset. Raises `UserError` if it is missing or of other settings."""
    chosen = tuned.datasets.get(dataset, {}).get(row)
    if chosen is None:
        raise UserError(f"{path}: {row} on {dataset} is missing; run `snakemake --cores all tune` again")
    if chosen.under != under:
        raise UserError(
            f"{path}: {row} on {dataset} was tuned under other settings than the suite has now; run "
            "`snakemake --cores all tune` again, or delete the file"
        )
    return chosen


def footnote(chosen: Chosen, trials: int, seeds: int, metric: str) -> str:
    """Return a footnote that says what was chosen and from what."""
    values = {"learning rate": f"{chosen.learning_rate:g} ({chosen.factor:g} x the suite's)", **chosen.params}
    choice = ", ".join(f"{name} {value}" for name, value in values.items())
    part = "" if chosen.slice == "all" else f"{chosen.slice} "
    head = (
        f"tuned: {choice}" if chosen.trial else f"tuned: the suite's own settings were not beaten ({choice})"
    )
    return f"{head}, the best of {trials} trials by {metric} on {chosen.queries} {part}dev queries, {seeds} seeds each"
