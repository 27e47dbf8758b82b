"""Stage trained_gate: what the runs of a row reach, as the mean over seeds, in the form of a gate's own metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, write_json

QUERIES = "queries"


def mean_of(slices: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over runs, and the number of their queries, which must be the same."""
    counts = {values[QUERIES] for values in slices}
    if len(counts) > 1:
        raise UserError(
            f"runs of a gate were evaluated on {' and '.join(map(str, sorted(counts)))} queries; evaluate them again"
        )
    metrics = [name for name in slices[0] if name != QUERIES]
    means = {name: sum(values[name] for values in slices) / len(slices) for name in metrics}
    return {QUERIES: counts.pop(), **means}


def main(
    metrics: Annotated[list[Path], Argument(help="metrics.json of the row's runs, one a seed")],
    output: Annotated[Path, Option(help="the metrics.json to write")],
) -> None:
    """Write the means over the seeds of a row."""
    runs: list[dict[str, Any]] = [read_json(path) for path in metrics]
    slices = {"all": mean_of([run["slices"]["all"] for run in runs])}
    write_json(output, {"row": runs[0]["row"], "seeds": [run["seed"] for run in runs], "slices": slices})


if __name__ == "__main__":
    stage.command(main)
