"""Stage verdicts_pool: what a user's file says of pairs, matched with the collection, as a pool.

A query or document is the one under the id, else the one of the text (case and white space aside). Verdicts on queries
that aren't trained on are left out and counted, as are those on labelled positives; a document that is none of the
collection is refused. Of several verdicts on a pair the last counts, so that a second judge may be appended. A query's
candidates are the documents judged, the best verdict first, and the verdict is the score (`methods.relabelling`).
"""

import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from safetensors.numpy import save_file
from typer import Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import replacing
from negmark.data.given import Documents, Queries, pool_of
from negmark.data.given_files import GivenLine, GivenText
from negmark.data.records import LONGEST_SHOWN
from negmark.data.verdict_files import Verdict, read_verdicts
from negmark.methods.relabelling import BETTER, IRRELEVANT, WORSE
from negmark.store import collection

WORDS = {BETTER: "relevant", WORSE: "relevant but worse", IRRELEVANT: "irrelevant"}


def judged(file: Path, dataset: Path) -> tuple[pd.DataFrame, int]:
    """Return the verdicts of a file on training queries, in its order, and how many it has on others.

    Columns: query, document, score (the verdict), judge. Raises `UserError` if a document is none of the collection.
    """
    lines = list(read_verdicts(file))
    trained = np.unique(collection.qrels(dataset, "train").positives().queries)
    queries = Queries(dataset, trained)
    ours = [(line, rows) for line in lines if (rows := _rows(line, queries))]
    if not ours:
        raise UserError(
            f"{file}: none of its {len(lines):,} verdicts is on a training query of {dataset.name}, by id or by text; "
            "name a file for this dataset"
        )
    documents = Documents(dataset, (_by_text(line) for line, _ in ours))
    found = [(line, rows, _document(line, documents)) for line, rows in ours]
    if unknown := [line for line, _, document in found if document is None]:
        first = unknown[0]
        raise UserError(
            f"{first.place}: a verdict on no document of {dataset.name}: {first.document[:LONGEST_SHOWN]!r}; "
            f"{len(unknown):,} of the file's are; take them out, or name documents of this collection by id or text"
        )
    table = pd.DataFrame(
        [
            (query, document, float(line.verdict), line.judge)
            for line, rows, document in found
            for query in rows
        ],
        columns=["query", "document", "score", "judge"],
    ).astype({"query": np.int32, "document": np.int32, "score": np.float32})
    return table, len(lines) - len(ours)


def _rows(line: Verdict, queries: Queries) -> list[int]:
    by_id = queries.rows(GivenLine(line.place, line.query, None, []))
    return by_id or queries.rows(GivenLine(line.place, None, line.query, []))


def _by_text(line: Verdict) -> GivenText:
    return GivenText(None, (line.document,), None)


def _document(line: Verdict, documents: Documents) -> int | None:
    named = documents.row(GivenText(line.document, (), None))
    return documents.row(_by_text(line)) if named is None else named


def main(
    file: Annotated[Path, Option(help="the file of verdicts")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    output: Annotated[Path, Option(help="the pool's safetensors file")],
) -> None:
    """Make the pool of a file of verdicts."""
    started = time.perf_counter()
    table, foreign = judged(file, dataset)
    newest = table.drop_duplicates(["query", "document"], keep="last")
    pool, labelled = pool_of(newest, dataset)
    with replacing(output) as partial:
        save_file(pool, partial)
    pairs, asked = (int((part >= 0).sum()) for part in (pool["ids"], pool["ids"][:, 0]))
    stage.say(
        f"verdicts on {dataset.name}: {pairs:,} pairs of {asked:,} of {len(pool['ids']):,} training queries, "
        f"{time.perf_counter() - started:.1f} s"
    )
    for judge, count in Counter(newest["judge"]).most_common():
        mine = Counter(newest.loc[newest["judge"] == judge, "score"].astype(int))
        told = ", ".join(f"{mine[code]:,} {word}" for code, word in WORDS.items())
        stage.say(f"{file}: {count:,} verdicts by {judge}: {told}")
    if len(table) > len(newest):
        stage.say(
            f"{file}: {len(table) - len(newest):,} verdicts are overruled by a later one on the same pair"
        )
    if labelled:
        stage.say(
            f"{file}: {labelled:,} verdicts are on a labelled positive, a copy of one or the query itself"
        )
    if foreign:
        stage.say(f"{file}: {foreign:,} verdicts are on no training query of {dataset.name}")


if __name__ == "__main__":
    stage.command(main)
