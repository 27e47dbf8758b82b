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

from workflow.files import replacing

ROWS_PER_SHARD = 4096
DIGEST_BYTES = hashlib.sha256().digest_size
log = logging.getLogger(__name__)


def fill(
    vectors: NDArray[Any],
    plan: Iterable[NDArray[np.int64]],
    kept: Path,
    encode: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    found: Callable[[NDArray[np.int64]], object] = lambda rows: None,
) -> None:
    """Fill `vectors` [N, D] with what `encode` gives for rows, shard by shard; `plan` holds the rows of every batch.

    Shards that lie in the folder `kept` are taken from there, and `found` is told their rows. One that is cut off,
    changed or of another plan is made again.
    """
    for number, rows in enumerate(_shards(plan)):
        path = kept / f"{number:05d}.shard"
        shard = _read(path, rows, vectors)
        if shard is None:
            shard = encode(rows).astype(vectors.dtype)
            with replacing(path) as partial:
                partial.write_bytes(_digest(rows, shard.tobytes()) + shard.tobytes())
        else:
            found(rows)
        vectors[rows] = shard


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


def _read(path: Path, rows: NDArray[np.int64], vectors: NDArray[Any]) -> NDArray[Any] | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # not made yet, or another process has ended with the same texts
        return None
    digest, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if digest != _digest(rows, body):
        log.warning("%s: damaged, or of other texts; it is encoded again", path)
        return None
    return np.frombuffer(body, dtype=vectors.dtype).reshape(len(rows), -1)


def _digest(rows: NDArray[np.int64], body: bytes) -> bytes:
    return hashlib.sha256(rows.tobytes() + body).digest()
