"""The adapter tier: a linear map a side on cached vectors, identity at the start.

Vectors of the frozen encoder are multiplied by a D x D matrix and brought to unit length, so that step 0 is
the untrained encoder exactly. A run takes seconds on one core, which pays for many seeds.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional


class AdapterEncoder(nn.Module):
    """Encodes query and document rows from cached vectors [Q, D] and [N, D]."""

    def __init__(self, documents: NDArray[np.float32], queries: NDArray[np.float32]) -> None:
        super().__init__()
        self._documents, self._queries = torch.from_numpy(documents), torch.from_numpy(queries)
        dimension = documents.shape[1]
        self.query = nn.Parameter(torch.eye(dimension))
        self.document = nn.Parameter(torch.eye(dimension))

    def queries(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return unit vectors [len(rows), D] of queries."""
        return self._apply_map(self._queries, rows, self.query)

    def documents(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return unit vectors [len(rows), D] of documents."""
        return self._apply_map(self._documents, rows, self.document)

    @staticmethod
    def _apply_map(vectors: torch.Tensor, rows: NDArray[np.int64], weight: torch.Tensor) -> torch.Tensor:
        return functional.normalize(vectors[torch.from_numpy(rows)] @ weight.T, dim=1)
