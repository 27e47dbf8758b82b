"""RocketQA's third and fourth step as they were released: the first confident negatives in rank order, all shared.

What the paper says: a cross-encoder, trained on the first retriever's results, judges its top candidates; those scored
below 0.1 are hard negatives. At last, unlabelled queries get pseudo-positives, scored above 0.9. All passages of all
GPUs are negatives (cross-batch).
What the released code does (PaddlePaddle/Research, NLP/NAACL2021-RocketQA): construct_marco_train_de.py takes of the
top 50, in rank order, the first 4 that score below 0.1, and fills up with random ones of the ranks behind, unjudged.
Each of the 4 makes an example: a query, its positive and one hard negative. For unlabelled queries
(construct_unlabel_train_de.py) the best of the top 50 is the positive, if it scores above 0.9. The loss is the softmax
over all positives and hard negatives of the batch, by dot products (dual_encoder.py). The cross-encoder is trained on
the positives and 4 uniform candidates (construct_marco_train_ce.py): here, a row `dense_uniform` of the tier `rerank`.
What we do: the same window, threshold and filling. In the controlled track the list is as long as the negatives
granted, and the shared loss takes it in. In the faithful track one of the first 4 is drawn at each visit, and the loss
shares all hard negatives of the batch, cosine / temperature as logit. All our queries are labelled, so `augment`, off
by default, is ours: the best candidate above `high` is a further positive of its query, as likely to be drawn as each
labelled one. With an encoder as teacher, which has no probabilities, they are taken as in `rocketqa`.
Cost per step: M document vectors per query (one in the faithful track) and the teacher's scores of the pool's best 200.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, losses, sampling, shared, teacher
from negmark.methods.base import Method
from negmark.methods.later import torch
from negmark.methods.relabelling import Relabelling
from negmark.methods.rocketqa import confident, probabilities
from negmark.methods.scale import CHANCE_IS_0
from negmark.methods.types import (
    NO_DOCUMENT,
    Batch,
    Claim,
    Footnote,
    Ids,
    Lends,
    Negatives,
    Step,
    Tried,
    When,
)


class RocketQARecipe(teacher.Rejecting, Relabelling, Method):
    """Denoised hard negatives in rank order."""

    name = "rocketqa_recipe"
    title = "RocketQA (released steps)"
    citation = "Qu et al. 2021, NAACL, arXiv 2010.08191"
    pools = frozenset({"dense"})
    cosine_thresholds = True
    uses_teacher = True
    loss_asks_teacher = False
    faithful = True
    lends_loss = Lends.TO_ALL
    recipe_negatives = 1
    footnotes = (
        Footnote(
            "the teacher is {teacher}; the paper's is a cross-encoder trained on the retriever's results"
        ),
        Footnote(CHANCE_IS_0, {When.ENCODER_TEACHES}),
        Footnote(
            "its probability is the logistic of (candidate - labelled positive) / temperature, as an encoder has "
            "none of its own",
            {When.ENCODER_TEACHES},
        ),
        Footnote("random fillings are drawn anew at every step; the static pool is the warm-up encoder's"),
        Footnote("other queries' hard negatives are not shared", {When.CONTROLLED}),
        Footnote("the logit is cosine similarity / temperature instead of a dot product", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="rocketqa_recipe",
            worse="inbatch",
            metric="RR@10",
            condition="MS MARCO dev, the code's README: 36.38 after the third step against 33.32 after the first",
            differs="the first step has the random negatives of 8 GPUs there, is tested in batches of as many queries, "
            "and the third starts from its model",
            batch=4096,
            own_teacher=True,
        ),
        Claim(
            better="rocketqa_recipe",
            worse="dense_topk",
            metric="RR@10",
            condition="MS MARCO dev: 36.38 denoised against 26.03 without denoising (secondary notes [S])",
            differs="there both draw from the list; here dense_topk takes the very top",
            own_teacher=True,
        ),
    )

    class Params(base.Params):
        """Parameters of the released steps."""

        low: float = Field(default=0.1, gt=0, lt=1)
        """A candidate is a negative if the teacher's probability is below this."""
        window: int = Field(default=50, ge=1)
        """Best candidates that are judged; the ranks behind fill up what they leave empty."""
        listed: int = Field(default=4, ge=1)
        """Faithful track: how long a query's list is, of which one is drawn at each visit."""
        augment: bool = False
        """Faithful track, ours: the best candidate above `high` is a further positive of its query."""
        high: float = Field(default=0.9, gt=0, lt=1)
        """A pseudo-positive's probability is above this."""

    @classmethod
    def refusal(cls, params: RocketQARecipe.Params, track: str) -> str:
        """Return that labels are the same for all in the controlled track."""
        if params.augment and track == "controlled":
            return "`augment` changes the labels; add `track: faithful`"
        return ""

    @classmethod
    def relabels(cls, params: RocketQARecipe.Params, track: str) -> bool:
        """Say that pseudo-positives are positives."""
        return params.augment and track == "faithful"

    @classmethod
    def own_notes(cls, params: RocketQARecipe.Params, track: str) -> list[str]:
        """Return what is a positive."""
        if params.augment:
            return ["pseudo-positives are of labelled queries, instead of more queries that have no labels"]
        return ["no augmentation with pseudo-positives of unlabelled queries"]

    @classmethod
    def drawn_from(cls, params: RocketQARecipe.Params, track: str) -> int | None:
        """Return None: it takes the first that are left, as they are ranked."""
        return None

    @classmethod
    def space(cls, params: RocketQARecipe.Params, track: str) -> Mapping[str, Tried]:
        """Tune the threshold."""
        return {"low": Tried((0.01, 0.05, 0.1, 0.2, 0.4), "the paper's 0.1 and, ours, both sides of it")}

    def judged_pool(self, queries: Ids, positives: Ids) -> tuple[Ids, NDArray[np.floating]]:
        """Return the pool's candidates [B, K] and the teacher's probability of each."""
        ids, scores, positive = teacher.score_pool(self.services, queries, positives, base.DEPTH)
        if self.services.ranker_teaches:
            return ids, scores
        return ids, probabilities(scores, positive, self.services.temperature)

    def relevant(self, queries: Ids) -> Ids:
        """Return the pseudo-positive [B, 1] of each query, if it has one."""
        labelled = self.services.positives(queries)[:, 0]
        ids, probable = (part[:, : self.params.window] for part in self.judged_pool(queries, labelled))
        best = np.where(ids == NO_DOCUMENT, -np.inf, probable).argmax(axis=1)[:, None]
        high = np.take_along_axis(probable, best, axis=1) > self.params.high
        return np.where(high, np.take_along_axis(ids, best, axis=1), NO_DOCUMENT)

    def examples(self, step: int, queries: Ids, positives: Ids) -> tuple[Ids, Ids]:
        """Draw pseudo-positives beside the labelled ones."""
        return queries, self.with_made(step, queries, positives)

    def negatives(self, batch: Batch) -> Negatives:
        """Take the first confident candidates in rank order, or one of them."""
        faithful = self.services.track == "faithful"
        labelled = self.services.positives(batch.queries)[:, 0]
        own = labelled if self.params.augment and faithful else batch.positives
        ids, probable = self.judged_pool(batch.queries, own)
        window = self.params.window
        kept = confident(probable[:, :window], self.params.low)
        left = np.where(kept, ids[:, :window], NO_DOCUMENT)
        self.count_rejected(ids[:, :window], left)
        count = self.params.listed if faithful else self.services.negatives
        chosen = sampling.first_without(left, left == NO_DOCUMENT, count)
        empty, listed = chosen == NO_DOCUMENT, chosen
        if empty.any() and ids.shape[1] > window:
            rng = self.services.rng(batch.step, "filling")
            listed = sampling.filled(chosen, sampling.draw_uniform(ids[:, window:], count, rng))
        filling = empty & (listed != NO_DOCUMENT)
        if not faithful:
            return Negatives(ids=listed, backfilled=filling)
        columns = sampling.draw_uniform(
            np.where(listed == NO_DOCUMENT, NO_DOCUMENT, np.arange(count)), 1, self.services.rng(batch.step)
        )
        drawn = np.take_along_axis(filling, np.maximum(columns, 0), axis=1) & (columns != NO_DOCUMENT)
        mask = self.in_batch(batch) if self.params.augment else None
        return Negatives(ids=sampling.take(listed, columns), backfilled=drawn, in_batch=mask)

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Compare each positive with all positives and all hard negatives of the batch."""
        scores, ids = shared.with_documents_of_all(step, self.services), step.negatives.ids
        if ids is not None:  # another query's negative may be what a query was given as pseudo-positive
            everyone = np.concatenate([ids, np.broadcast_to(ids.ravel(), (len(ids), ids.size))], axis=1)
            own = torch.from_numpy(everyone == step.batch.positives[:, None])
            scores = replace(scores, negatives_mask=scores.negatives_mask & ~own)
        return losses.info_nce(scores, step.temperature)

    def idle(self) -> str:
        """Return that the threshold told nothing apart, or that no pseudo-positive was found."""
        if self.params.augment and self.services.track == "faithful" and not self.changed.any():
            return f"no candidate is as probable as {self.params.high}"
        return teacher.Rejecting.idle(self)

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return what has been judged and changed."""
        return {"judged": self.judged, "changed": self.changed}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore both."""
        self.judged, self.changed = state["judged"], state["changed"]

    def telemetry(self) -> dict[str, float]:
        """Return the pseudo-positives of a step, where there may be some."""
        counts = Relabelling.telemetry(self)
        return {"positives_made": counts["positives_made"]} if self.params.augment else {}
