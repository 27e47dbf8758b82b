"""Runs and a board as they are handed to W&B, and the reader of its records."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from negmark.store.contents import Contents

SECRET = "planted-secret-1234567890abcdef1234567890"

CONTENTS = Contents(
    suite="s", cards={"made": "card.json", "away": "other.json"}, rows=["random"], seeds=[0, 1],
    sentences=["away"], homes={"away": "made"},
)  # fmt: skip

RUNS = CONTENTS.runs("made")
EVALUATED = [*CONTENTS.runs("away"), *CONTENTS.baselines()]
RECEIPT = Path("results/tracking/s.json")
BOARD = Path("results/leaderboards/s")
TABLE = """dataset,rank,row,seeds,nDCG@10/unseen/mean,train_seconds,paper
made,1,random,2,0.25,1.625,"Somebody, 2020"
made,,untrained,,0.125,,
"""


def write_tracked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Write two trained runs of 25 steps, what was evaluated elsewhere, baselines and a board, and go there."""
    monkeypatch.chdir(folder)
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_DISABLED", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, "")  # so that what a test leaves is taken away again
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("HOME", str(folder))
    for seed, run in enumerate(RUNS):
        about = {"suite": "s", "dataset": "made", "row": "random", "seed": seed, "training": {"steps": 25}}
        manifest = {
            "run": about,
            "cost": {"training": {"wall_seconds": 1.625}},
            "counters": {"query_vectors": 400},
        }
        write(run / "manifest.json", manifest)
        write_metrics(run, {"dataset": "made", "row": "random", "seed": seed}, 0.25)
        history = {
            "step": list(range(25)),
            "loss": [1 / (step + 2) for step in range(25)],
            "negative_score": [None] * 25,
        }
        pq.write_table(pa.table(history), run / "history.parquet")
        kinds = ["positive"] * 4 + ["negative"] * 2
        scores = {
            "step": np.repeat(np.array([0, 24], np.int32), 6),
            "kind": kinds * 2,
            "score": np.array([0, 0, 0, 64, 1, 2, 5, 5, 5, 5, np.nan, np.nan], np.float32),
        }
        pq.write_table(pa.table(scores), run / "scores.parquet")
        (run / "model.safetensors").write_bytes(b"weights of %d" % seed)
    for run in CONTENTS.runs("away"):
        seed = int(run.name[-1])
        write_metrics(run, {"dataset": "away", "row": "random", "seed": seed, "trained_on": "made"}, 0.0625)
    for run in CONTENTS.baselines():
        write_metrics(run, {"dataset": run.parent.name, "row": run.name, "seed": None}, 0.125)
    BOARD.mkdir(parents=True)
    (BOARD / "leaderboard.csv").write_text(TABLE)
    (BOARD / "leaderboard.html").write_text("<p>the board</p>")
    return RUNS


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_metrics(run: Path, about: dict[str, Any], value: float) -> None:
    slices = {"all": {"queries": 3, "nDCG@10": 0.578125}, "unseen": {"queries": 2, "nDCG@10": value}}
    write(run / "metrics.json", {"suite": "s", **about, "status": "ok", "slices": slices})


def read(entry: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The records of an offline run by their type, as W&B's own reader gives them."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", entry["folder"]]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found: dict[str, list[dict[str, Any]]] = {}
    for line in told.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found
