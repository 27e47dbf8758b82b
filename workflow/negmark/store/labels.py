"""Training labels as the training loop and the methods look them up."""

import functools

import numpy as np
from numpy.typing import NDArray

from negmark.core.seeds import stream
from negmark.store import left_out as others
from negmark.store.collection import Qrels
from negmark.store.left_out import LeftOut, unlabelled_own, with_left_out


class Labels:
    """Positives of the training queries: membership and seeded draws, for whole batches at once.

    What else is no negative (`negmark.store.left_out`) counts as one wherever positives are left out, but is never
    drawn.
    """

    def __init__(self, qrels: Qrels, documents: int, left_out: LeftOut = others.NOTHING) -> None:
        self.documents = documents
        own = unlabelled_own(qrels, left_out.own)
        self._own = np.unique(own[:, 0] * documents + own[:, 1])
        self._keys, self._all = (
            np.unique(pairs.queries * documents + pairs.documents)
            for pairs in (qrels.positives(), with_left_out(qrels, left_out))
        )
        self.queries, self._starts, self._counts = np.unique(
            self._keys // documents, return_index=True, return_counts=True
        )

    def is_positive(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say for queries [B] and documents [B, K] (or [K], for all) which are no negatives: [B, K]."""
        return self._among(self._all, queries, documents)

    def is_copy(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of the same pairs which have the text of a positive, but no label, nor are the query's own: [B, K]."""
        known = self._among(self._keys, queries, documents) | self.is_own(queries, documents)
        return self.is_positive(queries, documents) & ~known

    def is_own(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of the same pairs in which the document is the query itself, but no positive of it: [B, K]."""
        return self._among(self._own, queries, documents)

    def most_positives(self, queries: NDArray[np.int64]) -> int:
        """Return how many documents `is_positive` marks for one of these queries [B], at most."""
        bounds = np.searchsorted(self._all, [queries * self.documents, (queries + 1) * self.documents])
        return int((bounds[1] - bounds[0]).max(initial=0))

    def _among(
        self, known: NDArray[np.int64], queries: NDArray[np.int64], documents: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        keys = queries[:, None] * self.documents + documents
        if not len(known):
            return np.zeros(keys.shape, dtype=bool)
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        return (known[places] == keys) & (documents >= 0)

    def positives(self, queries: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positives of training queries [B] as [B, P]; -1 after a query's last one."""
        rows = np.searchsorted(self.queries, queries)
        places = np.arange(int(self._counts[rows].max(initial=0)))[None]
        keys = self._keys[np.minimum(self._starts[rows][:, None] + places, len(self._keys) - 1)]
        return np.where(places < self._counts[rows][:, None], keys % self.documents, -1)

    def batch(self, seed: int, step: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the queries and positives of a step: both the same for every method.

        Queries run through one seeded permutation per epoch without a break between epochs; each comes with
        one of its positives, drawn uniformly, so that a query with many labels weighs as much as any other.
        """
        places = np.arange(step * size, (step + 1) * size)
        epochs, offsets = np.divmod(places, len(self.queries))
        rows = np.empty(size, dtype=np.int64)
        for epoch in np.unique(epochs):
            order = _order(seed, int(epoch), len(self.queries))
            rows[epochs == epoch] = order[offsets[epochs == epoch]]
        draws = (stream(seed, "positives", step=step).random(size) * self._counts[rows]).astype(np.int64)
        return self.queries[rows], self._keys[self._starts[rows] + draws] % self.documents


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, queries: int) -> NDArray[np.int64]:
    """Return the order of an epoch's queries, kept for its next batch: drawing half a million anew takes 10 ms."""
    return stream(seed, "data order", step=epoch).permutation(queries)
