"""Do these two runs differ? `python -m negmark.compare.two_runs results/runs/.../seed-0 results/runs/.../seed-0`.

Compares two *runs* on the same queries by Fisher's randomisation over queries. It says nothing about their methods:
even two seeds of one method often "differ" by it. Boards compare methods over both seeds and queries
(`negmark.compare.differences`).
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
from tabulate import tabulate
from typer import Argument

from negmark.compare.inference import runs_differ
from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json
from negmark.core.names import METRICS_FILE, PER_QUERY
from negmark.core.notation import chance

LABEL = "Two runs, by randomisation over queries: this says nothing about methods; other seeds may differ as much."


def table(first: Path, second: Path) -> list[dict[str, Any]]:
    """Return one row per metric of both runs: both means, their difference and its p-value. Takes the runs' folders.

    Raises `UserError` where a file is missing or the runs were evaluated on different queries.
    """
    one, other = _read(first), _read(second)
    if one["query"] != other["query"]:
        raise UserError(
            f"{second}: was evaluated on other queries than {first}; give two runs of one dataset"
        )
    rows = []
    for metric in [name for name in one if name in other and name != "query"]:
        scores = [np.array(run[metric]) for run in (one, other)]
        means = [float(values.mean()) for values in scores]
        rows.append({
            "metric": metric, "first": means[0], "second": means[1], "difference": means[1] - means[0],
            "p": runs_differ(*scores),
        })  # fmt: skip
    return rows


def main(
    first: Annotated[
        Path, Argument(help="folder of a run, such as results/runs/quickstart/wordnet/simans/seed-0")
    ],
    second: Annotated[Path, Argument(help="folder of another run on the same dataset")],
) -> None:
    """Show whether two runs differ, by Fisher's randomisation over queries; this says nothing about methods."""
    rows = table(first, second)
    cells = [
        [
            row["metric"],
            f"{row['first']:.4f}",
            f"{row['second']:.4f}",
            f"{row['difference']:+.4f}",
            chance(row["p"]),
        ]
        for row in rows
    ]
    print(tabulate(cells, ["metric", "first", "second", "difference", "p"], disable_numparse=True))
    print(f"\n{LABEL}")


def _read(folder: Path) -> dict[str, list[Any]]:
    path = folder / PER_QUERY
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the folder of an evaluated run")
    try:
        metrics = read_json(folder / METRICS_FILE)["metrics"]
        scores: dict[str, list[Any]] = pq.read_table(path, columns=["query", *metrics]).to_pydict()
        return scores
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: can't be read ({error}); delete it and run again") from None


if __name__ == "__main__":
    stage.command(main)
