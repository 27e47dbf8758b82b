"""W&B on a disk that is full: it is said, and the record is whole."""

from pathlib import Path

import pytest

from disks import mounted
from tracked_runs import SECRET, write_tracked
from tracked_stage import RUNS, assert_no_secret, assert_warned, record, track


def test_a_full_disk_under_wandbs_folder_is_said_and_the_record_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tracked(tmp_path, monkeypatch)
    before = record()
    with mounted(Path("results/wandb"), 1 << 20) as disk:
        disk.fill()
        receipt, told = track("offline", SECRET)
        assert [entry["sent"] for entry in receipt["runs"]] == [False] * RUNS
        assert_warned(told)
        assert "the disk is full" in told[-1]
        assert record() == before
        disk.empty()
        again, _ = track("offline", SECRET)
        assert [entry["sent"] for entry in again["runs"]] == [True] * RUNS
    assert_no_secret()
