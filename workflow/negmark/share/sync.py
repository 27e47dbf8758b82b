"""Stage sync: upload a suite's offline runs to Weights & Biases, and leave a receipt.

W&B's own `wandb sync` uploads and puts a file `*.wandb.synced` beside each run that has arrived; only that file counts
here. So an interrupted call loses nothing: the next one continues with the runs that lack the file.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from typer import Argument, Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, write_json

COMMAND = (sys.executable, "-m", "wandb", "sync")
AT_ONCE = 50
"""Runs per W&B process."""
PATIENCE = 180.0
"""Seconds without an arrival before W&B's process is ended: without a network it would retry for ever."""
POLL = 0.5
CONNECT_S = 10.0
"""Seconds within which W&B's server, or the proxy before it, must take a connection."""
AGAIN = (
    "nothing is lost: the runs lie under results/wandb; see to the network and to the key (`wandb login`, or "
    "WANDB_API_KEY) and run `snakemake sync` again, which goes on with those that are missing; a run that W&B can't "
    "read to its end was recorded on a full disk: make room, delete the receipts in results/tracking, run the suite "
    "again, then sync"
)


def upload(folders: list[Path]) -> str:
    """Upload the runs in these folders. Returns W&B's last line, or why it was ended; "" if all arrived."""
    message = ""
    waiting = [folder for folder in folders if not arrived(folder)]
    for start in range(0, len(waiting), AT_ONCE):
        batch = waiting[start : start + AT_ONCE]
        message = _upload(batch)
        if not all(map(arrived, batch)):
            return message or "W&B gave no reason"
    return ""


def unreachable() -> str:
    """Return why W&B's server takes no connection; empty if it does.

    W&B itself tries on for ever. Where a proxy leads to it, that is what must take one.
    """
    server = urlsplit(os.environ.get("WANDB_BASE_URL") or _server())
    asked = server
    proxy = getproxies().get(server.scheme)
    if proxy and not proxy_bypass(server.hostname or ""):
        asked = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = asked.port or (80 if asked.scheme == "http" else 443)
    try:
        socket.create_connection((asked.hostname or "", port), CONNECT_S).close()
    except OSError as error:
        return f"{server.geturl()} can't be reached: {error.strerror or error}"
    return ""


def _server() -> str:
    """Return W&B's own server, or the one that `wandb login --host` has saved."""
    import wandb

    return str(wandb.setup().settings.base_url)


def arrived(folder: Path) -> bool:
    """Return whether a run was uploaded."""
    return any(folder.glob("*.wandb.synced"))


def main(
    receipts: Annotated[list[Path], Argument(help="what the stage track has left")],
    output: Annotated[Path, Option(help="where the receipt of the upload goes")],
) -> None:
    """Upload the offline runs of a suite to Weights & Biases."""
    contents = [read_json(receipt) for receipt in receipts]
    if modes := sorted({content["mode"] for content in contents} - {"offline"}):
        raise UserError(f"tracking.mode: {modes[0]}, so no run waits for an upload; only 'offline' runs do")
    entries: list[dict[str, Any]] = [entry for content in contents for entry in content["runs"]]
    if missing := [
        entry["run"] for entry in entries if not (entry["sent"] and Path(entry["folder"]).is_dir())
    ]:
        raise UserError(
            f"{missing[0]}: no offline run of it is there ({len(missing)} of {len(entries)} are missing); "
            f"delete {' and '.join(map(str, receipts))} and run the suite again, then sync"
        )
    folders = [Path(entry["folder"]) for entry in entries]
    reason = unreachable() if not all(map(arrived, folders)) else ""
    reason = reason or upload(folders)
    uploaded = [folder for folder in folders if arrived(folder)]
    if len(uploaded) < len(folders):
        raise UserError(
            f"sync: {len(uploaded)} of {len(folders)} runs have arrived at W&B ({reason}); {AGAIN}"
        )
    write_json(output, {"runs": [{"run": entry["run"], "folder": entry["folder"]} for entry in entries]})
    stage.say(f"wandb: all {len(folders)} runs have arrived")


def _upload(folders: list[Path]) -> str:
    """Call W&B on some runs; end it if nothing arrives any more. Returns its last line."""
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
    """Wait for W&B's process to end; False if no run arrives for too long."""
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
