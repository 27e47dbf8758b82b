"""One run a folder, told in a line; no lock outlives its holder, and no job its run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builders import ROOT
from negmark.core.run_lock import RUN_VARIABLE

HOLD = """
import subprocess, sys, time
from pathlib import Path
from negmark.core.errors import UserError
from negmark.core.run_lock import hold_folder
try:
    hold_folder(Path("folder.lock"))
except UserError as error:
    sys.exit(f"error: {error}")
if "job" in sys.argv:
    subprocess.Popen(["bash", "-c", sys.executable + " job.py; true"])  # with a shell between, as Snakemake has it
print("held", flush=True)
time.sleep(60)
"""
JOB = """
import os, time
from pathlib import Path
from negmark.core.run_lock import end_with_the_run
end_with_the_run()
Path("job.pid").write_text(str(os.getpid()))
time.sleep(60)
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a script in the folder; those that still run at the end are killed."""
    (tmp_path / "hold.py").write_text(HOLD)
    (tmp_path / "job.py").write_text(JOB)
    started: list[subprocess.Popen[str]] = []

    def call(script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), **variables}
        child = subprocess.Popen(
            [sys.executable, script, *arguments], cwd=tmp_path, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(child)
        return child

    yield call
    for child in started:
        child.kill()
        child.communicate()


def held(child: subprocess.Popen[str]) -> bool:
    assert child.stdout is not None
    return child.stdout.readline() == "held\n"


def running(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def test_a_second_run_is_refused_in_one_line_and_the_first_goes_on(start: Start) -> None:
    first = start("hold.py")
    assert held(first)
    second = start("hold.py")
    told = second.communicate(timeout=60)
    assert second.returncode == 1
    assert told[0] == ""
    assert told[1].count("\n") == 1
    assert told[1].startswith(f"error: folder.lock: process {first.pid} on ")
    assert told[1].endswith("works in this folder; wait until it has ended, or end it. Nothing was done\n")
    assert first.poll() is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nobody_has_to_unlock_after_a_kill(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    first = start("hold.py")
    assert held(first)
    first.send_signal(number)
    assert held(start("hold.py"))
    assert (tmp_path / "folder.lock").is_file()


def test_a_job_ends_with_its_run_and_not_before(start: Start, tmp_path: Path) -> None:
    run = start("hold.py", "job")
    assert held(run)
    file = tmp_path / "job.pid"
    assert within(60, lambda: file.exists() and file.read_text() != "")
    job = int(file.read_text())
    time.sleep(0.5)
    assert running(job)
    run.kill()  # and not its job
    assert within(10, lambda: not running(job))
    assert held(start("hold.py")), "the next run need not wait for anything"


def test_a_job_that_starts_after_its_run_was_killed_ends(start: Start, tmp_path: Path) -> None:
    run = start("hold.py")
    assert held(run)
    run.kill()
    run.wait()
    about = f"{os.uname().nodename}:{run.pid}:{tmp_path / 'folder.lock'}"
    job = start("job.py", **{RUN_VARIABLE: about})
    assert job.wait(timeout=30) == -signal.SIGKILL


def test_a_job_of_a_run_on_another_machine_is_left_alone(start: Start, tmp_path: Path) -> None:
    run = start("hold.py")
    assert held(run)
    job = start("job.py", **{RUN_VARIABLE: f"elsewhere:{run.pid}:{tmp_path / 'folder.lock'}"})
    assert within(60, (tmp_path / "job.pid").exists)
    run.kill()
    time.sleep(1)
    assert job.poll() is None


def test_a_snakemake_that_is_a_job_of_the_run_goes_along(start: Start, tmp_path: Path) -> None:
    run = start("hold.py")
    assert held(run)
    about = f"{os.uname().nodename}:{run.pid}:{tmp_path / 'folder.lock'}"
    inner = start("hold.py", **{RUN_VARIABLE: about})
    assert held(inner)
    run.kill()
    assert inner.wait(timeout=30) == -signal.SIGKILL


def test_a_lock_that_cannot_be_written_is_told_in_one_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "folder.lock").mkdir()
    run = start("hold.py")
    assert run.communicate(timeout=60)[1] == (
        "error: folder.lock: can't be written: Is a directory; check the disk, then the same command goes on\n"
    )
    assert run.returncode == 1
