"""Atomic files, which appear complete or not at all, and the hashes of their contents."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
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
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    Readers see the old file or the complete new one. The suffix is kept, as many writers depend on it.
    Raises `UserError` if the disk is full or the folder is read-only.
    """
    partial = _partial_path(path)
    try:
        with _one_line_errors(path, partial):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.touch()
            yield partial
            partial.replace(path)
    finally:
        _remove(partial)


def copy(source: Path, target: Path) -> None:
    """Put a file in another place too, as a file of its own.

    A hard link would save the space, but two names share one time of change: Snakemake sets it on what a job wrote, so
    that each suite that took a file from the cache would make those that had taken it before train again.
    """
    with replacing(target) as partial:
        shutil.copyfile(source, partial)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that becomes `path` if the block succeeds.

    If another process has made `path` in the meantime, that one stays. Raises `UserError` as `replacing`.
    """
    partial = _partial_path(path)
    try:
        with _one_line_errors(path, partial):
            partial.mkdir(parents=True)
            yield partial
            try:
                partial.rename(path)
            except OSError:
                if not path.exists():
                    raise
    finally:
        _remove(partial)


def reserve(path: Path) -> None:
    """Allocate the disk space of a sparse file before it is mapped into memory and filled.

    A full disk is an OSError here; while writing through the mapping it would kill the process.
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
    """Remove what killed writers left in a folder and its subfolders. Nobody may be writing there."""
    for partial in [*folder.rglob(f"{PARTIAL}*")]:
        _remove(partial)


def sweep_beside(path: Path) -> None:
    """Remove what killed writers of `path` left beside it. Nobody else may be writing it."""
    for partial in path.parent.glob(f"{PARTIAL}{glob.escape(_short(path))}-*"):
        _remove(partial)


def unwritable(error: BaseException, path: Path) -> UnwritableError:
    """Return the error for a failure to write `path`: what happened and how to fix it, in one line."""
    number = getattr(error, "errno", None) or _errno_in(str(error))
    if number is None and _free_bytes(path) < LEAST_FREE:
        number = errno.ENOSPC  # numpy and safetensors give no errno
    if number in NO_ROOM:
        reason, fix = "the disk is full", "make room"
    elif number in NOT_ALLOWED:
        reason, fix = "the folder or the file is read-only", "fix its permissions"
    else:
        reason, fix = str(getattr(error, "strerror", None) or error), "check the disk"
    return UnwritableError(f"{path}: can't be written: {reason}; {fix}, then the same command goes on")


def is_unwritable(error: BaseException) -> bool:
    """Return whether an error comes from a full or read-only disk, whatever was being written."""
    return getattr(error, "errno", None) in {*NO_ROOM, errno.EROFS}


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, completely or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys; NaN is refused, as JSON has none."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as JSON, one a line, as they come, and return how many there are."""
    count = 0
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises a `UserError` that names it if it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); delete it and run again") from error


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal strings, ready to be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def short_hash(value: Any) -> str:
    """Return eight hex digits that stand for `value` in folder names."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:8]


def _partial_path(path: Path) -> Path:
    """Return a path nobody else writes to, in the same folder, with the same suffix."""
    return path.with_name(f"{PARTIAL}{_short(path)}-{secrets.token_hex(4)}{''.join(path.suffixes)}")


def _short(path: Path) -> str:
    return path.name[:80]


@contextlib.contextmanager
def _one_line_errors(path: Path, partial: Path) -> Iterator[None]:
    """Turn a failure to write `path` into a one-line error; errors that name another file pass through."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        named = str(getattr(error, "filename", None) or partial)
        if named.startswith(str(path.parent)) or str(partial).startswith(named):
            raise unwritable(error, path) from error
        raise


def _errno_in(text: str) -> int | None:
    match = re.search(r"os error (\d+)", text)
    return int(match[1]) if match else None


def _free_bytes(path: Path) -> int:
    """Return the free bytes on the disk that `path` is on."""
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    return shutil.disk_usage(existing).free


def _remove(partial: Path) -> None:
    """Remove a file or folder as far as possible."""
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)
