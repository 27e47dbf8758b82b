"""What the training loop needs of an encoder, in any tier."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from negmark.core.errors import UserError
from negmark.methods.auxiliary import is_auxiliary, rows_of
from negmark.methods.types import NO_DOCUMENT, Batch, Negatives

Rows = NDArray[np.int64]


class Moment(Protocol):
    """The encoder as it was at one moment of training."""

    @property
    def documents(self) -> torch.Tensor:
        """[N, D] vectors of the whole corpus."""

    def queries(self, rows: Rows) -> torch.Tensor:
        """Return [len(rows), D] vectors of training queries."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what `TrainedEncoder.moment` restores the moment from."""


@dataclass(frozen=True)
class Similarities:
    """How an encoder compares a batch: cosine similarities of vectors, or logits of pairs, with gradient."""

    positive: torch.Tensor
    """[B]"""
    in_batch: torch.Tensor
    """[B, B]: query i against the positive of row j."""
    negatives: torch.Tensor
    """[B, M + V]; any number in empty places."""
    negative_vectors: torch.Tensor
    """[B, M + V, D]; D is 0 where pairs are scored."""


class TrainedEncoder(Protocol):
    """Gives vectors for query and document rows, with gradient; vectors are on the CPU, where methods work.

    A cross-encoder gives logits of pairs instead, and refuses every request for current vectors.
    """

    pairs: bool
    """Does it score pairs? Its scores are logits then, and in-batch documents are no negatives."""
    document_version: int
    """Changes whenever the vectors of documents do."""
    trained: frozenset[str]
    """The towers that are trained: `query`, `document`, or both."""
    writes: bool
    """Is this the process that writes the files of a run?"""

    def batch(self, step: int, queries: Rows, positives: Rows) -> Batch:
        """Return what a method sees of a step."""

    def similarities(self, batch: Batch, negatives: Negatives) -> Similarities:
        """Compare the queries [B] of a batch with their positives and negatives."""

    def rankers(self) -> tuple[torch.nn.Module, torch.nn.Module] | None:
        """Return what `Services.rankers` does."""

    def queries(self, rows: Rows) -> torch.Tensor:
        """Return vectors [len(rows), D] of queries, with gradient."""

    def documents(self, rows: Rows) -> torch.Tensor:
        """Return vectors [len(rows), D] of documents, with gradient where they are trained."""

    def auxiliary(self, rows: Rows) -> torch.Tensor:
        """Return vectors [len(rows), D] of texts that are in no corpus, as `documents` returns those of the corpus."""

    def all_documents(self) -> torch.Tensor:
        """Return the vectors [N, D] of the whole corpus as they are now, without gradient."""

    def still(self, side: str, rows: Rows) -> torch.Tensor:
        """Return vectors [len(rows), D] of a side, `query` or `document`, as evaluation computes them.

        The run stays as it is: no gradient, no dropout, no random stream, nothing stored.
        """

    def moment(self, state: Mapping[str, torch.Tensor] | None = None) -> Moment:
        """Store the encoder as it is now, or restore a moment that was stored."""

    def live(self) -> dict[str, torch.Tensor]:
        """Return all parameters of vectors by name, without gradient: themselves, not copies."""

    def by_copy(self, side: str, rows: Rows, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return vectors [len(rows), D] of a side by other values of these parameters; no gradient, no dropout."""

    def token_vectors(self, side: str, rows: Rows) -> torch.Tensor:
        """Return the vectors [n, D] of all tokens of texts, one text after the other, without gradient."""

    def from_tokens(self, side: str, rows: Rows, shift: torch.Tensor, still: bool) -> torch.Tensor:
        """Return vectors [len(rows), D] of texts whose tokens are moved by `shift` [n, D].

        `still`: with gradient to `shift` alone, and none to what is trained; else the other way round.
        """

    def warmup_queries(self, rows: Rows) -> torch.Tensor:
        """Return the vectors of queries before training."""

    def warmup_documents(self, rows: Rows) -> torch.Tensor:
        """Return the vectors of documents before training."""

    def load(self, path: Path) -> None:
        """Start from the model of another run."""

    def freeze(self, trained: frozenset[str]) -> None:
        """Stop training the towers that are not named: `query`, `document`."""

    def begin(self, seed: int, step: int) -> None:
        """Called before a step: seed and step decide all that is random in the encoder."""

    def prepared(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return the optimiser that takes the steps; it undoes any scaling of the gradients."""

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of all that is trained."""

    def stepped(self) -> None:
        """Called after the optimiser's step."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Return what is saved as the run's model, by name."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Return the parameters, trained or not."""

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Return the same with their names."""

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the weights for a checkpoint."""

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> object:
        """Restore what `state_dict` returned."""


class BiEncoder:
    """What encoders that compare vectors have in common."""

    pairs = False

    def batch(self: TrainedEncoder, step: int, queries: Rows, positives: Rows) -> Batch:
        """Return the batch with its current vectors."""
        return Batch(step, queries, positives, self.queries(queries), self.documents(positives))

    def similarities(self: TrainedEncoder, batch: Batch, negatives: Negatives) -> Similarities:
        """Return inner products of the batch's query vectors."""
        vectors = _negative_vectors(self, negatives, batch)
        return Similarities(
            positive=(batch.query_vectors * batch.positive_vectors).sum(dim=1),
            in_batch=batch.query_vectors @ batch.positive_vectors.T,
            negatives=torch.einsum("bd,bmd->bm", batch.query_vectors, vectors),
            negative_vectors=vectors,
        )

    def rankers(self) -> None:
        """Return None: there is no cross-encoder."""

    def auxiliary(self, rows: Rows) -> torch.Tensor:
        """Refuse: vectors come from a frozen encoder, unless a tier does it otherwise."""
        raise UserError(
            "this tier encodes no texts: a method with texts that are in no corpus can't run in it"
        )

    def live(self: TrainedEncoder) -> dict[str, torch.Tensor]:
        """Return all parameters."""
        return {name: value.detach() for name, value in self.named_parameters()}

    def token_vectors(self, side: str, rows: Rows) -> torch.Tensor:
        """Refuse: vectors come from a frozen encoder, unless a tier does it otherwise."""
        _refuse_tokens()

    def from_tokens(self, side: str, rows: Rows, shift: torch.Tensor, still: bool) -> torch.Tensor:
        """Refuse, as above."""
        _refuse_tokens()


def _refuse_tokens() -> NoReturn:
    raise UserError("this tier has no vectors of tokens: a method that moves them can't run in it")


def _negative_vectors(encoder: TrainedEncoder, negatives: Negatives, batch: Batch) -> torch.Tensor:
    """Return the vectors [B, M + V, D] of given negatives; document 0's in empty places."""
    size, dimension = batch.query_vectors.shape
    vectors = []
    if negatives.ids is not None:
        vectors.append(
            _given_vectors(encoder, negatives.ids.ravel()).reshape(*negatives.ids.shape, dimension)
        )
    if negatives.vectors is not None:
        vectors.append(negatives.vectors)
    if len(vectors) == 1:
        return vectors[0]
    return torch.cat(vectors, dim=1) if vectors else torch.empty(size, 0, dimension)


def _given_vectors(encoder: TrainedEncoder, ids: Rows) -> torch.Tensor:
    """Return the vectors [n, D] of documents [n] of the corpus or beside it; document 0's in empty places."""
    beside = is_auxiliary(ids)
    if not beside.any():
        return encoder.documents(np.where(ids == NO_DOCUMENT, 0, ids))
    corpus = np.where(ids == NO_DOCUMENT, 0, ids)[~beside]
    parts = [encoder.auxiliary(rows_of(ids[beside]))]
    if len(corpus):
        parts.append(encoder.documents(corpus))
    places = np.argsort(np.concatenate([np.flatnonzero(beside), np.flatnonzero(~beside)]))
    return torch.cat(parts)[torch.from_numpy(places)]


@dataclass(frozen=True)
class StoredMoment:
    """A moment as matrices: document vectors [N, D], and vectors of the queries in `rows`, which ascend."""

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
