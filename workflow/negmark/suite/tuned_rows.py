"""The rows of a board where rows are tuned, and what the stages of tuning are asked."""

from collections.abc import Callable
from pathlib import Path

from negmark.core.errors import UserError
from negmark.core.files import canonical
from negmark.suite.datasets import Dataset
from negmark.suite.paths import Paths
from negmark.suite.rows import Row
from negmark.suite.specs import Specs
from negmark.suite.suite import Suite
from negmark.suite.tuning import TUNED, chosen_for, read_tuned


def board_rows(suite: Suite, specs: Specs, file: Path) -> dict[str, Row]:
    """Return the rows of a board by name, tuned as `file` has them if the suite wants that and the file is there.

    With `tuned: true` tuned copies stand behind the suite's own rows; with `tuned: alone` they are in their place. On
    such a board a row that could be tuned and isn't has no rank. A file made under other settings is refused.
    """
    if not suite.tuned or not file.is_file():
        return suite.rows
    tuned, chosen = read_tuned(file), {}
    if both := {*tuned.seeds} & {*suite.seeds}:
        raise UserError(
            f"{file}: seed {min(both)} is one of the suite's, by which a choice would flatter itself; use other seeds, "
            "or delete the file, and the same command tunes anew"
        )
    for row in suite.tuned_rows():
        chosen[row.name] = {
            dataset.name: chosen_for(tuned, file, dataset.name, row.name, specs.tuned_under(dataset, row))
            for dataset in suite.with_dev
        }
    alone = suite.tuned == "alone"
    own = {
        name: row.changed(chosen=chosen[name])
        if alone and name in chosen
        else row.changed(untuned=not row.tier.scores_pairs)
        for name, row in suite.rows.items()
    }
    if alone:
        return own
    copies = {f"{name}{TUNED}": suite.rows[name].changed(chosen=found) for name, found in chosen.items()}
    return own | {name: row.changed(name=name, copy_of=row.name) for name, row in copies.items()}


def rate_task(suite: Suite, specs: Specs, dataset: Dataset, row: Row) -> str:
    """Return what the first stage of a row's tuning tries, as canonical JSON: every rate."""
    return canonical({**_task(suite, specs, dataset, row), "rates": suite.tuning.rates})


def value_task(suite: Suite, specs: Specs, dataset: Dataset, row: Row) -> str:
    """Return what the second stage tries, as canonical JSON: every value at the best rate."""
    return canonical({**_task(suite, specs, dataset, row), "values": row.values()})


def _task(suite: Suite, specs: Specs, dataset: Dataset, row: Row) -> dict[str, object]:
    return {"spec": specs.trials(dataset, row), "seeds": suite.trial_seeds()}


def tuning_task(suite: Suite, specs: Specs, paths: Paths) -> str:
    """Return what the stage `tune` needs to know, as canonical JSON."""
    rows, datasets = suite.tuned_rows(), suite.with_dev

    def by_place(value: Callable[[Dataset, Row], str]) -> dict[str, dict[str, str]]:
        return {dataset.name: {row.name: value(dataset, row) for row in rows} for dataset in datasets}

    return canonical(
        {
            "suite": suite.suite,
            "metric": suite.metrics[0],
            "seeds": suite.trial_seeds(),
            "rates": {row.name: row.budget.learning_rate for row in rows},
            "grids": {dataset.name: paths.grid(dataset) for dataset in datasets},
            "under": by_place(specs.tuned_under),
            "trials": by_place(lambda dataset, row: paths.tried(dataset, row, "values")),
        }
    )
