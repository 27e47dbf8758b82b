"""One bad run doesn't sink the board: it stands there with its reason, and the same command tries it alone again."""

import json
from pathlib import Path

import pytest

from negmark.core.errors import DivergedError, UserError
from negmark.core.failure_record import forget, main, record, record_error, record_of, status_of
from negmark.store.failures import Failure, read_failures, record_path, with_heirs

LOG = Path("results/logs/train/tiny/mine/cet/seed-5.log")


def test_an_error_is_told_in_a_word() -> None:
    assert status_of(DivergedError("the loss is nan at step 3")) == "diverged"
    assert status_of(MemoryError()) == "out of memory"
    assert status_of(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")) == "out of memory"
    assert status_of(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")) == "out of memory"
    assert status_of(ValueError("odd")) == "failed"


@pytest.mark.parametrize(
    ("log", "record"),
    [
        ("results/logs/train/tiny/mine/cet/seed-5.log", "results/failures/tiny/mine/cet/seed-5.json"),
        ("results/logs/evaluate/tiny/mine/cet/seed-5.log", "results/failures/tiny/mine/cet/seed-5.json"),
        ("results/logs/evaluate/tiny/mine/untrained.log", None),
        ("results/logs/datasets/mine-12345678.log", None),
        ("elsewhere/train/tiny/mine/cet/seed-5.log", None),
        (None, None),
    ],
)
def test_a_record_is_named_after_the_log_of_a_row(log, record) -> None:
    assert record_of(log) == (Path(record) if record else None)


def test_what_stops_a_stage_is_recorded_where_the_board_can_do_without_it(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    record_error(ValueError("nowhere to tell"), None)
    assert list(tmp_path.iterdir()) == []
    log = "results/logs/train/tiny/mine/cet/seed-5.log"
    assert record_of(log) == record_path("tiny", "mine", "cet", 5)
    record_error(ValueError("odd\nthing"), log)
    found = read_failures("tiny", [("mine", "cet"), ("mine", "star")], [0, 5])
    assert found == [Failure(dataset="mine", row="cet", status="failed", reason="ValueError: odd thing")]
    record_error(UserError("mine.yaml: fix it"), log)
    assert read_failures("tiny", [("mine", "cet")], [5])[0].reason == "mine.yaml: fix it"
    forget(log)
    assert read_failures("tiny", [("mine", "cet")], [5]) == []


@pytest.mark.parametrize(
    ("code", "status"), [(137, "killed"), (139, "failed"), (1, "failed"), (130, None), (143, None)]
)
def test_a_run_that_could_say_nothing_is_recorded_by_its_exit_code(
    tmp_path, monkeypatch, code, status
) -> None:
    monkeypatch.chdir(tmp_path)
    path = record_of(LOG)
    with pytest.raises(SystemExit) as ended:
        main(LOG, code)
    assert ended.value.code == code
    assert (json.loads(path.read_text())["status"] if path.exists() else None) == status


def test_what_a_run_said_itself_stays_unless_it_was_killed(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = record_of(LOG)
    for code, status in ((1, "diverged"), (137, "killed")):
        record(path, "diverged", "the loss is nan")
        with pytest.raises(SystemExit):
            main(LOG, code)
        assert json.loads(path.read_text())["status"] == status


def test_heirs_of_a_failed_row_fail_with_it() -> None:
    """c starts from b, which starts from a; away is evaluated with the runs of home."""
    rows = "abc"
    needs = {("home", row): [] for row in rows} | {
        ("away", row): [(("home", row), "trained on home")] for row in rows
    }
    needs |= {
        ("home", "b"): [(("home", "a"), "starts from a")],
        ("home", "c"): [(("home", "a"), "its teacher is a"), (("home", "b"), "starts from b")],
    }
    found = with_heirs([Failure(dataset="home", row="b", status="diverged", reason="nan")], needs)
    assert {place: one.reason for place, one in found.items()} == {
        ("home", "b"): "nan", ("home", "c"): "starts from b: nan",
        ("away", "b"): "trained on home: nan", ("away", "c"): "trained on home: starts from b: nan",
    }  # fmt: skip
    assert {one.status for one in found.values()} == {"diverged"}
