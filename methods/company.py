"""Who shares a batch: groups of alike pairs by k-means, and orders that keep a group together.

A group's pairs stand side by side in an order that the loop cuts into batches. Everything here takes whole epochs at
once; nothing loops over queries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmark.methods.base import Services
from negmark.methods.later import torch
from negmark.methods.types import Composition, Ids, Negatives, Pairs

Points = NDArray[np.float32]


class Composing:
    """A part of methods whose own is who shares a batch: they put groups of pairs together, and give no negatives."""

    services: Services

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.together = np.zeros(3)
        """Pairs of places of one batch so far: those of one group, how many of those chance would give, and all."""

    @classmethod
    def composition(cls, params: Any) -> Composition:
        """Put each epoch together once."""
        return Composition()

    def negatives(self, batch: Any) -> Negatives:
        """Give none: the loss takes the in-batch documents by itself."""
        return Negatives()

    def in_company(self, groups: Ids, pairs: Pairs) -> Ids:
        """Return an order in which pairs of one group [P] share a batch, and count how often they meet."""
        order = self.ordered(groups, pairs)
        self.together += met(groups[order], pairs.batches)
        return order

    def ordered(self, groups: Ids, pairs: Pairs) -> Ids:
        """Return the order of pairs by their groups: one group after the other."""
        return concatenated(groups, pairs.rng)

    def idle(self) -> str:
        """Return that its batches are no more of one group than batches of the shared order would be."""
        return unacted(self.together)

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return how often members of a group met."""
        return {"together": torch.from_numpy(self.together)}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.together = state["together"].numpy().copy()


class Grouping(Composing, ABC):
    """A part of methods that group the queries once, and put groups together in every epoch.

    A method says by `grouped` what the groups of the pairs are. A query whose pair differs in a later epoch, as it has
    several positives, stays in its group.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.queries, self.groups = np.empty(0, np.int64), np.empty(0, np.int64)
        """[Q] the queries of the first epoch, ascending, and the group of each."""

    @abstractmethod
    def grouped(self, pairs: Pairs) -> Ids:
        """Return the group [P] of each pair, from 0 on."""

    def composed(self, pairs: Pairs) -> Ids:
        """Return an order in which a group's pairs share a batch."""
        if not len(self.queries):
            ascending = np.argsort(pairs.queries)
            self.queries, self.groups = pairs.queries[ascending], self.grouped(pairs)[ascending]
        return self.in_company(self.groups[np.searchsorted(self.queries, pairs.queries)], pairs)

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the groups, and how often members of one met."""
        groups = {"queries": torch.from_numpy(self.queries), "groups": torch.from_numpy(self.groups)}
        return {**groups, **super().state_dict()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self.queries, self.groups = state["queries"].numpy(), state["groups"].numpy()


def clustered(points: Points, clusters: int, rounds: int, rng: np.random.Generator) -> Ids:
    """Return the cluster [N] of each of the points [N, D] by spherical k-means: by cosine, with unit centroids.

    By FAISS in one thread, so that the same points and stream give the same clusters; at most as many as points.
    """
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    points = np.ascontiguousarray(points, dtype=np.float32)
    settings = {"niter": rounds, "min_points_per_centroid": 1, "max_points_per_centroid": len(points)}
    seed = int(rng.integers(2**31 - 1))
    kmeans = faiss.Kmeans(points.shape[1], min(clusters, len(points)), spherical=True, seed=seed, **settings)
    kmeans.train(points)
    nearest: Ids = kmeans.index.search(points, 1)[1][:, 0].astype(np.int64)
    faiss.omp_set_num_threads(threads)
    return nearest


def clusters_of(pairs: int, size: int) -> int:
    """Return how many clusters give so many pairs a mean of `size` each: 1 at least."""
    return max(round(pairs / size), 1)


def concatenated(groups: Ids, rng: np.random.Generator) -> Ids:
    """Return an order [P] of pairs in groups [P]: groups in random order, and the pairs of each too."""
    shuffled = rng.permutation(len(groups))
    ranks = rng.permutation(int(groups.max(initial=-1)) + 1)[groups[shuffled]]
    return shuffled[np.argsort(ranks, kind="stable")]


def one_group_each(groups: Ids, batches: Ids, rng: np.random.Generator) -> Ids:
    """Return an order [P] of pairs in groups [P] in which as many whole batches as possible are of one group.

    `batches` [P] says which batch each place of the order falls into. What a group has beyond whole batches fills the
    others, group after group. Groups meet the batches at random.
    """
    sizes = np.bincount(batches)
    size = int(sizes.max(initial=1))
    order = concatenated(groups, rng)
    held = np.bincount(groups)[groups[order]]
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    ranks = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    whole = (ranks // size + 1) * size <= held
    pure = rng.permutation(order[whole].reshape(-1, size))[: int((sizes == size).sum())]
    of_one = np.isin(batches, rng.permutation(np.flatnonzero(sizes == size))[: len(pure)])
    result = np.empty_like(order)
    result[of_one] = pure.ravel()
    result[~of_one] = order[~np.isin(order, pure)]
    return result


def met(groups: Ids, batches: Ids) -> NDArray[np.float64]:
    """Count pairs of places of one batch: those of one group, how many of those chance would give, and all: [3].

    `groups` [P] and `batches` [P] are those of the places. Chance is the share of one group among all pairs of places.
    """
    keys = batches * (int(groups.max(initial=0)) + 1) + groups
    same, everywhere, possible = (_couples(labels) for labels in (keys, groups, batches))
    total = len(groups) * (len(groups) - 1) / 2
    return np.array([same, possible * everywhere / max(total, 1), possible])


def _couples(labels: Ids) -> float:
    counts = np.unique(labels, return_counts=True)[1]
    return float((counts * (counts - 1) // 2).sum())


def unacted(together: NDArray[np.float64]) -> str:
    """Say that members of a group met no more often than by chance, from the sums of `met`; empty if they did."""
    same, chance, _ = together
    return "" if same > chance else "its batches hold no more of a group than chance would give"
