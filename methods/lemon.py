r"""LEMON: documents of the clusters that lie nearest to the query are its negatives.

What the paper says: random corruptions of a triple of a knowledge graph mean little. Entities' texts go through a
frozen language model and are clustered; negatives come from neighbouring clusters (abstract; we couldn't read the
body).
What the released code does (ColdMist/LEMON-LanguagE-ModeL-...): vectors of entity names by a frozen Sentence-BERT,
always reduced, to 2 principal components by default; k-means once (k-means++, 10 starts, seed 1234), 15 clusters on
WN18RR. To corrupt the tail, the clusters are ordered by their distance from the *head*, the entity that is kept; the
members of the 3 nearest are drawn from uniformly with replacement, known true ones dropped, and the rest of a draw
without any is uniform over all entities. `use_ms` keeps members with a cosine of .5 or more to the kept one, in the
reduced space. Loss: RotatE's log-sigmoid, with `adv` self-adversarial weights softmax(.5 s). Its default of no
clusters crashes.
What we do: the kept entity is the query, the document is replaced: side `kept` orders clusters by their distance from
the query, `replaced`, another reading, from the labelled positive, among whose neighbours many are relevant. Vectors
are those of the encoder before training. k-means is FAISS's, from drawn documents, 10 starts of 50 rounds, seed 1234.
M are drawn without replacement; places left empty are filled at random. Faithful track: the log-sigmoid loss with
those weights and a learned boundary, half of it from positives and half from negatives ([M]), and no in-batch
documents. 2 components and 15 clusters are the published setting: 3 of 15 hold a fifth of the corpus, near to random.
Cost per step: M document vectors a query. Once: 10 times 50 rounds of k-means over the reduced corpus.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, losses, pairs, sampling
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, nn, torch
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Ids, Negatives, Step, Tried, When

Points = NDArray[np.float32]
SEED, STARTS, ROUNDS = 1234, 10, 50
BLOCK = 1 << 16
"""Documents that are reduced at a time."""


class LEMON(Method):
    """Negatives from near clusters."""

    name = "lemon"
    title = "LEMON"
    citation = "Rony et al. 2022, arXiv 2203.04703"
    faithful = True
    footnotes = (
        Footnote(
            "documents and queries by the encoder before training instead of names of entities by Sentence-BERT"
        ),
        Footnote(
            "FAISS's k-means, which starts from drawn documents, instead of scikit-learn's with k-means++"
        ),
        Footnote(
            "in-batch documents are negatives too; InfoNCE instead of log-sigmoid",
            {When.CONTROLLED, When.VECTORS},
        ),
        Footnote(
            "a cross-encoder learns by the listwise softmax over the positive and the given negatives",
            {When.CONTROLLED, When.PAIRS},
        ),
        Footnote(pairs.FOOTNOTE, {When.FAITHFUL}),
        Footnote(
            "the suite's number of negatives instead of 50, its encoder, steps and optimiser", {When.FAITHFUL}
        ),
    )
    claims = (
        Claim(
            better="lemon",
            worse="random",
            metric="nDCG@10",
            condition="link prediction on knowledge graphs with texts of entities, against uniform corruption (figures "
            "not verified)",
            differs="a graph, other losses, and the entity that is kept stands for the query",
        ),
    )

    class Params(base.Params):
        """Parameters of the clusters."""

        clusters: int = Field(default=15, ge=1)
        """Clusters of the corpus, at most its documents; 15 on WN18RR's 40,943 entities."""
        hops: int = Field(default=3, ge=1)
        """Nearest clusters whose members are drawn from."""
        components: int = Field(default=2, ge=0)
        """Principal components that vectors are reduced to; 0 leaves them as they are."""
        side: Literal["kept", "replaced"] = "kept"
        """From what clusters are near: the query, as the released code reads it, or its labelled positive."""
        min_cosine: float | None = Field(default=None, ge=-1, le=1)
        """Least cosine of a member to that side in the reduced space: .5 with the code's `use_ms`. If None, any."""
        alpha: float = Field(default=0.5, ge=0)
        """Faithful track: sharpness of the self-adversarial weights; 0 weighs all alike."""

    @classmethod
    def space(cls, params: LEMON.Params, track: str) -> Mapping[str, Tried]:
        """Tune the number of clusters."""
        return {"clusters": Tried((5, 15, 50, 150, 500), "the released 15 and, ours, finer ones")}

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.boundary = pairs.new_boundary()
        self.labels = torch.zeros(0, dtype=torch.int64)
        """[documents] the cluster of each."""
        self.centroids, self.mean, self.axes = torch.zeros(0, 0), torch.zeros(0), torch.zeros(0, 0)
        """[k, c] in the reduced space, and what reduces: a mean [D] and principal axes [D, c]."""
        self._members: Members | None = None

    def refresh(self, step: int) -> None:
        """Cluster the corpus, once."""
        if len(self.labels):
            return
        mean, axes = self._principal()
        self.mean, self.axes = torch.from_numpy(mean), torch.from_numpy(axes)
        parts = [self._reduced(self.services.warmup_documents(rows)) for rows in self._blocks()]
        centroids, labels = clustered(np.concatenate(parts), self.params.clusters)
        self.centroids, self.labels = torch.from_numpy(centroids), torch.from_numpy(labels)

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M members of the clusters nearest to each query, or to its positive."""
        count, rng = self.services.negatives, self.services.rng(batch.step)
        if self.params.side == "kept":
            points = self._reduced(self.services.warmup_queries(batch.queries))
        else:
            points = self._reduced(self.services.warmup_documents(batch.positives))
        near = nearest(points, self.centroids.numpy(), self.params.hops)
        chosen = self._drawn(batch.queries, points, near, rng)
        empty = chosen == NO_DOCUMENT
        spare = sampling.draw_from_corpus(
            batch.queries, 2 * count, self.services, self.services.rng(batch.step, "rest")
        )
        ids = sampling.filled(chosen, np.where(sampling.within(spare, chosen), NO_DOCUMENT, spare))
        faithful = self.services.track == "faithful"
        none = torch.zeros(len(ids), len(ids), dtype=torch.bool) if faithful else None
        return Negatives(ids=ids, in_batch=none, backfilled=empty & (ids != NO_DOCUMENT))

    def _drawn(self, queries: Ids, points: Points, near: Ids, rng: np.random.Generator) -> Ids:
        """Draw M members of the clusters [B, hops] near points [B, c], without positives."""
        count, sizes = self.services.negatives, self.members.sizes[near].sum(axis=1)

        def usable(rows: slice, ids: Ids) -> NDArray[np.bool_]:
            allowed = ~self.services.is_positive(queries[rows], ids)
            if self.params.min_cosine is None:
                return allowed
            documents = self._reduced(self.services.warmup_documents(ids))
            return allowed & (cosines(points[rows], documents) >= self.params.min_cosine)

        def everyone(row: int) -> Ids:
            return self.members.at(near[row : row + 1], rng.permutation(sizes[row])[None])[0]

        places = (rng.random((len(queries), 2 * count + 8)) * sizes[:, None]).astype(np.int64)
        return sampling.without_repeats(self.members.at(near, places), count, usable, everyone)

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the log-sigmoid loss with self-adversarial weights."""
        positive, others, mask = pairs.logits(step, self.boundary)
        negative = losses.self_adversarial(others, mask, self.params.alpha)
        return (functional.softplus(-positive).mean() + negative.mean()) / 2

    def extra_modules(self) -> nn.ModuleDict:
        """Return the boundary, where it is learned."""
        return nn.ModuleDict({"boundary": self.boundary} if self.services.track == "faithful" else {})

    def idle(self) -> str:
        """Return that no cluster was left out, so that negatives were drawn from the whole corpus."""
        if len(self.centroids) > self.params.hops:
            return ""
        return f"its {self.params.hops} nearest clusters are all there are"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the clusters and what reduces."""
        return {
            "labels": self.labels,
            "centroids": self.centroids,
            "mean": self.mean,
            "axes": self.axes,
        }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.labels, self.centroids = state["labels"], state["centroids"]
        self.mean, self.axes = state["mean"], state["axes"]

    @property
    def members(self) -> Members:
        """The documents of each cluster."""
        if self._members is None:
            self._members = Members(self.labels.numpy(), len(self.centroids))
        return self._members

    def _principal(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the mean [D] of the corpus and its principal axes [D, c], all D of the space where none are asked for.

        In double precision, a block of documents at a time.
        """
        dimension = self.services.warmup_documents(np.zeros(1, dtype=np.int64)).shape[1]
        if not self.params.components:
            return np.zeros(dimension, np.float32), np.eye(dimension, dtype=np.float32)
        total, products = np.zeros(dimension), np.zeros((dimension, dimension))
        for rows in self._blocks():
            vectors = self.services.warmup_documents(rows).double().numpy()
            total += vectors.sum(axis=0)
            products += vectors.T @ vectors
        mean = total / self.services.documents
        axes = np.linalg.eigh(products / self.services.documents - np.outer(mean, mean))[1]
        return mean.astype(np.float32), axes[:, ::-1][:, : self.params.components].astype(np.float32)

    def _reduced(self, vectors: torch.Tensor) -> Points:
        """Return vectors [..., D] in the reduced space, [..., c]."""
        reduced: Points = ((vectors - self.mean) @ self.axes).numpy()
        return reduced

    def _blocks(self) -> list[Ids]:
        return np.split(np.arange(self.services.documents), np.arange(BLOCK, self.services.documents, BLOCK))


