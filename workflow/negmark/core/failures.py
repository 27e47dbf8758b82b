"""What became of runs that failed: a record each, so that the others make a board and it says why a row is missing.

Snakemake knows no board with a hole in it, so a suite whose runs failed is planned once more without them
(`go_on_without`); the command as a whole ends with an error all the same. A run forgets its record when it
begins, so the same command again tries the failed ones and no others.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel
from typer import Argument

from negmark.core.errors import DivergedError, UnwritableError, UserError
from negmark.core.files import read_json, write_json

FOLDER = Path("results/failures")
RECORD_VARIABLE = "NEGMARK_FAILURE"
PARTIAL_VARIABLE = "NEGMARK_PARTIAL"
OK = "ok"
DIVERGED, OUT_OF_MEMORY, KILLED, FAILED = "diverged", "out of memory", "killed", "failed"
UNWRITABLE = os.EX_IOERR
STOPPED = {130, 143, UNWRITABLE}
"""Exit codes of a process that its user, the machine going down, or a full disk stopped: no fault of the run."""
SIGKILL = 137
NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")


Place = tuple[str, str]
"""A dataset and a row."""


class Failure(BaseModel):
    """A row of the board that has no numbers, and why."""

    dataset: str
    method: str
    status: str
    reason: str


class FailedRow(Failure):
    """A failure with what the board calls the row."""

    title: str
    tier: str
    track: str


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


def record_path(suite: str, dataset: str, method: str, seed: int) -> Path:
    """Return where the record of a job lies, which is named after its first seed."""
    return FOLDER / suite / dataset / method / f"seed-{seed}.json"


def read_failures(suite: str, rows: Iterable[tuple[str, str]], seeds: Iterable[int]) -> list[Failure]:
    """Return the recorded failures of these (dataset, method) rows; `seeds` are the first ones of the jobs."""
    found = []
    firsts = list(seeds)
    for dataset, method in rows:
        paths = [record_path(suite, dataset, method, seed) for seed in firsts]
        if path := next((path for path in paths if path.is_file()), None):
            found.append(Failure(dataset=dataset, method=method, **read_json(path)))
    return found


def with_heirs(
    found: Iterable[Failure], needs: Mapping[Place, tuple[Place, str] | None]
) -> dict[Place, Failure]:
    """Return failures by place, and with them the rows that need the runs of a failed one: those of `needs`."""
    known = {(one.dataset, one.method): one for one in found}
    grows = True
    while grows:
        heirs = {
            place: Failure(
                dataset=place[0],
                method=place[1],
                status=known[need[0]].status,
                reason=f"{need[1]}: {known[need[0]].reason}",
            )
            for place, need in needs.items()
            if place not in known and need and need[0] in known
        }
        known |= heirs
        grows = bool(heirs)
    return known


def is_partial() -> bool:
    """Say if this is the second plan, without the runs that failed."""
    return PARTIAL_VARIABLE in os.environ


def go_on_without(failed: list[Failure]) -> None:
    """Run the same command again without the rows that failed, so that the others stand on a board.

    Called when Snakemake has ended with an error; does nothing where no run is recorded as failed, and nothing in the
    second plan.
    """
    if is_partial() or not failed:
        return
    print("\nFailed runs, which the board is made without now, and the same command again will try:")
    for one in failed:
        print(f"  {one.dataset}: {one.method}: {one.status}: {one.reason}")
    print(flush=True)
    command = [sys.executable, "-m", "snakemake", *sys.argv[1:], "--nolock"]
    subprocess.run(command, env={**os.environ, PARTIAL_VARIABLE: "1"}, check=False)


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
    from negmark.core import stage  # which records by this module what stops a stage

    stage.command(main)
