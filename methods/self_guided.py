r"""Self-guided mask: the model in training crosses out what it finds clearly better than the positive.

What the paper says (Qwen3-Embedding, eq. as others copy it): L = -log e^{s(q_i, d_i+)/t} / Z_i, and Z_i sums that, the
given hard negatives of the query, the other queries s(q_i, q_j), the other documents against the positive
s(d_i+, d_j), and the other documents s(q_i, d_j). Each term but the first has a factor m: 0 where its similarity is
above s(q_i, d_i+) + 0.1, or where d_j is the positive itself, else 1. Likely false negatives drop out without a
guide. The text doesn't say whether d_j are positives alone.
What the released code does (QwenLM/Qwen3-Embedding): no training code.
What we do: the mask by the step's own scores, detached, on in-batch documents and on M documents of the dense pool,
drawn uniformly, so that `dense_uniform` differs in the mask alone. Equal texts are no negatives in any row here
(unless the dataset says `copies: kept`). In the faithful track the query-query and document-document terms too, over
the positives of the batch; a pair is left out there if either document is a labelled positive, or its copy, of the
other query. Encoders use different ranges of the cosine, so .1 is read on a scale on which the mean of random pairs is
0 and equality 1 (`scale.py`). The temperature is the suite's: we read none. In the first steps on ICD-10-CM (token
tables) a fifth of the given documents is crossed out, and one query in six keeps none.
Cost per step: M document vectors per query; in the faithful track 2 B^2 products more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import Field

from negmark.methods import base, losses, sampling
from negmark.methods.base import Method, Services
from negmark.methods.later import torch
from negmark.methods.scale import CHANCE_IS_0, rescaled
from negmark.methods.types import Batch, Footnote, Negatives, Scores, Step, Tried, When


class SelfGuided(Method):
    """A mask by one's own scores."""

    name = "self_guided"
    title = "Self-guided mask (Qwen3)"
    citation = "Zhang et al. 2025, arXiv 2506.05176"
    pools = frozenset({"dense"})
    cosine_thresholds = True
    needs_vectors = "cosines to mask by"
    faithful = True
    footnotes = (
        Footnote(CHANCE_IS_0),
        Footnote("queries aren't compared with queries, nor documents with documents", {When.CONTROLLED}),
        Footnote(
            "the positives of the batch are its other documents; the suite's temperature", {When.FAITHFUL}
        ),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )

    class Params(base.Params):
        """Parameters of the mask."""

        margin: float = Field(default=0.1, ge=0)
        """How far above the positive's similarity a negative is crossed out."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that are drawn from."""

    @classmethod
    def space(cls, params: SelfGuided.Params, track: str) -> Mapping[str, Tried]:
        """Tune the margin."""
        return {"margin": Tried((0.0, 0.05, 0.1, 0.2, 0.3), "the paper's .1 and, ours, both sides of it")}

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.masked = torch.zeros(2, dtype=torch.int64)
        """Places seen, and those of them that were crossed out."""
        self._share = 0.0

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M of the pool."""
        return Negatives(ids=sampling.draw_from_pool(batch, "dense", self.params.depth, self.services))

    def weighed(self, step: Step) -> Scores:
        """Cross out in-batch and given documents that are clearly better than the positive."""
        scores, before = step.scores, self.masked.clone()
        kept = replace(
            scores,
            in_batch_mask=self._left(scores.in_batch, scores.in_batch_mask, scores.positive),
            negatives_mask=self._left(scores.negatives, scores.negatives_mask, scores.positive),
        )
        seen, dropped = (self.masked - before).tolist()
        self._share = dropped / max(seen, 1)
        return kept

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE with the other queries of a query and the other documents of its positive."""
        scores, batch = step.scores, step.batch
        own = torch.eye(len(scores.positive), dtype=torch.bool)
        labelled = torch.from_numpy(self.services.is_positive(batch.queries, batch.positives[None]))
        apart = ~(labelled | labelled.T | own)
        for vectors in (batch.query_vectors, batch.positive_vectors):
            cosines = vectors @ vectors.T
            scores = losses.with_more(scores, cosines, self._left(cosines, apart, scores.positive))
        return losses.info_nce(scores, step.temperature)

    def telemetry(self) -> dict[str, float]:
        """Return the share of documents that the step crossed out."""
        return {"masked_share": self._share}

    def idle(self) -> str:
        """Return that nothing was crossed out."""
        seen, dropped = self.masked.tolist()
        return "" if dropped else f"its mask crossed out none of {seen:,} places"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return how many places were seen and crossed out."""
        return {"masked": self.masked}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.masked = state["masked"]

    def _left(self, cosines: torch.Tensor, usable: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        """Return which of the usable places [B, K] stay, and count them."""
        chance = self.services.chance()
        better = too_good(rescaled(cosines, chance), rescaled(positive, chance), self.params.margin)
        self.masked = self.masked + torch.stack([usable.sum(), (usable & better).sum()])
        return usable & ~better


def too_good(similarity: torch.Tensor, positive: torch.Tensor, margin: float) -> torch.Tensor:
    """Mark the places [B, K] whose similarity is more than a margin above the positive's [B], without gradient."""
    return similarity.detach() > positive.detach()[:, None] + margin
