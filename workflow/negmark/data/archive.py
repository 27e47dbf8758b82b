"""A dataset in an archive: .zip, .tar, .tar.gz or .tgz, made by anybody, so nothing that it says is believed.

Nothing but the files of a collection reaches the disk, each under a name that is looked for, never under one that
the archive gives. An archive that holds a link, a path that leads out of it or a locked file is refused as a whole.
What it unpacks to is counted as it is written, gzipped files inside it too, and bounded: at most `MOST_TIMES` its own
size (a small one may have `ALWAYS`), and never more than `MOST`. Text packs to a third to a tenth of its size; a bomb
of a few kilobytes unpacks to gigabytes.
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
    """Say by its name if a file is an archive that can be unpacked."""
    return path.name.lower().endswith(ENDINGS)


def unpack(path: Path, target: Path) -> None:
    """Write the files of the one collection in an archive to `target`, under their names, gzipped ones unpacked.

    Raises `UserError` if the archive is none, is damaged, holds no collection or several, or breaks a rule above.
    """
    with _members(path) as members:
        wanted = _collection(path, members)
        left = _room(path)
        for name, member in wanted.items():
            left -= _write(path, member, target / name, left)


@contextlib.contextmanager
def _members(path: Path) -> Iterator[list[Member]]:
    """Open an archive and list its files. Raises `UserError` for what no dataset needs, and for a bomb that owns up."""
    with contextlib.ExitStack() as stack:
        with _damage_told(path):
            packed = (
                stack.enter_context(zipfile.ZipFile(path))
                if zipfile.is_zipfile(path)
                else stack.enter_context(tarfile.open(path))
            )
            members = list(
                _zipped(path, packed) if isinstance(packed, zipfile.ZipFile) else _taped(path, packed)
            )
        yield members


def _zipped(path: Path, packed: zipfile.ZipFile) -> Iterator[Member]:
    left = _room(path)
    for entry in packed.infolist():
        locked = "is locked with a password" if entry.flag_bits & ZIP_LOCKED else None
        _check_member(
            path, entry.filename, "is a link" if stat.S_ISLNK(entry.external_attr >> 16) else locked
        )
        left -= entry.file_size
        _check_size(path, 0, left)
        if not entry.is_dir():
            yield Member(entry.filename, functools.partial(packed.open, entry))


def _taped(path: Path, tape: tarfile.TarFile) -> Iterator[Member]:
    left = _room(path)
    for entry in tape:
        plain = None if entry.isfile() or entry.isdir() else "is no plain file"
        _check_member(path, entry.name, "is a link" if entry.issym() or entry.islnk() else plain)
        left -= entry.size
        _check_size(path, 0, left)
        if not entry.isdir():
            yield Member(entry.name, functools.partial(tape.extractfile, entry))
    while tape.fileobj and (chunk := tape.fileobj.read(CHUNK)):  # a .gz has its checksum behind its last byte
        left -= len(chunk)
        _check_size(path, 0, left)


def _room(path: Path) -> int:
    """Return the bytes that an archive may unpack to."""
    return min(MOST, max(ALWAYS, MOST_TIMES * path.stat().st_size))


def _check_member(path: Path, name: str, trouble: str | None) -> None:
    """Refuse a member that is not a plain file within the archive's folder."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in name[:3]:
        trouble = "leads out of its folder"
    if trouble:
        raise UserError(
            f"{path}: {name!r} {trouble}; pack the plain files of one folder anew, without a password"
        )


def _collection(path: Path, members: list[Member]) -> dict[str, Member]:
    """Return the files of the archive's one collection by the names to write them under; plain ones go first."""
    paths = {PurePosixPath(member.name.replace("\\", "/")): member for member in members}
    roots = {place.parent for place in paths if role(place.name) in (CORPUS, COLLECTION)}
    if len(roots) != 1:
        held = ", ".join(sorted(str(root) for root in roots)[:3])
        what = f"holds {len(roots)} collections ({held} ...); unpack it and name one" if roots else (
            "holds no corpus.jsonl and no collection.tsv, plain or .gz; expected the BEIR layout, or MS MARCO's"
        )  # fmt: skip
        raise UserError(f"{path}: {what}")
    root = roots.pop()
    inside = sorted((str(place.relative_to(root)), place) for place in paths if place.is_relative_to(root))
    wanted: dict[str, Member] = {}
    for name, place in inside:
        if role(name):
            wanted.setdefault(name.removesuffix(".gz"), paths[place])
    return wanted


def _write(path: Path, member: Member, target: Path, left: int) -> int:
    """Write one member and return its size. Raises `UserError` once it is over the `left` bytes."""
    size = 0
    with replacing(target) as partial, partial.open("wb") as sink:
        for chunk in _chunks(path, member):
            size += len(chunk)
            _check_size(path, size, left)
            sink.write(chunk)
    return size


def _chunks(path: Path, member: Member) -> Iterator[bytes]:
    with _damage_told(path), member.open() as raw:
        source = gzip.GzipFile(fileobj=raw) if member.name.endswith(".gz") else raw
        while chunk := source.read(CHUNK):
            yield chunk


def _check_size(path: Path, size: int, left: int) -> None:
    if size > left:
        raise UserError(
            f"{path}: unpacks to more than {MOST_TIMES} times its size (and {ALWAYS >> 20} MB), or to more than "
            f"{MOST >> 30} GB; if that is right, unpack it yourself and name the folder"
        )


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (*DAMAGE, OSError) as error:
        raise UserError(f"{path}: damaged, or no archive ({error}); put a whole copy in its place") from error
