"""NV-Retriever's rules without a positive: the teacher's best, the first N left out (TopK shifted by N, naive at 0).

What the paper says: five ways to take a mined list. The naive one has the top k; `shifted by N` skips the first N, and
N = 10 is its best; three have a ceiling by score, and are the rules of `percpos` here. Mined once with a teacher model
before training, k = 4 in the main study. The naive list is the worst, the shifted one the worst but one.
What the released code does: none of the authors is known to us. FlagEmbedding's `range_for_sampling` 10-210 is the
same window, from which 15 are drawn (`{method: dense_uniform, skip: 10}`).
What we do: the `depth` best candidates of the dense pool are ranked by the teacher, the first `shift` are left out and
the next M taken; with `shift: 0` that is the naive rule with the teacher's ranking. `sample` draws M uniformly from so
many instead. Without a teacher the warm-up encoder ranks, and `shift: 0` is `dense_topk`.
Cost per step: M document vectors and `depth` + 2 teacher vectors per query (the paper mines once, offline).
"""

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from negmark.methods import base, percpos, sampling, teacher
from negmark.methods.base import Method
from negmark.methods.types import Batch, Claim, Footnote, Negatives, Tried

_CONDITION = "e5-large-unsup, 4 negatives, mean of NQ, HotpotQA and FiQA, shifted by 10: "
_DIFFERS = "there the teacher mines all lists from the whole corpus and the whole encoder is trained"


class ShiftedTopK(Method):
    """The teacher's best but for the very best."""

    name = "shifted_topk"
    title = "NV-Retriever shifted top-k"
    citation = "Moreira et al. 2024, arXiv 2407.15831"
    pools = frozenset({"dense"})
    uses_teacher = True
    footnotes = (
        Footnote("the teacher ranks only the best candidates of the warm-up encoder, not the whole corpus"),
        Footnote("the teacher is {teacher}; the paper's best single one is e5-mistral-7b"),
        Footnote("the suite's number of negatives instead of the paper's four"),
    )
    claims = (
        Claim(
            "shifted_topk", "dense_topk", "nDCG@10", _CONDITION + ".5695 against .5407 for naive top-k (secondary "
            "notes [S])", _DIFFERS + "; here dense_topk takes the warm-up encoder's list", own_teacher=True,
        ),
        Claim(
            "percpos", "shifted_topk", "nDCG@10", _CONDITION + ".5695 against .5856 of TopK-PercPos (secondary notes "
            "[S])", _DIFFERS,
        ),
    )  # fmt: skip

    class Params(base.Params):
        """Parameters of the window."""

        shift: int = Field(default=10, ge=0)
        """Candidates that the teacher finds best and that are left out (N); 0 is the naive rule."""
        sample: int | None = Field(default=None, ge=1)
        """Draw uniformly from this many behind them; None takes the first M."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that the teacher ranks; that of all rows here."""

    @classmethod
    def space(cls, params: "ShiftedTopK.Params", track: str) -> Mapping[str, Tried]:
        """Tune how many are left out."""
        return {
            "shift": Tried((2, 5, 10, 20, 50), "the paper's 10 and, ours, around it; 0 is its naive list")
        }

    def negatives(self, batch: Batch) -> Negatives:
        """Take the best behind the first N, or draw from them."""
        ids, scores, _ = teacher.score_pool(self.services, batch.queries, batch.positives, self.params.depth)
        nothing = np.full(len(ids), np.inf)
        left = percpos.below(ids, scores, nothing)[:, self.params.shift :]
        count = self.services.negatives
        if self.params.sample is None:
            return Negatives(ids=sampling.first(left, count))
        rng = self.services.rng(batch.step)
        return Negatives(ids=sampling.draw_uniform(left[:, : self.params.sample], count, rng))
