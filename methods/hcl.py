"""HCL: in-batch negatives weigh the more the harder they are, and hidden positives are taken off.

What the paper says: draw negatives from q(x-) ~ e^{beta s(x, x-)} p(x-) among those of another class. Inside a batch
that is importance weighting, with the correction of debiased contrastive learning on top.
What the released code does (joshr17/HCL, estimator 'hard'): with n_j = e^{s_j/t} and weights n_j^beta, R = sum_j
n_j^beta n_j / mean_j n_j^beta, Ng = max((R - tau+ N e^{s+/t}) / (1 - tau+), N e^{-1/t}), L = -log e^{s+/t} /
(e^{s+/t} + Ng); beta = 1, tau+ = 0.1, t = 0.5, gradient through the weights too.
What we do: the same over the N in-batch documents that a row may have as negatives, in log space, at the suite's
temperature; beta = 0 is `debiased`. beta acts on s / t, so at a temperature of 0.05 beta = 1 is ten times as sharp as
the paper's and comes near a hard maximum. By default the product is the paper's: beta = t / 0.5, which is 0.1 there.
tau+ is 0.001 in the controlled track, the paper's 0.1 in the faithful one (see `debiased`), whose temperature needs
`budget: {temperature: 0.5}`. No mined negatives, which would count hardness twice.
Cost per step: nothing beyond the batch.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method
from negmark.methods.debiased import PAPERS_TEMPERATURE, class_prior
from negmark.methods.later import torch
from negmark.methods.types import IN_BATCH, Batch, Footnote, Negatives, Step, Tried, When


class HCL(Method):
    """Hard negatives by importance weights inside the batch."""

    name = "hcl"
    title = "HCL"
    citation = "Robinson et al. 2021, ICLR, arXiv 2010.04592"
    needs_vectors = IN_BATCH
    footnotes = (
        Footnote(
            "the suite's temperature t instead of the paper's 0.5, and so by default beta = t / 0.5, as sharp as the "
            "paper's 1, and tau+ of 0.001 instead of 0.1",
            {When.CONTROLLED},
        ),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
        Footnote(
            "queries against in-batch documents instead of two views of an image: N is at most B - 1, not 2B - 2"
        ),
        Footnote("in-batch documents are its only negatives"),
    )

    faithful = True

    class Params(base.Params):
        """Parameters of weights and correction."""

        beta: float | None = Field(default=None, ge=0)
        """Concentration: weights are e^{beta s / temperature}; 0 weighs all alike. If None, temperature / 0.5."""
        tau_plus: float | None = Field(default=None, ge=0, lt=1)
        """Chance that an in-batch document is an unlabelled positive (tau+). If None, the paper's 0.1 in the faithful
        track and 0.001 in the controlled one."""
        detach: bool = False
        """Keep the gradient out of the weights; the released code does not."""

    @classmethod
    def space(cls, params: HCL.Params, track: str) -> Mapping[str, Tried]:
        """Tune the concentration; by default it is 1 at the paper's temperature, which faithful rows may have."""
        if track == "faithful":
            return {"beta": Tried((None, 0.25, 0.5, 2.0, 4.0), "ours: factors of two around the paper's 1")}
        return {
            "beta": Tried(
                (None, 0.05, 0.2, 0.5, 1.0),
                "ours: None is as sharp as the paper's, which is 0.1 at a temperature of 0.05",
            )
        }

    @classmethod
    def papers_temperature(cls, params: HCL.Params) -> float | None:
        """Return the paper's."""
        return PAPERS_TEMPERATURE

    def negatives(self, batch: Batch) -> Negatives:
        """Give none: the weights are those of in-batch documents."""
        return Negatives()

    def loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE with weighted negatives and the debiased denominator."""
        p = self.params
        beta = step.temperature / PAPERS_TEMPERATURE if p.beta is None else p.beta
        prior = class_prior(p.tau_plus, self.services.track)
        return losses.debiased_info_nce(step.scores, step.temperature, prior, beta, p.detach)

    def idle(self) -> str:
        """Return that nothing is weighed or taken off."""
        p = self.params
        acts = p.beta != 0 or class_prior(p.tau_plus, self.services.track)
        return "" if acts else "beta and tau+ are 0, so that it is InfoNCE"
