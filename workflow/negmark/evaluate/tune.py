"""Stage tune: choose the trial of each row that is best on the dev split.

A trial is scored by the metric that ranks the board, after its last step, as the mean over its seeds on the dev
queries closest to those that rank the board: the unseen ones where there are any, else all. The test split is not
read. A trial replaces the row's own settings only if it is better.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from typer import Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import canonical, write_json, write_text
from negmark.core.run_folders import run_folder
from negmark.core.spreadsheet import csv
from negmark.store.curve import read_curve
from negmark.suite.tuning import Chosen, Point, Tuned, rate_of, trial_name

TIE = 1e-9  # means of equal values may differ by rounding


def trials_table(plan: dict[str, Any]) -> pd.DataFrame:
    """Return one row per (dataset, row, trial, seed): the settings tried and the metric on the deciding dev queries."""
    metric, rows = plan["metric"], []
    columns = ("slice", "queries", metric, "vectors", "searches", "wall_seconds")
    for dataset in plan["under"]:
        for row, points in plan["points"].items():
            for number, (factor, params) in enumerate(points):
                if [dataset, trial_name(row, number)] in plan["failed"]:
                    continue
                folder = Path("results/runs", plan["suite"], dataset, trial_name(row, number))
                about = {"dataset": dataset, "row": row, "trial": number, "factor": factor}
                about |= {"learning_rate": rate_of(plan["rates"][row], factor), "params": canonical(params)}
                for seed in plan["seeds"]:
                    last = read_curve(folder / run_folder(seed) / "dev.parquet", metric).iloc[-1]
                    rows.append({**about, "seed": seed, **{name: last[name] for name in columns}})
    return pd.DataFrame(rows)


def choose(plan: dict[str, Any], table: pd.DataFrame) -> Tuned:
    """Return the best trial of each row and dataset, the first of ties; trial 0 is the row's own settings."""
    datasets: dict[str, dict[str, Chosen]] = {}
    for (dataset, row), part in table.groupby(["dataset", "row"], sort=False):
        means = part.groupby("trial")[plan["metric"]].mean()
        best = int(means[means >= means.max() - TIE].index.min())
        point = Point(*plan["points"][row][best])
        datasets.setdefault(str(dataset), {})[str(row)] = Chosen(
            trial=best,
            factor=point.factor,
            learning_rate=rate_of(plan["rates"][row], point.factor),
            params=point.params,
            dev=float(means[best]),
            default=float(means[0]),
            slice=part["slice"].iloc[0],
            queries=int(part["queries"].iloc[0]),
            under=plan["under"][dataset][row],
        )
    return Tuned(
        suite=plan["suite"],
        metric=plan["metric"],
        trials=len(next(iter(plan["points"].values()))),
        seeds=plan["seeds"],
        datasets=datasets,
    )


def main(
    task: Annotated[str, Option(help="rows, trials and seeds, as JSON")],
    output: Annotated[Path, Option(help="tuned.json to write; the table of all trials is written beside it")],
) -> None:
    """Choose the best trial of each row on the dev split."""
    plan = json.loads(task)
    if not (plan["under"] and plan["points"]):
        raise UserError(
            f"{plan['suite']}: nothing to tune; name rows of the tiers adapter or finetune, and datasets that are "
            "trained on and searched"
        )
    table = trials_table(plan)
    tuned = choose(plan, table)
    write_text(output.with_name("trials.csv"), csv(table))
    write_json(output, tuned.model_dump(mode="json"))
    for dataset, rows in tuned.datasets.items():
        for row, chosen in rows.items():
            values = {"learning rate": f"{chosen.learning_rate:g}", **chosen.params}
            settings = ", ".join(f"{name} {value}" for name, value in values.items())
            stage.say(
                f"{dataset}: {row}: dev {tuned.metric} {chosen.dev:.4f} (untuned {chosen.default:.4f}) with {settings}"
            )


if __name__ == "__main__":
    stage.command(main)
