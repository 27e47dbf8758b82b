"""Stage evaluate: rank the corpus for every test query and compute the metrics.

Only this stage reads the test split (the card counts its labels). Its outputs contain no times or paths, so equal
configs give equal bytes: a TREC run, one row per query, and the means over all, seen and unseen queries.
"""

import gzip
import json
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from negmark.core import stage
from negmark.core.files import replacing, write_json
from negmark.core.names import METRICS_FILE, PER_QUERY, RUN
from negmark.core.run_folders import seed_of
from negmark.core.tier_modules import tier_module
from negmark.core.trec import trec_id
from negmark.evaluate.metrics import Evaluator, Run
from negmark.evaluate.ranking import TestSplit, means, measure, rank
from negmark.search.index import BM25Searcher, DenseSearcher, Searcher, open_bm25
from negmark.search.scripts import AUTO, ENGLISH
from negmark.store.collection import write_table
from negmark.store.vectors import load as load_vectors

MODEL = "model.safetensors"


def main(
    metrics: Annotated[list[Path], Argument(help="the metrics.json to write, in the folder of each run")],
    about: Annotated[str, Option(help="what is evaluated, as JSON; copied into metrics.json")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    vectors: Annotated[Path | None, Option(help="folder of the embeddings; without it, BM25")] = None,
    threads: Annotated[int, Option(help="threads of the search")] = 1,
    models: Annotated[
        Path | None, Option(help="folder of the seeds' models, if not beside metrics.json")
    ] = None,
) -> None:
    """Evaluate the trained runs of one method, the untrained encoder or BM25 on the test split."""
    facts = json.loads(about)
    trained = facts["track"] != "baseline"
    split = TestSplit(dataset)
    evaluator = Evaluator(split.qrels, facts["metrics"], split.relevant)
    for folder in [path.parent for path in metrics]:
        model = (models or folder.parent) / folder.name / MODEL if trained else None
        searcher = _searcher(facts, dataset, vectors, model, split, threads)
        seed = seed_of(folder) if trained else None
        if isinstance(searcher, BM25Searcher) and searcher.analyzer != ENGLISH:
            facts["params"]["analyzer"] = searcher.analyzer
        _evaluate(searcher, split, evaluator, {**facts, "seed": seed}, folder)


def _evaluate(
    searcher: Searcher, split: TestSplit, evaluator: Evaluator, facts: dict[str, Any], folder: Path
) -> None:
    run = rank(searcher, split)
    rows = measure(split, run, evaluator)
    write_table(folder / PER_QUERY, rows)
    write_run(folder / RUN, run, facts["row"])
    slices = means(rows)
    write_json(folder / METRICS_FILE, {**facts, "status": "ok", "slices": slices})
    seed = "" if facts["seed"] is None else f", seed {facts['seed']}"
    first = facts["metrics"][0]
    slice_means = ", ".join(f"{values[first]:.4f} on {name}" for name, values in slices.items())
    stage.say(f"{facts['dataset']}: {facts['title']}{seed}: {first} {slice_means}")
    if nothing := sum(not documents for documents in run.values()):
        of = f"{nothing:,} of {len(run):,} test queries"
        stage.say(f"{facts['dataset']}: {facts['title']}{seed}: finds no document for {of}")


def _searcher(
    facts: dict[str, Any],
    dataset: Path,
    vectors: Path | None,
    model: Path | None,
    split: TestSplit,
    threads: int,
) -> Searcher:
    if first := facts.get("first_stage"):  # without a model the cross-encoder as it comes, for a gate
        lexical = first["name"] == "bm25_search"
        first_stage = _searcher(
            {"params": first}, dataset, None if lexical else vectors, None, split, threads
        )
        return tier_module("evaluate", facts["tier"]).searcher(
            facts, model, dataset, first_stage, split.place, threads
        )
    if vectors is None:
        params = facts["params"]
        return open_bm25(dataset, params["k1"], params["b"], params.get("analyzer", AUTO))
    if model is None:
        return DenseSearcher(*load_vectors(vectors), threads)
    side = tier_module("evaluate", facts["tier"]).trained_side
    documents, queries = (
        side(facts, model, dataset, vectors, name, rows, threads)
        for name, rows in (("document", None), ("query", split.queries))
    )
    return DenseSearcher(documents, queries, threads)


def write_run(path: Path, run: Run, tag: str) -> None:
    """Write a gzipped TREC run; nine significant digits restore every float32 exactly.

    White space separates its columns, so white space within an id is percent-encoded: `a b` as `a%20b`.
    """
    lines = (
        f"{topic} Q0 {trec_id(document)} {place} {score:.9g} {tag}\n"
        for topic, documents in ((trec_id(query), documents) for query, documents in run.items())
        for place, (document, score) in enumerate(documents.items(), start=1)
    )
    compressed = gzip.compress("".join(lines).encode(), compresslevel=3, mtime=0)
    with replacing(path) as partial:
        partial.write_bytes(compressed)


if __name__ == "__main__":
    stage.command(main)
