"""Stage foresight: training-free quality scores of each run's negatives, from the first steps of its ledger.

For a query q with its positive p and its K negatives n_k, s is the cosine similarity by the encoder that the runs of
the dataset start from, before any training:

- hardness: the mean of s(q, n_k);
- margin: the mean of s(q, p) - s(q, n_k);
- balance, ours: capacity times the harmonic mean of hardness and safety. The idea is that of the abstract of ECI,
  Effective Contrastive Information (Sinha et al. 2026, arXiv 2603.20990, version 1), but **not their metric**: we know
  none of their formulas, and their version 3 (ECI_sem) measures something else, which ranks sources of negatives in
  another order.

      s' = (1 + s) / 2                                            cosine similarity mapped to 0..1
      C = log(1 + K),  H = mean s'(q, n_k),  M = mean clip((s'(q, p) - s'(q, n_k)) / m, 0, 1)
      balance = C E,  E = 2 H M / (H + M)                         E = 0 where H + M = 0

  C grows with K, so sets of different sizes are compared by E;
- the false-negative rate: the share of negatives relevant by all labels, where the dataset hides some.

Each is the mean over the queries of the first steps. They ignore loss weights and in-batch negatives. A negative that
is a vector, or a text beside the corpus, has no score before training; its ledger score is used instead, which in the
first steps is close to the untrained one.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from typer import Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, write_text
from negmark.core.run_folders import seed_of
from negmark.core.spreadsheet import csv
from negmark.evaluate.audit import false_negatives
from negmark.methods import registry
from negmark.store import collection
from negmark.store.collection import Qrels
from negmark.store.contents import read_contents
from negmark.store.labels import Labels
from negmark.store.ledger import read_ledger
from negmark.store.left_out import read_left_out
from negmark.store.vectors import Vectors, float32
from negmark.store.vectors import load as load_vectors

SHARE = 0.1
"""Share of a run's steps that is scored: the first window of the audit."""
SAFE = 0.1
"""m, the margin in units of s' above which a negative is fully safe; our choice."""
SCORES = ("balance", "efficiency", "hardness", "margin", "false_negative_rate")

Sides = tuple[Vectors, Vectors]
"""[N, D] of documents and [Q, D] of queries."""


