"""Token ids of many texts, one after the other in one flat file that is mapped into memory, never read whole."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.files import replacing_folder

IDS, STARTS = "ids.bin", "starts.npy"
WIDTHS: dict[int, np.dtype[Any]] = {2: np.dtype(np.uint16), 4: np.dtype(np.int32)}


@dataclass(frozen=True)
class Tokens:
    """Token ids of N texts: `ids` [total], and `starts` [N + 1], where each text begins and the last one ends."""

    ids: NDArray[Any]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text [N]."""
        return np.diff(self.starts)

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return token ids [len(rows), T] of texts that all have T tokens."""
        length = self.starts[rows[0] + 1] - self.starts[rows[0]]
        return self.ids[self.starts[rows][:, None] + np.arange(length)].astype(np.int64)


def gather(chunks: Iterable[list[list[int]]]) -> Tokens:
    """Return the tokens of a few texts, in memory."""
    lines = [line for chunk in chunks for line in chunk]
    return Tokens(np.array([token for line in lines for token in line], np.int32), _starts([_lengths(lines)]))


def write(folder: Path, chunks: Iterable[list[list[int]]], vocabulary: int) -> None:
    """Write token ids as they come, a chunk of texts at a time; the folder appears whole or not at all."""
    width = WIDTHS[2 if vocabulary <= 2**16 else 4]
    lengths: list[NDArray[np.int64]] = []
    with replacing_folder(folder) as partial:
        with (partial / IDS).open("wb") as stream:
            for chunk in chunks:
                lengths.append(_lengths(chunk))
                stream.write(np.array([token for line in chunk for token in line], width).tobytes())
        np.save(partial / STARTS, _starts(lengths))


def read(folder: Path) -> Tokens | None:
    """Map the tokens of a folder into memory; None where there are none, or not all of them."""
    try:
        starts = np.load(folder / STARTS)
        size = (folder / IDS).stat().st_size
    except (OSError, ValueError, EOFError):
        return None
    total = int(starts[-1])
    width = WIDTHS.get(size // total) if total else WIDTHS[2]
    if width is None or size != total * width.itemsize:
        return None
    ids = np.memmap(folder / IDS, dtype=width, mode="r") if total else np.empty(0, width)
    return Tokens(ids, starts)


def _lengths(lines: list[list[int]]) -> NDArray[np.int64]:
    return np.array([len(line) for line in lines], dtype=np.int64)


def _starts(lengths: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
