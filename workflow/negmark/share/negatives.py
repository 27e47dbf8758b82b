"""Stage negatives: the negatives that a run trained on, as a file to train on elsewhere.

A run visits a query more than once, and many methods give it other negatives each time. The file has the distinct ones,
last seen first, at most as many a query as the run had at a time: what the method gave at the end, filled up from
earlier visits where that was less. Left out and counted are vectors, which no text stands for, texts that are in no
corpus, random documents in places that the method's own rule left empty, and what had no weight in the loss.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from typer import Argument, Option

from negmark import __version__
from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, replacing, write_json
from negmark.core.tiers import DEFAULT, TIERS
from negmark.share.trainer_files import WRITERS, Chosen
from negmark.store import collection
from negmark.store.collection import QUERIES
from negmark.store.filled import BACKFILLED
from negmark.store.ledger import POSITIVE, VECTOR, read_ledger
from negmark.store.passages import read_passages

LEDGER, MANIFEST = "negatives.parquet", "manifest.json"
OF_RUN = ("suite", "dataset", "row", "method", "params", "seed", "tier", "track")


def chosen_rows(ledger: pd.DataFrame, most: int) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the ledger's rows that make the file, by query and then last seen first, and counts of the others.

    A document that a query had more than once counts as seen at the last step; `score` is the one of that step.
    """
    is_vector, is_random = ledger["document"] == VECTOR, ledger[BACKFILLED]
    is_beside = ledger["document"] < VECTOR
    weightless = ledger["weight"] <= 0
    usable = ledger[~(is_vector | is_beside | is_random | weightless)]
    newest = usable.sort_values("step", ascending=False, kind="stable")
    distinct = newest.drop_duplicates(["query", "document"]).sort_values("query", kind="stable")
    rows = distinct.groupby("query").head(most)
    return rows, {
        "vectors": int(is_vector.sum()),
        "beside_the_corpus": int(is_beside.sum()),
        BACKFILLED: int((is_random & ~is_vector & ~is_beside).sum()),
        "without_weight": int((weightless & ~is_random & ~is_vector & ~is_beside).sum()),
        "repeats": len(usable) - len(distinct),
        "seen_earlier": len(distinct) - len(rows),
    }


def chosen_of(dataset: Path, name: str, rows: pd.DataFrame, ledger: pd.DataFrame) -> Iterator[Chosen]:
    """Yield the queries of the rows in order, each with its negatives and its positives, lowest row first.

    Those are its labelled ones and, where the method may change positives, those that it had at any visit: the rows
    alone are of the last visits.
    """
    labels = collection.qrels(dataset, "train").positives()
    documents, queries = pd.Series(labels.documents), labels.queries
    if POSITIVE in ledger:
        had = ledger[["query", POSITIVE]].drop_duplicates()
        documents = pd.concat([documents, had[POSITIVE]], ignore_index=True)
        queries = np.concatenate([queries, had["query"]])
    positives = documents.groupby(queries).apply(lambda part: sorted(set(part)))
    positives = positives[positives.index.isin(rows["query"])]
    needed = [rows["document"].to_numpy(np.int64), *(np.array(part, np.int64) for part in positives)]
    found = read_passages(dataset, np.concatenate(needed))
    ids, texts = (collection.column(dataset, QUERIES, key) for key in ("id", "text"))
    for query, part in rows.groupby("query"):
        row = int(str(query))
        yield Chosen(
            dataset=name,
            query_id=ids[row],
            query=texts[row],
            positives=[found[document] for document in positives[row]],
            negatives=[found[document] for document in part["document"]],
            scores=[round(float(score), 6) for score in part["score"]],
        )


def about(manifest: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a file of negatives comes from: the run, what it was trained from, what its scores are."""
    run = {"tier": DEFAULT, "track": "controlled", **manifest["run"]}
    score = TIERS[run["tier"]].score
    return {
        **counts,
        "scores": f"{score} of query and document by the run's own model, at the step that last had the negative",
        "run": {key: run[key] for key in OF_RUN},
        "collection": manifest["collection"],
        "data": manifest["data"],
        "code": manifest["code"],
        "negmark": __version__,
    }


def main(
    run: Annotated[Path, Argument(help="folder of the run: its negatives.parquet and manifest.json")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    output: Annotated[Path, Option(help=f"the file to write: {', '.join(WRITERS)}")],
    record: Annotated[Path, Option(help="the JSON file to write that says where it comes from")],
) -> None:
    """Write a run's negatives as a file for another trainer."""
    manifest = read_json(run / MANIFEST)
    facts = manifest["run"]
    place = f"{facts['dataset']}: {facts['row']}, seed {facts['seed']}"
    ledger = read_ledger(run / LEDGER).to_pandas()
    rows, left_out = chosen_rows(ledger, facts["training"]["negatives"])
    if rows.empty:
        raise UserError(
            f"{place}: it trained on no document that its method chose, so there is no file of them; name a row whose "
            "method gives documents"
        )
    width, write = int(rows.groupby("query").size().max()), WRITERS[output.name]
    lines = without = 0
    with replacing(output) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for chosen in chosen_of(dataset, facts["dataset"], rows, ledger):
            written = [f"{line}\n" for line in write(chosen, width)]
            file.writelines(written)
            lines += len(written)
            without += not written
    labelled = len(np.unique(collection.qrels(dataset, "train").positives().queries))
    queries = {"labelled": labelled, "seen": rows["query"].nunique(), "too_few_for_the_format": without}
    counts = {"file": output.name, "lines": lines, "negatives": len(rows), "most_a_query": width}
    write_json(record, about(manifest, {**counts, "queries": queries, "left_out": left_out}))
    short = f" ({without:,} with fewer than {width} negatives left out)" if without else ""
    stage.say(
        f"{place}: {lines:,} lines, {queries['seen']:,} of {labelled:,} training queries{short}: {output}"
    )


if __name__ == "__main__":
    stage.command(main)
