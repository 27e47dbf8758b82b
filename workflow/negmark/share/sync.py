"""Stage sync: upload a suite's offline runs to Weights & Biases, and leave a receipt.

W&B's own `wandb sync` uploads, and puts a file `*.wandb.synced` beside each run that has arrived; what counts here is
that file. So a call that is broken off loses nothing: the next one goes on with the runs that have none.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, write_json

COMMAND = (sys.executable, "-m", "wandb", "sync")
AT_ONCE = 50
"""Runs that one process of W&B's is given."""
PATIENCE = 180.0
"""Seconds in which no run arrives before W&B's process is ended: without a network it tries on for ever."""
POLL = 0.5
AGAIN = (
    "nothing is lost: the runs lie under results/wandb; see to the network and to the key (`wandb login`, or "
    "WANDB_API_KEY) and run `snakemake sync` again, which goes on with those that are missing; a run that W&B can't "
    "read to its end was recorded on a full disk: make room, delete the receipts in results/tracking, run the suite "
    "again, then sync"
)


def upload(folders: list[Path]) -> str:
    """Upload the runs in these folders. Returns what W&B said last, or why it was ended; "" where all arrived."""
    said = ""
    waiting = [folder for folder in folders if not arrived(folder)]
    for start in range(0, len(waiting), AT_ONCE):
        part = waiting[start : start + AT_ONCE]
        said = _upload(part)
        if not all(map(arrived, part)):
            return said or "W&B gave no reason"
    return ""


def arrived(folder: Path) -> bool:
    """Say if a run was uploaded."""
    return any(folder.glob("*.wandb.synced"))


def main(
    receipts: Annotated[list[Path], Argument(help="what the stage track has left")],
    output: Annotated[Path, Option(help="where the receipt of the upload goes")],
) -> None:
    """Upload the offline runs of a suite to Weights & Biases."""
    told = [read_json(receipt) for receipt in receipts]
    if modes := sorted({one["mode"] for one in told} - {"offline"}):
        raise UserError(f"tracking.mode: {modes[0]}, so no run waits for an upload; only 'offline' runs do")
    entries: list[dict[str, Any]] = [entry for one in told for entry in one["runs"]]
    if missing := [
        entry["run"] for entry in entries if not (entry["sent"] and Path(entry["folder"]).is_dir())
    ]:
        raise UserError(
            f"{missing[0]}: no offline run of it is there ({len(missing)} of {len(entries)} are missing); "
            f"delete {' and '.join(map(str, receipts))} and run the suite again, then sync"
        )
    folders = [Path(entry["folder"]) for entry in entries]
    reason = upload(folders)
    there = [folder for folder in folders if arrived(folder)]
    if len(there) < len(folders):
        raise UserError(f"sync: {len(there)} of {len(folders)} runs have arrived at W&B ({reason}); {AGAIN}")
    write_json(output, {"runs": [{"run": entry["run"], "folder": entry["folder"]} for entry in entries]})
    stage.say(f"wandb: all {len(folders)} runs have arrived")


def _upload(folders: list[Path]) -> str:
    """Call W&B on some runs; end it where nothing arrives any more. Returns the last line that it said."""
    log = folders[0].parent / "sync.log"
    with log.open("w", encoding="utf-8") as stream:
        command = [*COMMAND, *map(str, folders)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
        try:
            in_time = _wait(process, folders)
        finally:
            process.kill()
            process.wait()
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1] if lines else ""
    return last if in_time else f"no run arrived within {PATIENCE:g} s; W&B said last: {last}"


def _wait(process: subprocess.Popen[bytes], folders: list[Path]) -> bool:
    """Wait for the end of W&B's process; False where no further run arrives for too long."""
    count, since = 0, time.monotonic()
    while process.poll() is None:
        if (now := sum(map(arrived, folders))) > count:
            count, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            return False
        time.sleep(POLL)
    return True


if __name__ == "__main__":
    stage.command(main)
