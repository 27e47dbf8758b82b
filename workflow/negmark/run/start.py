"""How a run begins: in a folder that it may write, alone in it, with what killed runs left cleared away."""

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from negmark.core.errors import UserError
from negmark.core.files import sweep, unwritable
from negmark.core.formats import hold_results
from negmark.core.run_lock import hold_folder
from negmark.run.repair import note_repairs


def check_folder() -> None:
    """End the process with one line if nothing can be written where Snakemake keeps its records."""
    folder = Path(".snakemake")
    with _ending():
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise unwritable(OSError(errno.EACCES, "not writable"), folder.resolve())


def begin(damaged: Sequence[str]) -> None:
    """Begin a run that makes `damaged` again: alone in its folder, or the process ends with one line.

    What killed writers of earlier runs have left is removed.
    """
    with _ending():
        hold_folder()
        hold_results()
        sweep(Path("results"))
        note_repairs(damaged)


@contextmanager
def _ending() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
