r"""Generated negatives: the positive, edited or rewritten so that it no longer answers the query.

What the paper says: Generative Negative Mining (GNM) makes variations of an image, writes captions for them by
replacing a noun phrase, and trains on both as hard negatives of each other. Text versions: SNCSE negates a sentence and
keeps it as a *soft* negative; SyNeg has a large model write negatives and mixes them with retrieved ones; Sinha
compares them with BM25 and cross-encoder mining (version 4 of the paper: generated ones are worse).
What the released code does (ugorsahin/Generative-Negative-Mining): of the variations of an image two are drawn, without
replacement, with chances in proportion to s - min s + .5 of their matching scores s; each is a pair of its own caption,
and the loss is CLIP's symmetric cross-entropy over the batch. SNCSE adds 1e-3 times a bidirectional margin loss of
cos(text, negation) - cos(text, positive), with .1 and .3, to a contrastive loss without the negation.
What we do: text alone. Edits of the positive by rule (`entity`, `number`, `negation`, `drop`, `splice`), or texts by a
small causal model (`written`, `rewritten`), made once before training, judged and filtered (`generator` of a suite).
They are encoded as documents, with gradient, but are in no corpus. Controlled track: M of a query's texts, drawn
uniformly at every step, or a `share` of M and the rest from a pool (`generated_mixed`, after SyNeg); a query with too
few has its places filled from the pool, and they are marked. Faithful track: two texts drawn as GNM draws them, of
those made of the pair's own positive, and its symmetric loss, in which a text is a negative of every query of the
batch that this positive is no positive of; **no query is edited along**, so a text is
nobody's positive. `recipe: sncse` has SNCSE's margin loss instead.
Cost per step: M document vectors per query; texts are made and judged once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from negmark.methods import base, losses, sampling
from negmark.methods.auxiliary import is_auxiliary, kinds_of
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, torch
from negmark.methods.types import (
    IN_BATCH,
    NO_DOCUMENT,
    Batch,
    Claim,
    Footnote,
    Ids,
    Negatives,
    Step,
    Tried,
    When,
)

OFFSET = 0.5
"""What GNM's code adds to a score above the lowest, so that every variation may be drawn."""
ALPHA, BETA, SOFT_WEIGHT = 0.1, 0.3, 1e-3
"""SNCSE's margins and the weight of its loss."""
CONDITIONS = (
    Footnote("edits by rule or a small model's texts, made once before training, judged and filtered"),
    Footnote("negation by a list of words, where SNCSE has a tagger"),
)


