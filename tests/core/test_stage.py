"""The frame around every stage: exit codes, one line on the terminal, the whole story in the log."""

import io
import os
import subprocess
import sys

import pytest

from builders import ROOT
from negmark.core import stage

SCRIPT = """
import errno, sys, warnings
from typing import Annotated
from typer import Option
from negmark.core import stage
from negmark.core.errors import UserError

def main(how: Annotated[str, Option(help="what happens")], times: Annotated[int, Option(help="how often")] = 1) -> None:
    '''Do one thing.'''
    if how == "mistake":
        raise UserError("a key\\n  is wrong")
    if how == "bug":
        {}["absent"]
    if how == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "vectors.bin")
    if how == "unreadable":
        raise PermissionError(errno.EACCES, "Permission denied", "corpus.jsonl")
    warnings.warn("watch out")
    stage.say(f"done {times}")

stage.command(main)
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)

    def call(*options, log=True):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "TERM": "dumb"}
        environment.pop("NEGMARK_LOG", None)
        if log:
            environment["NEGMARK_LOG"] = str(tmp_path / "logs" / "x.log")
        command = [sys.executable, str(tmp_path / "script.py"), *options]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)

    return call


def log_of(tmp_path) -> str:
    return (tmp_path / "logs" / "x.log").read_text()


def test_success_is_one_line_on_the_terminal_and_in_the_log(run, tmp_path):
    done = run("--how", "well", "--times", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "  done 3\n")
    assert "INFO negmark: done 3" in log_of(tmp_path)
    assert "watch out" in log_of(tmp_path)


def test_mistake_is_one_line_without_traceback(run, tmp_path):
    done = run("--how", "mistake")
    assert (done.returncode, done.stderr) == (1, "error: a key is wrong\n")
    assert "a key is wrong" in log_of(tmp_path)
    assert "Traceback" not in log_of(tmp_path)


def test_bug_is_one_line_and_its_traceback_lies_in_the_log(run, tmp_path):
    done = run("--how", "bug")
    assert done.returncode == 1
    assert done.stderr == f"error: KeyError: 'absent' (full report: {tmp_path / 'logs' / 'x.log'})\n"
    assert "Traceback" in log_of(tmp_path)
    assert "line 13, in main" in log_of(tmp_path)


def test_a_full_disk_is_one_line_wherever_it_shows(run, tmp_path):
    done = run("--how", "full")
    line = "vectors.bin: can't be written: the disk is full; make room, then the same command goes on"
    assert (done.returncode, done.stderr) == (os.EX_IOERR, f"error: {line}\n")
    assert "Traceback" not in log_of(tmp_path)


def test_what_may_not_be_read_is_no_full_disk(run):
    assert (
        "error: PermissionError: [Errno 13] Permission denied: 'corpus.jsonl'"
        in run("--how", "unreadable").stderr
    )


def test_a_log_that_cannot_be_written_is_one_line(run, tmp_path):
    (tmp_path / "logs").write_text("a file where a folder should be")
    done = run("--how", "well")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: FileExistsError")


def test_without_log_the_terminal_gets_it_once(run):
    done = run("--how", "mistake", log=False)
    assert done.returncode == 1
    assert done.stderr.count("a key is wrong") == 1
    assert "Traceback" not in done.stderr
    bug = run("--how", "bug", log=False)
    assert bug.returncode == 1
    assert bug.stderr.count("KeyError: 'absent'") == 1


def test_help_shows_the_docstring_and_each_option(run):
    done = run("--help")
    assert done.returncode == 0
    for words in ("Do one thing.", "--how", "what happens", "--times"):
        assert words in done.stdout


def test_unknown_option_is_a_usage_error(run):
    done = run("--who", "me")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_terminal_without_a_sign_shows_another(monkeypatch, encoding):
    """The board's table at the end has lines and signs that few encodings have."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # what isn't a stream of bytes stays as it is
    stage.show_any_sign()
    print("0.5 \u2500\u00b1\u5317", flush=True)
    assert written.getvalue().startswith(b"0.5 ")
