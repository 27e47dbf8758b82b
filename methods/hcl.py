"""HCL: in-batch negatives weigh the more the harder they are, and hidden positives are taken off.

What the paper says: draw negatives from q(x-) ~ e^{beta s(x, x-)} p(x-) among those of another class. Inside a
batch that is importance weighting, with the correction of debiased contrastive learning on top.
What the released code does (joshr17/HCL, estimator 'hard'): with n_j = e^{s_j/t} and weights n_j^beta,
R = sum_j n_j^beta n_j / mean_j n_j^beta,  Ng = max((R - tau+ N e^{s+/t}) / (1 - tau+), N e^{-1/t}),
L = -log e^{s+/t} / (e^{s+/t} + Ng); beta = 1, tau+ = 0.1, t = 0.5, gradient through the weights too.
What we do: the same over the N in-batch documents that a row may have as negatives, in log space, at the
suite's temperature; beta = 0 is `debiased`. beta acts on s / t, so at a temperature of 0.05 beta = 1 is ten
times as sharp as the paper's and comes near a hard maximum; tune beta and tau+ (see `debiased` for the floor).
No mined negatives, which would count hardness twice.
Cost per step: nothing beyond the batch.
"""

from collections.abc import Mapping

import torch
from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method
from negmark.methods.types import IN_BATCH, Batch, Footnote, Negatives, Step, Tried


class HCL(Method):
    """Hard negatives by importance weights inside the batch."""

    name = "hcl"
    title = "HCL"
    citation = "Robinson et al. 2021, ICLR, arXiv 2010.04592"
    needs_vectors = IN_BATCH
    footnotes = (
        Footnote("the suite's temperature instead of the paper's 0.5, which makes the same beta sharper"),
        Footnote(
            "queries against in-batch documents instead of two views of an image: N is at most B - 1, not 2B - 2"
        ),
        Footnote("in-batch documents are its only negatives"),
    )

    class Params(base.Params):
        """Parameters of weights and correction."""

        beta: float = Field(default=1.0, ge=0)
        """Concentration: weights are e^{beta s / temperature}; 0 weighs all alike."""
        tau_plus: float = Field(default=0.1, ge=0, lt=1)
        """Chance that an in-batch document is an unlabelled positive (tau+)."""
        detach: bool = False
        """Keep the gradient out of the weights; the released code does not."""

    @classmethod
    def space(cls, params: "HCL.Params", track: str) -> Mapping[str, Tried]:
        """Tune the concentration."""
        return {
            "beta": Tried(
                (0.05, 0.1, 0.2, 0.5, 1.0),
                "ours: at a temperature of 0.05 it takes 0.1 to be as sharp as the paper's 1 at 0.5",
            )
        }

    def negatives(self, batch: Batch) -> Negatives:
        """Give none: the weights are those of in-batch documents."""
        return Negatives()

    def loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE with weighted negatives and the debiased denominator."""
        p = self.params
        return losses.debiased_info_nce(step.scores, step.temperature, p.tau_plus, p.beta, p.detach)
