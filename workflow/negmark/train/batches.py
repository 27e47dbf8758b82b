"""The batches of a run: in the order that all rows share, or as a method puts them together.

A composer decides who shares a batch, and nothing else. It is given the pairs of the shared order, epoch by epoch, and
of the last epoch those that the run reaches. So over a run every row sees the same queries equally often, with the same
positives; only their company differs.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from negmark.core.seeds import stream
from negmark.methods.base import Method
from negmark.methods.types import Composition, Pairs
from negmark.store.labels import Labels
from negmark.train.contract import check_composed

Rows = NDArray[np.int64]


class Batches:
    """The batches of one run; a composed one has its place in the epoch as state."""

    def __init__(
        self, labels: Labels, seed: int, size: int, steps: int, composer: Method, is_own: bool = True
    ) -> None:
        """`composer` is who may put batches together: the run's own method if `is_own`, else another row's."""
        self._labels, self._seed, self._size, self._steps = labels, seed, size, steps
        self._composer, self._is_own = composer, is_own
        self._queries, self._positives = np.empty(0, np.int64), np.empty(0, np.int64)
        """What is composed and not yet taken, in order."""
        self._place = 0
        """Pairs composed since the start, each epoch's once: where the next epoch, or its rest, begins."""

    @property
    def composition(self) -> Composition | None:
        """How batches are put together; None in the shared order."""
        return self._composer.composition(self._composer.params)

    def taken(self, step: int) -> tuple[Rows, Rows]:
        """Return the queries and positives of a step; composed ones are taken step by step."""
        composition = self.composition
        if composition is None:
            return self._labels.batch(self._seed, step, self._size)
        if composition.every and step % composition.every == 0 and len(self._queries) > self._size:
            self._compose(step, self._queries, self._positives, begun=0)
        while len(self._queries) < self._size:
            self._compose_next(step)
        queries, self._queries = np.split(self._queries, [self._size])
        positives, self._positives = np.split(self._positives, [self._size])
        return queries, positives

    def _compose_next(self, step: int) -> None:
        """Add the next epoch, or as much of it as the run reaches, to what is composed."""
        queries = len(self._labels.queries)
        end, whole = (self._place // queries + 1) * queries, self._steps * self._size
        if self._place < whole < end:
            end = whole
        rest, others = self._queries, self._positives
        self._compose(step, *self._shared(self._place, end), begun=len(rest))
        self._queries, self._positives = (
            np.concatenate([rest, self._queries]),
            np.concatenate([others, self._positives]),
        )
        self._place = end

    def _compose(self, step: int, queries: Rows, positives: Rows, begun: int) -> None:
        """Put pairs into an order, of whose first batch `begun` places are taken."""
        batches = (begun + np.arange(len(queries))) // self._size
        rng = stream(self._seed, "composed order", step=step)
        order = self._composer.composed(Pairs(step, queries, positives, batches, rng))
        check_composed(order, len(queries), self._composer)
        self._queries, self._positives = queries[order], positives[order]

    def _shared(self, first: int, last: int) -> tuple[Rows, Rows]:
        """Return the queries and positives at some places of the shared order."""
        steps = range(first // self._size, -(-last // self._size))
        drawn = [self._labels.batch(self._seed, step, self._size) for step in steps]
        cut = slice(first - steps.start * self._size, last - steps.start * self._size)
        queries, positives = (np.concatenate(side)[cut] for side in zip(*drawn, strict=True))
        return queries, positives

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what a resumed run needs: nothing in the shared order."""
        if self.composition is None:
            return {}
        own: Mapping[str, torch.Tensor] = {} if self._is_own else self._composer.state_dict()
        return {
            "queries": torch.from_numpy(self._queries),
            "positives": torch.from_numpy(self._positives),
            "place": torch.tensor([self._place]),
            **{f"composer.{name}": value for name, value in own.items()},
        }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        if self.composition is None:
            return
        self._queries, self._positives = state["queries"].numpy(), state["positives"].numpy()
        self._place = int(state["place"])
        prefix = "composer."
        if not self._is_own:
            self._composer.load_state_dict(
                {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            )


def composed_pairs(composition: Composition, steps: int, size: int, queries: int) -> int:
    """Return how many pairs a run of a dataset with so many training queries puts together, each time counted."""
    whole = steps * size
    places = np.arange(composition.every or steps, steps, composition.every or steps) * size
    left = np.minimum(-places % queries, whole - places)
    return whole + int(left[left > size].sum())
