"""Folders outside the results, each set by an environment variable: local datasets, local models, the cache."""

import contextlib
import os
from pathlib import Path

from platformdirs import user_cache_dir

from negmark.core.errors import UserError

DATA_VARIABLE, MODELS_VARIABLE, CACHE_VARIABLE = "NEGMARK_DATA", "NEGMARK_MODELS", "NEGMARK_CACHE"


def local_data() -> Path | None:
    """Return the folder of local datasets (NEGMARK_DATA), or None."""
    return _from_variable(DATA_VARIABLE)


def local_models() -> Path | None:
    """Return the folder of local models (NEGMARK_MODELS), or None."""
    return _from_variable(MODELS_VARIABLE)


def cache_folder() -> Path:
    """Return the cache folder: NEGMARK_CACHE, else the user's own."""
    return expanded(os.environ.get(CACHE_VARIABLE) or user_cache_dir("negmark"))


def expanded(path: str) -> Path:
    """Return a path as a shell would read it: `~` is the user's home, which neither YAML nor a variable says."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (never raises)


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; False for a path too long for the system."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False for a path too long for the system."""
    with contextlib.suppress(OSError):
        return path.is_file()
    return False


def _from_variable(variable: str) -> Path | None:
    folder = os.environ.get(variable)
    if folder and not is_folder(expanded(folder)):
        raise UserError(f"{variable}: there is no folder {folder}; fix the variable or unset it")
    return expanded(folder) if folder else None
