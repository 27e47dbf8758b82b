r"""MoCHi: the hardest negatives are mixed with each other, and with the query, into harder ones that no text has.

What the paper says: on MoCo's queue, take for each query the N negatives of highest cosine and append s mixtures of
two of them, h = norm(a n_i + (1 - a) n_j), a ~ U(0, 1), and s' mixtures with the query itself, h' = norm(b q + (1 - b)
n_j), b ~ U(0, .5), so that the negative always dominates. The denominator of InfoNCE holds all K of the queue and the
mixtures. MoCHi(1024, 512, 256) and the like, K = 16k to 65k, t = .2, after 10 to 15 epochs without mixing ([M]).
What the released code does: none is public, so this is a reconstruction. Two implementations agree on the above
([C-un]: davidsvy/hard-negative-mixing and MaugrimEP/MocoAndMochi); gradient reaches q alone through the inner product,
never the mixtures. The first has K = 8192, N = 32, s = s' = 16, and starts h after 20 % of the steps and h' after 40
%. The second's flattened list mixes the first query's negatives for all queries, a bug; it draws i != j, the first
doesn't.
What we do: i != j, the first's starts. In the controlled track the N hardest are the batch's documents (and those of a
queue of past document vectors, if `queue` is set), in-batch documents stay negatives, and the M granted places are
mixtures: by default half of each kind. In the faithful track a queue alone gives the negatives: 4,096 document vectors
of a momentum copy of the towers. It keeps .99 of itself at a step, as MoCo's .999 is for runs of 100,000 steps.
Labelled positives, and copies, are masked before the N hardest are taken. A mixture of two that lie on opposite sides
of q is nearer to q than both, hidden positives too.
Cost per step: B (B + K) products to find the hardest, V more columns of the loss; in the faithful track 1 vector of the
copy per query and a pass over all parameters to move it, else no document but the batch's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, torch
from negmark.methods.queue import KEYS, Queue
from negmark.methods.types import Batch, Claim, Footnote, Negatives, Step, Tried, When

RECIPE = 16
"""Mixtures of each kind in the faithful track."""


class MoCHi(Method):
    """Mixtures of hard negatives."""

    name = "mochi"
    title = "MoCHi"
    citation = "Kalantidis et al. 2020, NeurIPS, arXiv 2010.01028"
    needs_vectors = "vectors as negatives and momentum copies of its towers"
    faithful = True
    recipe_negatives = 2 * RECIPE
    footnotes = (
        Footnote(
            "the hardest of the batch are mixed, not of a queue, unless `queue` is set", {When.CONTROLLED}
        ),
        Footnote(
            "mixtures fill the granted places and cost no encoding, while other rows encode documents for them",
            {When.CONTROLLED},
        ),
        Footnote(
            "a queue of 4,096 keys, not 16,384, of a copy that keeps .99 of itself at a step, not .999; gradient "
            "through the positive",
            {When.FAITHFUL},
        ),
        Footnote(
            "a reconstruction, by the paper and two implementations that aren't the authors', as no code of theirs is "
            "public"
        ),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="mochi",
            worse="inbatch",
            metric="nDCG@10",
            condition="linear top-1 on ImageNet-100: about 79 against MoCo v2's 78 (from memory [M])",
            differs="images without labels, a momentum encoder and a queue of 16k and more; here the batch",
        ),
    )

    class Params(base.Params):
        """Parameters of the mixing."""

        hardest: int | None = Field(default=None, ge=2)
        """Negatives of highest cosine that are mixed (N). If None, 16 in the controlled track, 32 in the faithful."""
        pairs: int | None = Field(default=None, ge=0)
        """Mixtures of two negatives a query (s). If None, half of the granted places, 16 in the faithful track."""
        with_query: int | None = Field(default=None, ge=0)
        """Mixtures of a negative and the query (s'). If None, the other half, 16 in the faithful track."""
        queue: int | None = Field(default=None, ge=0)
        """Past document vectors that are kept (K). If None, none in the controlled track, 4,096 in the faithful."""
        momentum: float = Field(default=0.99, ge=0, le=1)
        """Faithful track: share of itself that the copy of the towers, whose vectors are queued, keeps at a step."""
        pairs_start: float = Field(default=0.2, ge=0, le=1)
        """Share of the run's steps before mixtures of two negatives begin."""
        query_start: float = Field(default=0.4, ge=0, le=1)
        """Share of the run's steps before mixtures with the query begin."""

    @classmethod
    def gives(cls, params: MoCHi.Params, track: str) -> base.Gives:
        """Return mixtures."""
        return base.Gives.BESIDE

    @classmethod
    def space(cls, params: MoCHi.Params, track: str) -> Mapping[str, Tried]:
        """Tune how many of the hardest are mixed."""
        if track == "faithful":
            return {
                "hardest": Tried((None, 8, 16, 64, 256), "an implementation's 32 (None) and, ours, around it")
            }
        return {
            "hardest": Tried((None, 4, 8, 32, 64), "ours: a quarter of a batch of 64 (None), and around it")
        }

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        faithful = services.track == "faithful"
        self._hardest = params.hardest or (32 if faithful else 16)
        half = services.negatives // 2
        pairs, with_query = (RECIPE, RECIPE) if faithful else (services.negatives - half, half)
        self._pairs = pairs if params.pairs is None else params.pairs
        self._with_query = with_query if params.with_query is None else params.with_query
        self.queue = Queue(params.queue if params.queue is not None else KEYS if faithful else 0)
        self.mixed = torch.zeros(1, dtype=torch.int64)
        """Mixtures that were given."""

    def refresh(self, step: int) -> None:
        """Make the copy, equal to the towers, before the first step."""
        if self.services.track == "faithful":
            self._copy = self.services.momentum(self.params.momentum)

    @classmethod
    def papers_temperature(cls, params: MoCHi.Params) -> float | None:
        """Return the paper's."""
        return 0.2

    def negatives(self, batch: Batch) -> Negatives:
        """Mix the hardest negatives of each query, once mixing has begun."""
        bank, allowed = self._bank(batch)
        hard, counts = hardest(batch.query_vectors.detach(), bank, allowed, self._hardest)
        begun = [batch.step >= start * self.services.steps for start in self._starts]
        in_batch = None
        if self.services.track == "faithful":
            in_batch = torch.zeros(len(hard), len(hard), dtype=torch.bool)
        if not (any(begun) and hard.shape[1]):
            return Negatives(in_batch=in_batch, source="mixture")
        rng = self.services.rng(batch.step, "mixtures")
        shares = rng.random((len(hard), self._pairs, 3)), rng.random((len(hard), self._with_query, 2))
        parts = []
        if begun[0]:
            parts.append((mixtures_of_pairs(hard, counts, shares[0]), counts >= 2))
        if begun[1]:
            queries = batch.query_vectors.detach()
            parts.append((mixtures_with_query(queries, hard, counts, shares[1]), counts >= 1))
        mask = torch.cat([able[:, None].expand(vectors.shape[:2]) for vectors, able in parts], dim=1)
        self.mixed += int(mask.sum())
        vectors = torch.cat([vectors for vectors, _ in parts], dim=1)
        return Negatives(vectors=vectors, vectors_mask=mask, in_batch=in_batch, source="mixture")

    @property
    def _starts(self) -> tuple[float, float]:
        return self.params.pairs_start, self.params.query_start

    def _bank(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vectors [C, D] that may be mixed, and which of them for which query [B, C]."""
        queued = self.queue.allowed(batch.queries, self.services)
        if self.services.track == "faithful":
            return self.queue.vectors, queued
        everyone = np.broadcast_to(batch.positives, (len(batch.queries), len(batch.positives)))
        allowed = torch.from_numpy(~self.services.is_positive(batch.queries, everyone))
        vectors = batch.positive_vectors.detach()
        if len(self.queue):
            vectors = torch.cat([vectors, self.queue.vectors])
        return vectors, torch.cat([allowed, queued], dim=1)

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE over the queue and the mixtures."""
        if not len(self.queue):
            return losses.info_nce(step.scores, step.temperature)
        scores = step.batch.query_vectors @ self.queue.vectors.T
        allowed = self.queue.allowed(step.batch.queries, self.services)
        return losses.info_nce(losses.with_more(step.scores, scores, allowed), step.temperature)

    def observe(self, step: Step) -> None:
        """Add the batch's documents to the queue, in the faithful track as the copy sees them."""
        batch = step.batch
        faithful = self.services.track == "faithful"
        keys = self._copy.documents(batch.positives) if faithful else batch.positive_vectors
        self.queue.push(keys, batch.positives)

    def idle(self) -> str:
        """Return that nothing was mixed."""
        if self.mixed:
            return ""
        if not (self._pairs or self._with_query):
            return "no mixture was asked for: `pairs` and `with_query` are 0"
        return f"no mixture was made: mixing starts after {min(self._starts):.0%} of the steps".replace(
            "%", " %"
        )

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the queue, and how many mixtures were given."""
        return {**self.queue.state_dict(), "mixed": self.mixed}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.queue.load_state_dict(state)
        self.mixed = state["mixed"]


def hardest(
    queries: torch.Tensor, bank: torch.Tensor, allowed: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for queries [B, D] the vectors of a bank [C, D] of highest inner product, best first: [B, n, D].

    n is `count`, or C if that is less. The second value says how many of them are allowed, [B]: they stand first.
    """
    if not len(bank):
        return queries.new_empty(len(queries), 0, queries.shape[1]), torch.zeros(
            len(queries), dtype=torch.int64
        )
    scores = losses.masked(queries @ bank.T, allowed)
    best = scores.argsort(dim=1, descending=True, stable=True)[:, :count]
    return bank[best], allowed.sum(dim=1).clamp(max=best.shape[1])


def mixed(one: torch.Tensor, other: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return `share` of one vector and the rest of the other, of unit length."""
    return functional.normalize(share * one + (1 - share) * other, dim=-1)


def mixtures_of_pairs(hard: torch.Tensor, counts: torch.Tensor, uniform: NDArray[np.float64]) -> torch.Tensor:
    """Return mixtures [B, s, D] of two different of the first `counts` [B] vectors of each row of `hard` [B, N, D].

    Three numbers of U(0, 1) [B, s, 3] choose the two and the share; a row with fewer than two gives no mixture of two.
    """
    count = counts.clamp(min=1).numpy()[:, None]
    first = np.floor(uniform[..., 0] * count).astype(np.int64)
    gap = 1 + np.floor(uniform[..., 1] * (count - 1)).astype(np.int64)
    return mixed(_rows(hard, first), _rows(hard, (first + gap) % count), _share(uniform[..., 2]))


def mixtures_with_query(
    queries: torch.Tensor, hard: torch.Tensor, counts: torch.Tensor, uniform: NDArray[np.float64]
) -> torch.Tensor:
    """Return mixtures [B, s', D] of queries [B, D], which weigh less than a half, and one of their hard negatives.

    Two numbers of U(0, 1) [B, s', 2] choose it and the share.
    """
    chosen = np.floor(uniform[..., 0] * counts.clamp(min=1).numpy()[:, None]).astype(np.int64)
    return mixed(queries[:, None], _rows(hard, chosen), _share(uniform[..., 1] / 2))


def _rows(hard: torch.Tensor, chosen: NDArray[np.int64]) -> torch.Tensor:
    return hard[torch.arange(len(hard))[:, None], torch.from_numpy(chosen)]


def _share(share: NDArray[np.float64]) -> Any:
    return torch.from_numpy(share).float()[..., None]
