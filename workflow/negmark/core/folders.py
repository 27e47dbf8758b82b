"""Folders outside the results, each named by a variable: local datasets, local models, and the cache."""

import contextlib
import os
from pathlib import Path

from platformdirs import user_cache_dir

from negmark.core.errors import UserError

DATA_VARIABLE, MODELS_VARIABLE, CACHE_VARIABLE = "NEGMARK_DATA", "NEGMARK_MODELS", "NEGMARK_CACHE"


def local_data() -> Path | None:
    """Return the folder of local datasets, which NEGMARK_DATA names, or None."""
    return _named(DATA_VARIABLE)


def local_models() -> Path | None:
    """Return the folder of local models, which NEGMARK_MODELS names, or None."""
    return _named(MODELS_VARIABLE)


def cache_folder() -> Path:
    """Return the folder of caches: NEGMARK_CACHE, else the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or user_cache_dir("negmark"))


def is_folder(path: Path) -> bool:
    """Say if a path is a folder; one that the system can't name, as it is too long, is none."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def is_file(path: Path) -> bool:
    """Say if a path is a file; one that the system can't name is none."""
    with contextlib.suppress(OSError):
        return path.is_file()
    return False


def _named(variable: str) -> Path | None:
    folder = os.environ.get(variable)
    if folder and not is_folder(Path(folder)):
        raise UserError(f"{variable}: there is no folder {folder}; mend the variable or unset it")
    return Path(folder) if folder else None
