"""Debiased contrastive learning: the share of the denominator that hidden positives must hold is taken off.

What the paper says: unlabelled negatives come from the marginal p(x), which holds positives with a class prior
tau+; the sum over true negatives is estimated from both (positive-unlabelled learning):
Ng = max((sum_j e^{s_j/t} - tau+ N e^{s+/t}) / (1 - tau+), N e^{-1/t}),  L = -log e^{s+/t} / (e^{s+/t} + Ng).
What the released code does (chingyaoc/DCL): the same with one positive and N = 2B - 2 in SimCLR, t = 0.5,
tau+ = 0.1, and gradient through both terms of Ng.
What we do: the same over the N in-batch documents that a row may have as negatives, in log space, at the
suite's temperature; no mined negatives, as all must be positives equally often. Where tau+ N e^{s+/t} exceeds
the sum, a row rests on the floor N e^{-1/t} and its negatives get no gradient. With MiniLM on WordNet, batch 64,
that is 86 % of the rows at the start for t = 0.05 and tau+ = 0.1, 31 % for tau+ = 0.001, none for t = 0.5. In
retrieval tau+ is the chance that another query's positive is relevant, so that it is 0.001 here by default. The
faithful track has the paper's 0.1, and needs its temperature: `budget: {temperature: 0.5}`.
Cost per step: nothing beyond the batch.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method
from negmark.methods.later import torch
from negmark.methods.types import IN_BATCH, Batch, Footnote, Negatives, Step, Tried, When

PAPERS_TEMPERATURE = 0.5


class Debiased(Method):
    """A corrected denominator over the batch."""

    name = "debiased"
    title = "Debiased"
    citation = "Chuang et al. 2020, NeurIPS, arXiv 2007.00224"
    needs_vectors = IN_BATCH
    footnotes = (
        Footnote(
            "the suite's temperature instead of the paper's 0.5, at which fewer rows rest on the floor, and so tau+ of "
            "0.001 by default instead of 0.1",
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
        """Parameters of the correction."""

        tau_plus: float | None = Field(default=None, ge=0, lt=1)
        """Chance that an in-batch document is an unlabelled positive (tau+); 0 is InfoNCE. If None, the paper's 0.1 in
        the faithful track and 0.001 in the controlled one."""

    @classmethod
    def space(cls, params: Debiased.Params, track: str) -> Mapping[str, Tried]:
        """Tune the class prior."""
        return {
            "tau_plus": Tried(
                (None, 0.0003, 0.003, 0.01, 0.03),
                "the default of the track and, ours, the chances of retrieval",
            )
        }

    @classmethod
    def papers_temperature(cls, params: Debiased.Params) -> float | None:
        """Return that of both papers, this one's and HCL's."""
        return PAPERS_TEMPERATURE

    def negatives(self, batch: Batch) -> Negatives:
        """Give none: the correction is one of in-batch documents."""
        return Negatives()

    def loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE with the debiased denominator."""
        prior = class_prior(self.params.tau_plus, self.services.track)
        return losses.debiased_info_nce(step.scores, step.temperature, prior)

    def idle(self) -> str:
        """Return that nothing is taken off."""
        prior = class_prior(self.params.tau_plus, self.services.track)
        return "" if prior else "tau+ is 0, so that it is InfoNCE"


def class_prior(tau_plus: float | None, track: str) -> float:
    """Return tau+: that of the row, or the default of its track."""
    if tau_plus is not None:
        return tau_plus
    return 0.1 if track == "faithful" else 0.001
