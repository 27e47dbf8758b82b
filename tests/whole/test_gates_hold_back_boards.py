"""A board waits for its gates, and there is none where a gate fails."""

from pathlib import Path

import pandas as pd
import pytest

from tiny import SUITE, copy_project, reported, snakemake, write_suite


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gates")
    copy_project(folder)
    return folder


BOARD = "results/leaderboards/tiny"


BM25 = {
    "dataset": "pydoc", "system": "bm25_search", "metric": "nDCG@10", "expected": 0.5, "tolerance": 0.01,
    "tokenizer": "words", "k1": 1.2, "b": 0.75, "fields": "title and text", "self_ids": "left out",
    "source": "a paper", "note": "",
}  # fmt: skip


DENSE = {
    **{key: value for key, value in BM25.items() if key not in ("k1", "b")},
    "system": "untrained",
    "length": 32,
}


TINY = {**SUITE, "encoder": {**SUITE["encoder"], "query_length": 32}, "methods": {}}


def test_a_board_waits_for_its_gates(project: Path) -> None:
    """A suite without training measures; with these values as published it passes; with another it has no board."""
    loose = {"bm25": {**BM25, "tolerance": 0.99}, "dense": {**DENSE, "tolerance": 0.99}}
    write_suite(project, {**TINY, "gates": loose})
    told = snakemake(project)
    assert "gates: all 2 hold" in told.stdout + told.stderr
    table = pd.read_csv(project / BOARD / "gates.csv").set_index("gate")
    assert (project / BOARD / "cards" / "pydoc.md").is_file()
    assert not list(project.glob("results/**/model.safetensors"))

    exact = {name: {**gate, "expected": float(table.loc[name, "found"]), "tolerance": 1e-6}
             for name, gate in (("bm25", BM25), ("dense", DENSE))}  # fmt: skip
    methods = {"random": None}
    broken = {**exact, "dense": {**exact["dense"], "expected": exact["dense"]["expected"] - 0.02}}
    write_suite(project, {**TINY, "methods": methods, "seeds": [0], "gates": broken})
    done = snakemake(project, check=False)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in text
    assert [line.split()[-1] for line in text.splitlines() if line.startswith(("bm25  ", "dense  "))] == [
        "yes",
        "NO",
    ]
    assert "error: gates: 1 of 2 fail (dense)" in text
    assert not (project / BOARD / "leaderboard.html").exists()

    write_suite(project, {**TINY, "methods": methods, "seeds": [0], "gates": exact})
    snakemake(project, "gates")
    assert pd.read_csv(project / BOARD / "gates.csv")["holds"].all()
    snakemake(project)
    assert (project / BOARD / "leaderboard.html").is_file()
    names, page = reported(project)
    assert {"gates.csv", "gates.md", "leaderboard.html"} <= names
    assert "beside their published values" in page
