"""A memory of past vectors as negatives: first in, first out, each with the row of its document.

MoCo (He et al. 2020) keeps keys of a momentum encoder so, XBM (Wang et al. 2020) those of the encoder itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from negmark.methods.base import Services
from negmark.methods.later import torch
from negmark.methods.types import Ids

KEYS = 4096
"""Vectors of a momentum copy that are kept by default: 64 batches of 64."""


class Queue:
    """The last `size` vectors that were pushed, oldest first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.vectors = torch.empty(0, 0)
        """[n, D], n at most `size`, without gradient."""
        self.ids = torch.empty(0, dtype=torch.int64)
        """[n] rows of the vectors' documents."""

    def __len__(self) -> int:
        return len(self.ids)

    def push(self, vectors: torch.Tensor, ids: Ids) -> None:
        """Add vectors [B, D] of documents [B] at the end; the oldest leave.

        Makes new tensors, as the backward pass of the step may still need the old ones.
        """
        if not self.size:
            return
        older = self.vectors if len(self) else vectors.new_empty(0, vectors.shape[1])
        self.vectors = torch.cat([older, vectors.detach()])[-self.size :].clone()
        self.ids = torch.cat([self.ids, torch.from_numpy(ids)])[-self.size :].clone()

    def allowed(self, queries: Ids, services: Services) -> torch.Tensor:
        """Return which vectors may be negatives of queries [B]: [B, n], False for positives and their copies."""
        everyone = np.broadcast_to(self.ids.numpy(), (len(queries), len(self)))
        return torch.from_numpy(~services.is_positive(queries, everyone))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return vectors and rows."""
        return {"queue.vectors": self.vectors, "queue.ids": self.ids}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned, also from among other tensors."""
        self.vectors, self.ids = state["queue.vectors"], state["queue.ids"]
