"""A step's pairs of a query and a document as binary labels, for losses that judge each pair by itself.

A cosine is no logit: all lie on one side of 0. What a method calls the logit of a pair is its distance from a boundary.
"""

import torch
from torch import nn

from negmark.methods.types import Scores, Step

FOOTNOTE = (
    "the logit of a pair is (score - boundary) / temperature; the boundary is learned from halfway between positives "
    "and negatives of the first batch"
)
"""The footnote of a method with a `Boundary`."""


def others(scores: Scores) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores of a step's unlabelled pairs [B, B + M + V], in-batch ones first, and which of them count."""
    return (
        torch.cat([scores.in_batch, scores.negatives], dim=1),
        torch.cat([scores.in_batch_mask, scores.negatives_mask], dim=1),
    )


def halfway(scores: Scores) -> torch.Tensor:
    """Return the middle between the mean score of positives and that of negatives, without gradient (a scalar)."""
    values, mask = others(scores)
    positive = scores.positive.detach().mean()
    negative = values.detach()[mask]
    return (positive + negative.mean()) / 2 if len(negative) else positive


class Boundary(nn.Module):
    """The score at which a pair is as likely relevant as not: fixed, or learned from where the first batch puts it."""

    def __init__(self, fixed: float | None = None) -> None:
        super().__init__()
        self._learned = fixed is None
        self.score = nn.Parameter(torch.full((1,), fixed or 0.0), requires_grad=fixed is None)

    def logits(self, step: Step) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the logits of positives [B] and of other pairs [B, B + M + V], and which of those count."""
        if self._learned and step.batch.step == 0:
            with torch.no_grad():
                self.score.fill_(halfway(step.scores))
        values, mask = others(step.scores)
        return (
            (step.scores.positive - self.score) / step.temperature,
            (values - self.score) / step.temperature,
            mask,
        )
