"""Stage audit: what kind of negatives each run of a dataset trained on, counted from its ledger.

It reads only the ledgers and the labels, so samplers are judged without training again.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray
from typer import Option

from negmark.core import stage
from negmark.core.files import read_json, write_text
from negmark.core.run_folders import seed_of
from negmark.core.spreadsheet import csv
from negmark.store import collection
from negmark.store.collection import Qrels
from negmark.store.contents import read_contents
from negmark.store.copies import normalised
from negmark.store.filled import BACKFILLED, EMPTY, IN_BATCH_COPIES, IN_BATCH_OWN, WITHOUT
from negmark.store.graph import Graph, holds, read_graph, related_to_positives
from negmark.store.ledger import POSITIVE, VECTOR, read_ledger
from negmark.store.left_out import NOTHING, Pairs, read_left_out, unlabelled_own

WINDOWS = 10
WHOLE_RUN = -1
"""The window that is all steps."""
QUANTILES = (0.1, 0.5, 0.9)
OF_HISTORY = (EMPTY, WITHOUT, IN_BATCH_COPIES, IN_BATCH_OWN)
NOT_KNOWN = dict.fromkeys(OF_HISTORY, math.nan)


def audit(
    ledger: pd.DataFrame,
    labels: Qrels,
    text_codes: NDArray[np.int64],
    steps: int,
    hidden: Qrels | None = None,
    graph: Graph | None = None,
    history: pd.DataFrame | None = None,
    own: Pairs = NOTHING.own,
) -> pd.DataFrame:
    """Return one row per window of steps (a tenth of the run each), and one, `window` -1, over all steps.

    Columns: `negatives`, their number; `labelled_positive_rate`, the share that are labelled positives of the query;
    `text_duplicate_rate`, the share that are not, but have the same text as one; `own_text_rate`, the share that are
    the query's own text and no positive (0: none is a candidate); `score_q10/q50/q90`, quantiles of the cosine
    similarity to the query (hardness); `turnover`, the share of negatives that the query did not have at its previous
    visit, empty where no query was visited twice; `backfilled`, the share that are random documents in places that the
    method's own rule left empty. Negatives that are vectors count only in `negatives` and in the quantiles, texts
    beside the corpus in `turnover` and `backfilled` too. From the history, empty without one: `places_empty`, the share
    of the places for negatives that stayed empty, `queries_without`, the share of queries without any negative, and how
    many pairs of a query and another's positive were no negatives, `in_batch_copies` as the document has the text of
    the query's own positive, `in_batch_own` as it is the query itself.

    Where labels are hidden from training, two more columns are exact (else empty): `false_negative_rate`, the share
    relevant to the query by all labels, hidden ones included, and `false_negative_weight`, the same with each
    negative weighted as in the loss. In-batch documents are in no ledger and count in neither. Where documents related
    to a positive are hidden, those are no answers but near-relevant.

    Where the dataset has relations between documents, one column per relation (`ancestor_rate`, `sibling_rate`,
    `synonym_rate`): the share of negatives that are not labelled positives but have this relation to one, so are nearly
    relevant.

    Where a method may change positives, over the visits of a query: `relabelled`, how often its positive had no
    training label; `relabelled_rate`, the share of visits; and where labels are hidden, `relabelled_true_rate`, the
    share of these positives that are relevant by the hidden labels. A visit without any negative isn't seen.

    Takes the ledger, the training labels, one number per document (equal for equal texts), the hidden labels, the
    relations, the history, and the pairs of a query and its own document.
    """
    graph = graph or {}
    rows = ledger.assign(
        window=ledger["step"] * WINDOWS // steps,
        is_document=ledger["document"] >= 0,
        labelled=_is_labelled(ledger, labels, len(text_codes)),
        duplicate=_is_duplicate(ledger, labels, text_codes),
        own=_is_own(ledger, labels, own, len(text_codes)),
        is_new=_is_new(ledger),
        false=false_negatives(ledger, labels, hidden, len(text_codes)),
        **{name: _is_related(ledger, labels, graph, name) for name in graph},
        **_positives_made(ledger, labels, hidden, len(text_codes)),
    )
    windows = [(WHOLE_RUN, rows), *((int(str(name)), part) for name, part in rows.groupby("window"))]
    places = _of_history(history, steps)
    return pd.DataFrame([
        {
            "window": name,
            **_statistics(part),
            **_relation_rates(part, graph),
            **_made_rates(part),
            **places.get(name, NOT_KNOWN),
        }
        for name, part in windows
    ])  # fmt: skip


def text_codes(dataset: Path) -> NDArray[np.int64]:
    """Return one number per document [N], equal for texts that differ only in case and white space."""
    documents, _ = collection.streamed(dataset)
    return pd.factorize(np.array([normalised(text) for text in documents], dtype=object))[0]


def false_negatives(
    ledger: pd.DataFrame, labels: Qrels, hidden: Qrels | None, documents: int
) -> NDArray[np.float64]:
    """Return whether each negative is relevant by all labels: 1 or 0, NaN where no labels are hidden."""
    if hidden is None:
        return np.full(len(ledger), np.nan)
    return (_is_labelled(ledger, labels, documents) | _is_labelled(ledger, hidden, documents)).astype(
        np.float64
    )


def main(
    contents: Annotated[Path, Option(help="contents.json of the board")],
    name: Annotated[str, Option(help="the dataset to audit")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    output: Annotated[Path, Option(help="the CSV file to write")],
) -> None:
    """Audit the negatives of all runs of a dataset."""
    listed = read_contents(contents)
    labels, codes = collection.qrels(dataset, "train"), text_codes(dataset)
    hidden, graph = collection.qrels(dataset, collection.HIDDEN), read_graph(dataset)
    own = read_left_out(dataset).own
    parts = []
    for run in listed.runs(name):
        ledger = read_ledger(run / "negatives.parquet").to_pandas()
        if len(ledger):
            steps = read_json(run / "manifest.json")["run"]["training"]["steps"]
            history = pq.read_table(run / "history.parquet").to_pandas()
            windows = audit(
                ledger, labels, codes, steps, hidden if len(hidden.queries) else None, graph, history, own
            )
            windows.insert(0, "seed", seed_of(run))
            windows.insert(0, "row", run.parent.name)
            parts.append(windows)
    table = pd.concat(parts) if parts else pd.DataFrame(columns=["row", "seed", "window"])
    write_text(output, csv(table, "%.6g"))


def _of_history(history: pd.DataFrame | None, steps: int) -> dict[int, dict[str, float]]:
    """Return by window what only the history knows of the places for negatives, over all steps under `WHOLE_RUN`."""
    if history is None:
        return {}
    windows = history["step"] * WINDOWS // steps
    parts = [(WHOLE_RUN, history), *((int(str(name)), part) for name, part in history.groupby(windows))]
    return {
        name: {
            EMPTY: part[EMPTY].mean(),
            WITHOUT: part[WITHOUT].mean(),
            IN_BATCH_COPIES: part[IN_BATCH_COPIES].sum(),
            IN_BATCH_OWN: part[IN_BATCH_OWN].sum(),
        }
        for name, part in parts
    }


def _keys(queries: NDArray, documents: NDArray, width: int) -> NDArray[np.int64]:
    return queries.astype(np.int64) * width + documents


def _among(keys: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which keys are among known ones, by hash: numpy's `isin` sorts all of a ledger."""
    return pd.Series(keys).isin(known).to_numpy()


