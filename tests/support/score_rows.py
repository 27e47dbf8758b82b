"""Rows with given scores for each query, in memory and as files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from negmark.store.query_scores import QueryScores, Row

SLICES = np.array(["seen", "unseen", "unseen"])
TIMES = 5  # every query stands there so often: enough unseen ones to rank


CONDITIONS = {
    "loss": "info_nce", "depth": None, "steps": 300, "training_queries": 19_200, "negatives": 8, "in_batch": True,
    "temperature": 0.05, "learning_rate": 3e-4,
}  # fmt: skip
"""What rows that a claim may compare have in common."""


def row(name: str, *runs: list[float], **more: Any) -> Row:
    """A row whose runs have these scores; without seeds where it is a baseline."""
    about = {
        "title": name,
        "method": name,
        "tier": "adapter",
        "track": "controlled",
        "before": "untrained",
        **more,
    }
    about["conditions"] = {**CONDITIONS, **more.get("conditions", {})}
    baseline = about["track"] == "baseline"
    about |= {"tier": None, "method": None} if baseline else {}
    return Row(
        about, {"nDCG@10": {None if baseline else seed: np.tile(run, TIMES) for seed, run in enumerate(runs)}}
    )


def scores(*rows: Row, slices: Any = SLICES) -> QueryScores:
    return QueryScores("nDCG@10", np.tile(slices, TIMES), {row.about["title"]: row for row in rows})


def write_run(folder: Path, row: str, seed: int | None, values: list[float], queries: str = "xyz") -> None:
    place = folder / "results/runs/s/d" / row / (f"seed-{seed}" if seed is not None else "")
    place.mkdir(parents=True, exist_ok=True)
    told = dict.fromkeys(("title", "start", "summary", "paper"), row) | {"params": {}, "adaptations": []}
    kind = {"tier": "adapter", "track": "controlled", "method": row}
    kind = kind if seed is not None else {"tier": None, "track": "baseline", "method": None}
    kind |= {"conditions": CONDITIONS, "chain": [], "before": "untrained"}
    metrics = {"nDCG@10": 0.5, "RR@10": 0.5, "R@100": 0.5, "queries": 3}
    run = {
        "suite": "s",
        "dataset": "d",
        "row": row,
        "seed": seed,
        "metrics": ["nDCG@10", "RR@10", "R@100"],
        "status": "ok",
        "slices": {"all": metrics},
    }
    (place / "metrics.json").write_text(json.dumps(told | kind | run))
    columns = {
        "query": list(queries),
        "slice": SLICES.tolist(),
        "cluster": [0, 1, 1],
        "nDCG@10": values,
        "RR@10": values,
        "R@100": values,
    }
    pq.write_table(pa.table(columns), place / "per_query.parquet")
