"""What stopped a run, recorded beside the results so that the others still make a board.

As a program, it records a run that had no time to say so itself:
`python -m negmark.core.failure_record RECORD EXIT_CODE`."""

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from negmark.core.errors import DivergedError, UnwritableError, UserError
from negmark.core.files import write_json

RECORD_VARIABLE = "NEGMARK_FAILURE"


DIVERGED, OUT_OF_MEMORY, KILLED, FAILED = "diverged", "out of memory", "killed", "failed"


UNWRITABLE = os.EX_IOERR


STOPPED = {130, 143, UNWRITABLE}
"""Exit codes of a process that its user, the machine going down, or a full disk stopped: no fault of the run."""


SIGKILL = 137


NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")


def status_of(error: BaseException) -> str:
    """Return in a word what an error says of a run."""
    if isinstance(error, DivergedError):
        return DIVERGED
    told = str(error).lower()
    ran_out = isinstance(error, MemoryError) or any(words in told for words in NO_MEMORY)
    return OUT_OF_MEMORY if ran_out else FAILED


def record(path: Path, status: str, reason: str) -> None:
    """Leave a record of a failure."""
    write_json(path, {"status": status, "reason": " ".join(reason.split())})


def record_error(error: BaseException) -> int:
    """Leave a record of what stopped this process, where the workflow has named a place for it.

    Returns the exit code. A disk that can't be written is no fault of the run, and isn't recorded.
    """
    if isinstance(error, UnwritableError):
        return UNWRITABLE
    if path := os.environ.get(RECORD_VARIABLE):
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        with contextlib.suppress(UnwritableError):
            record(Path(path), status_of(error), f"{kind}{error}")
    return 1


def main(
    path: Annotated[Path, Argument(help="the record")],
    code: Annotated[int, Argument(help="exit code of the run")],
) -> None:
    """Record how a run ended that had no time to say so itself; ends with the run's exit code."""
    if code == SIGKILL:
        record(path, KILLED, "it was killed from outside (SIGKILL), most often because memory ran out")
    elif code not in STOPPED and not path.is_file():
        record(path, FAILED, f"it ended with exit code {code}, without a word; its log may say more")
    raise SystemExit(code)


if __name__ == "__main__":
    typer.run(main)
