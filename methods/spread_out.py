r"""Spread-out regulariser: beside InfoNCE, random pairs of queries and of documents are pushed towards a right angle.

What the paper says: global orthogonal regularisation (GOR, Zhang et al. 2017) gives vectors of unrelated inputs the
moments of vectors on the whole sphere: M1^2 + max(0, M2 - 1/d), M1 and M2 the mean and the mean square of their
cosines. EmbeddingGemma (eq. 4) takes the second moment alone, of queries and of positives, without the floor 1/d:
L_S = mean_{i != j} (q_i q_j)^2 + mean_{i != j} (p_i p_j)^2, to make vectors robust to quantisation and fit for
approximate search. Neither its weight in the sum of losses nor an ablation is in what we read of it.
What the released code does: EmbeddingGemma's is not public; sentence-transformers' GlobalOrthogonalRegularizationLoss
has both moments, with the floor; its docstring calls `mean_weight=0`, `aggregation="sum"` EmbeddingGemma's, which is
so above the floor but for a constant.
What we do: InfoNCE over in-batch documents plus `weight` times EmbeddingGemma's sum, in the faithful track alone, as no
negative is chosen or weighed. `floor` and `mean` add what GOR has. Two queries of one topic are pushed apart like any
two, which is the price; labelled positives of each other's query as well, as in the paper. The loss may be lent.
Cost per step: nothing beyond the batch; 2 B^2 products more.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method, Services
from negmark.methods.later import torch
from negmark.methods.types import IN_BATCH, Batch, Footnote, Lends, Negatives, Step, Tried, When


class SpreadOut(Method):
    """Vectors over the whole sphere."""

    name = "spread_out"
    title = "Spread-out regulariser"
    citation = "Zhang et al. 2017, ICCV, arXiv 1708.06320; Schechter Vera et al. 2025, arXiv 2509.20354"
    needs_vectors = IN_BATCH
    faithful = True
    lends_loss = Lends.TO_ALL
    footnotes = (
        Footnote("its weight in the loss is ours; no distillation and no nested dimensions", {When.FAITHFUL}),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )

    class Params(base.Params):
        """Parameters of the regulariser."""

        weight: float = Field(default=1.0, gt=0)
        """Factor of the regulariser beside InfoNCE."""
        floor: bool = False
        """Does a second moment below 1/D cost nothing, as in GOR?"""
        mean: bool = False
        """Is the square of the mean cosine added, as in GOR?"""

    @classmethod
    def space(cls, params: SpreadOut.Params, track: str) -> Mapping[str, Tried]:
        """Tune the weight."""
        return {"weight": Tried((0.1, 0.3, 1.0, 3.0, 10.0), "ours: a sum without a factor, and around it")}

    @classmethod
    def refusal(cls, params: SpreadOut.Params, track: str) -> str:
        """Refuse the controlled track."""
        why = "it chooses and weighs no negatives; set `track: faithful`"
        return why if track == "controlled" else ""

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.above = torch.zeros(1, dtype=torch.int64)
        """Steps in which a moment was above the floor."""

    def negatives(self, batch: Batch) -> Negatives:
        """Give none."""
        return Negatives()

    def loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE and the weighted regulariser of both sides."""
        return losses.info_nce(step.scores, step.temperature) + self.params.weight * self._spread(step)

    def observe(self, step: Step) -> None:
        """Count the steps in which the regulariser costs anything; without a floor each does."""
        self.above += int(not self.params.floor or bool(self._spread(step) > 0))

    def idle(self) -> str:
        """Return that the floor left nothing of the regulariser."""
        return "" if self.above else "no moment was above the floor, so that it is InfoNCE"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return how many steps had a moment above the floor."""
        return {"above": self.above}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.above = state["above"]

    def _spread(self, step: Step) -> torch.Tensor:
        """Return the regularisers of both sides, added up."""
        sides = step.batch.query_vectors, step.batch.positive_vectors
        return torch.stack([regulariser(each, self.params.floor, self.params.mean) for each in sides]).sum()


def regulariser(vectors: torch.Tensor, floor: bool, mean: bool) -> torch.Tensor:
    """Return the second moment of the cosines of different rows of unit vectors [B, D] (a scalar).

    With `floor` what it is above 1 / D, if anything; with `mean` plus the square of the first moment.
    """
    second = losses.second_moment(vectors)
    if floor:
        second = (second - 1 / vectors.shape[1]).relu()
    return second + losses.first_moment(vectors).square() if mean else second
