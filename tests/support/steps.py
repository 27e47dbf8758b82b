"""Scores and steps made by hand, for the tests of losses."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from negmark.methods.types import Batch, Negatives, Scores, Step


def scores_of(
    positive: Sequence[float],
    in_batch: Sequence[Sequence[float]] | None = None,
    given: Sequence[Sequence[float]] | None = None,
    *,
    grad: bool = False,
    **others: Any,
) -> Scores:
    """Scores of rows in double precision: positives, in-batch documents of which all count, given negatives.

    The contract's square shape does not matter to a loss; without in-batch documents there are no columns of them.
    """
    size = len(positive)

    def tensor(values: Any) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64).reshape(size, -1)

    rows = [tensor(values) if values is not None else tensor([[]] * size) for values in (in_batch, given)]
    own = torch.tensor(positive, dtype=torch.float64)
    for each in (own, *rows):
        each.requires_grad_(grad)
    masks = [torch.ones(each.shape, dtype=torch.bool) for each in rows]
    made: dict[str, Any] = {"weights": None, "in_batch_mask": masks[0], "negatives_mask": masks[1]}
    return Scores(positive=own, in_batch=rows[0], negatives=rows[1], **{**made, **others})


def step_of(
    scores: Scores,
    temperature: float,
    number: int = 1,
    vectors: tuple[torch.Tensor, torch.Tensor] | None = None,
    ids: Any = None,
) -> Step:
    """A step with these scores; query i has document i as its positive, and `vectors` are those of both."""
    rows = np.arange(len(scores.positive))
    none = torch.empty(len(rows), 0)
    queries, documents = vectors or (none, none)
    batch = Batch(number, rows, rows, queries, documents)
    return Step(batch, Negatives(ids=ids), torch.empty(len(rows), 0, 0), scores, temperature)


def step_of_vectors(
    queries: Sequence[Sequence[float]], documents: Sequence[Sequence[float]], temperature: float
) -> Step:
    """A step of pairs of vectors, which are negatives of each other."""
    left, right = (torch.tensor(rows, dtype=torch.float64) for rows in (queries, documents))
    matrix = left @ right.T
    apart = ~torch.eye(len(left), dtype=torch.bool)
    scores = scores_of(matrix.diagonal().tolist(), matrix.tolist(), in_batch_mask=apart)
    return step_of(scores, temperature, vectors=(left, right))
