r"""Hardness-weighted InfoNCE: a negative weighs the more the more similar the model finds it to the query.

What the paper says: under InfoNCE the scores of positive and negative pairs overlap. LLaVE multiplies the exponential
of each in-batch negative by w_ij = e^{alpha sg(s_ij)}, s the cosine and sg without gradient, alpha = 9 (eq. 5, read
second-hand). EmbeddingGemma weighs the one given hard negative of a query alone, by e^{alpha sg(s)} with alpha = 5, in
L_C = -log e^{s+/t} / (w e^{s-/t} + sum_j 1_TN(i, j) e^{s_ij/t}) (eq. 2), where 1_TN drops equal queries and equal
positives; read literally it drops j = i too, and so the positive. It adds a spread-out loss (see `spread_out`) and
matches a teacher's vectors. Neither text that we read has an ablation of the weight.
What the released code does (DeepLearnXMU/LLaVE, WeightedClipLoss): alpha sg(s) is added to the logits of both
directions, query to target and back, whose mean is the loss. The class and the config default to alpha = 0.5 and a
scale of 50 (t = .02); the README's commands pass 9. EmbeddingGemma's is not released. sentence-transformers 6 has
both (`hardness_mode` "in_batch_negatives", "hard_negatives") and `all_negatives`; its values are these.
What we do: `of: in_batch`, `given` or `all`. Controlled track: weights of the suite's InfoNCE; given negatives are M of
the dense pool, drawn uniformly. So `inbatch` and `dense_uniform` differ from the first two in the weight alone.
Faithful track: LLaVE's loss in both directions, whose scale is `budget: {temperature: 0.02}`; EmbeddingGemma's with one
hard negative and the spread-out loss of weight 1 (the paper doesn't say which), without its teacher. `all` is in no
paper. Since alpha isn't divided by the temperature t, this equals a temperature of 1 / (1/t + alpha) for the
weighted negatives, in the forward pass alone: at t = .05, alpha = 9 lets a negative count as at .034.
Cost per step: M document vectors per query with `given` and `all`; nothing beyond the batch with `in_batch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import Field

from negmark.methods import base, losses, sampling
from negmark.methods.base import Method
from negmark.methods.later import torch
from negmark.methods.types import Batch, Footnote, Gives, Negatives, Scores, Step, Tried, When

PAPERS = {"in_batch": 9.0, "given": 5.0, "all": 5.0}
"""LLaVE's alpha, EmbeddingGemma's, and the milder of both."""

IMAGES = "texts instead of LLaVE's images with texts"
SPREAD = (
    "no matching of a teacher's vectors and no nested dimensions (MRL); the spread-out loss has weight 1, as the paper "
    "says none"
)
UNLIKE_GEMMA = (
    "the suite's number of given negatives instead of EmbeddingGemma's one, no spread-out loss and no matching of a "
    "teacher's vectors"
)
BOTH_KINDS = "no paper weighs in-batch and given negatives at once; sentence-transformers offers it"


class Hardness(Method):
    """Weights that grow with the cosine."""

    name = "hardness"
    title = "Hardness-weighted InfoNCE"
    citation = "Lan et al. 2025, arXiv 2503.04812; Schechter Vera et al. 2025, arXiv 2509.20354"
    pools = frozenset({"dense"})
    needs_vectors = "cosines to weigh by"
    faithful = True
    recipe_negatives = 1
    footnotes = (Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),)

    class Params(base.Params):
        """Parameters of the weight."""

        of: Literal["in_batch", "given", "all"] = "in_batch"
        """Which negatives are weighed: in-batch ones, as in LLaVE, which are its only ones then; given ones, as in
        EmbeddingGemma; or both kinds, as sentence-transformers offers."""
        alpha: float | None = Field(default=None, gt=0)
        """Strength: a weight is e^{alpha s}. If None, the paper's: 9 for in-batch negatives, 5 for given ones."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that given negatives are drawn from."""

    @classmethod
    def space(cls, params: Hardness.Params, track: str) -> Mapping[str, Tried]:
        """Tune the strength."""
        others = (0.5, 2.0, 5.0, 15.0) if params.of == "in_batch" else (0.5, 2.0, 9.0, 15.0)
        return {
            "alpha": Tried((None, *others), "the paper's, the released default .5 and, ours, around them")
        }

    @classmethod
    def refusal(cls, params: Hardness.Params, track: str) -> str:
        """Return that no paper weighs both kinds."""
        both = track == "faithful" and params.of == "all"
        return "no paper weighs in-batch and given negatives; set `of:` to one of them" if both else ""

    @classmethod
    def gives(cls, params: Hardness.Params, track: str) -> Gives:
        """Return documents, unless the batch alone is weighed."""
        return Gives.NOTHING if params.of == "in_batch" else Gives.DOCUMENTS

    @classmethod
    def drawn_from(cls, params: Hardness.Params, track: str) -> int | None:
        """Return the depth of the pool, unless the batch alone is weighed."""
        return None if params.of == "in_batch" else params.depth

    @classmethod
    def own_notes(cls, params: Hardness.Params, track: str) -> list[str]:
        """Return what differs from LLaVE's recipe, or is left out of EmbeddingGemma's."""
        if params.of == "in_batch":
            one_way = "from documents to queries nothing is compared; the suite's temperature"
            return [IMAGES] if track == "faithful" else [IMAGES, one_way]
        if track == "faithful":
            return [SPREAD]
        return [UNLIKE_GEMMA] if params.of == "given" else [BOTH_KINDS, UNLIKE_GEMMA]

    @classmethod
    def papers_temperature(cls, params: Hardness.Params) -> float | None:
        """Return that of LLaVE's code; we read none of EmbeddingGemma's."""
        return 0.02 if params.of == "in_batch" else None

    def negatives(self, batch: Batch) -> Negatives:
        """Draw given negatives, where they are weighed."""
        if self.params.of == "in_batch":
            return Negatives()
        count = self.recipe_negatives if self.services.track == "faithful" else self.services.negatives
        assert count is not None
        ids, _ = self.services.pool("dense").candidates(batch.queries, self.params.depth)
        return Negatives(ids=sampling.draw_uniform(ids, count, self.services.rng(batch.step)))

    def weighed(self, step: Step) -> Scores:
        """Weigh the negatives that are asked for."""
        of, alpha = self.params.of, self.params.alpha
        strength = PAPERS[of] if alpha is None else alpha
        scores = step.scores
        in_batch = None if of == "given" else weights(scores.in_batch, strength)
        given = scores.weights if of == "in_batch" else weights(scores.negatives, strength)
        return replace(scores, in_batch_weights=in_batch, weights=given)

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return LLaVE's mean of both directions, or EmbeddingGemma's contrastive and spread-out losses."""
        scores, batch = step.scores, step.batch
        forth = losses.info_nce(scores, step.temperature)
        if self.params.of == "in_batch":
            return (forth + losses.info_nce(losses.from_documents(scores), step.temperature)) / 2
        return forth + sum(
            losses.second_moment(each) for each in (batch.query_vectors, batch.positive_vectors)
        )


def weights(cosines: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return e^{alpha s} of cosines s of any shape, without gradient."""
    return (alpha * cosines.detach()).exp()
