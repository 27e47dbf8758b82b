"""Truncated results: detected and reported at the start of a run, and made again.

Writers put complete files in place, so a truncated one comes from a failing disk, a copy or a power cut. Snakemake
compares only timestamps and would build on it. The formats record their own length, so both ends of a file suffice:

- .safetensors: the header gives the last byte of the tensors;
- .npy: the header gives shape and type;
- .parquet: the file ends with the length of the footer and the magic number;
- .json: it parses and ends with a newline;
- .gz: the file ends with the length of its content. If that is implausible, the file is unpacked to be sure (by
  chance, one truncation in a thousand looks plausible);
- any other: it isn't empty.

A byte that was changed rather than lost goes unnoticed.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

MAGIC, PLAUSIBLE_RATIO = b"PAR1", 40
"""TREC runs compress to a fifth; a length read from shifted bytes is 256 times too large, or arbitrary."""


def damage(path: Path) -> str | None:
    """Return in a few words what is wrong with an existing file; None if it is complete or of another kind."""
    size = path.stat().st_size
    if not size:
        return "it is empty"
    try:
        return CHECKS.get(path.suffix, _no_check)(path, size)
    except (ValueError, EOFError, OSError, struct.error, zlib.error):
        return "it is cut off or no such file at all"


def damaged(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the existing files that are damaged, with what is wrong with each."""
    troubles = {path: damage(path) for path in paths if path.is_file()}
    return {path: trouble for path, trouble in troubles.items() if trouble}


def _safetensors(path: Path, size: int) -> str | None:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if 8 + length > size:
            return f"its header of {length:,} bytes is cut off"
        header = json.loads(stream.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return _size_mismatch(size, 8 + length + max(ends, default=0))


def _npy(path: Path, size: int) -> str | None:
    with path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, kind = read_header(stream)
        return _size_mismatch(size, stream.tell() + int(np.prod(shape, dtype=np.int64)) * kind.itemsize)


def _parquet(path: Path, size: int) -> str | None:
    with path.open("rb") as stream:
        first = stream.read(4)
        stream.seek(max(size - 8, 0))
        length, last = struct.unpack("<I4s", stream.read(8))
    if first != MAGIC or last != MAGIC or length + 12 > size:
        return "its footer is cut off"
    return None


def _json(path: Path, size: int) -> str | None:
    content = path.read_bytes()
    json.loads(content)
    return None if content.endswith(b"\n") else "its last line is cut off"


def _gz(path: Path, size: int) -> str | None:
    with path.open("rb") as stream:
        first = stream.read(3)
        stream.seek(max(size - 4, 0))
        (length,) = struct.unpack("<I", stream.read(4))
    if first != b"\x1f\x8b\x08":
        return "it is no gzip"
    if not size / 2 < length < PLAUSIBLE_RATIO * size:
        with gzip.open(path) as stream:
            while stream.read(1 << 20):
                pass
    return None


def _no_check(path: Path, size: int) -> str | None:
    return None


def _size_mismatch(size: int, expected: int) -> str | None:
    return None if size == expected else f"it has {size:,} bytes instead of {expected:,}"


CHECKS: dict[str, Callable[[Path, int], str | None]] = {
    ".safetensors": _safetensors,
    ".npy": _npy,
    ".parquet": _parquet,
    ".json": _json,
    ".gz": _gz,
}
