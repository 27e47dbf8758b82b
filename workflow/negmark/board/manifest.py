"""Stage manifest: everything a board was made from, so that it can be rebuilt elsewhere and compared.

Beside the board, manifest.json has

- `suite`: the whole config with every default written out, including the precision that `auto` resolved to;
- `encoders`: SHA-256 of the weights, config and tokenizer of each model that a row starts from or queries;
- `datasets`: SHA-256 of each collection's content, and of what determined its vectors;
- `rows`: for each row the SHA-256 of the source files behind it, and the indices in
- `environments` of where its runs were trained: packages, Python, commit, hardware. For baselines, that of this stage;
- `tolerances`: how far a mean of each metric may be from this board's and still count as reproduced;
- `table`: SHA-256 of leaderboard.csv, which shows if someone changed it afterwards.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from typer import Option

from negmark.core import stage
from negmark.core.files import canonical, read_json, sha256_file, write_json
from negmark.core.formats import BOARD
from negmark.core.metrics import is_fraction
from negmark.core.names import SLICES
from negmark.core.provenance import environment, sources_sha256
from negmark.core.spreadsheet import read_table
from negmark.encode.model_files import CONFIG, TOKENIZER, WEIGHTS, transformer_folder, weights_sha256
from negmark.encode.pretrained import find_model
from negmark.store.failures import OK
from negmark.suite.checks import load
from negmark.suite.layout import Layout
from negmark.suite.row_code import row_sources
from negmark.suite.rows import Row

ENVIRONMENT = ("packages", "python", "code", "hardware")
TABLE = "leaderboard.csv"


def describe(layout: Layout, table: Path) -> dict[str, Any]:
    """Return the manifest of the board whose leaderboard.csv is `table`, from the files of its stages."""
    facts = {
        owner: {name: read_json(Path(path)) for name, path in paths.items()}
        for owner, paths in layout.vector_facts().items()
    }
    environments = Distinct()
    return {
        "format": BOARD,
        "suite": _with_precision(layout.suite.resolved(), facts),
        "encoders": {owner: _weights(model) for owner, model in _models(layout, facts).items()},
        "datasets": {name: _dataset(layout, name, facts) for name in layout.datasets},
        "rows": {
            f"{name}/{row}": _row(layout, name, row, environments)
            for name, row in _rows(table)
            if name in layout.datasets
        },
        "environments": environments.values,
        "tolerances": tolerances(table, layout.suite.tolerance),
        "table": sha256_file(table),
    }


def tolerances(table: Path, fraction: float) -> dict[str, float]:
    """Return the tolerance of each metric of a table: for correlations x 100, a hundred times that of fractions."""
    names = dict.fromkeys(metric for metric, _ in means(read_table(table).columns))
    return {metric: fraction if is_fraction(metric) else 100 * fraction for metric in names}


def means(columns: "pd.Index[str]") -> list[tuple[str, str]]:
    """Return metric and slice of each column METRIC/SLICE/mean."""
    parts = [name.rsplit("/", 2) for name in columns]
    return [
        (part[0], part[1]) for part in parts if len(part) == 3 and part[1] in SLICES and part[2] == "mean"
    ]


class Distinct:
    """Values without duplicates, each with an index."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        """Return the index of a value; a new one is appended."""
        place = self._places.setdefault(canonical(value), len(self.values))
        if place == len(self.values):
            self.values.append(value)
        return place


def main(
    suite: Annotated[str, Option(help="the whole config of the suite, as JSON")],
    table: Annotated[Path, Option(help="the board's leaderboard.csv")],
    output: Annotated[Path, Option(help="where the manifest goes")],
) -> None:
    """Write the manifest of a board."""
    write_json(output, describe(Layout(load(json.loads(suite), "suite")), table))


def _with_precision(suite: dict[str, Any], facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write out which precision `auto` resolved to on the machine that encoded."""
    for owner, datasets in facts.items():
        used = {fact["dtype"] for fact in datasets.values()}
        if suite[owner] and len(used) == 1:
            suite[owner]["dtype"] = used.pop()
    return suite


def _models(layout: Layout, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the models that a row starts from or queries, by their part."""
    models = {owner: getattr(layout.suite, owner).model for owner in facts}
    ranked = any(row.tier.scores_pairs for row in layout.suite.rows.values())
    if layout.suite.rerank.model and ranked:
        models["cross_encoder"] = layout.suite.rerank.model
    return models


def _weights(model: str) -> dict[str, str]:
    folder = find_model(model)
    files = {name: sha256_file(transformer_folder(folder) / name) for name in (CONFIG, TOKENIZER)}
    return {"model": model, WEIGHTS: weights_sha256(folder), **files}


def _dataset(layout: Layout, name: str, facts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    vectors = {f"{owner}_vectors": part[name]["key"] for owner, part in facts.items() if name in part}
    return {"sha256": read_json(Path(layout.paths.card(layout.datasets[name])))["sha256"], **vectors}


def _rows(table: Path) -> list[tuple[str, str]]:
    """Return dataset and row of each row that has a result."""
    frame = read_table(table)
    frame = frame[frame["status"] == OK]
    return sorted(zip(frame["dataset"], frame["row"], strict=True))


def _row(layout: Layout, dataset_name: str, row_name: str, environments: Distinct) -> dict[str, Any]:
    dataset, row = layout.datasets[dataset_name], layout.rows.get(row_name, row_name)
    if isinstance(row, Row):
        models = layout.paths.models(dataset, row, layout.suite.seeds)
        runs = [read_json(Path(model).with_name("manifest.json")) for model in models]
    else:
        runs = [environment()]
    places = {environments.place({key: one[key] for key in ENVIRONMENT}) for one in runs}
    return {
        "code": sources_sha256(row_sources(dataset, layout.datasets[dataset.home], row)),
        "environments": sorted(places),
    }


if __name__ == "__main__":
    stage.command(main)
