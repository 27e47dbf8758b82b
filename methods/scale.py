"""A scale of cosines that is comparable between encoders, for rules whose thresholds are numbers.

Encoders use different ranges: random pairs have a mean cosine near 0 under one and of .7 under another. A threshold
made for the one always or never acts under the other.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from negmark.methods.later import torch

Cosines = TypeVar("Cosines", NDArray[np.float32], "torch.Tensor")
CHANCE_IS_0 = (
    "its thresholds read cosines on a scale of the encoder's own: 0 is the mean cosine of random pairs of a query and "
    "a document before training, 1 is equality"
)
"""The footnote of a method that reads them so."""
NARROWEST = 1e-6


def mean_cosine(vectors: torch.Tensor) -> float:
    """Return the mean cosine of all pairs of different rows of unit vectors [B, D]: 1 where all are one."""
    size = len(vectors)
    total = vectors.detach().sum(dim=0).square().sum()
    return float((total - size) / max(size * (size - 1), 1))


def rescaled(cosines: Cosines, chance: float) -> Cosines:
    """Return cosines of any shape with `chance`, the mean of random pairs, at 0 and 1 where it was; -inf stays."""
    return (cosines - chance) / max(1 - chance, NARROWEST)
