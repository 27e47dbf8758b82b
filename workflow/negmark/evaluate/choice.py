"""What trials decide: the best rate, whether the grid of rates grows, and the best value at the best rate.

A setting is judged by the mean of the deciding dev queries over all its seeds, and is worst if a seed has none. Ties go
to the row as it is, then to the first.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from negmark.core.errors import UserError
from negmark.core.files import canonical
from negmark.store.trials import Trial

TIE = 1e-9  # means of equal values may differ by rounding
GROWTH = 2
"""Factors that are added where a best rate lies at the edge of the grid."""


class Setting(NamedTuple):
    """What is tried: a factor of the learning rate, and parameters that are not the row's own."""

    factor: float
    params: dict[str, Any]


DEFAULT = Setting(1.0, {})


def setting_of(trial: Trial) -> Setting:
    """Return the setting of a trial."""
    return Setting(trial.factor, trial.params)


def of_setting(trials: Iterable[Trial], setting: Setting) -> list[Trial]:
    """Return the trials of a setting, one a seed."""
    return [trial for trial in trials if setting_of(trial) == setting]


def settings_of(trials: Iterable[Trial]) -> list[Setting]:
    """Return the settings that were tried, once each, in order."""
    return list({canonical(setting_of(trial)): setting_of(trial) for trial in trials}.values())


def mean_of(trials: Iterable[Trial], setting: Setting) -> float:
    """Return the mean over the seeds of a setting; -inf if one of them failed."""
    mine = of_setting(trials, setting)
    return float(np.mean([trial.values for trial in mine])) if all(t.values for t in mine) else -math.inf


def best_rate(trials: Sequence[Trial], row: str) -> float:
    """Return the best factor of the learning rate at the row's own parameters. Raises `UserError` if all failed."""
    return _best(trials, [one for one in settings_of(trials) if not one.params], row).factor


def best_setting(trials: Sequence[Trial], row: str) -> Setting:
    """Return the best value of the parameter at the best rate, as a setting."""
    rate = best_rate(trials, row)
    return _best(trials, [one for one in settings_of(trials) if one.factor == rate], row)


def _best(trials: Sequence[Trial], settings: list[Setting], row: str) -> Setting:
    means = [mean_of(trials, setting) for setting in settings]
    highest = max(means)
    if highest == -math.inf:
        failure = next(trial.failure for trial in trials if trial.failure)
        raise UserError(
            f"{row}: every trial of its tuning failed, the first one so: {failure}; change its settings, or name the "
            "other rows in `tuning: {methods: [...]}`"
        )
    tied = [one for one, mean in zip(settings, means, strict=True) if mean >= highest - TIE]
    return min(tied, key=lambda one: (bool(one.params), one.factor != DEFAULT.factor))


def is_at_edge(rates: Iterable[float], rate: float) -> bool:
    """Return whether a rate is the lowest or the highest of those tried."""
    tried = sorted(rates)
    return rate in (tried[0], tried[-1])


def grown(rates: Iterable[float], best: Iterable[float]) -> list[float]:
    """Return the grid of rates, ascending, grown at each edge where a row's best rate lies.

    It grows by `GROWTH` factors of the ratio that the grid has at that edge, to six significant digits.
    """
    grid, wanted = sorted(rates), set(best)
    below = _beyond(grid[1], grid[0]) if grid[0] in wanted else []
    above = _beyond(grid[-2], grid[-1]) if grid[-1] in wanted else []
    return [*reversed(below), *grid, *above]


def _beyond(inner: float, edge: float) -> list[float]:
    """Return the factors beyond an edge, going away from it."""
    ratio = edge / inner
    return [float(f"{edge * ratio**place:.6g}") for place in range(1, GROWTH + 1)]
