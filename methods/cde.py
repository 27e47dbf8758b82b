"""CDE's and Arctic's clusters: a batch is cut from clusters of alike pairs, and a guide crosses out likely positives.

What the paper says: CDE (Contextual Document Embeddings) makes batches as hard as possible by k-means over queries
and documents together, and leaves out of the loss in-batch documents that a surrogate model finds better than the
positive, as hard batches are full of false negatives. Arctic's author (Merrick 2024, arXiv 2407.18887) clusters each
source by queries or by passages alone, in 10 by spherical k-means, without a filter: about 2 % more nDCG@10 on MS
MARCO's dev set (abstracts and beginnings read; the bodies [M]).
What the released code does (jxmorris12/cde): vectors by GTR, reduced to 128 dimensions by a truncated SVD of queries
and normalised; k-means over [q; d] and [d; q] together, spherical, 100 rounds, 3 starts, as many clusters as give 256
pairs each (`train_cluster_size`); a pair belongs to the centroid nearest to [q; d]. Clusters are put one after the
other, in random order by default (`batch_packing_strategy`, the other is a greedy tour), and cut into batches, which
are shuffled. The filter (`hn_tune_threshold`, off by default) masks what a model scores at or above the pair itself
if it is 1, else at or above that number. Arctic's code isn't public.
What we do: the same by the encoder before training, in 25 rounds from one start; clusters in random order, and so are
batches. The suite's teacher filters, the encoder before training where it names none, in the mode of 1. `by: query`,
`clusters: 10`, `filtered: false` is Arctic's.
Cost per step: 2 teacher vectors a query for the filter. Once: k-means over twice the training pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from negmark.methods import base, company
from negmark.methods.base import Method, Services
from negmark.methods.later import torch
from negmark.methods.types import IN_BATCH, Batch, Claim, Footnote, Ids, Negatives, Pairs, Tried

ROUNDS = 25
COMPONENTS = 128


class CDE(company.Grouping, Method):
    """Batches from clusters of pairs, filtered."""

    name = "cde"
    title = "Clustered batches (CDE)"
    citation = "Morris and Rush 2024, arXiv 2410.02525"
    needs_vectors = IN_BATCH
    uses_teacher = True
    footnotes = (
        Footnote("vectors by the encoder before training instead of GTR"),
        Footnote("k-means from one start in 25 rounds instead of 3 in 100"),
        Footnote("a query of several positives stays in the cluster of the one that it had first"),
        Footnote("the contextual encoder is not part of it"),
    )
    claims = (
        Claim(
            better="cde",
            worse="inbatch",
            metric="nDCG@10",
            condition="MS MARCO dev, BERT: about 2 % more nDCG@10 by 10 clusters of queries or passages (Merrick 2024, "
            "arXiv 2407.18887); CDE's own figures are on BEIR, by clusters of pairs with a filter (not verified)",
            differs="fine-tuning of a small encoder for few steps, not pretraining, by this row's clusters",
            own_teacher=True,
        ),
    )

    class Params(base.Params):
        """Parameters of the clusters and of the filter."""

        by: Literal["pair", "query", "document"] = "pair"
        """What is clustered: query and document together, or one of them alone."""
        size: int = Field(default=256, ge=1)
        """Pairs of a cluster, on average."""
        clusters: int | None = Field(default=None, ge=1)
        """Their number, in place of `size`; Arctic's 10."""
        components: int = Field(default=COMPONENTS, ge=0)
        """Dimensions that vectors are reduced to where they have more; 0 leaves them as they are."""
        filtered: bool = True
        """Does the teacher cross out in-batch documents that it scores at or above the positive?"""

    @classmethod
    def space(cls, params: CDE.Params, track: str) -> Mapping[str, Tried]:
        """Tune the size of clusters, or their number where the row says that."""
        if params.clusters is not None:
            return {"clusters": Tried((5, 10, 20, 50, 100), "Arctic's 10 and, ours, around it")}
        return {"size": Tried((32, 64, 128, 256, 512), "the code's 256 and, ours, smaller ones")}

    @classmethod
    def asks_teacher(cls, params: CDE.Params, track: str) -> bool:
        """Ask for the filter."""
        return params.filtered

    @classmethod
    def asks_beyond_pool(cls, params: CDE.Params, track: str) -> bool:
        """Say that the filter compares a query with the documents of its batch."""
        return params.filtered

    @classmethod
    def own_notes(cls, params: CDE.Params, track: str) -> list[str]:
        """Say who filters."""
        return ["the filter is {teacher}"] if params.filtered else []

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.masked = torch.zeros(1, dtype=torch.int64)
        """In-batch documents that the filter crossed out, of those that would be negatives without it."""
        self._step = 0

    def grouped(self, pairs: Pairs) -> Ids:
        """Return the cluster of each pair."""
        queries = self.services.warmup_queries(pairs.queries).numpy()
        documents = self.services.warmup_documents(pairs.positives).numpy()
        if 0 < self.params.components < queries.shape[1]:
            axes = leading_axes(queries, self.params.components)
            queries, documents = unit(queries @ axes), unit(documents @ axes)
        count = self.params.clusters or company.clusters_of(len(pairs.queries), self.params.size)
        if self.params.by != "pair":
            points = queries if self.params.by == "query" else documents
            return company.clustered(points, count, ROUNDS, pairs.rng)
        both = np.concatenate([np.hstack([queries, documents]), np.hstack([documents, queries])])
        return company.clustered(unit(both), count, ROUNDS, pairs.rng)[: len(queries)]

    def negatives(self, batch: Batch) -> Negatives:
        """Mask what the teacher finds at least as good as the positive."""
        if not self.params.filtered:
            return Negatives()
        queries = self.services.teacher_queries(batch.queries)
        likely = too_good(queries @ self.services.teacher_documents(batch.positives).T)
        labelled = self.services.is_positive(batch.queries, batch.positives[None])
        self._step = int((likely & ~torch.from_numpy(labelled)).sum())
        self.masked += self._step
        return Negatives(in_batch=~likely)

    def telemetry(self) -> dict[str, float]:
        """Return how many in-batch documents the filter crossed out of the step."""
        return {"filtered": float(self._step)} if self.params.filtered else {}

    def idle(self) -> str:
        """Return that its batches are no others, or that its filter crossed out nothing."""
        unfiltered = self.params.filtered and not self.masked
        return super().idle() or ("its filter crossed out nothing" if unfiltered else "")

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return clusters and what was masked."""
        return {**super().state_dict(), "masked": self.masked}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self.masked = state["masked"]


def too_good(scores: torch.Tensor) -> torch.Tensor:
    """Mark in scores [B, B] of queries with the batch's positives those at or above the row's own, itself left out."""
    return (scores >= scores.diagonal()[:, None]) & ~torch.eye(len(scores), dtype=torch.bool)


def leading_axes(points: company.Points, count: int) -> company.Points:
    """Return the `count` leading right singular vectors [D, count] of points [N, D], which aren't centred.

    Of at most 100,000 of them, as the released code does.
    """
    some = points[:100_000].astype(np.float64)
    axes: company.Points = np.linalg.eigh(some.T @ some)[1][:, ::-1][:, :count].astype(np.float32)
    return axes


def unit(points: company.Points) -> company.Points:
    """Return points [N, D] at unit length; one without length stays."""
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    scaled: company.Points = (points / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled
