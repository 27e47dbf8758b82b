"""W&B itself: without its server, without a key, and on a disk that is full; the run ends well each time."""

import socket
import time
from pathlib import Path

import pytest

from tracked_runs import SECRET
from tracked_stage import RUNS, assert_no_secret, assert_warned, record, track

pytestmark = pytest.mark.usefixtures("runs")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_server_that_is_not_there_is_given_up_and_said() -> None:
    before, began = record(), time.monotonic()
    receipt, told = track("online", SECRET, WANDB_BASE_URL=f"http://127.0.0.1:{free_port()}")
    assert [entry["sent"] for entry in receipt["runs"]] == [False] * RUNS
    assert_warned(told)
    assert time.monotonic() - began < 200  # three tries of W&B's own limit, and no more
    assert record() == before
    assert_no_secret()


def test_a_missing_key_is_said_at_once(tmp_path: Path) -> None:
    before, began = record(), time.monotonic()
    receipt, told = track("online", None, HOME=str(tmp_path / "nobody"), NETRC=str(tmp_path / "none"))
    assert [entry["sent"] for entry in receipt["runs"]] == [False] * RUNS
    assert_warned(told)
    assert "wandb login" in told[-1]
    assert time.monotonic() - began < 60
    assert record() == before
