r"""Large loss: pairs on which the model errs most are taken for unlabelled positives, and dropped or flipped.

What the paper says: with one label an image, all others are assumed negative. A network fits true negatives first, so
that unlabelled pairs of large loss are suspects: reject them (LL-R), correct them for this step (LL-Ct) or for good
(LL-Cp). That is Large Loss Matters (Kim et al. 2022, from memory [M]). BoostLU (2023) multiplies positive values of a
class activation map by 5 before they are pooled, in training and evaluation, so that unlabelled classes show.
What the released code does (youngwk/BridgeGapExplanationPAMC, compute_batch_loss): binary cross-entropy of all pairs,
as a mean. The first epoch changes nothing. Then the k unlabelled pairs of largest loss in the batch, and what ties
with the last of them: loss 0, still counted in the mean; or the loss of the other label; LL-Cp stores the label too. k
is the share of all pairs, rounded up: (epoch - 1) times .5 % (R) or .2 % (Ct), .1 % throughout (Cp). Where k is more
than the unlabelled pairs it changes every pair, labelled ones too.
What we do: pairs of a query and a document of the batch, or one of M drawn uniformly from the dense pool. A negative's
loss rises with its score, so the k best-scored of the step are the suspects; never a labelled one. 100 steps stand for
an epoch, and the share stays below `cap`. In the controlled track they are masked in InfoNCE (R alone: a flipped pair
is no choice of negatives). In the faithful track all three over a sigmoid loss whose boundary is learned; flipped
pairs are positives of training alone, never of the labels. BoostLU is not done: a bi-encoder has no activation map to
boost, and its evaluation would have to change with it. With mined negatives the rule drops what mining looked for.
Cost per step: M document vectors a query.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from negmark.methods import base, pairs, sampling
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, nn, torch
from negmark.methods.types import Batch, Claim, Footnote, Negatives, Scores, Step, Tried, When

RATES = {"reject": 0.005, "correct": 0.002, "correct_for_good": 0.001}
"""Share of all pairs that the released code adds at each epoch, or for good takes at each step."""


class LargeLoss(Method):
    """Suspected false negatives by the model's own scores."""

    name = "large_loss"
    title = "Large loss"
    citation = "Kim et al. 2022, CVPR; Kim et al. 2023, CVPR, arXiv 2304.01804"
    pools = frozenset({"dense"})
    faithful = True
    footnotes = (
        Footnote("suspects are masked in InfoNCE instead of a sigmoid loss", {When.CONTROLLED, When.VECTORS}),
        Footnote(
            "suspects are masked in the listwise softmax instead of a sigmoid loss",
            {When.CONTROLLED, When.PAIRS},
        ),
        Footnote(pairs.FOOTNOTE, {When.FAITHFUL}),
        Footnote("100 steps stand for an epoch, and the share of suspects is capped"),
        Footnote("without BoostLU, as a bi-encoder has no class activation map", {When.VECTORS}),
        Footnote("without BoostLU, as a cross-encoder here has no class activation map", {When.PAIRS}),
        Footnote("the suite's encoder, steps and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="large_loss",
            worse="dense_uniform",
            metric="nDCG@10",
            condition="mAP on VOC, COCO, NUS-WIDE and CUB with one label an image, with BoostLU, by a large margin "
            "over assumed negatives (abstract; figures not read)",
            differs="multi-label images, sigmoids and BoostLU there; dense_uniform draws from the same depth of the "
            "same pool and drops none",
        ),
    )

    class Params(base.Params):
        """Parameters of the suspicion."""

        scheme: Literal["reject", "correct", "correct_for_good"] = "reject"
        """LL-R, LL-Ct or LL-Cp."""
        rate: float | None = Field(default=None, gt=0, lt=1)
        """Share of all pairs that is added every `period` steps, or taken at each (for good). If None, the released
        code's: .005, .002 or .001."""
        period: int = Field(default=100, ge=1)
        """Steps that stand for an epoch; nothing is suspected in the first ones."""
        cap: float = Field(default=0.05, gt=0, le=1)
        """Largest share of all pairs."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that are drawn from."""

    @classmethod
    def space(cls, params: LargeLoss.Params, track: str) -> Mapping[str, Tried]:
        """Tune the rate."""
        return {
            "rate": Tried(
                (None, 0.0005, 0.003, 0.01, 0.02), "the released code's (None) and, ours, around it"
            )
        }

    @classmethod
    def vectors_needed(cls, params: base.Params, track: str) -> str:
        """Return nothing: a cross-encoder's scores are logits of pairs already."""
        return ""

    @classmethod
    def refusal(cls, params: LargeLoss.Params, track: str) -> str:
        """Return that nothing can be corrected in the controlled track."""
        if track == "controlled" and params.scheme != "reject":
            return "a corrected pair is a positive; set `track: faithful`, or `scheme: reject`"
        return ""

    @classmethod
    def own_notes(cls, params: LargeLoss.Params, track: str) -> list[str]:
        """Return what becomes of suspects, where it isn't rejection."""
        notes = {
            "correct": ["suspects are positives of the step (LL-Ct)"],
            "correct_for_good": ["suspects are positives from then on (LL-Cp)"],
        }
        return notes.get(params.scheme, [])

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.boundary = pairs.new_boundary()
        self.flipped = torch.zeros(0, dtype=torch.int64)
        """Pairs corrected for good, ascending: query times documents plus document."""
        self.suspects = torch.zeros(2, dtype=torch.int64)
        """Pairs seen, and those of them that were suspected."""

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M candidates uniformly."""
        return Negatives(ids=sampling.draw_from_pool(batch, "dense", self.params.depth, self.services))

    def weighed(self, step: Step) -> Scores:
        """Return masks without the suspects, in the controlled track."""
        scores = step.scores
        if self.services.track == "faithful":
            return scores
        values, mask = pairs.others(scores)
        kept = mask & ~self._suspected(values, mask, step, int(mask.sum()))
        size = scores.in_batch.shape[1]
        return replace(scores, in_batch_mask=kept[:, :size], negatives_mask=kept[:, size:])

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the mean binary cross-entropy of all pairs, suspects rejected or corrected."""
        positive, others, mask = pairs.logits(step, self.boundary)
        relevant = self._flipped(step) & mask
        suspected = self._suspected(others, mask & ~relevant, step, int(mask.sum()))
        if self.params.scheme == "correct_for_good":
            self._flip(step, suspected)
        return assumed_negative(positive, others, mask, relevant, suspected, self.params.scheme)

    def extra_modules(self) -> nn.ModuleDict:
        """Return the boundary, where it is learned."""
        return nn.ModuleDict({"boundary": self.boundary} if self.services.track == "faithful" else {})

    def idle(self) -> str:
        """Return that nothing was suspected."""
        return "" if self.suspects[1] else f"none of {int(self.suspects[0]):,} pairs was suspected"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the pairs corrected for good, and how many were seen and suspected."""
        return {"flipped": self.flipped, "suspects": self.suspects}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.flipped, self.suspects = state["flipped"], state["suspects"]

    def share(self, step: int) -> float:
        """Return the share of all pairs that is suspected at a step."""
        p, epochs = self.params, step // self.params.period
        rate = RATES[p.scheme] if p.rate is None else p.rate
        return min(rate * (min(epochs, 1) if p.scheme == "correct_for_good" else epochs), p.cap)

    def _suspected(
        self, values: torch.Tensor, mask: torch.Tensor, step: Step, pairs_seen: int
    ) -> torch.Tensor:
        """Mark the suspects among the masked pairs: a share of all pairs, those corrected for good among them."""
        count = math.ceil(self.share(step.batch.step) * (pairs_seen + len(step.batch.queries)))
        suspected = largest(values.detach(), mask, count)
        self.suspects += torch.tensor([int(mask.sum()), int(suspected.sum())])
        return suspected

    def _keys(self, step: Step) -> torch.Tensor:
        """Return the pairs [B, B + M] as numbers."""
        batch, ids = step.batch, step.negatives.ids
        columns = [np.broadcast_to(batch.positives, step.scores.in_batch.shape)]
        columns += [] if ids is None else [ids]
        documents = np.concatenate(columns, axis=1)
        return torch.from_numpy(batch.queries[:, None] * self.services.documents + documents)

    def _flipped(self, step: Step) -> torch.Tensor:
        return torch.isin(self._keys(step), self.flipped)

    def _flip(self, step: Step, suspected: torch.Tensor) -> None:
        self.flipped = torch.cat([self.flipped, self._keys(step)[suspected]]).unique()


def largest(values: torch.Tensor, mask: torch.Tensor, count: int) -> torch.Tensor:
    """Mark the `count` largest of the masked values [B, K] of a whole batch, and all that tie with the last of them."""
    among = values[mask]
    count = min(count, len(among))
    if not count:
        return torch.zeros_like(mask)
    return mask & (values >= among.topk(count).values[-1])


def assumed_negative(
    positive: torch.Tensor,
    others: torch.Tensor,
    mask: torch.Tensor,
    relevant: torch.Tensor,
    suspected: torch.Tensor,
    scheme: str,
) -> torch.Tensor:
    """Return the mean binary cross-entropy of positives [B] and other pairs [B, K] in use by their logits (a scalar).

    Other pairs are negatives, unless marked as `relevant`; those `suspected` have loss 0 under `reject`, and the loss
    of a positive else. All pairs in use count in the mean.
    """
    flipped = relevant if scheme == "reject" else relevant | suspected
    each = functional.softplus(torch.where(flipped, -others, others))
    kept = mask & ~suspected if scheme == "reject" else mask
    return (functional.softplus(-positive).sum() + each[kept].sum()) / (len(positive) + mask.sum())
