"""Oracle: the hardest negatives without any document that is known to be relevant (a control).

What the paper says: no paper; a control of this benchmark. If false negatives are what hard negatives suffer
from, top-k without them should be hard to beat, and a method far above this row points at a bug.
What the released code does: none.
What we do: the first M of the dense pool that carry no label, the hidden ones among them. Where a dataset hides
no label, this is exactly `dense_topk`; the two differ on a dataset of known truth, whose hidden labels the pool was
made without. No other method sees them. Texts are not compared, so a copy of a positive under
another id is not found.
Cost per step: M document vectors per query; the dense pool is made once and shared.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from negmark.methods import sampling
from negmark.methods.base import Method, Services
from negmark.methods.types import NO_DOCUMENT, Batch, Negatives


class Oracle(Method):
    """Hard negatives free of known positives."""

    name = "oracle"
    title = "Oracle (control)"
    citation = "a control of negmark, 2026"
    pools = frozenset({"dense"})
    knows_hidden = True

    def __init__(self, params: Any, services: Services) -> None:
        super().__init__(params, services)
        self.judged = torch.zeros(1, dtype=torch.int64)
        """Hidden positives met among the candidates."""

    def idle(self) -> str:
        """Return that it gave what `dense_topk` gives."""
        return (
            "" if self.judged else "no candidate was a hidden positive: these are the negatives of dense_topk"
        )

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return what has been judged."""
        return {"judged": self.judged}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.judged = state["judged"]

    def negatives(self, batch: Batch) -> Negatives:
        """Take the M best candidates that carry no label."""
        ids, _ = self.services.pool("dense").candidates(batch.queries)
        labelled = self.services.is_positive(batch.queries, ids)
        hidden = self.services.is_hidden_positive(batch.queries, ids)
        self.judged += int(hidden.sum())
        labelled |= hidden
        usable = (ids != NO_DOCUMENT) & ~labelled
        best = np.argsort(~usable, axis=1, kind="stable")
        places = np.where(np.take_along_axis(usable, best, axis=1), best, NO_DOCUMENT)
        return Negatives(ids=sampling.take(ids, sampling.first(places, self.services.negatives)))
