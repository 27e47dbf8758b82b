"""Shared cache: when several runs need the same entry at once, one makes it and the others wait for it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from negmark.core import stage
from negmark.core.files import sweep_beside
from negmark.core.folders import cache_folder
from negmark.core.locks import held


@contextlib.contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Keep other runs from making the cache entry `path` while the block runs; `doing` says what the other run does.

    After waiting, check again whether `path` exists. Leftovers of a killed run beside it are removed.
    """
    lock = cache_folder() / "locks" / f"{path.name}.lock"
    with held(lock, waits=lambda: stage.say(f"another run {doing}; waiting for it to end")):
        sweep_beside(path)
        yield
