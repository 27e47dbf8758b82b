"""Rows that go wrong, each in its way, don't sink the board, and the same command tries them alone again."""

import json
from pathlib import Path

import pandas as pd

from furnished import BAD, GOOD, TUNED
from tiny import BOARD


def test_the_other_rows_are_complete_and_the_failed_ones_say_why(failed: Path) -> None:
    assert (failed / "code.txt").read_text() == "1"
    board = pd.read_csv(failed / BOARD / "leaderboard.csv").set_index(["dataset", "row"])
    for dataset in ("pydoc", "again"):
        rows = board.loc[dataset]
        good = rows[rows["status"] == "ok"]
        assert set(good.index) == {*GOOD, *TUNED, "untrained", "bm25_search"}
        assert good["nDCG@10/all/mean"].between(0.05, 1).all()
        bad = rows[rows["status"] != "ok"]
        assert bad["status"].to_dict() == {
            "raises": "failed", "diverges": "diverged", "killed": "killed", "greedy": "out of memory",
            "heir": "diverged",
        }  # fmt: skip
        assert bad["nDCG@10/all/mean"].isna().all()
        reasons = "nothing to divide by|loss is nan|SIGKILL|no room for 1 TiB"
        assert bad["reason"].str.contains(reasons).all()
    for name in ("leaderboard.md", "leaderboard.html", "leaderboard.tex", "summary.txt"):
        text = (failed / BOARD / name).read_text()
        assert "nothing to divide by" in text
        assert "starts from diverges" in " ".join(text.split())
    manifest = json.loads((failed / BOARD / "manifest.json").read_text())
    assert "pydoc/simans" in manifest["rows"]
    assert "pydoc/killed" not in manifest["rows"]


def test_the_terminal_says_what_failed_and_shows_the_board(failed: Path) -> None:
    text = (failed / "terminal.txt").read_text()
    assert "pydoc: diverges: diverged: diverges: the loss is nan at step 3" in text
    assert "Traceback" not in text
    assert f"{(failed / 'place.txt').read_text()}/{BOARD}/leaderboard.html" in text


def test_the_same_command_makes_the_board_whole_once_they_go_right(finished: Path) -> None:
    assert "without" not in (finished / "terminal.txt").read_text().lower()
    board = pd.read_csv(finished / BOARD / "leaderboard.csv")
    assert (board["status"] == "ok").all()
    rows = len({*GOOD, *BAD, "heir", *TUNED})
    assert (board["dataset"].value_counts().loc[["pydoc", "again"]] == rows + 2).all()
    assert not list((finished / "results" / "failures").rglob("*.json"))
