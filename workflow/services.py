"""What the training loop offers to a method, with every request counted as cost."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from methods.base import NO_DOCUMENT, Ids, Pool
from workflow.labels import Labels
from workflow.seeds import stream


@dataclass
class Counters:
    """Work that a run caused, in counts that don't depend on the machine."""

    query_vectors: int = 0
    document_vectors: int = 0
    extra_vectors: int = 0
    """Vectors that the method asked for beside the batch and its negatives."""

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


class TierEncoder(Protocol):
    """What a tier must offer: current unit vectors of rows, with gradient."""

    def queries(self, rows: Ids) -> torch.Tensor:
        """Return [len(rows), D]."""

    def documents(self, rows: Ids) -> torch.Tensor:
        """Return [len(rows), D]."""


class TrainingServices:
    """Services of one run: a `methods.base.Services`."""

    def __init__(
        self,
        encoder: TierEncoder,
        labels: Labels,
        pools: Mapping[str, Pool],
        row: str,
        seed: int,
        negatives: int,
        temperature: float,
    ) -> None:
        self._encoder, self._labels, self._pools = encoder, labels, pools
        self._row, self._seed = row, seed
        self._negatives, self._temperature = negatives, temperature
        self.counters = Counters()

    @property
    def documents(self) -> int:
        """Documents in the corpus."""
        return self._labels.documents

    @property
    def negatives(self) -> int:
        """Negatives per query that the suite grants."""
        return self._negatives

    @property
    def temperature(self) -> float:
        """The suite's temperature."""
        return self._temperature

    def rng(self, step: int, purpose: str = "") -> np.random.Generator:
        """Return the stream of this row, seed, step and purpose."""
        return stream(self._seed, "method", self._row, purpose, step=step)

    def pool(self, name: str) -> Pool:
        """Return a pool that the method declared."""
        if name not in self._pools:
            raise KeyError(f"{self._row} asks for the pool {name!r} but doesn't name it in `pools`")
        return self._pools[name]

    def is_positive(self, queries: Ids, documents: Ids) -> NDArray[np.bool_]:
        """Say which pairs carry a training label."""
        return self._labels.is_positive(queries, documents)

    @torch.no_grad()
    def encode_queries(self, queries: Ids) -> torch.Tensor:
        """Return current vectors without gradient."""
        self.counters.extra_vectors += queries.size
        return self._shaped(self._encoder.queries(queries.ravel()), queries)

    @torch.no_grad()
    def encode_documents(self, documents: Ids) -> torch.Tensor:
        """Return current vectors without gradient; empty places give the vector of document 0."""
        self.counters.extra_vectors += int((documents != NO_DOCUMENT).sum())
        return self._shaped(self._encoder.documents(np.maximum(documents, 0).ravel()), documents)

    @staticmethod
    def _shaped(vectors: torch.Tensor, rows: Ids) -> torch.Tensor:
        return vectors.reshape(*rows.shape, -1)
