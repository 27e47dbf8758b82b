"""Locks that end with the process that holds them, however it ends: nothing to unlock after a kill.

They are `flock`s, held by the kernel. The lock files may remain; only a held flock means anything.
"""

import contextlib
import errno
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from negmark.core.files import unwritable

WHOLE, SHARED = fcntl.LOCK_EX, fcntl.LOCK_SH
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})


def taken(stream: IO[str], kind: int = WHOLE, patience: float = 0.0) -> bool:
    """Try to lock an open file for up to `patience` seconds and return whether it worked; closing the file unlocks it.

    On file systems without locks, as some network ones, it always works.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(stream, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return True
        else:
            return True


def wait(stream: IO[str], kind: int = WHOLE) -> None:
    """Lock an open file, however long that takes."""
    fcntl.flock(stream, kind)


@contextlib.contextmanager
def held(path: Path, waits: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of the file `path` while the block runs; if another process has it, call `waits`, then wait.

    Raises `UserError` if the file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError as error:
        raise unwritable(error, path) from error
    with stream:
        if not taken(stream):
            waits()
            wait(stream)
        yield
