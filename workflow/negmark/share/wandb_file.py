"""Whether an offline run of W&B's is whole: its own process writes it, and says nothing where the disk is full.

The file is a log in LevelDB's format (https://github.com/google/leveldb/blob/main/doc/log_format.md) behind seven
bytes of W&B's: blocks of 32 KiB with chunks of checksum (4 bytes), length (2), kind (1) and content. The last record
of a run that was finished says so.
"""

from collections.abc import Iterator
from pathlib import Path

BLOCK, HEADER, BEGIN = 32 * 1024, 7, 7
FULL, FIRST, LAST = 1, 2, 4
"""Kinds of chunks: a whole record, the begin and the end of one that goes over several."""


def is_whole(folder: Path) -> bool:
    """Say if the run in a folder of W&B's was written to its end."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    files = list(folder.glob("*.wandb"))
    if not files:
        return False
    last = b""
    for record in _records(files[0].read_bytes()):
        last = record
    try:
        return bool(Record.FromString(last).WhichOneof("record_type") == "exit")
    except Exception:  # protobuf's own kind; the last record is cut off
        return False


def _records(content: bytes) -> Iterator[bytes]:
    """Return the records of a log; one that is cut off comes as far as it goes, as the last."""
    place, record = BEGIN, b""
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:  # too little room for a chunk: the block is filled up
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        part = content[place + HEADER : place + HEADER + length]
        record = part if kind in (FULL, FIRST) else record + part
        if kind in (FULL, LAST):
            yield record
        place += HEADER + length
    if place != len(content):
        yield b""
