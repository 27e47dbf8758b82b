"""A step's pairs of a query and a document as binary labels, for losses that judge each pair by itself.

A cosine is no logit: all lie on one side of 0. What a method calls the logit of a pair is its distance from a boundary.
"""

from __future__ import annotations

from negmark.methods.later import nn, torch
from negmark.methods.types import Scores, Step

FOOTNOTE = (
    "the logit of a pair is (score - boundary) / temperature; the boundary is learned from halfway between positives "
    "and negatives of the first batch"
)
"""The footnote of a method with a boundary that is learned."""


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


def new_boundary(fixed: float | None = None) -> nn.ParameterDict:
    """Return the score at which a pair is as likely relevant as not: fixed, or learned from the first batch."""
    learned = fixed is None
    return nn.ParameterDict({"score": nn.Parameter(torch.full((1,), fixed or 0.0), requires_grad=learned)})


def logits(step: Step, boundary: nn.ParameterDict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the logits of positives [B] and of other pairs [B, B + M + V], and which of those count."""
    score = boundary["score"]
    if score.requires_grad and step.batch.step == 0:
        with torch.no_grad():
            score.fill_(halfway(step.scores))
    values, mask = others(step.scores)
    return (step.scores.positive - score) / step.temperature, (values - score) / step.temperature, mask
