"""What methods without any negatives have in common: no place in the controlled track, and a danger to collapse."""

from __future__ import annotations

from negmark.methods.later import torch


def refusal(track: str) -> str:
    """Return why a method without negatives is refused in the controlled track."""
    why = "it has no negatives, which are all that rows differ in there; set `track: faithful`"
    return why if track == "controlled" else ""


def mean_cosine(vectors: torch.Tensor) -> float:
    """Return the mean cosine of all pairs of different rows of unit vectors [B, D]: 1 where all are one."""
    size = len(vectors)
    total = vectors.detach().sum(dim=0).square().sum()
    return float((total - size) / max(size * (size - 1), 1))
