"""A long encoding in shards: each is kept with its checksum, so a killed one goes on where it was.

A shard is a run of whole batches of the one plan that is made for all texts, so where shards end decides no vector.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmark.core.files import replacing

ROWS_PER_SHARD = 4096
DIGEST_BYTES = hashlib.sha256().digest_size
log = logging.getLogger(__name__)


Encode = Callable[[NDArray[np.int64]], NDArray[np.float32]]


def fill(
    vectors: NDArray[Any],
    plan: Iterable[NDArray[np.int64]],
    kept: Path,
    encode: Encode,
    found: Callable[[NDArray[np.int64]], object] = lambda rows: None,
) -> None:
    """Fill `vectors` [N, D] with what `encode` gives for rows, shard by shard; `plan` holds the rows of every batch.

    Shards that lie in the folder `kept` are taken from there, and `found` is told their rows. One that is cut off,
    changed or of another plan is made again.
    """
    for number, rows in enumerate(_shards(plan)):
        vectors[rows] = _shard(kept / f"{number:05d}.shard", rows, vectors.dtype, encode, found)


def make(
    kind: np.dtype[Any], plan: Iterable[NDArray[np.int64]], kept: Path, encode: Encode, share: tuple[int, int]
) -> None:
    """Leave one of several shares of the shards, (number, of how many), in `kept`, for a later call of `fill`."""
    for number, rows in enumerate(_shards(plan)):
        if number % share[1] == share[0]:
            _shard(kept / f"{number:05d}.shard", rows, kind, encode, lambda rows: None)


def part_name(part: int, parts: int) -> str:
    """Return the name of the record of a job that has made a share of the shards."""
    return f"part-{part}-of-{parts}.json"


def _shard(
    path: Path,
    rows: NDArray[np.int64],
    kind: np.dtype[Any],
    encode: Encode,
    found: Callable[[NDArray[np.int64]], object],
) -> NDArray[Any]:
    shard = _read(path, rows, kind)
    if shard is not None:
        found(rows)
        return shard
    shard = encode(rows).astype(kind)
    with replacing(path) as partial:
        partial.write_bytes(_digest(rows, shard.tobytes()) + shard.tobytes())
    return shard


def _shards(plan: Iterable[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    gathered: list[NDArray[np.int64]] = []
    count = 0
    for batch in plan:
        gathered.append(batch)
        count += len(batch)
        if count >= ROWS_PER_SHARD:
            yield np.concatenate(gathered)
            gathered, count = [], 0
    if gathered:
        yield np.concatenate(gathered)


def _read(path: Path, rows: NDArray[np.int64], kind: np.dtype[Any]) -> NDArray[Any] | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # not made yet, or another process has ended with the same texts
        return None
    digest, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if digest != _digest(rows, body):
        log.warning("%s: damaged, or of other texts; it is encoded again", path)
        return None
    return np.frombuffer(body, dtype=kind).reshape(len(rows), -1)


def _digest(rows: NDArray[np.int64], body: bytes) -> bytes:
    return hashlib.sha256(rows.tobytes() + body).digest()
