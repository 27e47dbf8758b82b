"""A suite whose rows are run as tuned and no other way: the first run tunes, the second makes the board."""

import copy
import json
from pathlib import Path

import pandas as pd
import pytest

from tiny import BOARD, RUNS, SUITE, copy_project, scheduled, snakemake, write_suite


@pytest.mark.slow
def test_tuned_rows_alone_have_a_board_under_their_own_names(tmp_path: Path) -> None:
    suite = copy.deepcopy(SUITE)
    suite["datasets"]["pydoc"]["dev_queries"] = 40
    suite |= {"tuned": "alone", "tuning": {"rates": [0.3, 1, 3], "seeds": [10, 11]}}
    copy_project(tmp_path)
    write_suite(tmp_path, suite)
    first = snakemake(tmp_path)
    assert "The same command again makes the board" in first.stdout + first.stderr
    assert not (tmp_path / RUNS).exists(), "trials leave no runs"
    tuned = json.loads((tmp_path / BOARD / "tuned.json").read_text())["datasets"]["pydoc"]
    assert set(tuned) == set(SUITE["methods"])
    assert not [path for path in scheduled(tmp_path) if path.startswith("results/trials/")]
    snakemake(tmp_path)
    board = pd.read_csv(tmp_path / BOARD / "leaderboard.csv").set_index("row")
    assert set(board.index[board["track"] != "baseline"]) == set(SUITE["methods"])
    assert not board["title"].str.contains("tuned").any()
    for row, chosen in tuned.items():
        assert json.loads(board["params"][row])["learning_rate"] == chosen["learning_rate"]
        assert f"the best of {chosen['trials']} settings" in board["adaptations"][row]
        assert "tuned" not in board["title"][row]
