r"""HaSa: negatives weigh by hardness, less the share that graph neighbours of the positive may have of them.

What the paper says: for links (head, relation, ?) of a knowledge graph, weigh negatives by how hard they are, and
take off what likely false ones, entities near the head, add to the sum, as debiased contrastive learning does with
the positive: L = -log e^{s+} / (e^{s+} + N / (1 - t) max(sum_j p_j e^{s_j} - t sum_m f_m e^{s_m}, 0)), with p and f
softmaxes without gradient.
What the released code does (honggen-zhang/HaSa-CKGE): raw dot products with a GRU over head and relation. Columns are
the batch's tails and heads, and the 3 hardest tails of every query of the batch, from a bank. p is the softmax of the
row of scores *of unit length*, which is near uniform; N is the vectors' dimension (500), not the number of columns;
s+ is lowered by 1; nothing holds the clip at 0. The 3 false candidates are hard tails within 2 hops of the head, then
random ones of these, else known tails; a slice takes them of the wrong query. t is .00002 to .0001, so nearly nothing
is taken off: what was run is InfoNCE with weighted hard negatives.
What we do: the graph is the one of the documents (`Services.neighbours`), and the neighbours of the positive are the
candidates. Hard negatives come from a live search in the corpus as of the last refresh. Controlled track: the M
hardest, with N p_j as weights, and nothing taken off. Faithful track: 3 hard ones a query, shared by the batch,
beside its documents; N is the number of columns, p the softmax of the logits (`sharpness` times them), t .01, and the
rest is held at N e^{-1/T} as in debiased contrastive learning. A query whose positive has no neighbour has nothing
taken off.
Cost per step: B searches of the whole corpus, M document vectors per query (3, and 3 neighbours' in the faithful
track); at a refresh, the whole corpus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from pydantic import Field

from negmark.methods import base, losses, sampling
from negmark.methods.base import Method, Services, Snapshot
from negmark.methods.later import torch
from negmark.methods.types import (
    NO_DOCUMENT,
    Batch,
    Claim,
    Footnote,
    Ids,
    Negatives,
    Scores,
    Step,
    Tried,
    When,
    Work,
)

SMALLEST = 1e-6
"""The least weight: none may be 0."""


class HaSa(Method):
    """Hardness-weighted negatives less the mass of graph neighbours."""

    name = "hasa"
    title = "HaSa"
    citation = "Zhang et al. 2024, WWW, arXiv 2305.10563"
    needs_vectors = "a live search"
    faithful = True
    recipe_negatives = 3
    footnotes = (
        Footnote("queries and documents instead of heads with relations and tails"),
        Footnote("documents are searched as of the last refresh, every 100 steps by default"),
        Footnote(
            "the M hardest documents with weights; no mass of neighbours is taken off", {When.CONTROLLED}
        ),
        Footnote(
            "neighbours are those of the positive among the documents, not of the head; a query without any has "
            "nothing taken off",
            {When.FAITHFUL},
        ),
        Footnote(
            "the count of columns as N, weights by the logits, and a floor, unlike the code", {When.FAITHFUL}
        ),
        Footnote("other queries of the batch are no columns, as heads are in the paper", {When.FAITHFUL}),
        Footnote("cosine similarity / temperature instead of a raw dot product", {When.FAITHFUL}),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="hasa",
            worse="inbatch",
            metric="RR@10",
            condition="WN18RR and FB15k-237, all-mpnet-base-v2, MRR: better than InfoNCE with random and with hard "
            "negatives by the abstract; figures not verified",
            differs="queries and documents instead of a knowledge graph's links",
        ),
        Claim(
            better="hasa",
            worse="dense_topk",
            metric="RR@10",
            condition="the same with hard negatives (Hard InfoNCE there)",
            differs="queries and documents; dense_topk's negatives are of the encoder before training",
        ),
    )

    class Params(base.Params):
        """Parameters of weights and neighbours."""

        refresh_steps: int = Field(default=100, ge=1)
        """Steps between two encodings of the corpus that is searched."""
        sharpness: float = Field(default=1.0, ge=0)
        """Weights are the softmax of so many times the logits; 0 weighs all alike."""
        prior: float = Field(default=0.01, ge=0, lt=1)
        """Faithful track: share of false negatives that is taken off (tau); .00002 to .0001 in the released code."""
        false: int = Field(default=3, ge=1)
        """Faithful track: neighbours of the positive that stand for the false ones."""
        hops: int = Field(default=2, ge=1)
        """Faithful track: how far from the positive they may be in the graph."""

    @classmethod
    def space(cls, params: HaSa.Params, track: str) -> Mapping[str, Tried]:
        """Tune what is taken off; the sharpness of the weights where nothing is."""
        if track == "faithful":
            return {
                "prior": Tried(
                    (2e-5, 1e-3, 0.01, 0.1, 0.3), "the released code's least and, ours, larger ones"
                )
            }
        return {
            "sharpness": Tried(
                (0.03, 0.1, 0.3, 1.0, 3.0), "ours: from nearly uniform to nearly the hardest alone"
            )
        }

    @classmethod
    def needs_graph(cls, params: HaSa.Params, track: str) -> bool:
        """Say that neighbours are the recipe's."""
        return track == "faithful"

    @classmethod
    def work(cls, params: HaSa.Params, track: str, steps: int, batch_size: int) -> Work:
        """Return a corpus encoded at each refresh and a search per query."""
        return Work(-(-steps // params.refresh_steps), steps * batch_size)

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self._index: Snapshot | None = None
        self.taken_off = torch.zeros(1, dtype=torch.int64)
        """Queries of which something was taken off so far."""
        self._telemetry: dict[str, float] = {}

    def refresh(self, step: int) -> None:
        """Encode the corpus as it is now, on the steps that are due."""
        if self._index is None or step % self.params.refresh_steps == 0:
            self._index = self.services.snapshot()

    def negatives(self, batch: Batch) -> Negatives:
        """Return the documents that the current queries rank highest, without positives."""
        assert self._index is not None
        granted = self.recipe_negatives if self._faithful else self.services.negatives
        assert granted is not None
        spare = self.services.most_positives(batch.queries)
        ids, _ = self._index.search(batch.query_vectors.detach(), granted + spare)
        return Negatives(
            ids=sampling.first_without(ids, self.services.is_positive(batch.queries, ids), granted)
        )

    def weighed(self, step: Step) -> Scores:
        """Return the scores with N p_j as weights of the given negatives, in the controlled track."""
        return (
            step.scores
            if self._faithful
            else with_weights(step.scores, self.params.sharpness, step.temperature)
        )

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the loss over in-batch documents and everybody's hard ones, less the neighbours' mass."""
        batch, scores, p = step.batch, step.scores, self.params
        assert step.negatives.ids is not None
        shared = np.broadcast_to(step.negatives.ids.ravel(), (len(batch.queries), step.negatives.ids.size))
        hard = batch.query_vectors @ step.negative_vectors.flatten(0, 1).T
        usable = (shared != NO_DOCUMENT) & ~self.services.is_positive(batch.queries, shared)
        near = self._near(batch, step.negatives.ids)
        vectors = self.services.encode_documents(near, gradient=True)
        some = torch.from_numpy(near != NO_DOCUMENT)
        self.taken_off += int(some.any(dim=1).sum()) if p.prior else 0
        self._telemetry = {"with_neighbours": float(some.any(dim=1).float().mean())}
        return less_neighbours(
            scores.positive / step.temperature,
            torch.cat([scores.in_batch, hard], dim=1) / step.temperature,
            torch.cat([scores.in_batch_mask, torch.from_numpy(usable)], dim=1),
            torch.einsum("bd,bmd->bm", batch.query_vectors, vectors) / step.temperature,
            some,
            p.prior,
            p.sharpness,
            -1 / step.temperature,
        ).mean()

    def telemetry(self) -> dict[str, float]:
        """Return the share of the batch's queries whose positive has neighbours, in the faithful track."""
        return self._telemetry

    def idle(self) -> str:
        """Return that nothing was ever taken off, or in the controlled track that all negatives weighed alike."""
        if not self._faithful:
            return "" if self.params.sharpness else "all negatives weighed alike, as `sharpness` is 0"
        if not self.params.prior:
            return "nothing was taken off, as `prior` is 0"
        return "" if self.taken_off else "no positive has a neighbour in the graph"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the index, and how often something was taken off."""
        index = {} if self._index is None else self._index.state_dict()
        return {**index, "taken_off": self.taken_off}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the index and the count."""
        self.taken_off = state["taken_off"]
        index = {key: state[key] for key in state if key != "taken_off"}
        self._index = self.services.snapshot(index) if index else None

    @property
    def _faithful(self) -> bool:
        return self.services.track == "faithful"

    def _near(self, batch: Batch, hard: Ids) -> Ids:
        """Return neighbours of each positive that aren't positives themselves: its hard ones first, then at random."""
        near = self.services.neighbours(batch.positives, self.params.hops)
        usable = (near != NO_DOCUMENT) & ~self.services.is_positive(batch.queries, near)
        order = self.services.rng(batch.step, "neighbours").random(near.shape) - sampling.within(near, hard)
        columns = np.argsort(np.where(usable, order, np.inf), axis=1, kind="stable")
        kept = np.take_along_axis(np.where(usable, near, NO_DOCUMENT), columns, axis=1)
        return sampling.first(kept, self.params.false)


def with_weights(scores: Scores, sharpness: float, temperature: float) -> Scores:
    """Return scores whose given negatives weigh N p_j: p is the softmax of `sharpness` times their logits."""
    used = scores.negatives_mask
    log_weights = log_hardness(scores.negatives.detach() / temperature, used, sharpness)
    return replace(scores, weights=log_weights.exp().clamp(min=SMALLEST).masked_fill(~used, 1.0))


def log_hardness(logits: torch.Tensor, used: torch.Tensor, sharpness: float) -> torch.Tensor:
    """Return log N p_j [B, K] without gradient: weights of mean 1 over a row's used places, by how hard they are."""
    hardness = losses.masked(sharpness * logits.detach(), used)
    total = hardness.logsumexp(dim=1, keepdim=True)
    return (
        hardness
        - torch.where(used.any(dim=1, keepdim=True), total, 0.0)
        + used.sum(dim=1, keepdim=True).log()
    )


def less_neighbours(
    positive: torch.Tensor,
    logits: torch.Tensor,
    used: torch.Tensor,
    near: torch.Tensor,
    near_used: torch.Tensor,
    prior: float,
    sharpness: float = 1.0,
    floor: float | None = None,
) -> torch.Tensor:
    r"""Return HaSa's loss [B], as the paper means it, of logits [B], [B, K] and, of neighbours, [B, F].

    With N used columns, p and f the softmaxes of `sharpness` times the logits, without gradient,

        L = log(1 + N / (1 - t) max(sum_j p_j e^{s_j} - t sum_m f_m e^{s_m}, floor) / e^{s+})

    where t is 0 without a neighbour, and the floor is e^floor (of N of them), or 0 if None. A row without a used
    column has loss 0. All exponentials are relative to the row's largest, so that none overflows.
    """
    count = used.sum(dim=1)
    some = count > 0
    keep = used | ~some[:, None]  # such a row is not used, but must not become NaN
    log_mass = losses.log_reweighted_sum(logits, keep, sharpness, detach=True)
    has = near_used.any(dim=1)
    near_keep = near_used | ~has[:, None]
    near_count = near_keep.sum(dim=1)
    log_near = losses.log_reweighted_sum(near, near_keep, sharpness, detach=True) + (count / near_count).log()
    share = prior * has
    largest = torch.maximum(torch.maximum(log_mass, positive), log_near).detach()
    pull = (positive - largest).exp()
    rest = ((log_mass - largest).exp() - share * (log_near - largest).exp()) / (1 - share)
    least = torch.zeros_like(rest) if floor is None else count * (floor - largest).exp()
    rows = (pull + torch.maximum(rest, least)).log() + largest - positive
    return torch.where(some, rows, torch.zeros_like(rows))
