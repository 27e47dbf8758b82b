"""What several runs may ask of the shared cache at the same time: one makes it, the others wait and take it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from negmark.core import stage
from negmark.core.files import sweep_beside
from negmark.core.folders import cache_folder
from negmark.core.locks import held


@contextlib.contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Let no other run make the file or folder `path` of the cache while a block runs; `doing` says what it would do.

    Whoever had to wait must look again if `path` is there now. What a killed run left beside it is removed.
    """
    lock = cache_folder() / "locks" / f"{path.name}.lock"
    with held(lock, waits=lambda: stage.say(f"another run {doing}; waiting for it to end")):
        sweep_beside(path)
        yield
