"""A trained adapter in numpy, for stages that need no torch: evaluation starts in a third of the time."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from workflow.errors import UserError

SIDES = ("query", "document")


def load_maps(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the matrices [D, D] of a trained adapter by side."""
    try:
        weights = load_file(path)
        return {side: weights[side] for side in SIDES}
    except Exception as error:
        raise UserError(
            f"{path}: no adapter can be read from it ({error}); delete it and run again"
        ) from error


def mapped(vectors: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors [N, D] times the map, of unit length: what `adapter.AdapterEncoder` computes."""
    product = vectors @ weight.T
    return product / np.maximum(np.linalg.norm(product, axis=1, keepdims=True), 1e-12)
