"""What a method gets and returns: batches, negatives, scores; and what it declares: claims and footnotes."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmark.methods.later import torch

Ids = NDArray[np.int64]


NO_DOCUMENT = -1
"""Fills a place for which there is no document: such a place is masked in every loss and never logged."""
IN_BATCH = "in-batch negatives"
"""What a method needs that has no negatives of its own, or works on those of the batch (`Method.needs_vectors`)."""


@dataclass(frozen=True)
class Batch:
    """What one optimiser step sees: B queries, one labelled positive each, and their current vectors."""

    step: int
    """Counts optimiser steps from 0."""
    queries: Ids
    """[B] query rows."""
    positives: Ids
    """[B] document rows, one labelled positive per query."""
    query_vectors: torch.Tensor
    """[B, D] unit length, with gradient: detach it before choosing by it. D is 0 in the rerank tier."""
    positive_vectors: torch.Tensor
    """[B, D] unit length, with gradient. D is 0 in the rerank tier."""


@dataclass(frozen=True)
class Negatives:
    """What a method returns for a batch. All parts optional; without any, in-batch documents serve alone.

    A place that a rule can't fill stays empty, or is filled as the paper fills it and marked in `backfilled`; the board
    shows the share of both on the row, and of queries left without a negative.
    """

    ids: Ids | None = None
    """[B, M] document rows, none twice in a row; `NO_DOCUMENT` where a short pool leaves a place empty. Ids of
    `negmark.methods.auxiliary` name texts that are in no corpus."""
    vectors: torch.Tensor | None = None
    """[B, V, D] negatives that aren't documents (centroids, mixtures), of unit length."""
    vectors_mask: torch.Tensor | None = None
    """[B, V] bool: which of the vectors count; None: all do."""
    weights: torch.Tensor | None = None
    """[B, M + V] factor of each negative's exponential in the loss, positive; ids first, then vectors."""
    in_batch: torch.Tensor | None = None
    """[B, B] bool: may the positive of row j serve as a negative of row i? Labelled positives never do."""
    source: str = ""
    """Where they come from, for the ledger; the method's name if empty."""
    backfilled: NDArray[np.bool_] | None = None
    """[B, M] which ids are random documents in places that the method's own rule left empty; None: no place is."""


@dataclass(frozen=True)
class Scores:
    """Cosine similarities of one step, with the masks that say which of them count.

    In the rerank tier they are logits, for which the temperature is 1, and no in-batch document counts.
    """

    positive: torch.Tensor
    """[B]"""
    in_batch: torch.Tensor
    """[B, B]: query i against the positive of row j."""
    in_batch_mask: torch.Tensor
    """[B, B] bool: False on the diagonal, on labelled positives and where the method said no."""
    negatives: torch.Tensor
    """[B, M + V]"""
    negatives_mask: torch.Tensor
    """[B, M + V] bool: False in empty places."""
    weights: torch.Tensor | None
    """[B, M + V] or None, as the method gave them."""
    in_batch_weights: torch.Tensor | None = None
    """[B, B] factor of each in-batch document's exponential in the loss, positive; None: all weigh 1."""


@dataclass(frozen=True)
class Step:
    """All that a loss may use: the batch, the negatives, their vectors and scores."""

    batch: Batch
    negatives: Negatives
    negative_vectors: torch.Tensor
    """[B, M + V, D], with gradient where they are documents."""
    scores: Scores
    temperature: float


@dataclass(frozen=True)
class Graded:
    """Pairs of sentences with a score for how similar people find them."""

    first: torch.Tensor
    """[P, D] unit length, with gradient, as the query tower encodes them."""
    second: torch.Tensor
    """[P, D]"""
    scores: torch.Tensor
    """[P]: only their order counts."""


class When(Enum):
    """A condition on a row, for footnotes that don't hold everywhere."""

    CONTROLLED = "controlled"
    """The row is in the track where only the negatives are the method's."""
    FAITHFUL = "faithful"
    """It is in the track of the paper's own recipe."""
    RETRIEVAL = "retrieval"
    """The dataset has queries with labelled documents."""
    SENTENCES = "sentences"
    """The dataset has sentences: query and positive are two views of one."""
    GRADED = "graded"
    """The dataset has graded pairs."""
    UNGRADED = "ungraded"
    """It has none."""
    VECTORS = "vectors"
    """The tier trains a bi-encoder."""
    PAIRS = "pairs"
    """The tier trains a cross-encoder, which scores pairs."""
    ENCODER_TEACHES = "encoder teaches"
    """Who teaches, if anybody, has vectors."""
    RANKER_TEACHES = "ranker teaches"
    """A cross-encoder teaches."""


