"""A long encoding in shards, each stored with its checksum, so that a killed one resumes where it was.

A shard is a run of whole batches from the one plan for all texts, so shard boundaries don't affect any vector.
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
    folder: Path,
    encode: Encode,
    reused: Callable[[NDArray[np.int64]], object] = lambda rows: None,
) -> None:
    """Fill `vectors` [N, D] with the output of `encode`, shard by shard; `plan` holds the rows of each batch.

    Shards in `folder` are reused, and `reused` is called with their rows. A shard that is truncated, changed or from
    another plan is encoded again.
    """
    for number, rows in enumerate(_shards(plan)):
        vectors[rows] = _load_or_encode(folder / f"{number:05d}.shard", rows, vectors.dtype, encode, reused)


def make(
    kind: np.dtype[Any],
    plan: Iterable[NDArray[np.int64]],
    folder: Path,
    encode: Encode,
    share: tuple[int, int],
) -> None:
    """Write one share of the shards, (number, of how many), to `folder`, for a later `fill`."""
    for number, rows in enumerate(_shards(plan)):
        if number % share[1] == share[0]:
            _load_or_encode(folder / f"{number:05d}.shard", rows, kind, encode, lambda rows: None)


def part_name(part: int, parts: int) -> str:
    """Return the name of the record of a job that encodes a share of the shards."""
    return f"part-{part}-of-{parts}.json"


def _load_or_encode(
    path: Path,
    rows: NDArray[np.int64],
    kind: np.dtype[Any],
    encode: Encode,
    reused: Callable[[NDArray[np.int64]], object],
) -> NDArray[Any]:
    shard = _read(path, rows, kind)
    if shard is not None:
        reused(rows)
        return shard
    shard = encode(rows).astype(kind)
    with replacing(path) as partial:
        partial.write_bytes(_digest(rows, shard.tobytes()) + shard.tobytes())
    return shard


def _shards(plan: Iterable[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    pending: list[NDArray[np.int64]] = []
    count = 0
    for batch in plan:
        pending.append(batch)
        count += len(batch)
        if count >= ROWS_PER_SHARD:
            yield np.concatenate(pending)
            pending, count = [], 0
    if pending:
        yield np.concatenate(pending)


def _read(path: Path, rows: NDArray[np.int64], kind: np.dtype[Any]) -> NDArray[Any] | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # not made yet, or another process has finished the same texts
        return None
    digest, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if digest != _digest(rows, body):
        log.warning("%s: damaged, or of other texts; it is encoded again", path)
        return None
    return np.frombuffer(body, dtype=kind).reshape(len(rows), -1)


def _digest(rows: NDArray[np.int64], body: bytes) -> bytes:
    return hashlib.sha256(rows.tobytes() + body).digest()
