"""sentence-transformers' `mine_hard_negatives`: rules on the scores of a cross-encoder, then the best of what is left.

What the paper says: there is none; the rules are those of NV-Retriever and of sentence-transformers' own models for MS
MARCO, which kept a candidate only where a cross-encoder scores it well below the positive.
What the released code does (sentence-transformers 6.2, util/hard_negatives.py): the retriever's first `range_max`
candidates, or range_min + 10 M of them, are rescored by `cross_encoder` if there is any rule. Dropped is what scores
above the positive less `absolute_margin`, above the positive less `relative_margin` of its size, above `max_score` or
below `min_score`. A query with several positives is held to the lowest of their scores. What is left is sorted by
score, the first `range_min` are skipped, and of what follows the first M are taken (`top`), or drawn (`random`). A
query with too few has fewer. The scores are what the model's activation makes of the logit: its logistic, unless the
model says otherwise (the cross-encoders for MS MARCO do). Without any rule the cross-encoder is not asked.
What we do: the same rules in the same order, on the pool, which has no labelled positives, so that `range_max` counts
none either; `random` is drawn anew at every step. The default is the margin that the documentation recommends,
`relative_margin` 0.05; all others are off, as there. A teacher that is an encoder has cosines, read on the scale of
`scale.py`.
Cost per step: M document vectors per query, and the teacher's scores of `range_max` candidates and of all positives.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, sampling, teacher
from negmark.methods.base import Method
from negmark.methods.later import special
from negmark.methods.scale import CHANCE_IS_0, rescaled
from negmark.methods.types import NO_DOCUMENT, Batch, Footnote, Ids, Negatives, Tried, When


class MineHardNegatives(teacher.Rejecting, Method):
    """Hard negatives by a cross-encoder's scores."""

    name = "mine_hard_negatives"
    title = "mine_hard_negatives (sentence-transformers)"
    citation = "Reimers, Aarsen et al., sentence-transformers 6.2, 2026"
    pools = frozenset({"dense"})
    cosine_thresholds = True
    uses_teacher = True
    footnotes = (
        Footnote("the scores are those of {teacher}"),
        Footnote(CHANCE_IS_0, {When.ENCODER_TEACHES}),
        Footnote("`range_max` counts no labelled positives"),
    )

    class Params(base.Params):
        """The parameters of `mine_hard_negatives`, under its names."""

        range_min: int = Field(default=0, ge=0)
        """Best candidates that are skipped, of those that the rules leave."""
        range_max: int | None = Field(default=None, ge=1)
        """Candidates of the pool that are judged; None is range_min + 10 M with a rule, range_min + M without."""
        max_score: float | None = None
        """What scores above this is dropped."""
        min_score: float | None = None
        """What scores below this is dropped."""
        absolute_margin: float | None = Field(default=None, ge=0)
        """What scores above the positive less this is dropped."""
        relative_margin: float | None = Field(default=0.05, ge=0)
        """What scores above the positive less this share of its size is dropped."""
        sampling_strategy: Literal["top", "random"] = "top"
        """Take the best of what is left, or draw."""
        scores: Literal["probabilities", "logits"] = "probabilities"
        """What the rules read of a cross-encoder, as its activation function would be the logistic or none."""

    @classmethod
    def asks_teacher(cls, params: "MineHardNegatives.Params", track: str) -> bool:
        """Say whether there is a rule."""
        return has_rule(params)

    @classmethod
    def drawn_from(cls, params: "MineHardNegatives.Params", track: str) -> int | None:
        """Return how many candidates are drawn from; None where the best are taken."""
        return params.range_max if params.sampling_strategy == "random" else None

    @classmethod
    def space(cls, params: "MineHardNegatives.Params", track: str) -> Mapping[str, Tried]:
        """Tune the margin."""
        return {
            "relative_margin": Tried(
                (0.0, 0.02, 0.05, 0.1, 0.2), "the documentation's 0.05 and, ours, around it"
            )
        }

    def negatives(self, batch: Batch) -> Negatives:
        """Take or draw M of the candidates that the rules leave."""
        params, count = self.params, self.services.negatives
        deep = judged_depth(params, count)
        ids, _ = self.services.pool("dense").candidates(batch.queries, deep)
        if has_rule(params):
            scores, reference = self._scores(batch.queries, ids)
            kept = left(scores, reference, params) & (ids != NO_DOCUMENT)
            self.count_rejected(ids, np.where(kept, ids, NO_DOCUMENT))
            order = np.argsort(-np.where(kept, scores, -np.inf), axis=1, kind="stable")
            ids = np.take_along_axis(np.where(kept, ids, NO_DOCUMENT), order, axis=1)
        ids = ids[:, params.range_min :]
        if params.sampling_strategy == "top":
            return Negatives(ids=sampling.first(ids, count))
        return Negatives(ids=sampling.draw_uniform(ids, count, self.services.rng(batch.step)))

    def _scores(self, queries: Ids, ids: Ids) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the scores of candidates [B, K], and the lowest one of each query's positives [B]."""
        labelled = self.services.positives(queries)
        raw = teacher.score(self.services, queries, np.concatenate([labelled, ids], axis=1))
        if not self.services.ranker_teaches:
            raw = rescaled(raw, self.services.chance(of_teacher=True))
        elif self.params.scores == "probabilities":
            raw = special.expit(raw)
        own = np.where(labelled == NO_DOCUMENT, np.inf, raw[:, : labelled.shape[1]])
        scores: NDArray[np.float64] = raw[:, labelled.shape[1] :].astype(np.float64)
        return scores, own.min(axis=1).astype(np.float64)

    def idle(self) -> str:
        """Return that the rules told nothing apart, or that there is none."""
        return super().idle() if has_rule(self.params) else "it has no rule, so that it is dense_topk"


def has_rule(params: MineHardNegatives.Params) -> bool:
    """Say whether there is a rule on scores."""
    rules = (params.max_score, params.min_score, params.absolute_margin, params.relative_margin)
    return any(rule is not None for rule in rules)


def judged_depth(params: MineHardNegatives.Params, negatives: int) -> int:
    """Return how many candidates are looked at, for so many negatives a query."""
    if params.range_max is not None:
        return params.range_max
    return params.range_min + negatives * (10 if has_rule(params) else 1)


def left(
    scores: NDArray[np.float64], positive: NDArray[np.float64], params: MineHardNegatives.Params
) -> NDArray[np.bool_]:
    """Mark the candidates [B, K] that no rule drops, given the score of the positive [B]."""
    kept = np.ones(scores.shape, dtype=bool)
    own = positive[:, None]
    if params.absolute_margin is not None:
        kept &= ~(scores + params.absolute_margin > own)
    if params.relative_margin is not None:
        kept &= ~(scores > own - np.abs(own) * params.relative_margin)
    if params.max_score is not None:
        kept &= ~(scores > params.max_score)
    if params.min_score is not None:
        kept &= ~(scores < params.min_score)
    return kept
