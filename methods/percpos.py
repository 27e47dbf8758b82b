"""NV-Retriever (TopK-PercPos): the hardest candidates below 95 % of the positive's score.

What the paper says: a candidate that scores nearly as high as the positive is likely a false negative, so the ceiling
of a negative hangs on its positive. TopK-PercPos keeps s(n) < 0.95 s(p) and is best; others are TopK-MarginPos, s(n)
< s(p) - 0.05, and TopK-Abs, s(n) < 0.7. Of the rest the top k are taken (4 in the main study), mined once with a
teacher model before training.
What the released code does: none of the authors is known to us. sentence-transformers' `mine_hard_negatives` drops
what scores above the ceiling, so a candidate that meets it exactly is kept there and dropped here.
What we do: the three rules with the paper's strict "<" on the teacher's scores of the `depth` best candidates of the
dense pool; those left are ranked by the teacher and the first M taken. `sample` draws M uniformly from the first
`sample` instead; the paper's variants weigh by softmax or always keep the best. For a negative s(p) the ceiling is
s(p) - 5 % of |s(p)|, as 0.95 s(p) would lie above s(p). Where fewer than M are left, places stay empty. Without a
teacher the warm-up encoder decides. Encoders use different ranges of the cosine, E5 some .7 to 1.0, where 0.95 would
reject nearly all or nothing: so the rules read cosines on a scale on which the mean of random pairs is 0 and equality
1 (`scale.py`).
Cost per step: M document vectors and `depth` + 2 teacher vectors per query (the paper mines once, offline).
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, sampling, teacher
from negmark.methods.base import Method
from negmark.methods.scale import CHANCE_IS_0
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Ids, Negatives, Tried, When


class PercPos(teacher.Rejecting, Method):
    """Positive-aware mining: a ceiling set by the positive's score."""

    name = "percpos"
    title = "NV-Retriever PercPos"
    citation = "Moreira et al. 2024, arXiv 2407.15831"
    pools = frozenset({"dense"})
    cosine_thresholds = True
    uses_teacher = True
    footnotes = (
        Footnote("the teacher ranks only the best candidates of the warm-up encoder, not the whole corpus"),
        Footnote("the teacher is {teacher}; the paper's best single one is e5-mistral-7b"),
        Footnote(CHANCE_IS_0, {When.ENCODER_TEACHES}),
        Footnote("its thresholds read the cross-encoder's probabilities", {When.RANKER_TEACHES}),
        Footnote("the suite's number of negatives instead of the paper's four"),
    )
    claims = (
        Claim(
            better="percpos",
            worse="dense_topk",
            metric="nDCG@10",
            condition="e5-large-unsup, 4 negatives, mean of NQ, HotpotQA and FiQA: .5856 against .5407 for naive "
            "top-k (secondary notes [S])",
            differs="there the teacher mines both lists and the whole encoder is trained; here dense_topk takes the "
            "warm-up encoder's list",
            own_teacher=True,
        ),
    )

    class Params(base.Params):
        """Parameters of positive-aware mining."""

        rule: Literal["percpos", "marginpos", "abs"] = "percpos"
        """Which ceiling: a share of the positive's score, a margin below it, or a fixed one."""
        share: float = Field(default=0.95, gt=0, le=1)
        """`percpos`: share of the positive's score that a negative must stay below."""
        margin: float = Field(default=0.05, ge=0)
        """`marginpos`: how far below the positive's score a negative must stay."""
        ceiling: float = 0.7
        """`abs`: the score that a negative must stay below."""
        sample: int | None = Field(default=None, ge=1)
        """Draw uniformly from this many of the best that are left; None takes the very best."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that the rule is applied to; that of all rows here."""

    @classmethod
    def space(cls, params: "PercPos.Params", track: str) -> Mapping[str, Tried]:
        """Tune the ceiling of the rule that a row takes."""
        ours = "the paper's value and, ours, both sides of it"
        spaces = {
            "percpos": {"share": Tried((0.8, 0.9, 0.95, 0.98, 1.0), ours)},
            "marginpos": {"margin": Tried((0.0, 0.02, 0.05, 0.1, 0.2), ours)},
            "abs": {"ceiling": Tried((0.5, 0.6, 0.7, 0.8, 0.9), ours)},
        }
        return spaces[params.rule]

    def negatives(self, batch: Batch) -> Negatives:
        """Take the best candidates below the ceiling."""
        ids, scores, positive = teacher.score_pool(
            self.services, batch.queries, batch.positives, self.params.depth
        )
        ranked = below(ids, scores, ceilings(positive, self.params))
        self.count_rejected(ids, ranked)
        if self.params.sample is None:
            return Negatives(ids=sampling.first(ranked, self.services.negatives))
        rng = self.services.rng(batch.step)
        return Negatives(
            ids=sampling.draw_uniform(ranked[:, : self.params.sample], self.services.negatives, rng)
        )


def ceilings(positive: NDArray[np.floating], params: PercPos.Params) -> NDArray[np.float64]:
    """Return the score [B] that negatives must stay below, from the scores of the positives [B]."""
    own = positive.astype(np.float64)
    if params.rule == "abs":
        return np.full_like(own, params.ceiling)
    if params.rule == "marginpos":
        return own - params.margin
    return own - np.abs(own) * (1 - params.share)


def below(ids: Ids, scores: NDArray[np.floating], ceiling: NDArray[np.floating]) -> Ids:
    """Return the candidates [B, K] with scores strictly below their row's ceiling, best first, then empty places."""
    keys = np.where(scores < ceiling[:, None], scores, -np.inf)
    order = np.argsort(-keys, axis=1, kind="stable")
    kept = np.isfinite(np.take_along_axis(keys, order, axis=1))
    return np.where(kept, np.take_along_axis(ids, order, axis=1), NO_DOCUMENT)
