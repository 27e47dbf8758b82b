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

    def freeze(self, trained: frozenset[str]) -> None:
        """Stop training the towers that are not named: `query`, `document`."""
        self.query.requires_grad_("query" in trained)
        self.document.requires_grad_("document" in trained)

    def load_maps(self, maps: dict[str, NDArray[np.float32]]) -> None:
        """Start from the maps [D, D] of another run."""
        with torch.no_grad():
            self.query.copy_(torch.from_numpy(maps["query"]))
            self.document.copy_(torch.from_numpy(maps["document"]))

    @property
    def document_version(self) -> int:
        """Changes whenever the document map does."""
        return self.document._version

    @torch.no_grad()
    def all_documents(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the unit vectors [N, D] of the whole corpus by a document map."""
        vectors = self._documents @ weight.T
        # in place: `normalize` would write a second corpus, which takes as long as a quarter of the product
        return vectors.div_(torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_min_(1e-12))

    def map_copies(self) -> dict[str, torch.Tensor]:
        """Return copies of both maps as they are now."""
        return {"query": self.query.detach().clone(), "document": self.document.detach().clone()}

    @torch.no_grad()
    def queries_by(self, rows: NDArray[np.int64], weight: torch.Tensor) -> torch.Tensor:
        """Return unit vectors of queries by a map that was copied before."""
        return self._apply_map(self._queries, rows, weight)

    def warmup_queries(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the cached vectors of queries."""
        return self._queries[torch.from_numpy(rows)]

    def warmup_documents(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the cached vectors of documents."""
        return self._documents[torch.from_numpy(rows)]

    @staticmethod
    def _apply_map(vectors: torch.Tensor, rows: NDArray[np.int64], weight: torch.Tensor) -> torch.Tensor:
        return functional.normalize(vectors[torch.from_numpy(rows)] @ weight.T, dim=1)
