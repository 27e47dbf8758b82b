"""What the training loop asks of an encoder, whichever tier it is of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Moment(Protocol):
    """The encoder as it was at one moment."""

    @property
    def documents(self) -> torch.Tensor:
        """[N, D] vectors of the whole corpus."""

    def queries(self, rows: Rows) -> torch.Tensor:
        """Return [len(rows), D] vectors of training queries."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what `TrainedEncoder.moment` takes the moment up from."""


class TrainedEncoder(Protocol):
    """Gives vectors for query and document rows, with gradient; vectors lie on the CPU, where methods work."""

    document_version: int
    """Changes whenever the vectors of documents do."""
    trained: frozenset[str]
    """The towers that are trained: `query`, `document`, or both."""
    writes: bool
    """Is this the process that writes the files of a run?"""

    def queries(self, rows: Rows) -> torch.Tensor:
        """Return vectors [len(rows), D] of queries, with gradient."""

    def documents(self, rows: Rows) -> torch.Tensor:
        """Return vectors [len(rows), D] of documents, with gradient where they are trained."""

    def all_documents(self) -> torch.Tensor:
        """Return the vectors [N, D] of the whole corpus as they are now, without gradient."""

    def moment(self, state: Mapping[str, torch.Tensor] | None = None) -> Moment:
        """Keep the encoder as it is now, or take up a moment that was kept before."""

    def warmup_queries(self, rows: Rows) -> torch.Tensor:
        """Return the vectors of queries before training."""

    def warmup_documents(self, rows: Rows) -> torch.Tensor:
        """Return the vectors of documents before training."""

    def load(self, path: Path) -> None:
        """Start from the model of another run."""

    def freeze(self, trained: frozenset[str]) -> None:
        """Stop training the towers that are not named: `query`, `document`."""

    def begin(self, seed: int, step: int) -> None:
        """Is called before a step: what is random in the encoder follows from both."""

    def prepared(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return the optimiser that takes the steps: one that undoes the scaling of gradients where there is any."""

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of all that is trained."""

    def stepped(self) -> None:
        """Is called after the optimiser's step."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Return what is saved as the run's model, by name."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Return the parameters, trained or not."""

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the weights for a checkpoint."""

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> object:
        """Take back what `state_dict` gave."""


@dataclass(frozen=True)
class Kept:
    """A moment as matrices: document vectors [N, D], and vectors of the queries in `rows`, in rising order."""

    documents: torch.Tensor
    query_vectors: torch.Tensor
    rows: Rows

    def queries(self, rows: Rows) -> torch.Tensor:
        """Return vectors of training queries."""
        return self.query_vectors[torch.from_numpy(np.searchsorted(self.rows, rows))]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return both matrices and the rows."""
        return {
            "documents": self.documents,
            "queries": self.query_vectors,
            "rows": torch.from_numpy(self.rows),
        }
