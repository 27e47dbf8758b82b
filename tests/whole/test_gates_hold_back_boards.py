"""A board waits for its gates, and there is none where a gate fails."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from furnished import BM25, DENSE, small
from tiny import BOARD, snakemake, write_suite


@pytest.fixture
def exact(project: Path) -> dict[str, dict[str, Any]]:
    """The gates with the values that were found in the place of those published; the board is not made yet."""
    for path in (project / BOARD).glob("leaderboard.*"):
        path.unlink()
    found = pd.read_csv(project / BOARD / "gates.csv").set_index("gate")["found"]
    gates = {"words": BM25, "vectors": DENSE}
    return {name: {**gate, "expected": float(found[name]), "tolerance": 1e-6} for name, gate in gates.items()}


def test_gates_that_hold_are_told_with_the_board(finished: Path, failed: Path) -> None:
    assert "gates: all 2 hold" in (failed / "terminal.txt").read_text()
    assert pd.read_csv(finished / BOARD / "gates.csv")["holds"].all()


def test_a_gate_that_fails_leaves_no_board(project: Path, exact: dict[str, dict[str, Any]]) -> None:
    broken = {**exact, "vectors": {**exact["vectors"], "expected": exact["vectors"]["expected"] - 0.02}}
    write_suite(project, {**small(), "gates": broken})
    done = snakemake(project, f"{BOARD}/leaderboard.html", check=False)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in text
    rows = [line.split() for line in text.splitlines() if line.startswith(("words  ", "vectors  "))]
    assert {row[0]: row[-1] for row in rows} == {"words": "yes", "vectors": "NO"}
    assert "error: gates: 1 of 2 fail (vectors)" in text
    assert not (project / BOARD / "leaderboard.html").exists()


def test_a_board_is_made_where_all_hold(project: Path, exact: dict[str, dict[str, Any]]) -> None:
    write_suite(project, {**small(), "gates": exact})
    snakemake(project, "gates")
    assert pd.read_csv(project / BOARD / "gates.csv")["holds"].all()
    assert not (project / BOARD / "leaderboard.html").exists()
    snakemake(project, f"{BOARD}/leaderboard.html")
    assert (project / BOARD / "leaderboard.html").is_file()
