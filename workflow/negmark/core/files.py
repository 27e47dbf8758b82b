"""Files that appear whole or not at all, and the hashes that name what they hold."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from negmark.core.errors import UnwritableError, UserError

PARTIAL = ".partial-"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
NOT_ALLOWED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
LEAST_FREE = 1 << 16  # bytes


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the place of `path`, on failure it goes.

    Readers see the old file or the whole new one. The suffix is kept, as many writers look at it.
    Raises `UserError` where the disk is full or the folder may not be written.
    """
    partial = _beside(path)
    try:
        with _in_one_line(path, partial):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.touch()
            yield partial
            partial.replace(path)
    finally:
        _forget(partial)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path` that becomes `path` when the block ends well.

    Where `path` has come into being meanwhile (another process made the same thing), the first one stays.
    Raises `UserError` as `replacing`.
    """
    partial = _beside(path)
    try:
        with _in_one_line(path, partial):
            partial.mkdir(parents=True)
            yield partial
            try:
                partial.rename(path)
            except OSError:
                if not path.exists():
                    raise
    finally:
        _forget(partial)


def reserve(path: Path) -> None:
    """Claim the disk space of a file that only has its size yet, before it is mapped into memory and filled.

    A disk that is full shows itself here as an OSError; in the midst of a mapped file it kills the process.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    with path.open("r+b") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that can't
                raise


def sweep(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder and below it. Nobody may be writing there."""
    for partial in [*folder.rglob(f"{PARTIAL}*")]:
        _forget(partial)


def sweep_beside(path: Path) -> None:
    """Remove what killed writers of `path` have left beside it. Nobody else may be writing it."""
    for partial in path.parent.glob(f"{PARTIAL}{glob.escape(_short(path))}-*"):
        _forget(partial)


def unwritable(error: BaseException, path: Path) -> UnwritableError:
    """Return a failure to write `path` in one line: what happened, and how to mend it."""
    number = getattr(error, "errno", None) or _number_in(str(error))
    if number is None and _free(path) < LEAST_FREE:
        number = errno.ENOSPC  # numpy and safetensors tell no number
    if number in NO_ROOM:
        told, mend = "the disk is full", "make room"
    elif number in NOT_ALLOWED:
        told, mend = "the folder or the file is read-only", "mend its rights"
    else:
        told, mend = str(getattr(error, "strerror", None) or error), "check the disk"
    return UnwritableError(f"{path}: can't be written: {told}; {mend}, then the same command goes on")


def is_unwritable(error: BaseException) -> bool:
    """Say whether an error is that of writing to a disk that is full or read-only, whatever was written."""
    return getattr(error, "errno", None) in {*NO_ROOM, errno.EROFS}


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys; NaN is refused, as JSON has none."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a `UserError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); delete it and run again") from error


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal strings, so it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def short_hash(value: Any) -> str:
    """Eight hex digits that stand for `value` in folder names."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:8]


def _beside(path: Path) -> Path:
    """Return a path that nobody else writes, in the same folder, with the same suffix."""
    return path.with_name(f"{PARTIAL}{_short(path)}-{secrets.token_hex(4)}{''.join(path.suffixes)}")


def _short(path: Path) -> str:
    return path.name[:80]


@contextlib.contextmanager
def _in_one_line(path: Path, partial: Path) -> Iterator[None]:
    """Tell a failure to write `path` in one line; an error that names another file is none."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        named = str(getattr(error, "filename", None) or partial)
        if named.startswith(str(path.parent)) or str(partial).startswith(named):
            raise unwritable(error, path) from error
        raise


def _number_in(text: str) -> int | None:
    found = re.search(r"os error (\d+)", text)
    return int(found[1]) if found else None


def _free(path: Path) -> int:
    """Return the bytes that are free where a file is to be written."""
    there = next(folder for folder in path.absolute().parents if folder.exists())
    return shutil.disk_usage(there).free


def _forget(partial: Path) -> None:
    """Remove a file or folder as far as that is possible."""
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)
