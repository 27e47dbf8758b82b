"""Matryoshka representation learning (Kusupati et al. 2022, arXiv 2205.13147): the first dimensions are vectors too.

The loss is the sum, all of weight 1, of a step's loss by the first d dimensions of all vectors, scaled to length 1, for
each d that the budget lists: what sentence-transformers' MatryoshkaLoss computes. A method chooses, weighs and masks by
the whole vectors, once a step.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn import functional

from negmark.core.errors import UserError
from negmark.methods.base import Method
from negmark.methods.types import Step
from negmark.store.vectors import Vectors


def checked(dimensions: Sequence[int], vectors: Vectors) -> tuple[int, ...]:
    """Return the dimensions. Raises `UserError` if the encoder's vectors [N, D] have fewer."""
    if dimensions and max(dimensions) > (width := vectors.shape[1]):
        raise UserError(
            f"matryoshka: {max(dimensions)} is more than the {width} dimensions of the encoder's vectors; lower it"
        )
    return tuple(dimensions)


def loss(objective: Method, example: Step, dimensions: Sequence[int]) -> torch.Tensor:
    """Return the sum of the losses by the first so many dimensions (a scalar)."""
    return torch.stack([objective.loss(nested(example, dimension)) for dimension in dimensions]).sum()


def nested(example: Step, dimension: int) -> Step:
    """Return a step whose vectors are their first dimensions, of length 1, and whose scores are those of these."""
    batch = replace(
        example.batch,
        query_vectors=first(example.batch.query_vectors, dimension),
        positive_vectors=first(example.batch.positive_vectors, dimension),
    )
    negatives = first(example.negative_vectors, dimension)
    scores = replace(
        example.scores,
        positive=(batch.query_vectors * batch.positive_vectors).sum(dim=1),
        in_batch=batch.query_vectors @ batch.positive_vectors.T,
        negatives=torch.einsum("bd,bmd->bm", batch.query_vectors, negatives),
    )
    return replace(example, batch=batch, negative_vectors=negatives, scores=scores)


def first(vectors: torch.Tensor, dimension: int) -> torch.Tensor:
    """Return the first dimensions of vectors [..., D], scaled to length 1."""
    return functional.normalize(vectors[..., :dimension], dim=-1)
