r"""STAR: static hard negatives, steadied by random ones that the batch gives for free.

What the paper says: hard negatives reduce top-K errors, random ones reduce all pairwise errors; hard ones that
were mined once go stale and training with them alone can be unstable. STAR trains with both and re-uses the
document vectors of the batch as the random ones.
What the released code does (jingtaozhan/DRhard): the warm-up model's top 200 without labelled positives, never
mined again; one hard negative per example, drawn uniformly; every positive and every hard document of the batch
is a negative of every query unless it is labelled for it. The loss is log(1 + e^(s- - s+)), one average over
all pairs; batch 256. Raw dot products of LayerNorm vectors, no temperature.
What we do: in the controlled track the M granted negatives are drawn uniformly from the same static pool and
the shared loss takes them in. In the faithful track one hard negative per query with the code's sharing,
masks and loss. `alpha` is a weighted sum, alpha * mean(random) + mean(hard), as the paper's text is remembered, not
verified: we couldn't read it; the code has no such weight, so None is the default.
Cost per step: M document vectors per query (one in the faithful track); the dense pool is made once and shared.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from negmark.methods import base, losses, sampling
from negmark.methods.base import Method
from negmark.methods.later import torch
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Lends, Negatives, Step, Tried, When

_DIFFERS = "the small encoder of the suite and cosine / temperature instead of RoBERTa and raw dot products"


class STAR(Method):
    """Static hard negatives and the documents of the batch."""

    name = "star"
    title = "STAR"
    citation = "Zhan et al. 2021, SIGIR, arXiv 2104.08051"
    pools = frozenset({"dense"})
    footnotes = (
        Footnote("the suite's number of hard negatives a query instead of one", {When.CONTROLLED}),
        Footnote(
            "other queries' hard negatives are not shared; InfoNCE instead of the pairwise softplus, so that it is the "
            "draw of dense_uniform, by other random numbers",
            {When.CONTROLLED},
        ),
        Footnote(
            "the logit is cosine similarity / temperature instead of a raw dot product", {When.FAITHFUL}
        ),
        Footnote("the suite's optimiser and batch size instead of LAMB and 256", {When.FAITHFUL}),
    )
    faithful = True
    lends_loss = Lends.TO_ALL
    recipe_negatives = 1
    claims = (
        Claim(
            "star", "random", "RR@10", "MS MARCO passage dev, DRhard's README: .340 against .301", _DIFFERS
        ),
        Claim(
            "star", "inbatch", "RR@10", "MS MARCO passage dev, DRhard's README: .340 against .264", _DIFFERS
        ),
        Claim(
            "star", "random", "nDCG@10", "TREC DL 2019 passage, DRhard's README: .642 against .612", _DIFFERS
        ),
        Claim(
            "star", "random", "R@100", "MS MARCO passage dev, DRhard's README: .867 against .853", _DIFFERS
        ),
    )

    class Params(base.Params):
        """Parameters of STAR."""

        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the static pool that are drawn from, best first."""
        alpha: float | None = Field(default=None, ge=0)
        """Faithful track: weight of the random part beside a hard part of weight 1, from memory of the paper.

        None is the released code, where all pairs share one average.
        """

    @classmethod
    def space(cls, params: STAR.Params, track: str) -> Mapping[str, Tried]:
        """Tune the weight of the random part where there is one, the depth of the pool elsewhere."""
        if track == "faithful":
            return {"alpha": Tried((None, 0.1, 0.3, 1.0, 3.0), "None is the released code; the rest is ours")}
        return {"depth": Tried((10, 25, 50, 100, 200), "the released code's 200 and, ours, halves of it")}

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M of the best `depth` candidates, or the one of the paper's own recipe."""
        ids, _ = self.services.pool("dense").candidates(batch.queries, self.params.depth)
        granted = self.recipe_negatives if self.services.track == "faithful" else self.services.negatives
        assert granted is not None
        return Negatives(ids=sampling.draw_uniform(ids, granted, self.services.rng(batch.step)))

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Compare each positive with all other positives and all hard documents of the batch."""
        queries, ids = step.batch.queries, step.negatives.ids
        given = (
            np.empty(0, dtype=np.int64) if ids is None else ids.ravel()
        )  # none under `loss:` of in-batch only
        shared = np.broadcast_to(given, (len(queries), len(given)))
        labelled = self.services.is_positive(queries, shared)
        hard = step.batch.query_vectors @ step.negative_vectors.flatten(0, 1).T
        return losses.star_pairwise(
            step.scores.positive / step.temperature,
            step.scores.in_batch / step.temperature,
            step.scores.in_batch_mask,
            hard / step.temperature,
            torch.from_numpy((shared != NO_DOCUMENT) & ~labelled),
            self.params.alpha,
        )
