"""Stage evaluate for sentences: how well cosine similarity agrees with human scores on STS pairs.

A task's value is Spearman's correlation, times 100, over all its pairs; STS, the main metric, is the mean over tasks.
The files are those of `negmark.evaluate.evaluate`: in the TREC run the first sentence of a pair is the query and the
second its only document; the table has one row per pair. Equal configs give equal bytes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from typer import Argument, Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import write_json
from negmark.core.names import METRICS_FILE, PER_QUERY, RUN, STS
from negmark.core.run_folders import seed_of
from negmark.core.tier_modules import tier_module
from negmark.evaluate.evaluate import MODEL, write_run
from negmark.store import collection
from negmark.store.collection import write_table
from negmark.store.vectors import float32
from negmark.store.vectors import load as load_vectors


@dataclass(frozen=True)
class Pairs:
    """STS pairs as parallel arrays: sentences as row numbers of the queries table, and their scores."""

    names: list[str]
    tasks: list[str]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    gold: NDArray[np.float64]


def read_pairs(dataset: Path) -> Pairs:
    """Read the scored sentence pairs of a prepared dataset."""
    names, tasks = (collection.column(dataset, collection.QUERIES, name) for name in ("id", "slice"))
    rows, scores = collection.graded_pairs(dataset)
    first, second = rows.T
    return Pairs(
        [names[row].removesuffix("/a") for row in first],
        [tasks[row] for row in first],
        first,
        second,
        scores,
    )


def cosines(vectors: NDArray[np.float32], pairs: Pairs) -> NDArray[np.float64]:
    """Return the cosine similarity of each pair from the vectors [N, D] of the queries table."""
    one, other = (vectors[rows].astype(np.float64) for rows in (pairs.first, pairs.second))
    return (one * other).sum(axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))


def correlations(
    similarities: NDArray[np.float64], gold: NDArray[np.float64], tasks: list[str]
) -> dict[str, float]:
    """Return Spearman's correlation x 100 of each task, with ties at their mean rank, and the mean over tasks as STS.

    Raises `UserError` where all similarities or all scores of a task are equal: the correlation is then undefined.
    """
    by_pair = np.array(tasks)
    values = {
        task: _spearman(similarities[by_pair == task], gold[by_pair == task], task)
        for task in dict.fromkeys(tasks)
    }
    return {STS: float(np.mean(list(values.values()))), **values}


def main(
    metrics: Annotated[list[Path], Argument(help="the metrics.json to write, in the folder of each run")],
    about: Annotated[str, Option(help="what is evaluated, as JSON; copied into metrics.json")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    vectors: Annotated[Path, Option(help="folder of the embeddings")],
    threads: Annotated[int, Option(help="threads of the encoder")] = 1,
    models: Annotated[
        Path | None, Option(help="folder of the seeds' models, if not beside metrics.json")
    ] = None,
) -> None:
    """Evaluate the trained runs of one method, or the untrained encoder, on the STS pairs of a dataset."""
    facts, pairs = json.loads(about), read_pairs(dataset)
    trained = facts["track"] != "baseline"
    rows = np.concatenate([pairs.first, pairs.second])
    for folder in [path.parent for path in metrics]:
        if trained:
            model = (models or folder.parent) / folder.name / MODEL
            trained_side = tier_module("evaluate", facts["tier"]).trained_side
            sentences = trained_side(facts, model, dataset, vectors, "query", rows, threads)
        else:
            sentences = float32(load_vectors(vectors)[1])
        _write(
            pairs, cosines(sentences, pairs), {**facts, "seed": seed_of(folder) if trained else None}, folder
        )


def _spearman(similarities: NDArray[np.float64], gold: NDArray[np.float64], task: str) -> float:
    if len(np.unique(similarities)) < 2 or len(np.unique(gold)) < 2:
        raise UserError(
            f"{task}: all similarities or all scores are equal, so their correlation is undefined"
        )
    return 100 * float(spearmanr(similarities, gold).statistic)


def _write(pairs: Pairs, similarities: NDArray[np.float64], facts: dict[str, Any], folder: Path) -> None:
    values = correlations(similarities, pairs.gold, pairs.tasks)
    columns = {"query": pairs.names, "slice": pairs.tasks, "gold": pairs.gold, "cosine": similarities}
    write_table(folder / PER_QUERY, columns)
    run = {
        f"{name}/a": {f"{name}/b": score}
        for name, score in zip(pairs.names, similarities.tolist(), strict=True)
    }
    write_run(folder / RUN, run, facts["row"])
    slices = {"all": {"queries": len(pairs.names), **values}}
    write_json(folder / METRICS_FILE, {**facts, "status": "ok", "slices": slices})
    seed = "" if facts["seed"] is None else f", seed {facts['seed']}"
    summary = ", ".join(f"{name} {value:.2f}" for name, value in values.items())
    stage.say(f"{facts['dataset']}: {facts['title']}{seed}: {summary}")


if __name__ == "__main__":
    stage.command(main)
