"""Advice on a user's collection, from one line of config to the file of negatives."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tiny import copy_project, snakemake


@pytest.mark.slow
def test_one_line_of_config_gives_a_page_and_a_file_and_the_same_command_makes_nothing_anew(
    tmp_path: Path,
) -> None:
    copy_project(tmp_path)
    (tmp_path / "pydoc" / "qrels" / "test.tsv").unlink()  # as a user has it who knows of no splits
    shutil.make_archive(str(tmp_path / "notes"), "zip", tmp_path, "pydoc")
    (tmp_path / "mine.yaml").write_text(
        "datasets: notes.zip\nmethods: {inbatch: , random: , dense_uniform: {top: 20}}\n"
        "advise: {minutes: 0.1, file: bge.jsonl}\n"
        "static: {steps: 20}\nseeds: [0, 1]\n"
    )
    said = snakemake(tmp_path, "advise", config="mine.yaml")
    text = said.stdout + said.stderr
    folder = tmp_path / "results/advice/advice-notes"
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["config"]["datasets"]["notes"]["test_queries"] > 0
    assert any("a test split was made" in one for one in plan["left_out"])
    assert "On notes: " in text
    assert "The smallest comparison takes longer than it was given" in text
    page = (folder / "advice.html").read_text()
    (file,) = (tmp_path / "results/negatives/advice-notes/notes").glob("*/seed-0/bge.jsonl")
    assert f"../../../{file.relative_to(tmp_path)}" in page
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines
    assert all(line["query"] and line["pos"] and line["neg"] for line in lines)
    board = pd.read_csv(tmp_path / "results/leaderboards/advice-notes/leaderboard.csv")
    assert set(board["row"]) >= {"inbatch", "random", "dense_uniform"}
    model = next((tmp_path / "results/runs/advice-notes").rglob("model.safetensors"))
    before = model.stat().st_mtime_ns
    snakemake(tmp_path, "advise", config="mine.yaml")
    assert model.stat().st_mtime_ns == before
