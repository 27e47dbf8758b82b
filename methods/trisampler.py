r"""TriSampler: near the positive's score, and on the positive's side of the query.

What the paper says (a summary of it with its formulas; the body was not read): a negative should lie with query and
positive in a region like a triangle, within 60 degrees. Two distributions keep it there: candidates of the top K have
p ~ exp(-(s(q, d-) - s(q, d+))^2 / 4), as in SimANS with a = 1/4 and b = 0, and negatives are drawn with
p ~ ReLU(s(d+, d-) - s(q, d-)), so that none is drawn that is nearer to the query than to the positive. It finds it
better than SimANS and ANCE on NQ, TriviaQA and MS MARCO.
What the released code does: none was found, so this is a reconstruction.
What we do: the two in turn ([R], how they are joined is ours): `spare` times M candidates are drawn by the first,
without replacement, M of them by the second. Places stay empty where fewer than M lie on that side. As in SimANS the
first acts on cosine / temperature, the scale of the loss; the second has no scale. All cosines are those of the warm-up
encoder, as the pool is static.
Cost per step: M document vectors per query; B (spare M + 1) products of stored vectors.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, sampling
from negmark.methods.base import Method
from negmark.methods.later import torch
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Negatives, Tried

_CONDITION = (
    "NQ, TriviaQA, MS MARCO passages and documents: better (by the abstract and a summary; figures not read)"
)
_DIFFERS = "the small encoder of the suite, a static pool and a reconstruction of how both draws are joined"


class TriSampler(Method):
    """A score near the positive's, and a side."""

    name = "trisampler"
    title = "TriSampler"
    citation = "Yang et al. 2024, WSDM, arXiv 2402.11855"
    pools = frozenset({"dense"})
    needs_vectors = "cosines of two documents"
    footnotes = (
        Footnote(
            "a reconstruction, by a summary of the paper: no code is public, and how its two draws are joined is ours"
        ),
        Footnote("scores of the first draw are cosine similarity / temperature"),
        Footnote("static pool of the warm-up encoder"),
    )
    claims = (
        Claim("trisampler", "simans", "RR@10", _CONDITION, _DIFFERS),
        Claim("trisampler", "ance", "RR@10", _CONDITION, _DIFFERS),
    )

    class Params(base.Params):
        """Parameters of the two draws."""

        a: float = Field(default=0.25, gt=0)
        """Sharpness of the first draw: p ~ exp(-a (s- - s+)^2)."""
        spare: int = Field(default=4, ge=1)
        """Candidates that the first draw leaves to the second, in multiples of M."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that are drawn from (top K)."""

    @classmethod
    def space(cls, params: TriSampler.Params, track: str) -> Mapping[str, Tried]:
        """Tune the sharpness of the first draw."""
        values = (0.015625, 0.0625, 0.25, 1.0, 4.0)
        return {"a": Tried(values, "the paper's 1/4 and, ours, factors of four around it")}

    def __init__(self, params: Params, services: base.Services) -> None:
        super().__init__(params, services)
        self._share = 0.0

    def negatives(self, batch: Batch) -> Negatives:
        """Draw candidates by their score, and M of them by their side."""
        queries, temperature, granted = batch.queries, self.services.temperature, self.services.negatives
        pool = self.services.pool("dense")
        ids, scores = pool.candidates(queries, self.params.depth)
        positive = pool.positive_scores(queries, batch.positives)
        near = log_nearness(scores / temperature, positive / temperature, self.params.a)
        columns = sampling.top_n_by_gumbel(near, self.params.spare * granted, self.services.rng(batch.step))
        kept = sampling.take(ids, columns)
        query = self.services.warmup_queries(queries)
        own, others = self.services.warmup_documents(batch.positives), self.services.warmup_documents(kept)
        to_query, to_positive = (torch.einsum("bd,bkd->bk", each, others).numpy() for each in (query, own))
        side = np.where(kept == NO_DOCUMENT, -np.inf, log_side(to_positive, to_query))
        self._share = float(np.isfinite(side).sum() / max((kept != NO_DOCUMENT).sum(), 1))
        columns = sampling.top_n_by_gumbel(side, granted, self.services.rng(batch.step, "side"))
        return Negatives(ids=sampling.take(kept, columns))

    def telemetry(self) -> dict[str, float]:
        """Return the share of the first draw's candidates that lie on the positive's side."""
        return {"inside_share": self._share}


def log_nearness(
    scores: NDArray[np.floating], positive: NDArray[np.floating], a: float
) -> NDArray[np.float64]:
    """Return the logarithm of each candidate's chance in the first draw [B, K]; -inf stays -inf."""
    near: NDArray[np.float64] = -a * (scores.astype(np.float64) - positive[:, None]) ** 2
    return near


def log_side(to_positive: NDArray[np.floating], to_query: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithm of ReLU(s(d+, d-) - s(q, d-)) [B, K]: -inf for what is nearer to the query."""
    with np.errstate(divide="ignore"):
        side: NDArray[np.float64] = np.log(np.maximum(to_positive.astype(np.float64) - to_query, 0))
    return side
