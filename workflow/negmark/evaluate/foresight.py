"""Stage foresight: quality scores of each run's negatives that need no training, from the first steps of its ledger.

The scores of a query q with its positive p and its K negatives n_k are cosine similarities of the encoder that the
runs of the dataset start from, before any training:

- hardness: the mean of s(q, n_k);
- margin: the mean of s(q, p) - s(q, n_k);
- ECI, Effective Contrastive Information (Sinha et al. 2026, arXiv 2603.20990, version 1), **reconstructed**: only the
  abstract says what goes into it, capacity times a harmonic balance of hardness and safety, so the formula below is a
  guess at the authors' and no faithful reproduction. Their version 3 is another metric under another name.

      s' = (1 + s) / 2                                            cosine similarity brought to 0..1
      C = log(1 + K),  H = mean s'(q, n_k),  M = mean clip((s'(q, p) - s'(q, n_k)) / m, 0, 1)
      ECI = C E,  E = 2 H M / (H + M)                             E is 0 where H + M is

  C grows with K, so sets of different sizes are compared by E;
- the false-negative rate: the share of the negatives that are relevant by all labels, where the dataset hides some.

Each is the mean over the queries of the first steps. They say nothing of weights in the loss, nor of documents of the
batch. A negative that is a vector and no document has no score before training; the one that the ledger kept at its
step stands in for it, as good as untrained in the first steps.
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
from negmark.store import collection
from negmark.store.collection import Qrels
from negmark.store.contents import read_contents
from negmark.store.labels import Labels
from negmark.store.ledger import VECTOR, read_ledger
from negmark.store.vectors import Vectors, float32
from negmark.store.vectors import load as load_vectors

SHARE = 0.1
"""Of a run's steps: the first window of the audit."""
SAFE = 0.1
"""m, the margin in units of s' at which a negative counts as wholly safe; the abstract names none."""
SCORES = ("eci", "efficiency", "hardness", "margin", "false_negative_rate")

Sides = tuple[Vectors, Vectors]
"""[N, D] of documents and [Q, D] of queries."""


def eci(
    capacity: NDArray[np.float64], hardness: NDArray[np.float64], safety: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the reconstructed ECI and its efficiency E, from C, H and M of as many queries, [Q] each."""
    total = hardness + safety
    efficiency = np.divide(2 * hardness * safety, total, out=np.zeros_like(total), where=total > 0)
    return capacity * efficiency, efficiency


def foresee(negatives: pd.DataFrame) -> dict[str, float]:
    """Return the scores of a set of negatives, and of how many queries and negatives they are the means.

    `negatives` has a row a negative: `step` and `query`, which together are one visit of a query, `positive` and
    `negative`, the cosine similarities of the query with its positive and with the negative, and `false`, 1 or 0, NaN
    where it isn't known.
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
    whole, efficiency = eci(by_query["capacity"].to_numpy(), mapped, by_query["safety"].to_numpy())
    known = negatives["false"].dropna()
    return {
        "queries": len(by_query),
        "negatives": len(negatives),
        "eci": float(whole.mean()),
        "efficiency": float(efficiency.mean()),
        "hardness": float(by_query["hardness"].mean()),
        "margin": float(by_query["margin"].mean()),
        "false_negative_rate": float(known.mean()) if len(known) else math.nan,
    }


def first_negatives(
    ledger: pd.DataFrame, training: dict[str, Any], seed: int, labels: Labels, vectors: Sides
) -> pd.DataFrame:
    """Return the ledger's rows of the first `SHARE` of the steps, with the scores that `foresee` asks for.

    `training` are the run's steps and batch size: the positives that its queries met are drawn as they were in it. A
    query that a batch holds twice, at the turn of an epoch, is left out of that step: its rows can't be told apart.
    """
    steps = math.ceil(training["steps"] * SHARE)
    drawn = [labels.batch(seed, step, training["batch_size"]) for step in range(steps)]
    batches = [
        pd.DataFrame({"step": step, "query": queries, "document": positives})
        for step, (queries, positives) in enumerate(drawn)
    ]
    met = pd.concat(batches).drop_duplicates(["step", "query"], keep=False)
    documents, queries = vectors
    met["positive"] = _cosines(queries, documents, met["query"], met["document"])
    early = ledger[ledger["step"] < steps]
    found = early.merge(met[["step", "query", "positive"]], on=["step", "query"], how="left", indicator=True)
    if not all(
        part["query"].isin(batches[int(str(step))]["query"]).all() for step, part in early.groupby("step")
    ):
        raise UserError("a ledger holds queries that its seed does not draw; delete the run and run it again")
    found = found[found["_merge"] == "both"].drop(columns="_merge")
    looked_up = _cosines(queries, documents, found["query"], found["document"].clip(lower=0))
    return found.assign(negative=np.where(found["document"] == VECTOR, found["score"], looked_up))


def main(
    contents: Annotated[Path, Option(help="contents.json of the board")],
    name: Annotated[str, Option(help="the dataset whose runs are scored")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    vectors: Annotated[Path, Option(help="folder of its vectors by the encoder that the runs start from")],
    output: Annotated[Path, Option(help="the CSV file that is written")],
) -> None:
    """Score the first negatives of all runs of a dataset."""
    listed = read_contents(contents)
    train, hidden = collection.qrels(dataset, "train"), collection.qrels(dataset, collection.HIDDEN)
    loaded = load_vectors(vectors)
    labels = Labels(train, len(loaded[0]))
    rows = []
    for run in listed.runs(name):
        ledger = read_ledger(run / "negatives.parquet").to_pandas()
        if len(ledger):
            training = read_json(run / "manifest.json")["run"]["training"]
            early = first_negatives(ledger, training, seed_of(run), labels, loaded)
            early["false"] = _known(early, train, hidden, len(loaded[0]))
            rows.append({"row": run.parent.name, "seed": seed_of(run), **foresee(early)})
    table = pd.DataFrame(rows, columns=["row", "seed", "queries", "negatives", *SCORES])
    write_text(output, csv(table, "%.6g"))


def _cosines(queries: Vectors, documents: Vectors, asked: pd.Series, given: pd.Series) -> NDArray[np.float64]:
    left, right = float32(queries[asked.to_numpy(np.int64)]), float32(documents[given.to_numpy(np.int64)])
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(
        right, axis=1
    )  # an encoder may not make unit vectors
    return np.einsum("rd,rd->r", left, right, dtype=np.float64) / lengths


def _known(early: pd.DataFrame, train: Qrels, hidden: Qrels, documents: int) -> NDArray[np.float64]:
    """Say of each negative if it is false; a vector is neither."""
    false = false_negatives(early, train, hidden if len(hidden.queries) else None, documents)
    return np.where(early["document"] == VECTOR, np.nan, false)


if __name__ == "__main__":
    stage.command(main)
