"""Stage rate_grid: the factors of the learning rate that all rows of a dataset try.

They are the suite's; where the best rate of any row lies at an edge of them, the grid grows there for all rows alike.
"""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from negmark.core import stage
from negmark.core.files import write_json
from negmark.evaluate.choice import best_rate, grown, is_at_edge
from negmark.store.trials import read_trials


def main(
    trials: Annotated[list[Path], Argument(help="rates.json of each row, as <row>/<file>")],
    output: Annotated[Path, Option(help="the JSON file to write")],
) -> None:
    """Grow the grid of rates where a row's best one lies at its edge."""
    tried = {path.parent.name: read_trials(path).trials for path in trials}
    rates = sorted({trial.factor for row in tried.values() for trial in row})
    best = {row: best_rate(found, row) for row, found in tried.items()}
    grid = grown(rates, best.values())
    write_json(output, {"rates": grid, "best": best})
    if new := [factor for factor in grid if factor not in rates]:
        rows = ", ".join(row for row, rate in best.items() if is_at_edge(rates, rate))
        stage.say(
            f"best at the edge of the grid: {rows}; all rows try {', '.join(f'{one:.3g}' for one in new)} too"
        )


if __name__ == "__main__":
    stage.command(main)