class Members:
    """The documents of clusters, so that a draw from a union of some needs no list of it."""

    def __init__(self, labels: Ids, clusters: int) -> None:
        self._documents = np.argsort(labels, kind="stable")
        self.sizes = np.bincount(labels, minlength=clusters)
        """[k] documents of each cluster."""
        self._starts = self.sizes.cumsum() - self.sizes

    def at(self, near: Ids, places: Ids) -> Ids:
        """Return the documents at places [B, S] of the unions of clusters [B, h], each counted from 0."""
        sizes = self.sizes[near]
        ends = sizes.cumsum(axis=1)
        which = (places[:, :, None] >= ends[:, None, :]).sum(axis=2)
        starts = self._starts[near] - (ends - sizes)
        return self._documents[np.take_along_axis(starts, which, axis=1) + places]


def clustered(points: Points, clusters: int) -> tuple[Points, Ids]:
    """Return the centroids [k, c] of points [N, c] by k-means, and the cluster of each point [N]; none is empty.

    By FAISS in one thread, so that the same points give the same clusters.
    """
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    count = min(clusters, len(points))
    settings = {"niter": ROUNDS, "nredo": STARTS, "seed": SEED, "min_points_per_centroid": 1}
    kmeans = faiss.Kmeans(points.shape[1], count, max_points_per_centroid=len(points), **settings)
    kmeans.train(np.ascontiguousarray(points))
    labels = kmeans.index.search(np.ascontiguousarray(points), 1)[1][:, 0]
    faiss.omp_set_num_threads(threads)
    held, labels = np.unique(labels, return_inverse=True)
    centroids: Points = np.asarray(kmeans.centroids)[held]
    return centroids, labels.astype(np.int64)


def nearest(points: Points, centroids: Points, count: int) -> Ids:
    """Return the `count` centroids [k, c] nearest to points [B, c], in order; ties go to the first."""
    gaps = points[:, None].astype(np.float64) - centroids
    return np.argsort((gaps**2).sum(axis=2), axis=1, kind="stable")[:, :count]


def cosines(points: Points, others: Points) -> Points:
    """Return the cosines [B, K] of points [B, c] with others [B, K, c]; 0 where one has no length."""
    lengths = np.linalg.norm(points, axis=1)[:, None] * np.linalg.norm(others, axis=2)
    products = np.einsum("bc,bkc->bk", points, others)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
