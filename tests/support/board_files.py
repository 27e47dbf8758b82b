"""Runs and cards with given values, as the stages leave them for the board, and boards collated from them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from negmark.board.leaderboard import collate
from negmark.compare.differences import differences
from negmark.core.files import write_text
from negmark.store.query_scores import QueryScores, Row

SETTINGS = {
    "encoder": "all-MiniLM-L6-v2",
    "steps": 300,
    "batch_size": 64,
    "negatives": 8,
    "seeds": 3,
    "seed_numbers": [0, 1, 2],
}

QUERIES = {"all": 30, "seen": 20, "unseen": 10}
SIMANS = {"unseen": (0.1, 0.2, 0.3), "seen": (0.7, 0.7, 0.7)}
IN_BATCH = {"unseen": (0.15, 0.15, 0.15), "seen": (0.9, 0.9, 0.9)}
ANCE = {"unseen": (0.10, 0.11, 0.12), "seen": (0.5, 0.5, 0.5)}
"""Differs from in-batch negatives, so that a ranking with it tells something."""
UNTRAINED = {"unseen": (0.12,), "seen": (0.5,)}


def write_run(
    folder: Path,
    dataset: str,
    row: str,
    seed: int | None,
    values: dict[str, float],
    train_seconds: float | None = None,
    idle: str = "",
    filled: dict[str, float | None] | None = None,
    **more: Any,
) -> Path:
    """One metrics.json with nDCG@10 as given on each slice, RR@10 half of it and R@100 1.

    Its manifest tells of a quarter of the time in the method itself and of counts that grow with the seed.
    """
    run = {
        "suite": "quickstart",
        "dataset": dataset,
        "row": row,
        "title": row.replace("_", " "),
        "tier": "adapter" if seed is not None else None,
        "track": "controlled" if seed is not None else "baseline",
        "method": row if seed is not None else None,
        "start": "the encoder",
        "seed": seed,
        "metrics": ["nDCG@10", "RR@10", "R@100"],
        "adaptations": [],
        "summary": f"What {row} does.",
        "paper": "",
        "params": {"temperature": 0.05},
        "conditions": {},
        "chain": [],
        "before": "untrained",
        "slices": {
            name: {"queries": QUERIES[name], "nDCG@10": value, "RR@10": value / 2, "R@100": 1.0}
            for name, value in values.items()
        },
        "run": f"runs/{dataset}/{row}/{seed}",
        "status": "ok",
        **more,
    }
    path = folder / "runs" / dataset / row / str(seed) / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(run))
    if seed is not None:
        wall = 2.0 + seed if train_seconds is None else train_seconds
        manifest = {
            "hardware": {"cpu": "Z80", "cores": 2, "gpus": []},
            "cost": {
                "training": {"wall_seconds": wall, "cpu_seconds": wall},
                "own": {"wall_seconds": wall / 4, "cpu_seconds": wall / 4},
                "peak_mebibytes": 500.0 + seed,
            },
            "counters": {
                "query_vectors": 1000,
                "document_vectors": 8000,
                "extra_vectors": 30 * seed,
                "pairs": 0,
                "searches": 0,
                "teacher_vectors": 12 * seed,
                "network_forwards": 0,
            },
            "idle": idle,
            "filled": filled or {},
        }
        path.with_name("manifest.json").write_text(json.dumps(manifest))
    return path


def write_runs(
    folder: Path, dataset: str, row: str, values: dict[str, tuple[float, ...]], **more: Any
) -> list[Path]:
    """The runs of one row, a value per seed; `all` is the mean over queries where both parts are given."""
    count = len(next(iter(values.values())))
    seeds: list[int | None] = [None] if count == 1 and "seed" not in more else list(range(count))
    paths = []
    for place, seed in enumerate(seeds):
        slices = {name: series[place] for name, series in values.items()}
        if "seen" in slices and "unseen" in slices:
            slices["all"] = (2 * slices["seen"] + slices["unseen"]) / 3
        paths.append(
            write_run(folder, dataset, row, seed, slices, **{k: v for k, v in more.items() if k != "seed"})
        )
    return paths


def write_two_tiers(folder: Path) -> tuple[list[Path], list[Path]]:
    """The suite of `write_suite` with both methods in the finetune tier too, where in-batch negatives are first."""
    metrics, cards = write_suite(folder)
    tier = {"tier": "finetune", "start": "the encoder, warmed up"}
    values = {
        "inbatch": {"unseen": (0.5, 0.5, 0.5), "seen": (0.6, 0.6, 0.6)},
        "simans": {"unseen": (0.4, 0.4, 0.4), "seen": (0.5, 0.5, 0.5)},
    }
    for name, series in values.items():
        more = {**tier, "method": name, "title": name, "train_seconds": 60.0}
        metrics += write_runs(folder, "scifact", f"{name}_finetune", series, **more)
    return metrics, cards


def write_card(folder: Path, name: str, **more: Any) -> Path:
    card = {
        "name": name,
        "dataset": name,
        "source": "https://example.org/data",
        "licence": "CC BY 4.0",
        "sha256": "0123456789abcdef" * 4,
        "documents": 1000,
        "documents_full": 5000,
        "queries": {"train": 800, "dev": 0, "test": 30},
        "seen_test_queries": 20,
        "unseen_test_queries": 10,
        "regime": "standard",
        **more,
    }
    path = folder / f"{name}.card.json"
    path.write_text(json.dumps(card))
    return path


def write_suite(folder: Path, **simans: Any) -> tuple[list[Path], list[Path]]:
    """One dataset where SimANS is first on unseen queries and in-batch negatives on all of them."""
    metrics = [
        *write_runs(folder, "scifact", "inbatch", IN_BATCH),
        *write_runs(folder, "scifact", "simans", SIMANS, **simans),
        *write_runs(folder, "scifact", "untrained", UNTRAINED),
    ]
    return metrics, [write_card(folder, "scifact")]


def write_differences(metrics: list[Path], board: Path, reference: str = "inbatch") -> None:
    """The differences.csv of these runs, as if every query of a slice had the slice's mean: seeds alone vary."""
    found: dict[str, dict[str, dict[int | None, Any]]] = {}
    about: dict[str, Any] = {}
    for run in (json.loads(path.read_text()) for path in sorted(metrics)):
        about.setdefault(f"{run['dataset']}/{run['row']}", run)
        found.setdefault(run["dataset"], {}).setdefault(run["row"], {})[run["seed"]] = run["slices"]
    scores = {}
    for dataset, methods in found.items():
        first = next(iter(next(iter(methods.values())).values()))
        parts = [name for name in ("seen", "unseen") if name in first] or ["all"]
        metric = "STS" if "STS" in first["all"] else "nDCG@10"
        sizes = [1 if metric == "STS" else first[name]["queries"] for name in parts]
        by_row = {
            method: Row(
                about[f"{dataset}/{method}"],
                {
                    metric: {
                        seed: np.repeat([slices[name][metric] for name in parts], sizes)
                        for seed, slices in runs.items()
                    }
                },
            )
            for method, runs in methods.items()
        }
        scores[dataset] = QueryScores(metric, np.repeat(parts, sizes), by_row)
    board.mkdir(parents=True, exist_ok=True)
    write_text(board / "differences.csv", differences(scores, [], reference).to_csv(index=False))


def collated(metrics: list[Path], cards: list[Path], board: Path, **more: Any) -> str:
    """Collate runs with their differences from in-batch negatives; `more` are settings of the board."""
    write_differences(metrics, board)
    return collate(metrics, cards, {**SETTINGS, **more}, board)


PAPER = r"""\documentclass{article}
\usepackage[margin=1cm]{geometry}\usepackage{booktabs}
\begin{document}\input{leaderboard.tex}\end{document}
"""