class Generated(Method):
    """Texts made of the positive, that no corpus has."""

    name = "generated"
    title = "Generated negatives"
    citation = "Sahin et al. 2024, WACV, arXiv 2311.03964; text only"
    pools = frozenset({"bm25", "dense"})
    needs_vectors = "vectors of texts that are in no corpus"
    faithful = True
    recipe_negatives: ClassVar[int | None] = 2
    footnotes: ClassVar[tuple[Footnote, ...]] = (
        *CONDITIONS,
        Footnote("texts alone, no images", {When.FAITHFUL}),
        Footnote(
            "no query is edited along with its positive, so an edit is nobody's positive", {When.FAITHFUL}
        ),
        Footnote(
            "the judge's score of query and text stands for the image-text matching score", {When.FAITHFUL}
        ),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            better="bm25",
            worse="generated",
            metric="nDCG@10",
            condition="Sinha, arXiv 2504.21015, version 4: DistilBERT on ten BEIR sets, negatives by models of 4 to 30 "
            "billion weights do worse than BM25's, whatever the model's size (versions 1 and 2 said equal and better)",
            differs="edits by rule, or texts by a model of 0.1 billion weights, filtered; rows of both are compared",
            own_depth=True,
        ),
    )

    class Params(base.Params):
        """Parameters of generated negatives."""

        kinds: str = "edits"
        """Which texts, as a list: `edits`, or some of them (`entity`, `number`, `negation`, `drop`, `splice`); `model`,
        by that of the suite's `generator`, or one of `written` for the query and `rewritten` from the positive."""
        filter: bool = True
        """Only texts that passed the filter: judged clearly below the positive, and neither equal nor unlike it."""
        rest: Literal["top", "uniform", "bm25"] = "uniform"
        """What fills places without a text: the best of the dense pool, or a uniform draw from its `depth`, or from
        BM25's."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of a pool that are drawn from; that of all rows here."""
        recipe: Literal["gnm", "sncse"] = "gnm"
        """Faithful track: GNM's symmetric loss, or SNCSE's margins for soft negatives."""

        @field_validator("kinds", mode="before")
        @classmethod
        def _one_text(cls, value: Any) -> Any:
            """Write a list of YAML as text."""
            names = isinstance(value, list) and all(isinstance(name, str) for name in value)
            return ", ".join(value) if names else value

        @field_validator("kinds")
        @classmethod
        def _known(cls, value: str) -> str:
            return ", ".join(kinds_of(value)) if value not in ("edits", "model") else value

    share: ClassVar[float] = 1.0

    @classmethod
    def gives(cls, params: Generated.Params, track: str) -> base.Gives:
        """Return texts; documents fill places without one."""
        return base.Gives.BESIDE

    @classmethod
    def space(cls, params: Generated.Params, track: str) -> Mapping[str, Tried]:
        """Tune which edits are taken."""
        edits = ("edits", "entity, number", "negation", "drop", "splice")
        return {"kinds": Tried(edits, "ours: all edits, and each sort of them alone")}

    @classmethod
    def needs_auxiliary(cls, params: Generated.Params, track: str) -> frozenset[str]:
        """Return the kinds of texts that it is given."""
        return frozenset(kinds_of(params.kinds))

    @classmethod
    def vectors_needed(cls, params: Generated.Params, track: str) -> str:
        """Return that GNM's loss works on the batch, or that texts are to be encoded."""
        return IN_BATCH if track == "faithful" else cls.needs_vectors

    @classmethod
    def drawn_from(cls, params: Generated.Params, track: str) -> int | None:
        """Return none: what is drawn from is a query's own texts."""
        return None

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.given = torch.zeros(2, dtype=torch.int64)
        """Negatives so far, and those of them that are texts beside the corpus."""
        self._telemetry: dict[str, float] = {}

    def negatives(self, batch: Batch) -> Negatives:
        """Draw texts made for each query, and fill up from a pool in the controlled track."""
        kinds = kinds_of(self.params.kinds)
        faithful = self.services.track == "faithful"
        # the faithful loss asks of the batch's positive, not of the text, whose negative it may be
        made_of = batch.positives if faithful else None
        texts, scores = self.services.auxiliary(batch.queries, kinds, self.params.filter, made_of)
        rng = self.services.rng(batch.step, "texts")
        if faithful:
            log_weights = log_chances(scores) if self.params.recipe == "gnm" else flat(texts)
            drawn = sampling.top_n_by_gumbel(log_weights, self.recipe_negatives or 1, rng)
            return self._counted(Negatives(ids=sampling.take(texts, drawn)))
        count = max(round(self._share() * self.services.negatives), 1)
        return self._counted(self._mixed(batch, sampling.draw_uniform(texts, count, rng)))

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return GNM's or SNCSE's loss."""
        if self.params.recipe == "sncse":
            return soft_loss(step)
        return symmetric_loss(step)

    def telemetry(self) -> dict[str, float]:
        """Return the share of the step's negatives that are texts beside the corpus."""
        return self._telemetry

    def idle(self) -> str:
        """Return that no query of any batch had a text."""
        return "" if self.given[1] else "no query had a text that may be its negative"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return how many negatives there were."""
        return {"given": self.given}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the counts."""
        self.given = state["given"]

    def _share(self) -> float:
        return self.share

    def _mixed(self, batch: Batch, texts: Ids) -> Negatives:
        """Return the texts [B, g] and, behind them, documents of the pool up to M; more where texts are lacking."""
        granted = self.services.negatives
        ids = sampling.filled(sampling.first(texts, granted), self._documents(batch))
        of_pool = (ids != NO_DOCUMENT) & ~is_auxiliary(ids)
        return Negatives(ids=ids, backfilled=of_pool & (of_pool.cumsum(axis=1) > granted - texts.shape[1]))

    def _documents(self, batch: Batch) -> Ids:
        """Return M documents a query from the pool that fills places: [B, M]."""
        if self.params.rest == "top":
            ids, _ = self.services.pool("dense").candidates(batch.queries, self.services.negatives)
            return sampling.first(ids, self.services.negatives)
        pool = "bm25" if self.params.rest == "bm25" else "dense"
        return sampling.draw_from_pool(batch, pool, self.params.depth, self.services)

    def _counted(self, negatives: Negatives) -> Negatives:
        assert negatives.ids is not None
        total, texts = int((negatives.ids != NO_DOCUMENT).sum()), int(is_auxiliary(negatives.ids).sum())
        self.given = self.given + torch.tensor([total, texts])
        self._telemetry = {"generated_share": texts / total if total else 0.0}
        return negatives


