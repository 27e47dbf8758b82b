"""A cross-encoder that a suite trains teaches its other rows, and verdicts relabel: from nothing to trained models."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from builders import tiny_model
from negmark.core.files import sha256_file
from tiny import RUNS, SUITE, copy_project, outputs, planned, snakemake, write_suite

TRUTH = "results/to_judge/tiny/pydoc/truth.jsonl"
RELABELS = {"track": "faithful", "technique": "relabel"}


def suite(**changes: Any) -> dict[str, Any]:
    """Two rows that are taught, by the models of two seeds, scored by two jobs each; no warm GPU, no real encoder."""
    dataset = {"source": "./pydoc", "dev_queries": 0, "hide": {"how": "random", "share": 0.5}}
    return {
        **SUITE,
        "datasets": {"pydoc": dataset},
        "encoder": {**SUITE["encoder"], "model": "./model", "document_length": 16},
        "rerank": {"steps": 3, "batch_size": 4, "negatives": 2, "depth": 5},
        "shards": {"judgments": 2},
        "seeds_per_job": 2,
        "teacher": {"ranker_row": "ranker"},
        "methods": {
            "ranker": {"method": "dense_uniform", "tier": "rerank"},
            "margin_mse": {"track": "faithful"},
            "rocketqa_recipe": None,
            "rlhn_truth": dict(RELABELS),
        },
        **changes,
    }


def with_verdicts() -> dict[str, Any]:
    """The same with a row that relabels by a file."""
    made = suite()
    made["datasets"]["pydoc"]["verdicts"] = TRUTH
    return {**made, "methods": {**made["methods"], "rlhn": dict(RELABELS)}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose queries have two positives each, so that one of them can be hidden."""
    folder = tmp_path_factory.mktemp("rankers") / "project"
    folder.mkdir()
    copy_project(folder)
    tiny_model(folder / "model")
    file = folder / "pydoc" / "qrels" / "train.tsv"
    head, *lines = file.read_text().splitlines()
    names = sorted({line.split("\t")[1] for line in lines})
    following = dict(zip(names, names[1:] + names[:1], strict=True))
    more = [f"{query}\t{following[name]}\t1" for query, name, _ in (line.split("\t") for line in lines)]
    file.write_text("\n".join([head, *lines, *more]) + "\n")
    write_suite(folder, suite())
    return folder


def runs(row: str, file: str) -> list[str]:
    return [str(RUNS / row / f"seed-{seed}" / file) for seed in (0, 1)]


def test_the_plan_trains_the_teacher_scores_by_each_of_its_models_and_then_trains_who_asks(
    project: Path,
) -> None:
    told = planned(project, *runs("margin_mse", "model.safetensors"))
    made = outputs(told.stdout + told.stderr)
    judgments = runs("ranker", "judgments.safetensors")
    parts = {file.replace(".safetensors", f"-part-{part}-of-2.json") for file in judgments for part in (0, 1)}
    wanted = {
        *judgments,
        *parts,
        runs("ranker", "model.safetensors")[0],
        runs("margin_mse", "model.safetensors")[0],
    }
    assert wanted <= made
    assert not any("rlhn" in output or "rocketqa" in output for output in made)
    alone = planned(project, *runs("rlhn_truth", "model.safetensors"))
    assert not any("ranker" in output for output in outputs(alone.stdout + alone.stderr)), (
        "it asks no teacher"
    )


@pytest.mark.slow
def test_a_suite_with_a_trained_ranker_and_verdicts_runs_from_end_to_end_and_again(project: Path) -> None:
    snakemake(project, TRUTH)
    lines = [json.loads(line) for line in (project / TRUTH).read_text().splitlines()]
    assert {line["verdict"] for line in lines} == {"relevant", "irrelevant"}
    write_suite(project, with_verdicts())
    rows = ("margin_mse", "rocketqa_recipe", "rlhn_truth", "rlhn")
    targets = [file for row in rows for file in runs(row, "model.safetensors")]
    snakemake(project, *targets)
    judgments = [project / file for file in runs("ranker", "judgments.safetensors")]
    assert sha256_file(judgments[0]) != sha256_file(judgments[1]), "each seed's model has scores of its own"
    for place, file in enumerate(runs("margin_mse", "manifest.json")):
        assert json.loads((project / file).read_text())["data"]["teacher"] == sha256_file(judgments[place])
    for row in ("rlhn", "rlhn_truth"):
        for file in runs(row, "negatives.parquet"):
            assert "positive" in pq.read_schema(project / file).names
        history = pq.read_table(project / runs(row, "history.parquet")[0]).to_pandas()
        assert history["positives_made"].sum() > 0
    again = planned(project, *targets)
    assert not outputs(again.stdout + again.stderr), "nothing is left to do"
    judgments[1].unlink()
    scores = runs("ranker", "judgments.safetensors")[1]
    left = planned(project, scores)
    made = outputs(left.stdout + left.stderr)
    assert scores in made
    assert runs("ranker", "model.safetensors")[0] not in made, "the teacher is not trained again"
    snakemake(project, scores)  # which are in the cache
    assert judgments[1].is_file()
