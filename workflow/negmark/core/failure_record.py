"""What stopped a run, recorded beside the results so that the other runs still make a board.

As a program, it records a run that could not do so itself:
`python -m negmark.core.failure_record LOG EXIT_CODE`.
"""

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from negmark.core.errors import DivergedError, UnwritableError, UserError
from negmark.core.files import write_json

LOGS, FOLDER = Path("results/logs"), Path("results/failures")
STAGES = ("train", "evaluate")
"""Stages whose jobs belong to one row, which the board can do without."""


DIVERGED, OUT_OF_MEMORY, KILLED, FAILED = "diverged", "out of memory", "killed", "failed"


UNWRITABLE = os.EX_IOERR


STOPPED = {130, 143, UNWRITABLE}
"""Exit codes of a process stopped by its user, a shutdown or a full disk: not the fault of the run."""


SIGKILL = 137


NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")


def record_of(log: str | Path | None) -> Path | None:
    """Return where a failure of the job with this log is recorded; None if the board can't do without the job.

    The record is named after the log: a parameter would re-run what another job has made already.
    """
    if log is None or not Path(log).is_relative_to(LOGS):
        return None
    stage, *place = Path(log).relative_to(LOGS).parts
    return FOLDER.joinpath(*place).with_suffix(".json") if stage in STAGES and len(place) == 4 else None


def forget(log: str | None) -> None:
    """Remove the record of an earlier failure when its job starts."""
    if path := record_of(log):
        path.unlink(missing_ok=True)


def status_of(error: BaseException) -> str:
    """Return the status that an error gives a run."""
    if isinstance(error, DivergedError):
        return DIVERGED
    message = str(error).lower()
    ran_out = isinstance(error, MemoryError) or any(words in message for words in NO_MEMORY)
    return OUT_OF_MEMORY if ran_out else FAILED


def record(path: Path, status: str, reason: str) -> None:
    """Write the record of a failure."""
    write_json(path, {"status": status, "reason": " ".join(reason.split())})


def record_error(error: BaseException, log: str | None) -> int:
    """Record what stopped the job with this log, if the board can do without it.

    Returns the exit code. A disk that can't be written is not the run's fault and isn't recorded.
    """
    if isinstance(error, UnwritableError):
        return UNWRITABLE
    if path := record_of(log):
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        with contextlib.suppress(UnwritableError):
            record(path, status_of(error), f"{kind}{error}")
    return 1


def main(
    log: Annotated[Path, Argument(help="log of the job that ended")],
    code: Annotated[int, Argument(help="exit code of the run")],
) -> None:
    """Record how a run ended that had no time to say so itself; ends with the run's exit code."""
    path = record_of(log)
    assert path is not None
    if code == SIGKILL:
        record(path, KILLED, "it was killed from outside (SIGKILL), most often because memory ran out")
    elif code not in STOPPED and not path.is_file():
        record(path, FAILED, f"it ended with exit code {code}, without a word; its log may say more")
    raise SystemExit(code)


if __name__ == "__main__":
    typer.run(main)
