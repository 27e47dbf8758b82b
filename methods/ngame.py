"""NGAME: batches of clusters that the encoder itself makes, again and again, and that grow as it learns.

What the paper says (abstract read; the rest [M]): in-batch negatives are hard where the points of a batch are near
each other. Points are clustered by their current vectors; a batch is some clusters, drawn at random. Clusters are
made anew every few epochs, and their size grows, as larger ones make harder batches. Up to 16 % more accurate than
other ways of mining for extreme classification, at a fraction of their cost.
What the released code does (Extreme-classification/ngame): clusters by balanced 2-means, halves of halves, until they
are of a size that is 1 at first, which is a random order, and doubles after epochs 10, 20, 25, 50, 75, 100, 125, 150
and 200 of 300; made anew every 5 epochs from the 10th on. Clusters are shuffled and put one after the other, in
batches of 1,600; loss: triplets with a margin of .3 on the 10 hardest of the batch. Its 2-means (xclib) halves by the
difference of the cosines with two unit centroids, which start from two drawn points, until the mean cosine grows by
less than 1e-4 ([M]).
What we do: the same on queries by the current encoder, the size doubling at those shares of the run. Made anew every
100 steps, as ANCE's pool is here, and at the start of each epoch, for what is left of the epoch: so every query still
comes once. At most 10 rounds of 2-means. The suite's loss, over all documents of the batch.
Cost per step: nothing beyond the batch. Every `refresh_steps`: the vectors of the queries that are left of the epoch,
halved about log2(P / size) times.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, company
from negmark.methods.base import Method
from negmark.methods.later import sparse
from negmark.methods.types import IN_BATCH, Claim, Composition, Footnote, Ids, Pairs, Tried

DOUBLED = np.array([10, 20, 25, 50, 75, 100, 125, 150, 200]) / 300
"""Shares of a run after which clusters double."""
ROUNDS, GAIN = 10, 1e-4
BLOCK = 256
"""Queries that are encoded at a time."""


class NGAME(company.Composing, Method):
    """Batches of clusters by the current encoder."""

    name = "ngame"
    title = "NGAME"
    citation = "Dahiya et al. 2023, WSDM, arXiv 2207.04452"
    needs_vectors = IN_BATCH
    footnotes = (
        Footnote("InfoNCE over the batch instead of triplets on its hardest"),
        Footnote(
            "clusters are made anew by steps instead of every 5 of 300 epochs, for what is left of an epoch"
        ),
        Footnote("the suite's batch instead of 1,600"),
    )
    claims = (
        Claim(
            better="ngame",
            worse="inbatch",
            metric="nDCG@10",
            condition="extreme classification with texts of labels: up to 16 % more accurate than other ways of mining "
            "(abstract; figures of single comparisons not verified)",
            differs="retrieval, a few epochs instead of 300, another loss",
        ),
    )

    class Params(base.Params):
        """Parameters of NGAME."""

        refresh_steps: int = Field(default=100, ge=1)
        """Steps after which clusters are made anew."""
        size: int = Field(default=1, ge=1)
        """Queries of a cluster at the start."""
        grows: bool = True
        """Does it double in the course of the run?"""

    @classmethod
    def space(cls, params: "NGAME.Params", track: str) -> Mapping[str, Tried]:
        """Tune how often clusters are made anew."""
        return {"refresh_steps": Tried((25, 50, 100, 200, 400), "ours, around the suites' 100")}

    @classmethod
    def composition(cls, params: "NGAME.Params") -> Composition:
        """Put what is left of an epoch together by its current vectors."""
        return Composition(every=params.refresh_steps, encodings=1)

    def composed(self, pairs: Pairs) -> Ids:
        """Return the clusters of the current vectors, one after the other in random order."""
        vectors = np.concatenate([self._encoded(pairs.queries[start : start + BLOCK]) for start in
                                  range(0, len(pairs.queries), BLOCK)])  # fmt: skip
        return self.in_company(balanced(vectors, self._size(pairs.step), pairs.rng), pairs)

    def _encoded(self, queries: Ids) -> company.Points:
        vectors: company.Points = self.services.encode_queries(queries).numpy()
        return vectors

    def _size(self, step: int) -> int:
        """Return the size of clusters at a step."""
        doubled = int((step / max(self.services.steps, 1) >= DOUBLED).sum()) if self.params.grows else 0
        return int(self.params.size) << doubled


def balanced(points: company.Points, size: int, rng: np.random.Generator) -> Ids:
    """Return the cluster [N] of each of the unit points [N, D]: halved by 2-means until none has more than `size`.

    All clusters of a level are halved at once. Sizes differ by 1 at most.
    """
    order = rng.permutation(len(points))
    if size <= 1:
        return order
    bounds = np.array([0, len(points)])
    while np.diff(bounds).max(initial=0) > size:
        order, bounds = halved(points, order, bounds, rng)
    clusters = np.empty(len(points), np.int64)
    clusters[order] = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return clusters


def halved(points: company.Points, order: Ids, bounds: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Halve all runs of an order [N] of points [N, D], given by bounds [R + 1]: the new order, and its 2 R + 1 bounds.

    Balanced 2-means by cosine: one half of each run, the larger if it is odd, is nearer to the first of two centroids
    than the other half is.
    """
    sizes = np.diff(bounds)
    runs = np.repeat(np.arange(len(sizes)), sizes)
    ends = np.unique(np.concatenate([bounds, bounds[:-1] + (sizes + 1) // 2]))
    firsts = (rng.random(len(sizes)) * sizes).astype(np.int64)
    seconds = (firsts + 1 + (rng.random(len(sizes)) * np.maximum(sizes - 1, 1)).astype(np.int64)) % sizes
    centroids = points[order[bounds[:-1] + firsts]], points[order[bounds[:-1] + seconds]]
    reached = -np.inf
    for _ in range(ROUNDS):
        lead = np.einsum("nd,nd->n", points[order], (centroids[0] - centroids[1])[runs])
        order = order[np.lexsort((-lead, runs))]
        centroids, cosine = _means(points[order], bounds, sizes)
        if cosine - reached < GAIN:
            break
        reached = cosine
    return order, ends


def _means(
    points: company.Points, bounds: Ids, sizes: Ids
) -> tuple[tuple[company.Points, company.Points], float]:
    """Return the unit means [R, D] of both halves of the runs of points [N, D], and the mean cosine with them."""
    cuts = np.column_stack([bounds[:-1], bounds[:-1] + (sizes + 1) // 2]).ravel()
    indptr = np.append(cuts, bounds[-1])
    ones: NDArray[np.float32] = np.ones(len(points), np.float32)
    sums = sparse.csr_array((ones, np.arange(len(points)), indptr), shape=(len(cuts), len(points))) @ points
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    means = sums / np.where(lengths > 0, lengths, 1)
    return (means[::2], means[1::2]), float(lengths.sum() / max(len(points), 1))
