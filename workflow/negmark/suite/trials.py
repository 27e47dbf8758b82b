"""Rows that are not in a suite's config: the trials of tuning, and the tuned rows chosen from them."""

from collections.abc import Collection
from pathlib import Path

from negmark.core.files import canonical
from negmark.suite.datasets import Dataset
from negmark.suite.rows import Row
from negmark.suite.specs import Specs
from negmark.suite.suite import Suite
from negmark.suite.tuning import TUNED, chosen_for, read_tuned, trial_name


def trials_of(suite: Suite) -> dict[str, Row]:
    """Return the trials of all rows that may be tuned, by name."""
    return {
        (name := trial_name(row.name, number)): row.copied(name, trial=point)
        for row in suite.tuned_rows()
        for number, point in enumerate(suite.points(row))
    }


def tuned_of(suite: Suite, specs: Specs, file: Path) -> dict[str, Row]:
    """Return the tuned rows by name, as a file that `tune` wrote has them; one made under other settings is refused."""
    tuned = read_tuned(file)
    rows = {}
    for row in suite.tuned_rows():
        chosen = {
            dataset.name: chosen_for(tuned, file, dataset.name, row.name, specs.tuned_under(dataset, row))
            for dataset in suite.with_dev
        }
        name = f"{row.name}{TUNED}"
        rows[name] = row.copied(name, chosen=chosen)
    return rows


def tuning_task(suite: Suite, specs: Specs, failed: Collection[tuple[str, str]]) -> str:
    """Return what the stage `tune` needs to know, as canonical JSON; `failed` are (dataset, trial) without a result."""
    rows = suite.tuned_rows()

    def under(dataset: Dataset) -> dict[str, str]:
        return {row.name: specs.tuned_under(dataset, row) for row in rows}

    return canonical(
        {
            "suite": suite.suite,
            "metric": suite.metrics[0],
            "seeds": suite.trial_seeds(),
            "rates": {row.name: row.budget.learning_rate for row in rows},
            "points": {row.name: suite.points(row) for row in rows},
            "under": {dataset.name: under(dataset) for dataset in suite.with_dev},
            "failed": sorted(failed),
        }
    )
