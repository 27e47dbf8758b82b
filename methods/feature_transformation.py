r"""FT: the positive pair is pushed apart and negatives are mixed with each other, in the space of vectors.

What the paper says: what a pair's scores look like while training shows what it can still teach, so vectors are moved.
Positive extrapolation with lam = 1 + Beta(a, a): q' = lam q + (1 - lam) k, k' = lam k + (1 - lam) q, whose inner
product is lower: s + 2 lam (1 - lam)(1 - s). Negative interpolation with mu ~ Beta(a, a): queue' = mu queue + (1 - mu)
queue[permuted], which replaces the queue for the step. Its figures of scores are how it was found.
What the released code does (DTennant/CL-Visualizing-Feature-Transformation, RGBMoCo_dropmix_norm): one lam and one mu
a batch, vectors not renormalised, the key k without gradient, q' against queue' too, the queue kept as it was. The
README's runs set a = 2.0 for positives and 1.6 for negatives, t = .2, K = 65,536. The option to start mixing later has
no effect unless scores are saved, so it mixes from the start; `--postmix_norm` normalises q' and k' alone.
What we do: in the controlled track the negative half alone: M documents are drawn uniformly from the dense pool, and
their mixtures, of unit length and without gradient to the documents, stand in their places: pairs of one query's list,
as mixtures of unrelated vectors are short. In the faithful track both halves over a queue of 4,096 document vectors of
a momentum copy of the towers (.99 of itself a step, the code's value for ImageNet-100; .999 is for longer runs), with
no renormalisation; `t = .2` needs `budget: {temperature: 0.2}`. There the positive's document is that of the trained
towers, detached as the code's key is, so that it moves only where queries and documents share weights. Labelled
positives and copies are masked before mixing, also in a mixture. Extrapolation of unit vectors is a gain of lam^2 + (1
- lam)^2, 1 to 5, on the positive's gradient, and a lower logit, on average s - 1.6 (1 - s): above 0 from s = .62 on;
queries and documents start near .5 here, where it is below 0 and the pair is pulled together above all else. The scores
of a run at its first and last step are the board's figure `scores` (workflow/negmark/board/figures/scores.py): those of
the vectors before they are moved; `moved_positive`, `moved_negative` and `moved_negative_max` in the history are what
the faithful loss makes of them.
Cost per step: M document vectors a query (controlled); 1 vector of the copy per query, a pass over all parameters to
move it and B K products with the queue (faithful).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, losses, sampling
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, torch
from negmark.methods.queue import KEYS, Queue
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Negatives, Scores, Step, Tried, When

Parts = Literal["both", "positives", "negatives"]


class FeatureTransformation(Method):
    """Harder positives, more diverse negatives."""

    name = "feature_transformation"
    title = "Feature Transformation"
    citation = "Zhu et al. 2021, ICCV, arXiv 2108.02982"
    pools = frozenset({"dense"})
    needs_vectors = "vectors as negatives and momentum copies of its towers"
    faithful = True
    footnotes = (
        Footnote(
            "negative interpolation alone, as positives are not its negatives; mixtures are of unit length",
            {When.CONTROLLED},
        ),
        Footnote(
            "mixtures of M documents from the dense pool instead of a queue, beside in-batch documents; documents get "
            "no gradient as negatives",
            {When.CONTROLLED},
        ),
        Footnote(
            "a queue of 4,096 keys, not 65,536, of a copy that keeps .99 of itself at a step; the positive's document "
            "is not the copy's",
            {When.FAITHFUL},
        ),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="feature_transformation",
            worse="dense_uniform",
            metric="nDCG@10",
            condition="ImageNet-1K linear top-1, 200 epochs: 69.6 against MoCo v2's 67.5, 61.9 against v1's 60.6, by "
            "its README",
            differs="images, a momentum encoder with a queue of 65k and both halves there; in the controlled track "
            "the negative half over mined documents",
        ),
    )

    class Params(base.Params):
        """Parameters of the two halves."""

        neg_alpha: float = Field(default=1.6, gt=0)
        """Shape of Beta(a, a), from which the share of a mixture of negatives is drawn."""
        pos_alpha: float = Field(default=2.0, gt=0)
        """Faithful track: shape of Beta(a, a), from which lam - 1 of the positive pair is drawn."""
        parts: Parts = "both"
        """Faithful track: which halves; the controlled track has that of negatives alone."""
        mix_start: float = Field(default=0.0, ge=0, le=1)
        """Share of the run's steps before vectors are moved; the released code moves them from the start."""
        queue: int = Field(default=KEYS, ge=1)
        """Faithful track: past document vectors that are kept (K)."""
        momentum: float = Field(default=0.99, ge=0, le=1)
        """Faithful track: share of itself that the copy of the towers, whose vectors are queued, keeps at a step."""
        detach: bool = True
        """Faithful track: is the document of the positive pair without gradient, as the code's key?"""
        in_batch: bool = True
        """Controlled track: do in-batch documents stay negatives beside the mixtures?"""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Controlled track: candidates of the pool that are drawn from."""

    @classmethod
    def gives(cls, params: FeatureTransformation.Params, track: str) -> base.Gives:
        """Return mixtures in the controlled track; the faithful loss has a queue."""
        return base.Gives.NOTHING if track == "faithful" else base.Gives.BESIDE

    @classmethod
    def space(cls, params: FeatureTransformation.Params, track: str) -> Mapping[str, Tried]:
        """Tune how evenly negatives are mixed."""
        return {"neg_alpha": Tried((0.2, 0.8, 1.6, 3.2, 6.4), "the released 1.6 and, ours, both sides")}

    @classmethod
    def drawn_from(cls, params: FeatureTransformation.Params, track: str) -> int | None:
        """Return the depth of the pool in the controlled track; the faithful one draws from none."""
        return params.depth if track == "controlled" else None

    @classmethod
    def own_notes(cls, params: FeatureTransformation.Params, track: str) -> list[str]:
        """Return that positives' documents are trained, where they are: the code's keys have no gradient."""
        trained = track == "faithful" and not params.detach
        return ["the positive's document has gradient, unlike the code's key"] if trained else []

    @classmethod
    def refusal(cls, params: FeatureTransformation.Params, track: str) -> str:
        """Return that positives can't be moved in the controlled track."""
        if track == "controlled" and params.parts == "positives":
            return "extrapolated positives are no choice of negatives; set `track: faithful`"
        return ""

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.queue = Queue(params.queue if services.track == "faithful" else 0)
        self.moved = torch.zeros(1, dtype=torch.int64)
        """Steps in which vectors were moved."""
        self._telemetry: dict[str, float] = {}

    def refresh(self, step: int) -> None:
        """Make the copy, equal to the towers, before the first step."""
        if self.services.track == "faithful":
            self._copy = self.services.momentum(self.params.momentum)

    @classmethod
    def papers_temperature(cls, params: FeatureTransformation.Params) -> float | None:
        """Return MoCo's, which the paper keeps."""
        return 0.2

    def negatives(self, batch: Batch) -> Negatives:
        """Return mixtures of drawn candidates; in the faithful track the queue gives all negatives."""
        size = len(batch.queries)
        none = torch.zeros(size, size, dtype=torch.bool)
        if self.services.track == "faithful":
            return Negatives(in_batch=none)
        in_batch = None if self.params.in_batch else none
        drawn = sampling.draw_from_pool(batch, "dense", self.params.depth, self.services)
        if not self._begun(batch.step):
            return Negatives(ids=drawn, in_batch=in_batch)
        rng = self.services.rng(batch.step, "mixtures")
        share, order = rng.beta(self.params.neg_alpha, self.params.neg_alpha), rng.permutation(drawn.shape[1])
        used = torch.from_numpy(drawn != NO_DOCUMENT)
        both = (used & used[:, order])[:, :, None]
        vectors = self.services.encode_documents(drawn)
        mixtures = functional.normalize(interpolated(vectors, order, share), dim=2).where(both, vectors)
        self.moved += int((both[:, :, 0] & torch.from_numpy(order != np.arange(len(order)))).any())
        return Negatives(vectors=mixtures, vectors_mask=used, in_batch=in_batch, source="mixture")

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE of the extrapolated pair over the interpolated queue."""
        batch, rng = step.batch, self.services.rng(step.batch.step, "mixtures")
        moved, extra = self._begun(batch.step), rng.beta(self.params.pos_alpha, self.params.pos_alpha)
        share, order = (
            rng.beta(self.params.neg_alpha, self.params.neg_alpha),
            rng.permutation(len(self.queue)),
        )
        documents = batch.positive_vectors.detach() if self.params.detach else batch.positive_vectors
        pair = batch.query_vectors, documents
        if moved and self.params.parts != "negatives":
            pair = extrapolated(*pair, 1 + extra)
        bank, allowed = self.queue.vectors, self.queue.allowed(batch.queries, self.services)
        if moved and self.params.parts != "positives":
            bank, allowed = interpolated(bank, order, share), allowed & allowed[:, order]
        self.moved += int(moved and len(self.queue) > 0)
        none = pair[0] @ bank.T if len(self.queue) else pair[0][:, :0]
        scores = Scores(
            positive=(pair[0] * pair[1]).sum(dim=1),
            in_batch=step.scores.in_batch,
            in_batch_mask=torch.zeros_like(step.scores.in_batch_mask),
            negatives=none,
            negatives_mask=allowed,
            weights=None,
        )
        self._telemetry = moved_scores(scores)
        return losses.info_nce(scores, step.temperature)

    def observe(self, step: Step) -> None:
        """Add the batch's documents, as the copy sees them, to the queue of the faithful track."""
        if self.services.track == "faithful":
            self.queue.push(self._copy.documents(step.batch.positives), step.batch.positives)

    def telemetry(self) -> dict[str, float]:
        """Return scores of the faithful track after the moves: of positives, and of negatives the mean and maximum."""
        return self._telemetry

    def idle(self) -> str:
        """Return that no vector was moved."""
        return "" if self.moved else "no vector was moved"

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the queue, and in how many steps vectors were moved."""
        return {**self.queue.state_dict(), "moved": self.moved}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.queue.load_state_dict(state)
        self.moved = state["moved"]

    def _begun(self, step: int) -> bool:
        return step >= self.params.mix_start * self.services.steps


def moved_scores(scores: Scores) -> dict[str, float]:
    """Return the mean score of the positives and, of the negatives in use, the mean and largest, if there are any."""
    negatives = scores.negatives.detach()[scores.negatives_mask]
    found = {"moved_positive": float(scores.positive.detach().mean())}
    if len(negatives):
        found |= {"moved_negative": float(negatives.mean()), "moved_negative_max": float(negatives.max())}
    return found


def extrapolated(one: torch.Tensor, other: torch.Tensor, lam: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two vectors, or rows of them, moved away from each other by lam of at least 1."""
    return lam * one + (1 - lam) * other, lam * other + (1 - lam) * one


def interpolated(vectors: torch.Tensor, order: NDArray[np.int64], share: float) -> torch.Tensor:
    """Return each vector [..., K, D] mixed with the one that `order` [K] names, which weighs 1 - share."""
    return share * vectors + (1 - share) * vectors[..., order, :]
