"""Stage generated_texts: what the texts made for a dataset are, by kind: how many answer after all, and how many pass.

In the table of a board. Beside them stand the first documents that BM25 and the encoder find for the same queries,
judged in the same way: what is mined answers now and then too.
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
import pyarrow.parquet as pq
from typer import Option

from negmark.core import stage
from negmark.core.files import write_text
from negmark.core.spreadsheet import csv
from negmark.store.auxiliary import RETRIEVED

COLUMNS = (
    "source", "kind", "texts", "queries", "answers", "equals_document", "equals_positive", "gap", "overlap", "passes",
    "judge",
)  # fmt: skip
"""By source and kind: how many texts there are and for how many queries; the share that the judge scores at least as
high as the positive; that are a document of the corpus, and a positive of the query; the median of the positive's score
less the text's; the mean share of words that both have; the share that may be negatives; and who judges."""


def shares(tables: dict[str, Path], judge: str) -> pd.DataFrame:
    """Return a row for each kind of text in the judged tables, which are given by their source (`COLUMNS`)."""
    rows = []
    for source, path in tables.items():
        columns = ["query", "kind", "score", "positive_score", "overlap", "equals", "answers", "passes"]
        frame = pq.read_table(path, columns=columns).to_pandas()
        for kind, part in frame.groupby("kind", sort=False):
            found = source == RETRIEVED
            rows.append({
                "source": source,
                "kind": kind,
                "texts": len(part),
                "queries": part["query"].nunique(),
                "answers": (part["score"] >= part["positive_score"]).mean(),
                "equals_document": 1.0 if found else (part["equals"] >= 0).mean(),
                "equals_positive": part["answers"].mean(),
                "gap": (part["positive_score"] - part["score"]).median(),
                "overlap": part["overlap"].mean(),
                "passes": float("nan") if found else part["passes"].mean(),
                "judge": judge,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def main(
    table: Annotated[list[str], Option(help="a judged table as source=file; may be repeated")],
    judge: Annotated[str, Option(help="who judged, in a few words")],
    output: Annotated[Path, Option(help="the CSV file to write")],
) -> None:
    """Count what texts made as negatives are, by kind."""
    files = {source: Path(file) for source, file in (entry.split("=", 1) for entry in table)}
    write_text(output, csv(shares(files, judge), "%.6g"))


if __name__ == "__main__":
    stage.command(main)
