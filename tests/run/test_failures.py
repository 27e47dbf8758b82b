"""One bad run doesn't sink the board: it stands there with its reason, and the same command tries it alone again."""

import copy
import json
from pathlib import Path

import pandas as pd
import pytest

from negmark.core.errors import DivergedError, UserError
from negmark.core.failure_record import main, record, record_error, status_of
from negmark.store.failures import Failure, read_failures, record_path, with_heirs
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


def test_an_error_is_told_in_a_word() -> None:
    assert status_of(DivergedError("the loss is nan at step 3")) == "diverged"
    assert status_of(MemoryError()) == "out of memory"
    assert status_of(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")) == "out of memory"
    assert status_of(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")) == "out of memory"
    assert status_of(ValueError("odd")) == "failed"


def test_what_stops_a_stage_is_recorded_where_asked_for(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    record_error(ValueError("nowhere to tell"))
    assert list(tmp_path.iterdir()) == []
    path = record_path("tiny", "mine", "cet", 5)
    monkeypatch.setenv("NEGMARK_FAILURE", str(path))
    record_error(ValueError("odd\nthing"))
    found = read_failures("tiny", [("mine", "cet"), ("mine", "star")], [0, 5])
    assert found == [Failure(dataset="mine", method="cet", status="failed", reason="ValueError: odd thing")]
    record_error(UserError("mine.yaml: mend it"))
    assert read_failures("tiny", [("mine", "cet")], [5])[0].reason == "mine.yaml: mend it"


@pytest.mark.parametrize(
    ("code", "status"), [(137, "killed"), (139, "failed"), (1, "failed"), (130, None), (143, None)]
)
def test_a_run_that_could_say_nothing_is_recorded_by_its_exit_code(tmp_path, code, status) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(SystemExit) as ended:
        main(path, code)
    assert ended.value.code == code
    assert (json.loads(path.read_text())["status"] if path.exists() else None) == status


def test_what_a_run_said_itself_stays_unless_it_was_killed(tmp_path) -> None:
    path = tmp_path / "record.json"
    for code, status in ((1, "diverged"), (137, "killed")):
        record(path, "diverged", "the loss is nan")
        with pytest.raises(SystemExit):
            main(path, code)
        assert json.loads(path.read_text())["status"] == status


def test_heirs_of_a_failed_row_fail_with_it() -> None:
    """c starts from b, which starts from a; away is evaluated with the runs of home."""
    rows = "abc"
    needs = {("home", row): None for row in rows} | {
        ("away", row): (("home", row), "trained on home") for row in rows
    }
    needs |= {
        ("home", "b"): (("home", "a"), "starts from a"),
        ("home", "c"): (("home", "b"), "starts from b"),
    }
    found = with_heirs([Failure(dataset="home", method="b", status="diverged", reason="nan")], needs)
    assert {place: one.reason for place, one in found.items()} == {
        ("home", "b"): "nan", ("home", "c"): "starts from b: nan",
        ("away", "b"): "trained on home: nan", ("away", "c"): "trained on home: starts from b: nan",
    }  # fmt: skip
    assert {one.status for one in found.values()} == {"diverged"}


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
    board = pd.read_csv(project / BOARD / "leaderboard.csv").set_index(["dataset", "method"])
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
