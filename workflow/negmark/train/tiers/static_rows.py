"""A trained token table in numpy, for stages that need no torch: what a run's model holds, and its vectors.

A model holds the rows that training has moved and no others, as an adapter holds maps without the encoder in front of
them: `both.tokens` [T] and `both.rows` [T, D], and `both.weights` [T] where weights are learned. Where a method has
parted the sides, there are `query.` and `document.` instead.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from negmark.core.errors import UserError
from negmark.core.files import canonical
from negmark.encode.table_starts import open_table
from negmark.encode.token_table import TokenTable, mean_vectors, tokens_of_sides
from negmark.encode.tokens import Tokens

SHARED = "both"


@dataclass(frozen=True)
class Moved:
    """What a run has made of some tokens: their ids [T], rows [T, D], and weights [T] if those are learned."""

    tokens: NDArray[np.int64]
    rows: NDArray[np.float32]
    weights: NDArray[np.float32] | None

    def folded(self) -> NDArray[np.float32]:
        """Return the rows times their weights."""
        return self.rows if self.weights is None else self.rows * self.weights[:, None]


def trained_side(
    about: Mapping[str, Any],
    model: Path,
    dataset: Path,
    vectors: Path,
    side: str,
    rows: NDArray[np.int64] | None,
    threads: int,
) -> NDArray[np.float32]:
    """Return the vectors [N, D] of a side by a trained table; others than `rows` are zeros, None takes all.

    `about` has the settings of the `encoder` that the run started from, its `table` among them.
    """
    start, tokens_by_side = _opened(canonical(about["encoder"]), dataset)
    table = trained_table(start, load_moved(model), side)
    tokens = tokens_by_side[side]
    if rows is None:
        return mean_vectors(table, tokens)
    found = np.zeros((len(tokens), table.shape[1]), np.float32)
    found[rows] = mean_vectors(table, tokens.taken(rows))
    return found


@functools.lru_cache(maxsize=1)
def _opened(encoder: str, dataset: Path) -> tuple[TokenTable, dict[str, Tokens]]:
    """Return the table before training, by its settings as JSON, and a dataset's tokens: once for all runs of a job."""
    settings = json.loads(encoder)
    start = open_table(settings["table"], settings["model"])
    return start, tokens_of_sides(start, dataset, settings)


def trained_table(start: TokenTable, moved: Mapping[str, Moved], side: str) -> NDArray[np.float32]:
    """Return the rows [V, D] that a run has for a side, times their weights."""
    table, own = start.folded().copy(), moved.get(side) or moved[SHARED]
    table[own.tokens] = own.folded()
    return table


def load_moved(path: Path) -> dict[str, Moved]:
    """Read a run's model: what it has moved, by `both`, or by `query` and `document`."""
    try:
        found = load_file(path)
        sides = [name.removesuffix(".tokens") for name in found if name.endswith(".tokens")]
        moved = {
            side: Moved(found[f"{side}.tokens"], found[f"{side}.rows"], found.get(f"{side}.weights"))
            for side in sides
        }
        if set(moved) not in ({SHARED}, {"query", "document"}):
            raise ValueError("it holds no token table")
    except Exception as error:
        raise UserError(
            f"{path}: no token table can be read from it ({error}); delete it and run again"
        ) from error
    return moved
