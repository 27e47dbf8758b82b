"""W&B itself: without its server, without a key, and on a disk that is full; the run ends well each time."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_tracking import CONTENTS, RECEIPT, SECRET, runs  # noqa: F401 (a fixture)

from disks import mounted

pytestmark = pytest.mark.usefixtures("runs")
RUNS = len(CONTENTS.runs("made", "away")) + len(CONTENTS.baselines())
LOG = Path("results/logs/track.log")


def track(mode: str, key: str | None, **variables: str) -> tuple[dict, list[str]]:
    """Run the stage as the workflow does, a process of its own. Returns its receipt and what it said."""
    settings = {"mode": mode, "project": "negmark", "every": 10, "models": False}
    command = [
        sys.executable, "-m", "negmark.share.track", "--contents", CONTENTS.model_dump_json(),
        "--settings", json.dumps(settings), "--receipt", str(RECEIPT),
    ]  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = {
        **kept, **variables, "NEGMARK_LOG": str(LOG), "PYTHONPATH": str(Path(__file__).parents[2] / "workflow"),
        **({"WANDB_API_KEY": key} if key else {}),
    }  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return json.loads(RECEIPT.read_text()), done.stderr.splitlines()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def assert_warned(told: list[str]) -> None:
    assert f"warning: {RUNS} runs were not sent to W&B" in told[-1]
    assert "the local record is whole" in told[-1]
    assert f"delete {RECEIPT} and run again" in told[-1]


def record() -> dict[str, bytes]:
    """What was measured, with its bytes; what is W&B's, and the stage's own log, aside."""
    found = [path for path in Path("results").rglob("*") if path.is_file() and path not in (LOG, RECEIPT)]
    return {str(path): path.read_bytes() for path in found if "wandb" not in path.parts}


def assert_no_secret() -> None:
    holders = [path for path in Path().rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert holders == []


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


def test_a_full_disk_under_wandbs_folder_is_said_and_the_record_is_whole() -> None:
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
