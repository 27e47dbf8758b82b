"""One snakemake run per folder, and no job that outlives it.

Snakemake's own lock survives a kill, so the profile turns it off and the Snakefile takes this one: a second run in the
folder is refused in one line. If snakemake alone is killed, its jobs would go on writing while the next run does the
same work, so they end with it.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import IO

from negmark.core.errors import UserError
from negmark.core.files import unwritable
from negmark.core.locks import SHARED, taken, wait

FOLDER_LOCK = Path(".snakemake/negmark.lock")
RUN_VARIABLE = "NEGMARK_RUN"
"""Names a job's run: host, process and lock file, separated by colons."""
PATIENCE_S = 2.0
"""How long jobs may take to end after their snakemake was killed."""

_held: list[IO[str]] = []


def hold_folder(path: Path = FOLDER_LOCK) -> None:
    """Hold the lock of a folder until this process ends. Raises `UserError` if another run holds it.

    A snakemake started by a job of a run in this folder is part of that run.
    """
    if os.environ.get(RUN_VARIABLE, "").endswith(f":{path.resolve()}"):
        end_with_the_run()
        return
    try:
        stream = path.open("a+", encoding="utf-8")
        if not taken(stream, patience=PATIENCE_S):
            stream.seek(0)
            holder = stream.read().strip() or "another snakemake"
            raise UserError(
                f"{path}: {holder} works in this folder; wait until it has ended, or end it. Nothing was done"
            )
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}, begun {time.strftime('%F %T')},")
        stream.flush()
    except OSError as error:
        raise unwritable(error, path) from error
    _held.append(stream)
    os.environ[RUN_VARIABLE] = f"{socket.gethostname()}:{os.getpid()}:{path.resolve()}"


def end_with_the_run() -> None:
    """End this process as soon as the snakemake that started it has gone; do nothing outside a run.

    A thread waits for the lock of the run's folder, which the kernel grants once its holder has died.
    """
    host, _, rest = os.environ.get(RUN_VARIABLE, "").partition(":")
    process, _, path = rest.partition(":")
    if host == socket.gethostname():
        threading.Thread(target=_watch, args=(int(process), Path(path)), daemon=True).start()


def _watch(process: int, path: Path) -> None:
    with contextlib.suppress(OSError), path.open(encoding="utf-8") as stream:
        if not taken(stream, SHARED):
            wait(stream, SHARED)
        elif _alive(process):  # locks mean nothing here, as on some network file systems
            return
        os.kill(os.getpid(), signal.SIGKILL)


def _alive(process: int) -> bool:
    """Say if a process runs: one that has ended and that nobody has waited for doesn't."""
    import psutil  # asked for once, where locks mean nothing

    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
