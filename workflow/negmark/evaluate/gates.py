"""Stage gates: do our baselines reproduce published values, and trained rows? If not, no board is built.

A gate evaluates the suite's BM25 or untrained encoder, or a cross-encoder, as the published value was obtained, as far
as that is known, and compares the two; that of a trained row takes the mean over its seeds. Known differences (such as
another analyser) are noted in the gate next to its tolerance.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from tabulate import tabulate
from typer import Argument, Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, write_text
from negmark.core.notation import plain
from negmark.core.spreadsheet import csv

HOW = {
    "source": "published by", "tokenizer": "words or tokens by", "k1": "k1", "b": "b", "fields": "fields:",
    "length": "tokens read:", "self_ids": "documents under the query's id:", "note": "note:",
}  # fmt: skip
"""The settings behind a published value, and their names on the page."""
DIGITS = 9
"""Differences are rounded to this many, so that one equal to the tolerance passes."""
SHOWN = ("gate", "dataset", "system", "metric", "expected", "found", "difference", "tolerance", "holds")


def judge(gates: dict[str, dict[str, Any]], means: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return one row per gate: the published value, ours, and whether they differ by at most the tolerance.

    `gates` are their settings by name, `means` the slice `all` of each one's metrics.json. A published mean counts
    queries that our dataset lacks (none of their labelled documents is in the corpus) as 0, so our sum is divided by
    the gate's `queries`. Raises `UserError` where we judged more queries than were published.
    """
    return pd.DataFrame([_row(name, gate, means[name]) for name, gate in gates.items()])


def table(judged: pd.DataFrame) -> str:
    """Return the table for the terminal: values to five digits, failing gates marked."""
    numbers = {name: judged[name].map("{:.5f}".format) for name in ("expected", "found", "tolerance")}
    formatted = judged.assign(
        **numbers,
        difference=judged["difference"].map("{:+.5f}".format),
        holds=judged["holds"].map({True: "yes", False: "NO"}),
    )
    return tabulate(
        formatted[list(SHOWN)], headers="keys", tablefmt="simple", showindex=False, disable_numparse=True
    )


def markdown(judged: pd.DataFrame) -> str:
    """Return the page: the table, and how the value of each gate was published."""
    head = "# Gates\n\nA board is built only where our baselines reproduce published values within the tolerance."
    lines = [
        f"- {plain(row['gate'])}: "
        + plain(
            "; ".join(
                f"{label} {_text(row[key])}"
                for key, label in HOW.items()
                if pd.notna(row[key]) and row[key] != ""
            )
        )
        for row in judged.to_dict("records")
    ]
    return (
        f"{head}\n\n```text\n{table(judged)}\n```\n\nHow each value was published:\n\n"
        + "\n".join(lines)
        + "\n"
    )


def main(
    gates: Annotated[str, Option(help="the suite's gates, as JSON")],
    folder: Annotated[Path, Option(help="folder for gates.csv and gates.md")],
    metrics: Annotated[
        list[Path] | None, Argument(help="metrics.json of each gate, in a folder of its name")
    ] = None,
) -> None:
    """Compare our baselines with published values; print the table and fail where one differs."""
    settings: dict[str, dict[str, Any]] = json.loads(gates)
    if not settings:
        raise UserError("gates: the suite names none; see config/gates.yaml for examples")
    means = {path.parent.name: read_json(path)["slices"]["all"] for path in metrics or []}
    judged = judge(settings, means)
    print(f"\n{table(judged)}\n", file=sys.stderr, flush=True)
    if failing := judged.loc[~judged["holds"], "gate"].tolist():
        raise UserError(
            f"gates: {len(failing)} of {len(judged)} fail ({', '.join(failing)}): a baseline differs from its "
            "published value, so no board is built; fix the difference, or explain it in the suite with a tolerance"
        )
    write_text(folder / "gates.csv", csv(judged))
    write_text(folder / "gates.md", markdown(judged))
    stage.say(f"gates: all {len(judged)} hold")


def _text(value: Any) -> str:
    """Return a cell's text, whole numbers without decimals: a column with gaps holds them as floats."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _row(name: str, gate: dict[str, Any], means: dict[str, Any]) -> dict[str, Any]:
    queries = gate["queries"] or means["queries"]
    if means["queries"] > queries:
        raise UserError(
            f"gates.{name}.queries: {queries:,} were published, but {means['queries']:,} were judged here"
        )
    value = means[gate["metric"]] * means["queries"] / queries
    difference = value - gate["expected"]
    return {
        "gate": name,
        "dataset": gate["dataset"],
        "system": f"row {gate['row']}" if gate.get("row") else gate["system"],
        "metric": gate["metric"],
        "expected": gate["expected"],
        "found": value,
        "difference": difference,
        "tolerance": gate["tolerance"],
        "holds": round(abs(difference), DIGITS) <= gate["tolerance"],
        "queries": queries,
        "queries_judged": means["queries"],
        **{key: gate[key] for key in HOW},
    }


if __name__ == "__main__":
    stage.command(main)
