r"""Easy to hard: the draw from the pool grows sharper with the step.

What the paper says: a curriculum in which hard negatives come later. CoRNStack (of which we read what its model's card
says): "a softmax-based sampling strategy to progressively sample hard negatives with increasing difficulty over time";
the temperature of the softmax falls ([M]). CuSINeS (Santosh et al. 2024) begins with easier negatives as well, by its
abstract.
What the released code does: of CoRNStack's only a README was found; its temperatures were not read.
What we do: an own schedule of that idea. Of the `depth` best of the dense pool M are drawn without replacement with
p ~ exp(b s / temperature), s the cosine by the warm-up encoder; b rises linearly from 0, a uniform draw, to `sharpest`
after `pace` of the run's steps, and stays there. At b = 1 the draw is the softmax of the loss itself.
Cost per step: M document vectors per query; the dense pool is made once and shared.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, sampling
from negmark.methods.base import Method, Services
from negmark.methods.later import torch
from negmark.methods.types import NO_DOCUMENT, Batch, Footnote, Ids, Negatives, Tried


class EasyToHard(Method):
    """Hardness by step."""

    name = "easy_to_hard"
    title = "Easy to hard"
    citation = "after Suresh et al. 2025, ICLR, arXiv 2412.01007 (CoRNStack)"
    pools = frozenset({"dense"})
    footnotes = (
        Footnote("the schedule is ours: CoRNStack's softmax sampling, whose temperatures were not read"),
        Footnote("static pool of the warm-up encoder"),
    )

    class Params(base.Params):
        """Parameters of the schedule."""

        sharpest: float = Field(default=1.0, gt=0)
        """Sharpness b of the draw when the schedule ends, in inverse temperatures of the loss."""
        pace: float = Field(default=1.0, gt=0, le=1)
        """Share of the run's steps after which the schedule ends."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that are drawn from."""

    @classmethod
    def space(cls, params: EasyToHard.Params, track: str) -> Mapping[str, Tried]:
        """Tune how sharp the draw gets."""
        return {
            "sharpest": Tried((0.25, 0.5, 1.0, 2.0, 4.0), "ours: halves and doubles the loss's own softmax")
        }

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.sharpened = torch.zeros(1, dtype=torch.int64)
        """Steps whose draw was not uniform."""
        self._sharpness = 0.0

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M by the sharpness of the step."""
        ids, scores = self.services.pool("dense").candidates(batch.queries, self.params.depth)
        self._sharpness = sharpness(batch.step, self.services.steps, self.params.sharpest, self.params.pace)
        self.sharpened += self._sharpness > 0
        weights = log_chances(ids, scores / self.services.temperature, self._sharpness)
        columns = sampling.top_n_by_gumbel(weights, self.services.negatives, self.services.rng(batch.step))
        return Negatives(ids=sampling.take(ids, columns))

    def telemetry(self) -> dict[str, float]:
        """Return the sharpness of the step's draw."""
        return {"sharpness": self._sharpness}

    def idle(self) -> str:
        """Return that all draws were uniform."""
        return "" if self.sharpened else "the run ended before its draw grew sharper"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return how many steps had a sharpened draw."""
        return {"sharpened": self.sharpened}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.sharpened = state["sharpened"]


def sharpness(step: int, steps: int, sharpest: float, pace: float) -> float:
    """Return b of a step, counted from 0, of a run of so many: 0 at first, `sharpest` from `pace` of them on."""
    return sharpest * min(step / max(pace * steps, 1), 1)


def log_chances(ids: Ids, scores: NDArray[np.floating], b: float) -> NDArray[np.float64]:
    """Return b s of the candidates [B, K] with scores s in inverse temperatures; -inf in empty places."""
    empty = ids == NO_DOCUMENT
    return np.where(empty, -np.inf, b * np.where(empty, 0, scores).astype(np.float64))
