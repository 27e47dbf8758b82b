"""Locks that end with the process that holds them, however it ends: nobody has to unlock anything after a kill.

They are `flock`s, which the kernel keeps, on files that may lie about: a file alone locks nothing.
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
    """Say whether the lock of an open file could be had within `patience` seconds; closing the file gives it back.

    Where the file system has no locks, as some network ones, everybody has them.
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
    """Wait for the lock of an open file, however long it takes."""
    fcntl.flock(stream, kind)


@contextlib.contextmanager
def held(path: Path, waits: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of the file `path` while a block runs; where another process holds it, call `waits` and wait.

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
