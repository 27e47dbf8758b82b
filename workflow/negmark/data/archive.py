"""A dataset in an archive (.zip, .tar, .tar.gz or .tgz) from anybody, so nothing in it is trusted.

Only the files of a collection reach the disk, each under one of the names we look for, never under a path from the
archive. An archive with a link, a path outside its folder or a password is refused as a whole. The unpacked size is
counted while it is written, gzipped files inside the archive included, and limited to `MOST_TIMES` the archive's size
(but `ALWAYS` is allowed) and to `MOST`. Text compresses to between a third and a tenth of its size; a zip bomb of a
few kilobytes unpacks to gigabytes.
"""

import contextlib
import functools
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from negmark.core.errors import UserError
from negmark.core.files import replacing
from negmark.data.records import COLLECTION, CORPUS, role

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
MOST = 64 << 30  # bytes
MOST_TIMES = 100
ALWAYS = 64 << 20  # bytes
CHUNK = 1 << 20
ZIP_LOCKED = 0x1
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


class Member(NamedTuple):
    """A file in an archive, and how to open it."""

    name: str
    open: Callable[[], Any]


def is_archive(path: Path) -> bool:
    """Say, by its name, whether a file is an archive that can be unpacked."""
    return path.name.lower().endswith(ENDINGS)


def unpack(path: Path, target: Path) -> None:
    """Write the files of the one collection in an archive to `target`, under their own names, gzipped ones unpacked.

    Raises `UserError` if the file is not an archive, is damaged, has no collection or several, or breaks a rule above.
    """
    with _members(path) as members:
        left = _size_limit(path)
        for name, member in _collection(path, members).items():
            left -= _write(path, member, target / name, left)


@contextlib.contextmanager
def _members(path: Path) -> Iterator[list[Member]]:
    """Open an archive and list its files. Raises `UserError` for links and the like, and for an openly huge archive."""
    with contextlib.ExitStack() as stack:
        with _damage_refused(path):
            packed = (
                stack.enter_context(zipfile.ZipFile(path))
                if zipfile.is_zipfile(path)
                else stack.enter_context(tarfile.open(path))
            )
            members = list(
                _zip_members(path, packed)
                if isinstance(packed, zipfile.ZipFile)
                else _tar_members(path, packed)
            )
        yield members


def _zip_members(path: Path, packed: zipfile.ZipFile) -> Iterator[Member]:
    left = _size_limit(path)
    for entry in packed.infolist():
        locked = "is locked with a password" if entry.flag_bits & ZIP_LOCKED else None
        _check_member(
            path, entry.filename, "is a link" if stat.S_ISLNK(entry.external_attr >> 16) else locked
        )
        left -= entry.file_size
        _check_size(path, 0, left)
        if not entry.is_dir():
            yield Member(entry.filename, functools.partial(packed.open, entry))


def _tar_members(path: Path, tape: tarfile.TarFile) -> Iterator[Member]:
    left = _size_limit(path)
    for entry in tape:
        special = None if entry.isfile() or entry.isdir() else "is not a plain file"
        _check_member(path, entry.name, "is a link" if entry.issym() or entry.islnk() else special)
        left -= entry.size
        _check_size(path, 0, left)
        if not entry.isdir():
            yield Member(entry.name, functools.partial(tape.extractfile, entry))
    while tape.fileobj and (
        chunk := tape.fileobj.read(CHUNK)
    ):  # the checksum of a .gz is after its last byte
        left -= len(chunk)
        _check_size(path, 0, left)


def _size_limit(path: Path) -> int:
    """Return the number of bytes that an archive may unpack to."""
    return min(MOST, max(ALWAYS, MOST_TIMES * path.stat().st_size))


def _check_member(path: Path, name: str, trouble: str | None) -> None:
    """Refuse a member that is in `trouble`, or whose path is outside the archive's folder."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in name[:3]:
        trouble = "is outside the archive's folder"
    if trouble:
        raise UserError(f"{path}: {name!r} {trouble}; pack the plain files of one folder, without a password")


def _collection(path: Path, members: list[Member]) -> dict[str, Member]:
    """Return the files of the archive's one collection by the name to write each under; plain files before gzipped."""
    paths = {PurePosixPath(member.name.replace("\\", "/")): member for member in members}
    roots = {place.parent for place in paths if role(place.name) in (CORPUS, COLLECTION)}
    if len(roots) != 1:
        folders = ", ".join(sorted(str(root) for root in roots)[:3])
        what = f"holds {len(roots)} collections ({folders} ...); unpack it and name one of them" if roots else (
            "holds no corpus.jsonl and no collection.tsv, plain or .gz; expected the BEIR layout, or MS MARCO's"
        )  # fmt: skip
        raise UserError(f"{path}: {what}")
    root = roots.pop()
    inside = sorted((str(place.relative_to(root)), place) for place in paths if place.is_relative_to(root))
    files: dict[str, Member] = {}
    for name, place in inside:
        if role(name):
            files.setdefault(name.removesuffix(".gz"), paths[place])
    return files


def _write(path: Path, member: Member, target: Path, left: int) -> int:
    """Write one member and return its size. Raises `UserError` once that exceeds the `left` bytes."""
    size = 0
    with replacing(target) as partial, partial.open("wb") as sink:
        for chunk in _chunks(path, member):
            size += len(chunk)
            _check_size(path, size, left)
            sink.write(chunk)
    return size


def _chunks(path: Path, member: Member) -> Iterator[bytes]:
    with _damage_refused(path), member.open() as raw:
        source = gzip.GzipFile(fileobj=raw) if member.name.endswith(".gz") else raw
        while chunk := source.read(CHUNK):
            yield chunk


def _check_size(path: Path, size: int, left: int) -> None:
    if size > left:
        raise UserError(
            f"{path}: unpacks to more than {MOST_TIMES} times its size (and {ALWAYS >> 20} MB), or to more than "
            f"{MOST >> 30} GB; if that is intended, unpack it yourself and name the folder"
        )


@contextlib.contextmanager
def _damage_refused(path: Path) -> Iterator[None]:
    try:
        yield
    except (*DAMAGE, OSError) as error:
        raise UserError(
            f"{path}: damaged, or not an archive ({error}); replace it by an intact copy"
        ) from error
