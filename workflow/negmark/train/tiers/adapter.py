"""The adapter tier: one linear map per side on cached vectors, the identity at the start.

Vectors of the frozen encoder are multiplied by a D x D matrix and normalised to unit length, so step 0 is exactly
the untrained encoder. A run takes seconds on one core, so many seeds are affordable.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from negmark.store.vectors import Vectors, blocks
from negmark.train.inputs import Materials
from negmark.train.tiers.adapter_maps import load_maps
from negmark.train.tiers.protocol import BiEncoder, Rows


def open_encoder(spec: Mapping[str, Any], materials: Materials) -> "AdapterEncoder":
    """Return the untrained adapter on the vectors of a dataset."""
    return AdapterEncoder(materials.documents, materials.queries)


class AdapterEncoder(BiEncoder, nn.Module):
    """Encodes rows from cached vectors [N, D] and [Q, D]: a `protocol.TrainedEncoder`."""

    def __init__(self, documents: Vectors, queries: Vectors) -> None:
        super().__init__()
        self._documents, self._queries = torch.from_numpy(documents), torch.from_numpy(queries)
        dimension = documents.shape[1]
        self.query = nn.Parameter(torch.eye(dimension))
        self.document = nn.Parameter(torch.eye(dimension))
        self.document_version = 0
        self.trained = frozenset({"query", "document"})
        self.writes = True

    def queries(self, rows: Rows) -> torch.Tensor:
        """Return unit vectors [len(rows), D] of queries."""
        return apply_map(self._queries, rows, self.query)

    def documents(self, rows: Rows) -> torch.Tensor:
        """Return unit vectors [len(rows), D] of documents."""
        return apply_map(self._documents, rows, self.document)

    def all_documents(self) -> torch.Tensor:
        """Return the unit vectors [N, D] of the whole corpus."""
        return self._mapped_corpus(self.document)

    @torch.no_grad()
    def still(self, side: str, rows: Rows) -> torch.Tensor:
        """Return unit vectors of a side."""
        return self.queries(rows) if side == "query" else self.documents(rows)

    def moment(self, state: Mapping[str, torch.Tensor] | None = None) -> "AdapterMoment":
        """Store both maps as they are now, or restore stored ones."""
        maps = state or {"query": self.query.detach().clone(), "document": self.document.detach().clone()}
        return AdapterMoment(dict(maps), self._mapped_corpus(maps["document"]), self._queries)

    def by_copy(self, side: str, rows: Rows, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return unit vectors of a side by other maps."""
        return apply_map(self._queries if side == "query" else self._documents, rows, parameters[side])

    def warmup_queries(self, rows: Rows) -> torch.Tensor:
        """Return the cached vectors of queries."""
        return self._queries[torch.from_numpy(rows)].float()

    def warmup_documents(self, rows: Rows) -> torch.Tensor:
        """Return the cached vectors of documents."""
        return self._documents[torch.from_numpy(rows)].float()

    def load(self, path: Path) -> None:
        """Start from the maps of another run."""
        maps = load_maps(path)
        with torch.no_grad():
            self.query.copy_(torch.from_numpy(maps["query"]))
            self.document.copy_(torch.from_numpy(maps["document"]))
        self.document_version += 1

    def freeze(self, trained: frozenset[str]) -> None:
        """Stop training the maps that are not named."""
        self.trained = trained
        self.query.requires_grad_("query" in trained)
        self.document.requires_grad_("document" in trained)

    def begin(self, seed: int, step: int) -> None:
        """Do nothing: nothing is random here."""

    def prepared(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return the optimiser as it is: gradients aren't scaled here."""
        return optimizer

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients."""
        loss.backward()

    def stepped(self) -> None:
        """Note that document vectors have changed, unless they are frozen."""
        self.document_version += "document" in self.trained

    def weights(self) -> dict[str, torch.Tensor]:
        """Return both maps."""
        return {"query": self.query, "document": self.document}

    @torch.no_grad()
    def _mapped_corpus(self, weight: torch.Tensor) -> torch.Tensor:
        vectors = torch.empty(len(self._documents), len(weight))
        for rows in blocks(len(vectors)):
            torch.matmul(self._documents[rows].float(), weight.T, out=vectors[rows])
        # in place: `normalize` would write a second corpus, at a quarter of the product's time
        return vectors.div_(torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_min_(1e-12))


class AdapterMoment:
    """Document vectors and query map of one moment: a `protocol.Moment`. Its state is two [D, D] matrices."""

    def __init__(self, maps: dict[str, torch.Tensor], documents: torch.Tensor, queries: torch.Tensor) -> None:
        self.documents, self._maps, self._queries = documents, maps, queries

    @torch.no_grad()
    def queries(self, rows: Rows) -> torch.Tensor:
        """Return unit vectors of queries."""
        return apply_map(self._queries, rows, self._maps["query"])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return both maps."""
        return self._maps


def apply_map(vectors: torch.Tensor, rows: Rows, weight: torch.Tensor) -> torch.Tensor:
    """Return rows of `vectors` [N, D] times a map [D, D], of unit length."""
    return functional.normalize(vectors[torch.from_numpy(rows)].float() @ weight.T, dim=1)
