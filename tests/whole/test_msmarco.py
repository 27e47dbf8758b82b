"""config/msmarco.yaml over small real slices of MS MARCO, with smaller numbers and nothing else changed."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from negmark.core.folders import local_data
from tiny import ROOT, copy_project, scheduled, snakemake, write_suite

CONFIG = ROOT / "config" / "msmarco.yaml"
SMALL = {
    "gpu": False,
    "encoder": {
        "model": "sentence-transformers/paraphrase-MiniLM-L3-v2", "query_length": 16, "document_length": 32,
        "dtype": "float32",
    },
    "finetune": {
        "steps": 12, "batch_size": 8, "negatives": 4, "precision": "float32", "checkpoint_steps": 6,
    },
    "shards": {"encode": 2, "documents": 2, "queries": 2},
    "methods": {
        "simans_paper": {"refresh_steps": 6, "budget": {"steps": 16, "batch_size": 8, "negatives": 5}},
        "star_paper": {"budget": {"steps": 16, "batch_size": 8}},
        "adore_paper": {"budget": {"steps": 16, "batch_size": 8}},
        "cet_as_bi_encoder": {"budget": {"steps": 16, "batch_size": 8}},
        "ance_paper": {"refresh_steps": 6, "budget": {"batch_size": 8}},
        "adore": {"refresh_steps": 6},
    },
    "seeds": [0],
    "tracking": {"mode": "disabled"},
}  # fmt: skip


def updated(base: Any, changes: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{key: updated(base.get(key), value) for key, value in changes.items()}}


def suite() -> dict[str, Any]:
    return yaml.safe_load(CONFIG.read_text(encoding="utf-8"))


def test_every_rule_of_the_whole_suite_can_be_planned(tmp_path: Path) -> None:
    copy_project(tmp_path)
    write_suite(tmp_path, suite())
    made = scheduled(tmp_path)
    rows, seeds = suite()["methods"], suite()["seeds"]
    models = {path for path in made if path.endswith("model.safetensors")}
    assert len(models) == len(rows) * len(seeds)
    assert sum("/parts/" in path for path in made) == 2 * 16
    assert sum("/dense-parts/" in path for path in made) == 4 * 8


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_it_runs_over_real_slices(tmp_path: Path) -> None:
    data = local_data()
    if data is None or not (data / "msmarco-devpos").is_dir():
        pytest.skip("NEGMARK_DATA names no folder with slices of MS MARCO")
    copy_project(tmp_path)
    sources = {
        "msmarco": {
            "source": str(data / "msmarco-devpos"),
            "test_split": "test",
            "train_queries": 400,
            "documents": 2_000,
        },
        "dl19": {"source": str(data / "msmarco-dl"), "documents": 4_200},
    }
    small = updated(suite(), {**SMALL, "datasets": sources})
    write_suite(tmp_path, small)
    snakemake(tmp_path, seconds=2900)
    board = pd.read_csv(tmp_path / "results/leaderboards/msmarco/leaderboard.csv")
    assert set(board["dataset"]) == {"msmarco", "dl19"}
    assert len(board) == 2 * (len(small["methods"]) + 2)
    assert board["RR@10/all/mean"].between(0.05, 1).all()
    paper = board[board["row"] == "simans_paper"].iloc[0]
    assert paper["track"] == "faithful"
    assert "trained with a budget of its own: steps 16, batch size 8, negatives 5" in paper["adaptations"]
    assert scheduled(tmp_path) == set()
