"""Stage gates: are the baselines what others have published? A board that fails here is not built.

A gate evaluates BM25 or the untrained encoder of the suite as the published value was made, as far as that is known,
and holds it against that value. What differs (an analyser, say) stands in the gate beside its tolerance.
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
"""What a gate says of how its value was published, and how the page calls it."""
DIGITS = 9
"""Differences are compared to so many, so that one that equals the tolerance holds."""
SHOWN = ("gate", "dataset", "system", "metric", "expected", "found", "difference", "tolerance", "holds")


def judge(gates: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return a row a gate: the published value, ours, and whether they are at most the tolerance apart.

    `gates` are their settings by name, `found` the slice `all` of each one's metrics.json. A published mean counts
    queries that our dataset lacks (no labelled document of theirs is in the corpus) as 0, so the gate's `queries`
    divide our sum. Raises `UserError` where ours has more queries than the published value.
    """
    return pd.DataFrame([_row(name, gate, found[name]) for name, gate in gates.items()])


def table(judged: pd.DataFrame) -> str:
    """Return the table that the terminal shows: values to five digits, the failing gates marked."""
    numbers = {name: judged[name].map("{:.5f}".format) for name in ("expected", "found", "tolerance")}
    told = judged.assign(
        **numbers,
        difference=judged["difference"].map("{:+.5f}".format),
        holds=judged["holds"].map({True: "yes", False: "NO"}),
    )
    return tabulate(
        told[list(SHOWN)], headers="keys", tablefmt="simple", showindex=False, disable_numparse=True
    )


def markdown(judged: pd.DataFrame) -> str:
    """Return the page: the table, and of each gate how its value was published."""
    head = "# Gates\n\nA board is built only where our baselines reproduce published values within the tolerance."
    lines = [
        f"- {plain(row['gate'])}: "
        + plain(
            "; ".join(
                f"{said} {_shown(row[key])}"
                for key, said in HOW.items()
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
    folder: Annotated[Path, Option(help="where gates.csv and gates.md go")],
    metrics: Annotated[
        list[Path] | None, Argument(help="metrics.json of each gate, in a folder of its name")
    ] = None,
) -> None:
    """Hold our baselines against published values; fail with the table where one differs."""
    asked: dict[str, dict[str, Any]] = json.loads(gates)
    if not asked:
        raise UserError("gates: the suite names none; see config/gates.yaml for some")
    found = {path.parent.name: read_json(path)["slices"]["all"] for path in metrics or []}
    judged = judge(asked, found)
    print(f"\n{table(judged)}\n", file=sys.stderr, flush=True)
    if failing := judged.loc[~judged["holds"], "gate"].tolist():
        raise UserError(
            f"gates: {len(failing)} of {len(judged)} fail ({', '.join(failing)}): a baseline isn't what was "
            "published, so no board is built; fix what differs, or say in the suite why it may"
        )
    write_text(folder / "gates.csv", csv(judged))
    write_text(folder / "gates.md", markdown(judged))
    stage.say(f"gates: all {len(judged)} hold")


def _shown(value: Any) -> str:
    """Return a cell's text; a table of whole numbers with gaps holds them as fractions."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _row(name: str, gate: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    queries = gate["queries"] or found["queries"]
    if found["queries"] > queries:
        raise UserError(
            f"gates.{name}.queries: {queries:,} are published, but {found['queries']:,} were judged here"
        )
    value = found[gate["metric"]] * found["queries"] / queries
    difference = value - gate["expected"]
    return {
        "gate": name,
        "dataset": gate["dataset"],
        "system": gate["system"],
        "metric": gate["metric"],
        "expected": gate["expected"],
        "found": value,
        "difference": difference,
        "tolerance": gate["tolerance"],
        "holds": round(abs(difference), DIGITS) <= gate["tolerance"],
        "queries": queries,
        "queries_judged": found["queries"],
        **{key: gate[key] for key in HOW},
    }


if __name__ == "__main__":
    stage.command(main)