class GeneratedMixed(Generated, Method):
    """Such texts for a share of the places, and a pool's documents for the others."""

    name = "generated_mixed"
    title = "Generated and retrieved negatives"
    citation = "after SyNeg, Li et al. 2024, arXiv 2412.17250"
    faithful = False
    recipe_negatives: ClassVar[int | None] = None
    footnotes: ClassVar[tuple[Footnote, ...]] = (
        *CONDITIONS,
        Footnote("SyNeg's texts are a large model's, with a prompt that reflects on its own answer"),
    )
    claims = tuple(
        Claim(
            better="generated_mixed",
            worse=worse,
            metric="nDCG@10",
            condition=f"SyNeg, arXiv 2412.17250: negatives by a large model mixed with retrieved ones do better than "
            f"{what}; figures not verified",
            differs="edits by rule, or texts by a model of 0.1 billion weights; rows of both are compared",
            own_depth=True,
        )
        for worse, what in (
            ("generated", "generated ones alone"),
            ("dense_topk", "mined ones alone"),
            ("inbatch", "those of the batch alone"),
        )
    )

    class Params(Generated.Params):
        """Parameters of mixed negatives."""

        share: float = Field(default=0.125, gt=0, le=1)
        """Share of a query's places that texts have, one at least; one of eight, as edits lie next to the positive."""

    @classmethod
    def space(cls, params: Generated.Params, track: str) -> Mapping[str, Tried]:
        """Tune how many places texts have."""
        return {"share": Tried((0.125, 0.25, 0.5, 0.75, 1.0), "ours: from one place of eight to all")}

    @classmethod
    def gives(cls, params: Any, track: str) -> base.Gives:
        """Return documents of the pool, unless texts are to have all places."""
        return base.Gives.DOCUMENTS if params.share < 1 else base.Gives.BESIDE

    @classmethod
    def drawn_from(cls, params: Generated.Params, track: str) -> int | None:
        """Return how much of a pool the retrieved ones are drawn from."""
        return None if params.rest == "top" else params.depth

    def _share(self) -> float:
        return float(self.params.share)


def log_chances(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithms of GNM's weights s - min s + .5 of scores [B, K] in their row; -inf in empty places."""
    held = np.isfinite(scores)
    lowest = np.where(held, scores, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    above = np.where(held, scores - np.where(np.isfinite(lowest), lowest, 0.0), 0.0)
    return np.where(held, np.log(above + OFFSET), -np.inf)


def flat(ids: Ids) -> NDArray[np.float64]:
    """Return log-weights [B, K] that are equal for all texts; -inf in empty places."""
    return np.where(ids == NO_DOCUMENT, -np.inf, 0.0)


def symmetric_loss(step: Step) -> torch.Tensor:
    """Return the mean of CLIP's two cross-entropies (a scalar).

    Queries against the batch's documents and all texts beside the corpus that the batch was given, documents against
    the batch's queries. A text made of a document that is a positive of another query is no negative of that query.
    """
    scores, size = step.scores, len(step.scores.positive)
    allowed = scores.in_batch_mask | torch.eye(size, dtype=torch.bool)
    texts = torch.einsum("bd,jmd->bjm", step.batch.query_vectors, step.negative_vectors)
    counted = allowed[:, :, None] & scores.negatives_mask[None]
    return clip_loss(
        losses.masked(scores.in_batch / step.temperature, allowed),
        losses.masked(texts / step.temperature, counted).reshape(size, -1),
    )


def clip_loss(pairs: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
    """Return CLIP's symmetric cross-entropy of logits [B, B] with the pairs on the diagonal (a scalar).

    `more` [B, N] are further columns of the queries: they are documents of nobody.
    """
    targets = torch.arange(len(pairs))
    rows = functional.cross_entropy(torch.cat([pairs, more], dim=1), targets)
    return (rows + functional.cross_entropy(pairs.T, targets)) / 2


def soft_loss(step: Step) -> torch.Tensor:
    """Return InfoNCE over the batch's documents plus SNCSE's margin loss of each text beside the corpus (a scalar)."""
    scores = step.scores
    alone = base.Scores(
        scores.positive, scores.in_batch, scores.in_batch_mask,
        scores.negatives[:, :0], scores.negatives_mask[:, :0], None, scores.in_batch_weights,
    )  # fmt: skip
    gaps = (scores.negatives - scores.positive[:, None])[scores.negatives_mask]
    margins = losses.bidirectional_margin(gaps, ALPHA, BETA)
    margins = margins.mean() if len(gaps) else margins.sum()
    return losses.info_nce(alone, step.temperature) + SOFT_WEIGHT * margins
