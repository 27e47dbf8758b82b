"""Results that were cut off after they were written: found when a run begins, told, and made again.

A writer puts its file in place whole, so a cut one comes from a disk, a copy or a power cut. Snakemake looks at times
alone and would build on it. The formats say themselves how long they are, so a look at a file's ends is enough:

- .safetensors: the header names the last byte of the tensors;
- .npy: the header names shape and type;
- .parquet: the magic number and the length of the footer stand at the end;
- .json: it parses, and ends with a line end;
- .gz: the length of the content stands at the end. Where it isn't plausible, the file is unpacked to be sure (by
  chance, one cut in a thousand is plausible);
- any other: it isn't empty.

A byte that is changed and not lost is not found by this.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

MAGIC, PLAUSIBLE_RATIO = b"PAR1", 40
"""Runs in TREC format pack to a fifth; a length whose bytes are shifted says 256 times more, or anything."""


def damage(path: Path) -> str | None:
    """Say in a few words what is wrong with a file that is there; None if it is whole or of another kind."""
    size = path.stat().st_size
    if not size:
        return "it is empty"
    try:
        return CHECKS.get(path.suffix, _anything)(path, size)
    except (ValueError, EOFError, OSError, struct.error, zlib.error):
        return "it is cut off or no such file at all"


def damaged(paths: Iterable[Path]) -> dict[Path, str]:
    """Return those of the files that are there and damaged, with what is wrong with each."""
    found = {path: damage(path) for path in paths if path.is_file()}
    return {path: trouble for path, trouble in found.items() if trouble}


def _safetensors(path: Path, size: int) -> str | None:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if 8 + length > size:
            return f"its header of {length:,} bytes is cut off"
        header = json.loads(stream.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return _of_size(size, 8 + length + max(ends, default=0))


def _npy(path: Path, size: int) -> str | None:
    with path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, kind = read(stream)
        return _of_size(size, stream.tell() + int(np.prod(shape, dtype=np.int64)) * kind.itemsize)


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


def _anything(path: Path, size: int) -> str | None:
    return None


def _of_size(found: int, wanted: int) -> str | None:
    return None if found == wanted else f"it has {found:,} bytes instead of {wanted:,}"


CHECKS: dict[str, Callable[[Path, int], str | None]] = {
    ".safetensors": _safetensors,
    ".npy": _npy,
    ".parquet": _parquet,
    ".json": _json,
    ".gz": _gz,
}
