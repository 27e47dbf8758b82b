"""What methods without any negatives have in common: no place in the controlled track, and a danger to collapse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from negmark.methods.later import torch
from negmark.methods.scale import mean_cosine
from negmark.methods.types import Batch, Gives, Negatives

LAST = 10
"""Steps by whose mean cosine a collapse is told."""
COLLAPSED = 0.99
"""The mean cosine of a batch's queries above which they are one vector for a search."""


class Cosines:
    """The mean cosines of the last batches' queries: what a collapse is told by."""

    def __init__(self) -> None:
        self._last = torch.empty(0)

    def add(self, vectors: torch.Tensor) -> None:
        """Keep the mean cosine of unit vectors [B, D]."""
        self._last = torch.cat([self._last, torch.tensor([mean_cosine(vectors)])])[-LAST:].clone()

    def telemetry(self) -> dict[str, float]:
        """Return that of the last batch, if there was one."""
        return {"mean_cosine": float(self._last[-1])} if len(self._last) else {}

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


class WithoutNegatives:
    """A part of methods that have no negatives, not even the batch; `cosines` are added to at each step."""

    cosines: Cosines

    @classmethod
    def gives(cls, params: Any, track: str) -> Gives:
        """Return nothing."""
        return Gives.NOTHING

    @classmethod
    def refusal(cls, params: Any, track: str) -> str:
        """Refuse the controlled track."""
        why = "it has no negatives, which are all that rows differ in there; set `track: faithful`"
        return why if track == "controlled" else ""

    def negatives(self, batch: Batch) -> Negatives:
        """Give none."""
        return Negatives()

    def telemetry(self) -> dict[str, float]:
        """Return the mean cosine of the batch's queries: near 1 where all vectors have fallen together."""
        return self.cosines.telemetry()

    def idle(self) -> str:
        """Return that all vectors have fallen together, which is no way of learning without negatives."""
        return self.cosines.collapse()

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the last mean cosines."""
        return self.cosines.state_dict()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore them."""
        self.cosines.load_state_dict(state)