def _is_labelled(ledger: pd.DataFrame, labels: Qrels, documents: int) -> NDArray[np.bool_]:
    positives = labels.positives()
    positive_keys = _keys(positives.queries, positives.documents, documents)
    ledger_keys = _keys(ledger["query"].to_numpy(), ledger["document"].to_numpy(), documents)
    return _among(ledger_keys, positive_keys) & (ledger["document"].to_numpy() >= 0)


def _is_duplicate(ledger: pd.DataFrame, labels: Qrels, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    positives, width = labels.positives(), int(codes.max()) + 1
    positive_keys = _keys(positives.queries, codes[positives.documents], width)
    documents = ledger["document"].to_numpy()
    ledger_keys = _keys(ledger["query"].to_numpy(), codes[np.maximum(documents, 0)], width)
    return _among(ledger_keys, positive_keys) & (documents >= 0) & ~_is_labelled(ledger, labels, len(codes))


def _is_own(ledger: pd.DataFrame, labels: Qrels, own: Pairs, documents: int) -> NDArray[np.bool_]:
    pairs = unlabelled_own(labels, own)
    ledger_keys = _keys(ledger["query"].to_numpy(), ledger["document"].to_numpy(), documents)
    return _among(ledger_keys, _keys(pairs[:, 0], pairs[:, 1], documents)) & (
        ledger["document"].to_numpy() >= 0
    )


def _is_related(ledger: pd.DataFrame, labels: Qrels, graph: Graph, relation: str) -> NDArray[np.bool_]:
    """Return whether each negative has this relation to a labelled positive of its query without being one itself."""
    queries, documents = ledger["query"].to_numpy(np.int64), ledger["document"].to_numpy(np.int64)
    related = graph[relation]
    rows = 1 + max(queries.max(initial=0), labels.queries.max(initial=0))
    near = holds(related_to_positives(related, labels, int(rows)), queries, documents)
    return near & (documents >= 0) & ~_is_labelled(ledger, labels, related.shape[0])


def _positives_made(
    ledger: pd.DataFrame, labels: Qrels, hidden: Qrels | None, documents: int
) -> dict[str, NDArray[Any]]:
    """Return whether each negative's query had a positive without a training label, and one of the hidden labels.

    Nothing where the method can't change positives; the second is NaN where no labels are hidden.
    """
    if POSITIVE not in ledger:
        return {}
    pairs = ledger[["query"]].assign(document=ledger[POSITIVE])
    made = ~_is_labelled(pairs, labels, documents)
    unknown = np.full(len(ledger), np.nan)
    true = unknown if hidden is None else _is_labelled(pairs, hidden, documents).astype(np.float64)
    return {"made": made, "made_true": true}


def _made_rates(part: pd.DataFrame) -> dict[str, float]:
    """Return how many visits had a positive that was made, their share, and the share of them that are true."""
    if "made" not in part:
        return {}
    visits = part.drop_duplicates(["step", "query", POSITIVE])
    made = visits[visits["made"]]
    return {
        "relabelled": len(made),
        "relabelled_rate": float(visits["made"].mean()),
        "relabelled_true_rate": float(made["made_true"].mean()),
    }


def _relation_rates(part: pd.DataFrame, graph: Graph) -> dict[str, float]:
    """Return the share of each relation among the negatives that are documents, not vectors."""
    documents = part[part["is_document"]]
    return {f"{name}_rate": float(documents[name].mean()) for name in graph}


def _is_new(ledger: pd.DataFrame) -> NDArray[np.float64]:
    """Return whether each negative is new since its query's previous visit: 1 or 0, NaN at the first visit."""
    query, step = ledger["query"].to_numpy(np.int64), ledger["step"].to_numpy(np.int64)
    document = ledger["document"].to_numpy(np.int64)
    vector = document == VECTOR
    document = document - document.min(initial=0)  # texts beside the corpus have numbers below 0
    steps = int(step.max(initial=0)) + 1
    visits, place = np.unique(query * steps + step, return_inverse=True)
    starts = np.searchsorted(visits // steps, visits // steps)
    visit = (np.arange(len(visits)) - starts)[place]
    width, many = int(document.max(initial=0)) + 1, int(visit.max(initial=0)) + 2
    now = (query * many + visit) * width + document
    new = ~_among(now - width, now)
    return np.where((visit == 0) | vector, np.nan, new)


def _statistics(part: pd.DataFrame) -> dict[str, float]:
    documents = part[part["is_document"]]
    return {
        "first_step": int(part["step"].min()),
        "last_step": int(part["step"].max()),
        "negatives": len(part),
        "labelled_positive_rate": documents["labelled"].mean(),
        "text_duplicate_rate": documents["duplicate"].mean(),
        "own_text_rate": documents["own"].mean(),
        **{f"score_q{round(100 * level)}": float(part["score"].quantile(level)) for level in QUANTILES},
        "turnover": part["is_new"].mean(),
        "false_negative_rate": documents["false"].mean(),
        "false_negative_weight": _false_negative_weight(documents),
        BACKFILLED: part[BACKFILLED].mean() if BACKFILLED in part else math.nan,
    }


def _false_negative_weight(documents: pd.DataFrame) -> float:
    """Return the share of the loss weights that false negatives carry; NaN where they are unknown."""
    if not documents["false"].notna().any():
        return math.nan
    return float((documents["false"] * documents["weight"]).sum() / documents["weight"].sum())


if __name__ == "__main__":
    stage.command(main)
