"""A trained adapter in numpy, for stages that need no torch: evaluation starts in a third of the time."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from negmark.core.errors import UserError
from negmark.store.vectors import Vectors, blocks, float32
from negmark.store.vectors import load as load_vectors

SIDES = ("query", "document")


def trained_side(
    about: dict[str, Any],
    model: Path,
    dataset: Path,
    vectors: Path,
    side: str,
    rows: NDArray[np.int64] | None,
    threads: int,
) -> NDArray[np.float32]:
    """Return the vectors [N, D] of a side by a trained adapter: those of `rows`, others are zeros; all if None."""
    untrained = dict(zip(("document", "query"), load_vectors(vectors), strict=True))[side]
    weight = load_maps(model)[side]
    if rows is None:
        return mapped(untrained, weight)
    result = np.zeros(untrained.shape, np.float32)
    result[rows] = mapped(untrained[rows], weight)
    return result


def load_maps(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the matrices [D, D] of a trained adapter by side."""
    try:
        weights = load_file(path)
        return {side: weights[side] for side in SIDES}
    except Exception as error:
        raise UserError(
            f"{path}: no adapter can be read from it ({error}); delete it and run again"
        ) from error


def mapped(vectors: Vectors, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors [N, D] times the map, of unit length: what `adapter.AdapterEncoder` computes."""
    product = np.empty((len(vectors), len(weight)), np.float32)
    for rows in blocks(len(vectors)):
        part = np.matmul(float32(vectors[rows]), weight.T, out=product[rows])
        part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
    return product
