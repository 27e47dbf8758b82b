"""A part of methods that change labels: some documents turn out relevant, and some queries are better left out.

A method of this kind says which documents it takes for relevant to a query (`relevant`). They are never its negatives,
also not in-batch ones. In the faithful track they may become positives: a query's positive is then drawn uniformly from
its labelled ones and these. And a query may be left out: another training query, drawn uniformly, stands in for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmark.methods import sampling
from negmark.methods.base import Services
from negmark.methods.later import torch
from negmark.methods.types import NO_DOCUMENT, Batch, Ids

BETTER, WORSE, IRRELEVANT = 2, 1, 0
"""Verdicts as the scores of the pool `verdicts`: as good as the labelled positive or better, relevant, and not."""
PLACES = ("negatives_removed", "positives_made", "queries_replaced")


class Relabelling:
    """Finds out for each step what is relevant, and counts what it changed."""

    services: Services

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.changed = torch.zeros(len(PLACES), dtype=torch.int64)
        """Candidates that were no negatives, positives made and queries left out, of all steps."""
        self._step = dict.fromkeys(PLACES, 0)

    def relevant(self, queries: Ids) -> Ids:
        """Return the documents [B, P] taken for relevant, without labelled ones; `NO_DOCUMENT` in empty places."""
        raise NotImplementedError

    def without_relevant(self, queries: Ids, ids: Ids) -> Ids:
        """Return candidates [B, K] with `NO_DOCUMENT` where they are taken for relevant."""
        found = sampling.within(ids, self.relevant(queries)) & (ids != NO_DOCUMENT)
        self._count("negatives_removed", int(found.sum()))
        return np.where(found, NO_DOCUMENT, ids)

    def in_batch(self, batch: Batch) -> torch.Tensor | None:
        """Return [B, B] which positives of the batch may be negatives; None where none are (the rerank tier)."""
        if not batch.query_vectors.shape[1]:
            return None
        relevant = self.relevant(batch.queries)
        mask = (relevant[:, :, None] == batch.positives).any(axis=1)
        return torch.from_numpy(~mask)

    def with_made(self, step: int, queries: Ids, positives: Ids) -> Ids:
        """Return a positive [B] of each query, drawn uniformly from the labelled ones and those taken for relevant.

        `positives` [B] are drawn uniformly from the labelled ones.
        """
        relevant = self.relevant(queries)
        made = (relevant != NO_DOCUMENT).sum(axis=1)
        labelled = (self.services.positives(queries) != NO_DOCUMENT).sum(axis=1)
        draw = self.services.rng(step, "positives").random(len(queries)) * (made + labelled)
        one = sampling.draw_uniform(relevant, 1, self.services.rng(step, "made positives"))[:, 0]
        changed = draw < made
        self._count("positives_made", int(changed.sum()))
        return np.where(changed, one, positives)

    def replaced(
        self, step: int, queries: Ids, positives: Ids, left_out: NDArray[np.bool_], usable: NDArray[np.bool_]
    ) -> tuple[Ids, Ids]:
        """Return queries and positives with others in place of those left out [B], as far as there are any.

        `usable` [Q] marks the training queries that may stand in; those of the batch don't.
        """
        if not left_out.any():
            return queries, positives
        rng = self.services.rng(step, "queries")
        spare = self.services.queries[usable & ~np.isin(self.services.queries, queries)]
        places = np.flatnonzero(left_out)
        others = rng.choice(spare, size=min(len(places), len(spare)), replace=False)
        queries, positives = queries.copy(), positives.copy()
        filled = places[: len(others)]
        queries[filled] = others
        positives[filled] = sampling.draw_uniform(self.services.positives(others), 1, rng)[:, 0]
        left_out = left_out.copy()
        left_out[filled] = False
        self._count("queries_replaced", len(places))
        return queries[~left_out], positives[~left_out]

    def telemetry(self) -> dict[str, float]:
        """Return what the step changed, as columns of the history."""
        step, self._step = self._step, dict.fromkeys(PLACES, 0)
        return {name: float(count) for name, count in step.items()}

    def _count(self, place: str, count: int) -> None:
        self.changed[PLACES.index(place)] += count
        self._step[place] += count

    def idle(self) -> str:
        """Return that nothing was changed; empty if something was."""
        return "" if self.changed.any() else "it found nothing relevant beside the labels"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return what has been changed."""
        return {"changed": self.changed}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.changed = state["changed"]
