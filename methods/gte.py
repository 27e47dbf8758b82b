r"""GTE's improved loss: queries against queries, documents against documents, and both directions, in one softmax.

What the paper says: the batch holds more negatives than InfoNCE uses. With f(x, y) = e^{s(x, y)/t} and t = .01 ([M]),
L = -1/n sum_i log f(q_i, d_i) / Z_i, Z_i = sum_j f(q_i, d_j) + sum_{j != i} f(q_i, q_j) + sum_j f(q_j, d_i) +
sum_{j != i} f(d_j, d_i). The first and the third sum both have the positive, which counts twice. Its ablation finds
this loss consistently better than InfoNCE ([S], notes on the paper; figures not read).
What the released code does: the authors' isn't public; sentence-transformers' MultipleNegativesRankingLoss with its
four `directions` and `partition_mode="joint"` is this loss, and has hard negatives in the first and the last sum.
What we do: that over in-batch documents, in the faithful track alone, as no query can be given another query as
its negative. `directions` leaves sums out. A pair of queries, or of documents, is left out if either document is a
labelled positive, or its copy, of the other query. The loss may be lent: a row with negatives of its own has them in
the first sum. t = .01 needs `budget: {temperature: 0.01}`.
Cost per step: nothing beyond the batch; 2 B^2 products more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from negmark.methods import base, losses
from negmark.methods.base import Method
from negmark.methods.later import torch
from negmark.methods.types import IN_BATCH, Batch, Claim, Footnote, Lends, Negatives, Step, Tried, When

Directions = Literal["all", "within", "queries", "documents", "back", "forth"]
SUMS = {
    "all": {"queries", "documents", "back"},
    "within": {"queries", "documents"},
    "queries": {"queries"},
    "documents": {"documents"},
    "back": {"back"},
    "forth": set[str](),
}
"""Sums of Z beside that of queries against documents."""


class GTE(Method):
    """All pairs of the batch."""

    name = "gte"
    title = "GTE's directions"
    citation = "Li et al. 2023, arXiv 2308.03281"
    needs_vectors = IN_BATCH
    faithful = True
    lends_loss = Lends.TO_ALL
    footnotes = (
        Footnote(
            "in-batch documents are its only negatives, without a hard one of each query", {When.FAITHFUL}
        ),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="gte",
            worse="inbatch",
            metric="nDCG@10",
            condition="MTEB, ablation of the improved contrastive loss: consistently better (secondary notes [S]; "
            "figures not read)",
            differs="hundreds of millions of pairs, large batches and a temperature of .01 there; the loss is the "
            "method, so that no row of in-batch negatives has the same",
            own_loss=True,
        ),
    )

    class Params(base.Params):
        """Parameters of the loss."""

        directions: Directions = "all"
        """What stands in the denominator beside queries against documents: `all` of the rest, other `queries`, other
        `documents` or both (`within`), the positive against all queries (`back`), or nothing (`forth`), which is
        InfoNCE."""

    @classmethod
    def space(cls, params: GTE.Params, track: str) -> Mapping[str, Tried]:
        """Tune which pairs are compared."""
        values = tuple(name for name in SUMS if name != "forth")
        return {"directions": Tried(values, "the paper's and, ours, one or two directions at a time")}

    @classmethod
    def refusal(cls, params: GTE.Params, track: str) -> str:
        """Refuse the controlled track."""
        why = "its directions are all in its loss; set `track: faithful`"
        return why if track == "controlled" else ""

    @classmethod
    def papers_temperature(cls, params: GTE.Params) -> float | None:
        """Return GTE's."""
        return 0.01

    def negatives(self, batch: Batch) -> Negatives:
        """Give none: the pairs are those of the batch."""
        return Negatives()

    def loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE over all pairs that are asked for, in one softmax."""
        scores, batch, sums = step.scores, step.batch, SUMS[self.params.directions]
        own = torch.eye(len(scores.positive), dtype=torch.bool)
        apart = scores.in_batch_mask & scores.in_batch_mask.T
        more = {
            "queries": (batch.query_vectors @ batch.query_vectors.T, apart),
            "back": (scores.in_batch.T, scores.in_batch_mask.T | own),
            "documents": (batch.positive_vectors @ batch.positive_vectors.T, apart),
        }
        for name in [name for name in more if name in sums]:
            scores = losses.with_more(scores, *more[name])
        return losses.info_nce(scores, step.temperature)

    def idle(self) -> str:
        """Return that it is InfoNCE."""
        return "no direction but that of InfoNCE" if self.params.directions == "forth" else ""
