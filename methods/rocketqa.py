"""RocketQA: hard negatives, but only those that a teacher is confident about.

What the paper says: most errors of hard negatives are unlabelled positives. A cross-encoder, trained on the first
retriever's results, judges the retriever's top candidates; only those scored below 0.1 stay as hard negatives. Also
cross-batch negatives (those of all GPUs), and as the last stage pseudo-positives, scored above 0.9, of unlabelled
queries.
What the released code does (PaddlePaddle/Research, NLP/NAACL2021-RocketQA): the first 4 of the top 50 in rank order
that the cross-encoder scores below 0.1, filled up from the ranks behind; `rocketqa_recipe` is that.
What we do: denoising alone. Of the `depth` best dense candidates those stay that the teacher gives a probability
below `low`; M of them are drawn uniformly, and `backfill` fills places left empty with random documents that are no
candidates. Our teacher is an encoder without calibrated probabilities, so we take p = 1 / (1 + exp(-(s(n) - s(p)) /
temperature)), the two-way softmax of candidate and labelled positive under the suite's loss: a candidate as good as
the positive has 1/2, and p < 0.1 means 2.197 temperatures below it (that is a margin, `low` sets how wide). Cosines
are read on a scale on which the mean of random pairs is 0 and equality 1 (`scale.py`), so that the margin fits an
encoder with a narrow range. Augmentation with pseudo-positives is not done (all methods see the same positives), nor
are cross-batch negatives (one process sees the whole batch).
Cost per step: M document vectors and `depth` + 2 teacher vectors per query (the paper mines once per stage).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, sampling, teacher
from negmark.methods.base import Method
from negmark.methods.scale import CHANCE_IS_0
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Negatives, Tried, When


class RocketQA(teacher.Rejecting, Method):
    """Denoised hard negatives."""

    name = "rocketqa"
    title = "RocketQA (denoised)"
    citation = "Qu et al. 2021, NAACL, arXiv 2010.08191"
    pools = frozenset({"dense"})
    cosine_thresholds = True
    uses_teacher = True
    footnotes = (
        Footnote(
            "the teacher is {teacher} instead of a cross-encoder trained on the retriever's results",
            {When.ENCODER_TEACHES},
        ),
        Footnote("the teacher is {teacher}, not trained on the retriever's results", {When.RANKER_TEACHES}),
        Footnote(CHANCE_IS_0, {When.ENCODER_TEACHES}),
        Footnote(
            "its probability is the logistic of (candidate - labelled positive) / temperature, as an encoder has "
            "none of its own",
            {When.ENCODER_TEACHES},
        ),
        Footnote("no augmentation with pseudo-positives and no cross-batch negatives"),
        Footnote("static pool of the warm-up encoder; negatives are drawn anew at every step"),
    )
    claims = (
        Claim(
            better="rocketqa",
            worse="dense_topk",
            metric="RR@10",
            condition="MS MARCO dev: 36.38 denoised against 26.03 without denoising (secondary notes [S])",
            differs="there both draw from the list; here dense_topk takes the very top, and the suite's teacher "
            "denoises",
            own_teacher=True,
        ),
        Claim(
            better="rocketqa",
            worse="inbatch",
            metric="RR@10",
            condition="MS MARCO dev: 36.38 against 33.32 with cross-batch negatives alone (secondary notes [S])",
            differs="encoder and data; in-batch means the 4,096 queries of 8 GPUs there, and is tested with as many",
            batch=4096,
            own_teacher=True,
        ),
        Claim(
            better="inbatch",
            worse="dense_topk",
            metric="RR@10",
            condition="MS MARCO dev: 33.32 with cross-batch negatives alone against 26.03 with hard negatives that "
            "are not denoised (secondary notes [S])",
            differs="encoder and data; in-batch means the 4,096 queries of 8 GPUs there, and is tested with as many",
            batch=4096,
        ),
    )

    class Params(base.Params):
        """Parameters of denoising."""

        low: float = Field(default=0.1, gt=0, lt=1)
        """A candidate stays if the teacher's probability is below this."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that the teacher judges; that of all rows here."""
        backfill: bool = True
        """Fill places left empty with random documents of the corpus; else they stay empty."""

    @classmethod
    def space(cls, params: "RocketQA.Params", track: str) -> Mapping[str, Tried]:
        """Tune the threshold."""
        return {"low": Tried((0.01, 0.05, 0.1, 0.2, 0.4), "the paper's 0.1 and, ours, both sides of it")}

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M of the candidates that the teacher is confident about."""
        count, rng = self.services.negatives, self.services.rng(batch.step)
        ids, scores, positive = teacher.score_pool(
            self.services, batch.queries, batch.positives, self.params.depth
        )
        own = self.services.ranker_teaches  # a cross-encoder's scores are probabilities, as in the paper
        probable = scores if own else probabilities(scores, positive, self.services.temperature)
        kept = confident(probable, self.params.low) & (ids != NO_DOCUMENT)
        left = np.where(kept, ids, NO_DOCUMENT)
        self.count_rejected(ids, left)
        chosen = sampling.draw_uniform(left, count, rng)
        empty = chosen == NO_DOCUMENT
        if self.params.backfill:
            rng = self.services.rng(batch.step, "backfill")
            enough = count + ids.shape[1]  # M are left even if all candidates are among them
            spare = sampling.draw_from_corpus(batch.queries, enough, self.services, rng)
            chosen = sampling.filled(chosen, np.where(sampling.within(spare, ids), NO_DOCUMENT, spare))
        return Negatives(ids=chosen, backfilled=empty & (chosen != NO_DOCUMENT))


def probabilities(
    scores: NDArray[np.floating], positive: NDArray[np.floating], temperature: float
) -> NDArray[np.float64]:
    """Return how probable each candidate [B, K] is relevant, if one as good as the positive [B] has 1/2."""
    gap = (scores.astype(np.float64) - positive[:, None].astype(np.float64)) / temperature
    return np.exp(-np.logaddexp(0, -gap))


def confident(probability: NDArray[np.floating], low: float) -> NDArray[np.bool_]:
    """Mark the candidates that stay as hard negatives."""
    return probability < low
