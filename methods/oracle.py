"""Oracle: the hardest negatives without any document that is known to be relevant (a control).

What the paper says: no paper; a control of this benchmark. If false negatives are what hard negatives suffer
from, top-k without them should be hard to beat, and a method far above this row points at a bug.
What the released code does: none.
What we do: the first M of the dense pool that carry no label, the hidden ones among them. Where a dataset hides
no label, this is exactly `dense_topk`; the two differ on a dataset of known truth, whose hidden labels the pool was
made without. No other method sees them. A run that met no hidden label says that it
did not act.
Cost per step: M document vectors per query; the dense pool is made once and shared.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from negmark.methods import sampling
from negmark.methods.base import Method, Params, Services
from negmark.methods.later import torch
from negmark.methods.types import NO_DOCUMENT, Batch, Negatives


class Oracle(Method):
    """Hard negatives free of known positives."""

    name = "oracle"
    title = "Oracle (control)"
    citation = "a control of negmark, 2026"
    pools = frozenset({"dense"})
    knows_hidden = True

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self._left_out = torch.tensor(0)
        """Hidden positives among the candidates of all steps."""

    def idle(self) -> str:
        """Say that nothing was hidden among the candidates."""
        return "" if self._left_out else "nothing is hidden here, so that it is dense_topk"

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return how many hidden positives were left out."""
        return {"left_out": self._left_out}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore it."""
        self._left_out = state["left_out"]

    def negatives(self, batch: Batch) -> Negatives:
        """Take the M best candidates that carry no label."""
        ids, _ = self.services.pool("dense").candidates(batch.queries)
        labelled = self.services.is_positive(batch.queries, ids)
        hidden = self.services.is_hidden_positive(batch.queries, ids)
        self._left_out = self._left_out + int(hidden.sum())
        labelled |= hidden
        usable = (ids != NO_DOCUMENT) & ~labelled
        best = np.argsort(~usable, axis=1, kind="stable")
        places = np.where(np.take_along_axis(usable, best, axis=1), best, NO_DOCUMENT)
        return Negatives(ids=sampling.take(ids, sampling.first(places, self.services.negatives)))
