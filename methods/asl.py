r"""ASL: easy negatives count for nothing, hard ones count most, and suspected mislabels count less again.

What the paper says: each pair is a binary label. With p = sigmoid(z) and p_m = max(p - m, 0), a positive has the loss
-(1 - p)^g+ log p, a negative -p_m^g- log(1 - p_m): the focus g- > g+ lowers easy negatives, the shift m drops those
below m, and the gradient of a negative falls once it is so probable that the label is likely wrong.
What the released code does (Alibaba-MIIL/ASL): the sum over all labels; g- = 4 and m = .05, g+ = 0 in train.py and 1
in the class; in train.py the focus is a constant in the gradient, which AsymmetricLossOptimized leaves in it. Also a
softmax variant for one label, cross-entropy with focused label smoothing, which is no row here.
What we do: pairs of a query and a document of the batch, or one of M drawn uniformly from the dense pool, are the
labels. A cosine is no logit, so z = (cosine - b) / temperature with a boundary b. Faithful track: the released loss
over those pairs, divided by B; b is learned. Controlled track: weights of InfoNCE from the same idea, w ~ p_m^g-, at
least 1e-6, of mean 1 a query, detached; b is halfway between the batch's mean positive and mean negative. A weight in
the log-sum-exp is not a weight of a log loss: it lowers easy negatives but never falls for suspects. That fall begins
at p of .93 (detached, .90 else), so it needs pairs up there: `live_share` and `suspect_share` in the history count.
Cost per step: M document vectors a query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import Field

from negmark.methods import base, losses, pairs, sampling
from negmark.methods.base import Method, Services
from negmark.methods.later import nn, torch
from negmark.methods.types import Batch, Claim, Footnote, Negatives, Scores, Step, Tried, When

FLOOR = 1e-6
"""The least that a pair weighs, before weights get the mean 1."""
SUSPECT = 0.9276
"""Where the gradient of a negative has its peak with the default focus and shift, the focus detached."""


class ASL(Method):
    """Asymmetric focus on negatives."""

    name = "asl"
    title = "ASL"
    citation = "Ben-Baruch et al. 2021, ICCV, arXiv 2009.14119"
    pools = frozenset({"dense"})
    faithful = True
    footnotes = (
        Footnote(
            "weights of InfoNCE instead of the sigmoid loss; they never fall for suspects",
            {When.CONTROLLED, When.VECTORS},
        ),
        Footnote(
            "weights of the listwise softmax; they never fall for suspects", {When.CONTROLLED, When.PAIRS}
        ),
        Footnote(
            "the logit of a pair is (score - boundary) / temperature; the boundary is halfway between the batch's mean "
            "positive and mean negative",
            {When.CONTROLLED},
        ),
        Footnote(pairs.FOOTNOTE, {When.FAITHFUL}),
        Footnote(
            "pairs of a batch and of M documents from the dense pool instead of all labels of an image; other "
            "labelled positives of a query are left out"
        ),
        Footnote("the suite's encoder, steps and optimiser, without averaged weights", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="asl",
            worse="dense_uniform",
            metric="nDCG@10",
            condition="mAP on MS-COCO, VOC, NUS-WIDE and Open Images, against cross-entropy; 86.6 on MS-COCO by the "
            "name of a released model",
            differs="multi-label images and independent sigmoids there; dense_uniform draws from the same depth of "
            "the same pool, all of weight 1",
        ),
    )

    class Params(base.Params):
        """Parameters of the focus."""

        gamma_neg: float = Field(default=4.0, ge=0)
        """Focus on hard negatives (g-); 0 weighs all above the shift alike."""
        gamma_pos: float = Field(default=0.0, ge=0)
        """Faithful track: focus on hard positives (g+), 0 in train.py and 1 in the class."""
        clip: float = Field(default=0.05, ge=0, lt=1)
        """Shift of a negative's probability (m): below it a pair counts for nothing."""
        detach: bool = True
        """Faithful track: is the focus a constant in the gradient, as in train.py?"""
        boundary: float | None = None
        """The score at which p is one half. If None, learned in the faithful track, the batch's in the controlled."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that are drawn from."""

    @classmethod
    def space(cls, params: ASL.Params, track: str) -> Mapping[str, Tried]:
        """Tune the focus on hard negatives."""
        return {"gamma_neg": Tried((0.0, 1.0, 2.0, 4.0, 6.0), "the paper's 4 and, ours, what lies around it")}

    @classmethod
    def vectors_needed(cls, params: base.Params, track: str) -> str:
        """Return nothing: a cross-encoder's scores are logits of pairs already."""
        return ""

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.boundary = pairs.new_boundary(params.boundary)
        self.live = torch.zeros(2, dtype=torch.int64)
        """Pairs above the shift, and those below it."""
        self._telemetry: dict[str, float] = {}

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M candidates uniformly."""
        return Negatives(ids=sampling.draw_from_pool(batch, "dense", self.params.depth, self.services))

    def weighed(self, step: Step) -> Scores:
        """Return weights of in-batch and given negatives by their probability, in the controlled track."""
        scores = step.scores
        if self.services.track == "faithful":
            return scores
        values, mask = pairs.others(scores)
        boundary = self.params.boundary if self.params.boundary is not None else pairs.halfway(scores)
        probabilities = ((values.detach() - boundary) / step.temperature).sigmoid()
        self._measure(probabilities[mask])
        weights = focused(probabilities, mask, self.params.gamma_neg, self.params.clip)
        size = scores.in_batch.shape[1]
        return replace(scores, in_batch_weights=weights[:, :size], weights=weights[:, size:])

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the asymmetric loss of all pairs, summed and divided by B."""
        p = self.params
        positive, others, mask = pairs.logits(step, self.boundary)
        self._measure(others.detach()[mask].sigmoid())
        negative = losses.asymmetric_negative(others, p.gamma_neg, p.clip, p.detach)[mask]
        return (losses.asymmetric_positive(positive, p.gamma_pos, p.detach).sum() + negative.sum()) / len(
            positive
        )

    def extra_modules(self) -> nn.ModuleDict:
        """Return the boundary, if it is learned."""
        learned = self.services.track == "faithful" and self.params.boundary is None
        return nn.ModuleDict({"boundary": self.boundary} if learned else {})

    def telemetry(self) -> dict[str, float]:
        """Return the share of pairs above the shift, and of those so probable that their gradient falls."""
        return self._telemetry

    def idle(self) -> str:
        """Return that the shift told no pairs apart."""
        above, below = self.live.tolist()
        if (above and below) or (above and self.params.gamma_neg):
            return ""
        return f"its shift dropped {'none' if above else 'all'} of {above + below:,} pairs"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return how many pairs were above and below the shift."""
        return {"live": self.live}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.live = state["live"]

    def _measure(self, probabilities: torch.Tensor) -> None:
        above = int((probabilities > self.params.clip).sum())
        self.live += torch.tensor([above, len(probabilities) - above])
        count = max(len(probabilities), 1)
        suspects = int((probabilities > SUSPECT).sum())
        self._telemetry = {"live_share": above / count, "suspect_share": suspects / count}


def focused(probabilities: torch.Tensor, mask: torch.Tensor, gamma: float, clip: float) -> torch.Tensor:
    """Return weights [B, K] in proportion to max(p - clip, 0)^gamma, of mean 1 over a row's places in use.

    Where no pair of a row is above `clip`, all weigh 1.
    """
    shifted = (probabilities - clip).clamp(min=0)
    weights = (shifted**gamma * (shifted > 0)).clamp(min=FLOOR)
    used = mask.sum(dim=1, keepdim=True).clamp(min=1)
    mean = (weights * mask).sum(dim=1, keepdim=True) / used
    return torch.where(mask, weights / mean.clamp(min=FLOOR), torch.ones_like(weights))
