"""What methods without any negatives have in common: no place in the controlled track, and a danger to collapse."""

from __future__ import annotations

from collections.abc import Mapping

from negmark.methods.later import torch

LAST = 10
"""Steps by whose mean cosine a collapse is told."""
COLLAPSED = 0.99
"""The mean cosine of a batch's queries above which they are one vector for a search."""


def refusal(track: str) -> str:
    """Return why a method without negatives is refused in the controlled track."""
    why = "it has no negatives, which are all that rows differ in there; set `track: faithful`"
    return why if track == "controlled" else ""


def mean_cosine(vectors: torch.Tensor) -> float:
    """Return the mean cosine of all pairs of different rows of unit vectors [B, D]: 1 where all are one."""
    size = len(vectors)
    total = vectors.detach().sum(dim=0).square().sum()
    return float((total - size) / max(size * (size - 1), 1))


class Cosines:
    """The mean cosines of the last batches' queries: what a collapse is told by."""

    def __init__(self) -> None:
        self._last = torch.empty(0)

    def add(self, vectors: torch.Tensor) -> float:
        """Keep and return the mean cosine of unit vectors [B, D]."""
        found = mean_cosine(vectors)
        self._last = torch.cat([self._last, torch.tensor([found])])[-LAST:].clone()
        return found

    def collapse(self) -> str:
        """Return in a few words that all vectors have fallen together, empty if they haven't."""
        if not len(self._last) or (found := float(self._last.mean())) <= COLLAPSED:
            return ""
        return f"all vectors fell together: queries of its last batches had a mean cosine of {found:.3f}"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the last mean cosines."""
        return {"cosines": self._last}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore them."""
        self._last = state["cosines"]