def balance(
    capacity: NDArray[np.float64], hardness: NDArray[np.float64], safety: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the balance and its efficiency E, from the C, H and M of Q queries, [Q] each."""
    total = hardness + safety
    efficiency = np.divide(2 * hardness * safety, total, out=np.zeros_like(total), where=total > 0)
    return capacity * efficiency, efficiency


def foresee(negatives: pd.DataFrame) -> dict[str, float]:
    """Return the scores of a set of negatives, with the numbers of queries and negatives they are averaged over.

    `negatives` has one row per negative: `step` and `query`, which identify a visit of a query, `positive` and
    `negative`, the cosine similarities of the query with its positive and with the negative, and `false`, 1 or 0, or
    NaN where unknown.
    """
    visits = [negatives["step"], negatives["query"]]
    gap = negatives["positive"] - negatives["negative"]
    by_query = pd.DataFrame(
        {
            "hardness": negatives["negative"].groupby(visits).mean(),
            "margin": gap.groupby(visits).mean(),
            "safety": (gap / 2 / SAFE).clip(0, 1).groupby(visits).mean(),
            "capacity": np.log1p(negatives["negative"].groupby(visits).size()),
        }
    )
    mapped = (1 + by_query["hardness"].to_numpy()) / 2
    score, efficiency = balance(by_query["capacity"].to_numpy(), mapped, by_query["safety"].to_numpy())
    known = negatives["false"].dropna()
    return {
        "queries": len(by_query),
        "negatives": len(negatives),
        "balance": float(score.mean()),
        "efficiency": float(efficiency.mean()),
        "hardness": float(by_query["hardness"].mean()),
        "margin": float(by_query["margin"].mean()),
        "false_negative_rate": float(known.mean()) if len(known) else math.nan,
    }


def first_negatives(
    ledger: pd.DataFrame,
    training: dict[str, Any],
    seed: int,
    labels: Labels,
    vectors: Sides,
    composed: bool = False,
) -> pd.DataFrame:
    """Return the ledger's rows of the first `SHARE` of the steps, with the similarities that `foresee` needs.

    `training` has the run's steps and batch size, from which its batches and their positives are drawn again. A query
    that occurs twice in a batch (where epochs meet) is left out of that step: its rows are indistinguishable.

    `composed`: batches were put together by a method, so a query's positive is looked up among those of its epoch,
    which are the same in any order. Where epochs meet in a batch, none of its queries tells which it is of: left out.
    """
    steps = math.ceil(training["steps"] * SHARE)
    early = ledger[ledger["step"] < steps]
    if composed:
        batches = _composed(early, training, seed, labels)
    else:
        drawn = [labels.batch(seed, step, training["batch_size"]) for step in range(steps)]
        batches = [
            pd.DataFrame({"step": step, "query": queries, "document": positives})
            for step, (queries, positives) in enumerate(drawn)
        ]
    visits = pd.concat(batches).drop_duplicates(["step", "query"], keep=False)
    documents, queries = vectors
    visits["positive"] = _cosines(queries, documents, visits["query"], visits["document"])
    rows = early.merge(
        visits[["step", "query", "positive"]], on=["step", "query"], how="left", indicator=True
    )
    if not all(
        part["query"].isin(batches[int(str(step))]["query"]).all() for step, part in early.groupby("step")
    ):
        raise UserError("a ledger has queries that its seed does not draw; delete the run and run it again")
    rows = rows[rows["_merge"] == "both"].drop(columns="_merge")
    similarities = _cosines(queries, documents, rows["query"], rows["document"].clip(lower=0))
    return rows.assign(negative=np.where(rows["document"] < 0, rows["score"], similarities))


def _composed(early: pd.DataFrame, training: dict[str, Any], seed: int, labels: Labels) -> list[pd.DataFrame]:
    """Return the queries of each step of a ledger with all positives that they have in the epochs it falls into."""
    size, count, total = training["batch_size"], len(labels.queries), training["steps"]
    steps = np.arange(int(early["step"].max()) + 1 if len(early) else 1)
    last = (steps[-1] * size + size - 1) // count
    needed = range(min(-(-(last + 1) * count // size), total))
    drawn = [labels.batch(seed, step, size) for step in needed]
    queries, positives = (np.concatenate(side) for side in zip(*drawn, strict=True))
    pairs = pd.DataFrame({"epoch": np.arange(len(queries)) // count, "query": queries, "document": positives})
    epochs = [
        pd.DataFrame({"step": steps, "epoch": place // count})
        for place in (steps * size, steps * size + size - 1)
    ]
    reached = pd.concat(epochs).drop_duplicates().merge(early[["step", "query"]].drop_duplicates(), on="step")
    found = reached.merge(pairs, on=["epoch", "query"])[["step", "query", "document"]]
    return [found[found["step"] == step] for step in steps]


def main(
    contents: Annotated[Path, Option(help="contents.json of the board")],
    name: Annotated[str, Option(help="the dataset whose runs are scored")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    vectors: Annotated[Path, Option(help="folder of its vectors by the encoder the runs start from")],
    output: Annotated[Path, Option(help="the CSV file to write")],
) -> None:
    """Score the first negatives of all runs of a dataset."""
    listed = read_contents(contents)
    train, hidden = collection.qrels(dataset, "train"), collection.qrels(dataset, collection.HIDDEN)
    loaded = load_vectors(vectors)
    labels = Labels(train, len(loaded[0]), read_left_out(dataset))
    rows = []
    for run in listed.runs(name):
        ledger = read_ledger(run / "negatives.parquet").to_pandas()
        if len(ledger):
            spec = read_json(run / "manifest.json")["run"]
            early = first_negatives(
                ledger, spec["training"], seed_of(run), labels, loaded, registry.is_composed(spec)
            )
            early["false"] = _is_false(early, train, hidden, len(loaded[0]))
            rows.append({"row": run.parent.name, "seed": seed_of(run), **foresee(early)})
    table = pd.DataFrame(rows, columns=["row", "seed", "queries", "negatives", *SCORES])
    write_text(output, csv(table, "%.6g"))


def _cosines(
    queries: Vectors, documents: Vectors, query: pd.Series, document: pd.Series
) -> NDArray[np.float64]:
    left, right = float32(queries[query.to_numpy(np.int64)]), float32(documents[document.to_numpy(np.int64)])
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(
        right, axis=1
    )  # an encoder need not make unit vectors
    return np.einsum("rd,rd->r", left, right, dtype=np.float64) / lengths


def _is_false(early: pd.DataFrame, train: Qrels, hidden: Qrels, documents: int) -> NDArray[np.float64]:
    """Return whether each negative is false: 1 or 0, NaN for what is no document, or where no labels are hidden."""
    false = false_negatives(early, train, hidden if len(hidden.queries) else None, documents)
    return np.where(early["document"] < 0, np.nan, false)


if __name__ == "__main__":
    stage.command(main)
