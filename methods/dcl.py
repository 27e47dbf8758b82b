r"""DCL: the positive leaves the denominator, so that an easy one no longer silences the negatives.

What the paper says: the gradient of InfoNCE carries the factor 1 - p(positive) (negative-positive coupling), so that
in a small batch an easy positive stops all learning. Without the positive in the denominator, L = -s+/t + log sum_j
e^{s_j/t}, over the 2(B - 1) other views; both directions are added. DCLW multiplies the positive's term by w = 2 -
e^{s+/sigma} / mean e^{s+/sigma}, sigma = 0.5: harder positives pull more. Gains are largest in small batches.
What the released code does: none is public, so this is a reconstruction. raminnakhli/Decoupled-Contrastive-Learning
([C-un]), and a second description with the same formulas: sums both directions' means (so its loss has twice the scale
of its InfoNCE), lets gradient flow through w, masks by log(1e-45) instead of -inf; t = 0.1.
What we do: in the controlled track the positive's column is dropped from the suite's InfoNCE over in-batch documents.
In the faithful track the direction from documents to queries is added; t = 0.1 needs `budget: {temperature: 0.1}`.
`views` adds query-query and document-document terms, as between two views of a sentence. Every labelled positive and
each copy is out of the denominator. The loss is not bounded by 0 and can't be compared with InfoNCE's; cosines bound
it. By default all positives weigh 1 (DCL); with `sigma` it is DCLW, a row of its own, so that tuning leaves it.
Cost per step: nothing beyond the batch.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method
from negmark.methods.later import torch
from negmark.methods.types import IN_BATCH, Batch, Claim, Footnote, Lends, Negatives, Step, When

_DIFFERS = (
    "images, two views and 2(B - 1) negatives there; the loss is the method, so that no row of in-batch negatives has "
    "the same"
)


class DCL(Method):
    """Decoupled contrastive learning."""

    name = "dcl"
    title = "DCL"
    citation = "Yeh et al. 2022, ECCV, arXiv 2110.06848"
    needs_vectors = IN_BATCH
    faithful = True
    lends_loss = Lends.TO_ALL
    footnotes = (
        Footnote(
            "queries against in-batch documents alone, in one direction, at the suite's temperature",
            {When.CONTROLLED},
        ),
        Footnote(
            "queries against in-batch documents and back, without pairs of two queries or of two documents unless "
            "asked for",
            {When.FAITHFUL},
        ),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
        Footnote(
            "a reconstruction, by the paper and an implementation that isn't the authors', as no code of theirs is "
            "public"
        ),
    )
    claims = (
        Claim(
            better="dcl",
            worse="inbatch",
            metric="nDCG@10",
            condition="ImageNet-1K linear top-1: 68.2 against SimCLR's 61.8 with batches of 256 and 200 epochs, by the "
            "abstract",
            differs=_DIFFERS,
            own_loss=True,
        ),
    )

    class Params(base.Params):
        """Parameters of the weights and of what is compared."""

        sigma: float | None = Field(default=None, gt=0)
        """DCLW: spread of the positives' weights, 0.5 in the paper. If None, all weigh 1, which is DCL."""
        views: bool = False
        """Faithful track: are other queries negatives of a query, and other documents of a document, too?"""

    @classmethod
    def papers_temperature(cls, params: DCL.Params) -> float | None:
        """Return that of the reconstruction that we follow."""
        return 0.1

    def negatives(self, batch: Batch) -> Negatives:
        """Give none: what is changed is the loss of in-batch documents."""
        return Negatives()

    def loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE without the positive in its denominator."""
        return losses.decoupled_info_nce(step.scores, step.temperature, self._weights(step))

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the sum of both directions' losses."""
        scores, batch, weights = step.scores, step.batch, self._weights(step)
        back = replace(
            scores,
            in_batch=scores.in_batch.T,
            in_batch_mask=scores.in_batch_mask.T,
            negatives=scores.negatives[:, :0],
            negatives_mask=scores.negatives_mask[:, :0],
            weights=None,
            in_batch_weights=None,
        )
        if self.params.views:
            apart = scores.in_batch_mask & scores.in_batch_mask.T
            scores = losses.with_more(scores, batch.query_vectors @ batch.query_vectors.T, apart)
            back = losses.with_more(back, batch.positive_vectors @ batch.positive_vectors.T, apart)
        directions = [losses.decoupled_info_nce(each, step.temperature, weights) for each in (scores, back)]
        return directions[0] + directions[1]

    def _weights(self, step: Step) -> torch.Tensor | None:
        sigma = self.params.sigma
        return None if sigma is None else losses.decoupled_weights(step.scores.positive, sigma)
