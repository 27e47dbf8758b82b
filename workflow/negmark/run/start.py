"""The start of a run: in a writable folder, alone in it, with the leftovers of killed runs removed."""

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
from negmark.suite.encoder_folder import check_encoders
from negmark.suite.suite import Suite


def check_folder() -> None:
    """End the process with one line if Snakemake's own folder isn't writable."""
    folder = Path(".snakemake")
    with _exit_on_error():
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise unwritable(OSError(errno.EACCES, "not writable"), folder.resolve())


def begin(damaged: Sequence[str], suite: Suite) -> None:
    """Start a suite's run that makes `damaged` again; ends the process with one line if another run holds the folder.

    Leftovers of killed writers are removed.
    """
    with _exit_on_error():
        hold_folder()
        hold_results()
        sweep(Path("results"))
        note_repairs(damaged)
        check_encoders(suite)


@contextmanager
def _exit_on_error() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
