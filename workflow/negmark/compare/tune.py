"""Stage tune: what the trials of every row decide, and how sure that is.

The best trial is chosen by its mean alone (`negmark.evaluate.choice`). Whether it is within noise of the row as it is
is said by the same inference as on a board: an interval of the difference over other seeds and other dev queries. The
interval is that of one comparison, and the best of many is flattered by the choice: what it leaves in doubt is in
doubt, what it doesn't is decided by the test queries and the board's own seeds.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from typer import Option

from negmark.compare.inference import compare
from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import canonical, read_json, write_json, write_text
from negmark.core.spreadsheet import csv
from negmark.evaluate.choice import (
    DEFAULT,
    Setting,
    best_setting,
    is_at_edge,
    mean_of,
    of_setting,
    settings_of,
)
from negmark.store.query_scores import Runs
from negmark.store.trials import Trial, Trials, read_trials
from negmark.suite.tuning import Chosen, Tuned, footnote, rate_of


def choice(found: Trials, grid: list[float], rate: float, row: str, under: str) -> Chosen:
    """Return what the trials of a row decide; `rate` is its own learning rate, `grid` the factors all rows tried."""
    trials, best = found.trials, best_setting(found.trials, row)
    settings, mine = settings_of(trials), of_setting(trials, best)
    bounds = _bounds(trials, best)
    return Chosen(
        factor=best.factor,
        learning_rate=rate_of(rate, best.factor),
        params=best.params,
        dev=mean_of(trials, best),
        default=_finite(mean_of(trials, DEFAULT)),
        low=bounds[0],
        high=bounds[1],
        within_noise=None not in bounds and bounds[0] <= 0 <= bounds[1],  # type: ignore[operator]
        at_edge=is_at_edge(grid, best.factor),
        trials=len(settings),
        failed=sum(_finite(mean_of(trials, setting)) is None for setting in settings),
        seeds=len(mine),
        slice=found.slice,
        queries=len(mine[0].values),
        under=under,
    )


def _bounds(trials: list[Trial], best: Setting) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a setting minus the row as it is; None where there is nothing to compare."""
    if best == DEFAULT or _finite(mean_of(trials, DEFAULT)) is None:
        return None, None
    difference = compare(_runs(trials, best), _runs(trials, DEFAULT))
    return _finite(difference.low), _finite(difference.high)


def _runs(trials: list[Trial], setting: Setting) -> Runs:
    return {trial.seed: np.array(trial.values) for trial in of_setting(trials, setting)}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def trials_table(found: Trials, rate: float, place: Mapping[str, str], metric: str) -> pd.DataFrame:
    """Return a line for each trial and seed: the settings tried and the metric on the deciding dev queries."""
    return pd.DataFrame([
        {
            **place,
            "factor": trial.factor,
            "learning_rate": rate_of(rate, trial.factor),
            "params": canonical(trial.params),
            "seed": trial.seed,
            "slice": found.slice,
            "queries": len(trial.values),
            metric: float(np.mean(trial.values)) if trial.values else None,
            "vectors": trial.vectors,
            "searches": trial.searches,
            "failure": trial.failure,
        }
        for trial in found.trials
    ])  # fmt: skip


def main(
    task: Annotated[str, Option(help="rows and datasets with the files of their trials, as JSON")],
    output: Annotated[Path, Option(help="tuned.json to write; the table of all trials is written beside it")],
) -> None:
    """Choose the best settings of each row on the dev split."""
    plan: dict[str, Any] = json.loads(task)
    if not any(plan["trials"].values()):
        raise UserError(
            f"{plan['suite']}: nothing to tune; name rows of the tiers adapter, static or finetune, and datasets that "
            "are trained on and searched"
        )
    metric, parts = plan["metric"], []
    tuned = Tuned(suite=plan["suite"], metric=metric, seeds=plan["seeds"], rates={}, datasets={})
    for dataset, rows in plan["trials"].items():
        grid = tuned.rates[dataset] = read_json(Path(plan["grids"][dataset]))["rates"]
        chosen = tuned.datasets[dataset] = {}
        for row, file in rows.items():
            found, rate = read_trials(Path(file)), plan["rates"][row]
            chosen[row] = choice(found, grid, rate, row, plan["under"][dataset][row])
            parts.append(trials_table(found, rate, {"dataset": dataset, "row": row}, metric))
            stage.say(f"{dataset}: {row}: {footnote(chosen[row], metric)}")
    write_text(output.with_name("trials.csv"), csv(pd.concat(parts, ignore_index=True)))
    write_json(output, tuned.model_dump(mode="json"))


if __name__ == "__main__":
    stage.command(main)
