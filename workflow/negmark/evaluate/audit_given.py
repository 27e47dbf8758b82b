"""Stage audit_given: what kind of negatives a user's files give, counted as for a run, but without training.

Hardness is by the encoder that every run starts from, whatever scores a file has: so files can be compared.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from typer import Argument, Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import write_text
from negmark.core.spreadsheet import csv
from negmark.evaluate.audit import WHOLE_RUN, audit, text_codes
from negmark.store import collection
from negmark.store.graph import read_graph
from negmark.store.left_out import read_left_out
from negmark.store.vectors import load as load_vectors

CHUNK = 65536
OF_RUNS = [
    "window",
    "first_step",
    "last_step",
    "turnover",
    "backfilled",
    "false_negative_weight",
    "places_empty",
]
OF_RUNS += ["queries_without", "in_batch_copies", "in_batch_own"]
"""Columns of the audit that only a run has."""


def audit_given(given: pd.DataFrame, dataset: Path, vectors: Path) -> pd.DataFrame:
    """Return one row: the columns of `audit.audit` that need no run, before them how many there are of what.

    `queries`, those trained on; `queries_given`, those of them that have any; `negatives`, and of these
    `repeated_rate`, the share that the query has already. Takes the columns query and document; the other shares are
    over all negatives, what a run would leave out among them.
    """
    labels, hidden = collection.qrels(dataset, "train"), collection.qrels(dataset, collection.HIDDEN)
    ledger = given.assign(step=0, weight=1.0, backfilled=False, score=_cosines(given, vectors))
    found = audit(
        ledger,
        labels,
        text_codes(dataset),
        1,
        hidden if len(hidden.queries) else None,
        read_graph(dataset),
        own=read_left_out(dataset).own,
    )
    row = found[found["window"] == WHOLE_RUN].drop(columns=OF_RUNS).reset_index(drop=True)
    row.insert(0, "queries_given", given["query"].nunique())
    row.insert(0, "queries", len(np.unique(labels.positives().queries)))
    row.insert(3, "repeated_rate", given.duplicated(["query", "document"]).mean())
    return row


def main(
    output: Annotated[Path, Option(help="the CSV file to write")],
    given: Annotated[list[str] | None, Argument(help="datasets, each name=table=dataset=vectors")] = None,
) -> None:
    """Audit the given negatives of all datasets that have some."""
    if not given:
        raise UserError(
            "datasets: none has given negatives; name a file, as `given: ./mine.jsonl` of a dataset"
        )
    parts = []
    for name, table, dataset, vectors in (entry.split("=") for entry in given):
        row = audit_given(pd.read_parquet(table, columns=["query", "document"]), Path(dataset), Path(vectors))
        row.insert(0, "dataset", name)
        parts.append(row)
    found = pd.concat(parts)
    write_text(output, csv(found, "%.6g"))
    shown = found.set_index("dataset").apply(
        lambda column: column.map(("{:,}" if column.dtype.kind in "iu" else "{:.4g}").format)
    )
    for line in shown.T.to_string().splitlines():
        stage.say(line)


def _cosines(given: pd.DataFrame, vectors: Path) -> NDArray[np.float32]:
    """Return the similarity of each pair by the encoder before training."""
    documents, queries = load_vectors(vectors)
    rows, found = given["query"].to_numpy(), given["document"].to_numpy()
    parts = [
        np.einsum("nd,nd->n", queries[rows[part]], documents[found[part]], dtype=np.float32)
        for part in (slice(start, start + CHUNK) for start in range(0, len(rows), CHUNK))
    ]
    return np.concatenate([*parts, np.empty(0, np.float32)])


if __name__ == "__main__":
    stage.command(main)
