"""Rows that go wrong, each in its way, don't sink the board, and the same command tries them alone again."""

import copy
import json
from pathlib import Path

import pandas as pd
import pytest

from tiny import SUITE, copy_project, scheduled, snakemake, write_suite

BOARD = Path("results/leaderboards/tiny")


BAD = {
    "raises": 'raise ZeroDivisionError("nothing to divide by")',
    "diverges": "pass",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "greedy": 'raise MemoryError("no room for 1 TiB")',
}


METHOD = '''"""A method that goes wrong at step 3, in one of several ways."""

import os
import signal

import torch
from negmark.methods.base import Batch, Negatives, Step
from negmark.methods.inbatch import InBatch


class {name}(InBatch):
    """Goes wrong on purpose."""

    name = "{row}"
    title = "{name}"
    claims = ()

    def loss(self, step: Step) -> torch.Tensor:
        """Return the usual loss, until it is too late."""
        found = super().loss(step)
        if step.batch.step == 3 and not os.path.exists("healed"):
            {fault}
            return found * float("nan")
        return found
'''


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of two datasets, on which four rows go wrong and one starts from one of them, run once."""
    folder = tmp_path_factory.mktemp("project")
    copy_project(folder)
    for row, fault in BAD.items():
        text = METHOD.format(name=row.capitalize(), row=row, fault=fault)
        (folder / "methods" / f"{row}.py").write_text(text)
    suite = copy.deepcopy(SUITE)
    suite["datasets"]["away"] = {"source": "./pydoc", "trained_on": "pydoc"}
    suite["methods"] |= dict.fromkeys(BAD) | {"heir": {"method": "simans", "start": "diverges"}}
    write_suite(folder, suite)
    done = snakemake(folder, "--keep-going", check=False)
    (folder / "terminal.txt").write_text(done.stdout + done.stderr)
    (folder / "code.txt").write_text(str(done.returncode))
    return folder


def test_the_other_rows_are_complete_and_the_failed_ones_say_why(project: Path) -> None:
    assert (project / "code.txt").read_text() == "1"
    board = pd.read_csv(project / BOARD / "leaderboard.csv").set_index(["dataset", "row"])
    for dataset in ("pydoc", "away"):
        rows = board.loc[dataset]
        good = rows[rows["status"] == "ok"]
        assert set(good.index) == {"inbatch", "random", "simans", "untrained", "bm25_search"}
        assert good["nDCG@10/all/mean"].between(0.05, 1).all()
        failed = rows[rows["status"] != "ok"]
        assert failed["status"].to_dict() == {
            "raises": "failed", "diverges": "diverged", "killed": "killed", "greedy": "out of memory",
            "heir": "diverged",
        }  # fmt: skip
        assert failed["nDCG@10/all/mean"].isna().all()
        assert (
            failed["reason"].str.contains("nothing to divide by|loss is nan|SIGKILL|no room for 1 TiB").all()
        )
    for name in ("leaderboard.md", "leaderboard.html", "leaderboard.tex", "summary.txt"):
        text = (project / BOARD / name).read_text()
        assert "nothing to divide by" in text
        assert "starts from diverges" in " ".join(text.split())
    manifest = json.loads((project / BOARD / "manifest.json").read_text())
    assert "pydoc/simans" in manifest["rows"]
    assert "pydoc/killed" not in manifest["rows"]


def test_the_terminal_says_what_failed_and_shows_the_board(project: Path) -> None:
    text = (project / "terminal.txt").read_text()
    assert "pydoc: diverges: diverged: diverges: the loss is nan at step 3" in text
    assert "Traceback" not in text
    assert (project / BOARD / "leaderboard.html").as_uri() in text


def test_the_same_command_tries_the_failed_ones_alone(project: Path) -> None:
    made = {path for path in scheduled(project) if "/runs/" in path}
    assert {path.split("/")[4] for path in made} == {*BAD, "heir"}
    (project / "healed").touch()
    done = snakemake(project)
    assert "without" not in done.stdout.lower()
    board = pd.read_csv(project / BOARD / "leaderboard.csv")
    assert (board["status"] == "ok").all()
    assert len(board) == 2 * (3 + len(BAD) + 1 + 2)
    assert not list((project / "results" / "failures").rglob("*.json"))
