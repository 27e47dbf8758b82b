"""TAS-B: a batch takes its queries from one topic, so that in-batch negatives are about the same.

What the paper says: topic-aware sampling with balanced margins. All training queries are encoded once by a baseline
and clustered by k-means (400k queries in 2,000 clusters, [S]); a batch draws its queries from one cluster, at no
cost. Of each query's pairs of a positive and a negative, one is drawn so that margins of a teacher, T+ - T-, are
balanced. Loss: Margin-MSE to a cross-encoder for the pairs and to ColBERT for the batch. All together +19 % nDCG@10
on TREC DL over plain training.
What the released code does (sebastian-hofstaetter/matchmaker, `tas_balanced_training_loader.py`): a cluster is drawn
uniformly, whatever its size, and gives up to B queries, drawn without replacement; where it is smaller, another is
drawn until the batch is full. A query's margins are cut into 10 bins of equal width between their least and their
greatest; a bin is drawn uniformly until one isn't empty, then a pair of it; queries with one pair are dropped.
Clusters are the lists of a FAISS index by inner product (`query_clusterer.py`): spherical k-means, in its 10 rounds
([M]).
What we do: queries by the encoder before training, spherical k-means of 10 rounds, 200 queries a cluster on average,
as 400k in 2,000. Every query once an epoch: a cluster is cut into whole batches, and what is left of several clusters
shares batches. With `balanced`, M negatives a query from the dense pool's best by the suite's teacher, drawn by those
bins one after the other without replacement, against the step's positive; without it, in-batch ones alone. The losses
that distil are not this method's.
Cost per step: nothing beyond the batch; with `balanced`, M document vectors, and the teacher's scores of `depth`
candidates, a query. Once: k-means over the training queries.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, company, sampling, teacher
from negmark.methods.base import DEPTH, Method
from negmark.methods.types import (
    IN_BATCH,
    Batch,
    Claim,
    Footnote,
    Gives,
    Ids,
    Negatives,
    Pairs,
    Tried,
)

ROUNDS = 10
BINS = 10


class TASB(company.Grouping, Method):
    """Batches of one topic."""

    name = "tas_b"
    title = "TAS-B topics"
    citation = "Hofstätter et al. 2021, arXiv 2104.06967"
    needs_vectors = IN_BATCH
    pools = frozenset({"dense"})
    footnotes = (
        Footnote("the suite's loss instead of Margin-MSE to two teachers"),
        Footnote(
            "every query once an epoch instead of clusters drawn uniformly, whatever their size; what a cluster has "
            "beyond whole batches shares batches with others"
        ),
        Footnote("queries by the encoder before training"),
    )
    claims = (
        Claim(
            better="tas_b",
            worse="inbatch",
            metric="nDCG@10",
            condition="TREC DL, a 6-layer DistilBERT: nDCG@10 19 % above plain training by topics, balanced margins "
            "and two teachers together",
            differs="batches alone are the method's here, no teacher is distilled",
            own_teacher=True,
        ),
    )

    class Params(base.Params):
        """Parameters of TAS-B."""

        size: int = Field(default=200, ge=1)
        """Queries of a cluster, on average."""
        balanced: bool = False
        """Give M negatives too, of balanced margins by the suite's teacher."""
        depth: int = Field(default=DEPTH, ge=1)
        """With `balanced`: candidates of the dense pool whose margins are looked at."""

    @classmethod
    def space(cls, params: "TASB.Params", track: str) -> Mapping[str, Tried]:
        """Tune the size of clusters."""
        return {"size": Tried((50, 100, 200, 400, 800), "the paper's 200 and, ours, around it")}

    @classmethod
    def gives(cls, params: "TASB.Params", track: str) -> Gives:
        """Return documents where margins are balanced."""
        return Gives.DOCUMENTS if params.balanced else Gives.NOTHING

    @classmethod
    def drawn_from(cls, params: "TASB.Params", track: str) -> int | None:
        """Return the depth of the pool where it is drawn from."""
        return params.depth if params.balanced else None

    @classmethod
    def asks_teacher(cls, params: "TASB.Params", track: str) -> bool:
        """Ask for margins where they are balanced."""
        return params.balanced

    @classmethod
    def needs_teacher(cls, params: "TASB.Params", track: str) -> bool:
        """Refuse balanced margins without a teacher: the encoder's own order would be their only source."""
        return params.balanced

    @classmethod
    def own_notes(cls, params: "TASB.Params", track: str) -> list[str]:
        """Say who teaches, and what is drawn."""
        note = "margins are balanced by {teacher}, over the candidates of the dense pool and the step's positive alone"
        return [note] if params.balanced else []

    def grouped(self, pairs: Pairs) -> Ids:
        """Return the topic of each query."""
        points = self.services.warmup_queries(pairs.queries).numpy()
        clusters = company.clusters_of(len(pairs.queries), self.params.size)
        return company.clustered(points, clusters, ROUNDS, pairs.rng)

    def ordered(self, groups: Ids, pairs: Pairs) -> Ids:
        """Return an order of batches of one topic."""
        return company.one_group_each(groups, pairs.batches, pairs.rng)

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M candidates of balanced margins, where that is asked for."""
        if not self.params.balanced:
            return Negatives()
        services, queries = self.services, batch.queries
        ids, _ = services.pool("dense").candidates(queries, self.params.depth)
        scores = teacher.score(services, queries, np.column_stack([batch.positives, ids]))
        weights = balanced_weights(scores[:, :1] - scores[:, 1:])
        columns = sampling.top_n_by_gumbel(weights, services.negatives, services.rng(batch.step))
        return Negatives(ids=sampling.take(ids, columns))


def balanced_weights(margins: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithm of the chance of each of [B, K] margins: a bin uniformly, then a margin of it.

    A row's margins are cut into 10 bins of equal width between its least and its greatest; those that are infinite, in
    empty places, have no chance.
    """
    used = np.isfinite(margins)
    low = np.where(used, margins, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    high = np.where(used, margins, -np.inf).max(axis=1, initial=-np.inf, keepdims=True)
    above = np.subtract(margins, low, out=np.zeros(margins.shape), where=used)
    width = np.subtract(high, low, out=np.ones(low.shape), where=high > low)
    places = above / width * BINS
    bins = np.minimum(places.astype(np.int64), BINS - 1)
    members = (used[:, :, None] & (bins[:, :, None] == np.arange(BINS))).sum(axis=1)
    held = np.take_along_axis(members, bins, axis=1) * (members > 0).sum(axis=1, keepdims=True)
    weights: NDArray[np.float64] = np.where(used, -np.log(np.maximum(held, 1)), -np.inf)
    return weights