@dataclass(frozen=True)
class Footnote:
    """A difference between a row and its paper: the board shows it below the table."""

    text: str
    """One clause, such as "InfoNCE instead of the pairwise loss"."""
    when: Set[When] = frozenset()
    """Conditions that must all hold; none of them: it always applies."""


@dataclass(frozen=True)
class Claim:
    """A paper's claim that one method beats another, as data: the board compares it with what was measured."""

    better: str
    """The method that the paper finds better, by its name here."""
    worse: str
    metric: str
    condition: str
    """Where the paper shows it, with the numbers if they are known."""
    differs: str
    """Where our setting differs from the paper's."""
    own_depth: bool = False
    """Is the number of candidates that is drawn from part of the methods? Then rows of different depths may test it."""
    of_rankers: bool = False
    """Is it about cross-encoders? Then only tiers that train one test it; other claims aren't tested there."""
    batch: int = 1
    """Queries of a batch from which on it is tested: above 1 where it rests on many in-batch negatives."""
    own_loss: bool = False
    """Is it about a loss? Then a row with its own is compared with one of the same track that has the shared one, and
    with none that is trained with that loss."""
    own_teacher: bool = False
    """Is what a teacher knows part of the method? Then a row with one may be compared with a row without."""
    from_worse: bool = False
    """Does the better method train on from the worse one's model? Then only a row that starts from one tests it, in the
    faithful track by its own loss over as many documents as that reads."""


class Lends(Enum):
    """To which methods' negatives a faithful loss may be applied."""

    NOT = "not"
    """To none but its own: it needs what its own method's choice leaves."""
    TO_DOCUMENTS = "to documents"
    """To those that are documents; without any it has no term."""
    TO_ALL = "to all"
    """To in-batch ones alone, too."""


class Gives(Enum):
    """What a row's negatives are beside the documents of its batch."""

    NOTHING = "nothing"
    """There are none, so that a budget's number of negatives changes nothing."""
    BESIDE = "beside the corpus"
    """Vectors, or texts that are in no corpus; documents at most where these are lacking."""
    DOCUMENTS = "documents"
    """Documents that it chose, alone or among others."""


@dataclass(frozen=True)
class Work:
    """What a run of a method costs beside its batches, in counts: a plan multiplies them with the corpus."""

    corpus_encodings: int = 0
    """Times that the whole corpus is encoded."""
    searches: int = 0
    """Queries searched over the whole corpus."""
    queries: int = 0
    """Queries encoded to put batches together; a plan works it out of `Method.composition`."""


@dataclass(frozen=True)
class Composition:
    """How a row puts its batches together (`Method.composition`)."""

    every: int | None = None
    """Steps after which what is left of an epoch is put together anew; None: once an epoch."""
    encodings: int = 0
    """Vectors of queries by the trained encoder that a pair takes each time it is put together: a plan counts them."""


@dataclass(frozen=True)
class Pairs:
    """Queries and positives that a run will go through before they are put together again, in the shared order.

    Those of an epoch, or what is left of it; of a run's last epoch only what it reaches. A method decides who shares a
    batch, never who is trained on: each pair is as often in its batches as in those of any other row.
    """

    step: int
    """Whose batch is the first that takes some of them."""
    queries: Ids
    """[P] query rows, none twice."""
    positives: Ids
    """[P] document rows, one labelled positive per query."""
    batches: Ids
    """[P] the batch, counted from 0, that each place of an order falls into. The first is shorter where it began with
    pairs of the epoch before, the last where pairs run out."""
    rng: np.random.Generator
    """The stream of this seed and step: rows that put batches together alike share it, whatever they are called."""


@dataclass(frozen=True)
class Move:
    """A step of a document's token vectors along a gradient (`Services.perturbed_documents`)."""

    objective: Callable[[torch.Tensor], torch.Tensor]
    """Takes the vectors [B, D] of the moved texts and returns a scalar: each token goes where it rises fastest."""
    size: float
    """How far, in units of the mean length of the texts' token vectors; below 0 the scalar falls."""


@dataclass(frozen=True)
class Tried:
    """Values of a parameter that tuning tries, the default among them."""

    values: tuple[Any, ...]
    source: str
    """Where the values come from: the paper, its code, or ours and why."""
