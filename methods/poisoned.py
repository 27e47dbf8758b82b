"""Poisoned: hard negatives of which a share are labelled positives on purpose (a control).

What the paper says: no paper; a control of this benchmark. It shows what false negatives cost when their share
is known; a method under this row points at a bug.
What the released code does: none.
What we do: the M negatives of `dense_topk`; each place is replaced with chance `share` by a labelled positive
of the query, the batch's current one among them, drawn without replacement. A query with P positives gets
at most P, so if labels are few the share is smaller: with one positive and M = 8 it is 0.11, not 0.25.
These are pushed away in the loss like any negative; that is the point. It doesn't know hidden labels.
Cost per step: M document vectors per query; the dense pool is made once and shared.
"""

import numpy as np
from pydantic import Field

from negmark.methods import base, sampling
from negmark.methods.base import Method
from negmark.methods.types import NO_DOCUMENT, Batch, Negatives


class Poisoned(Method):
    """Hard negatives with known false ones among them."""

    name = "poisoned"
    title = "Poisoned (control)"
    citation = "a control of negmark, 2026"
    pools = frozenset({"dense"})
    gives_positives = True

    class Params(base.Params):
        """Parameters of the poison."""

        share: float = Field(default=0.25, ge=0, le=1)
        """Chance that a place is given to a labelled positive, while the query has one left."""

    def negatives(self, batch: Batch) -> Negatives:
        """Take the M best candidates and put positives in some of their places."""
        count, rng = self.services.negatives, self.services.rng(batch.step)
        candidates, _ = self.services.pool("dense").candidates(batch.queries, count)
        hit = rng.random((len(batch.queries), count)) < self.params.share
        drawn = sampling.draw_uniform(self.services.positives(batch.queries), count, rng)
        turn = np.maximum(hit.cumsum(axis=1) - 1, 0)  # the first place hit takes the first positive drawn
        poison = np.take_along_axis(drawn, turn, axis=1)
        ids = np.where(hit & (poison != NO_DOCUMENT), poison, sampling.first(candidates, count))
        return Negatives(ids=ids)
