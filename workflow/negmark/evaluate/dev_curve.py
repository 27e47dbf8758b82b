"""Learning curves: a run's dev metric while it trains, and the cost up to each point.

The whole corpus is searched block by block, so that memory never holds a second copy. The time, energy and vectors
this takes don't count as the run's cost, it changes nothing in the run, and test labels are not read. The module is
imported by name only where curves are configured (`tiers.CURVE`), so runs without them don't depend on it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from negmark.core.errors import UserError
from negmark.core.metrics import DEFAULT, depth, measure
from negmark.evaluate.metrics import Evaluator
from negmark.evaluate.ranking import TestSplit, rank
from negmark.search.index import Hits
from negmark.store import collection
from negmark.store.curve import decides_by
from negmark.train.tiers.protocol import TrainedEncoder

if TYPE_CHECKING:
    from negmark.train.run import Run

BLOCK = 8192  # documents encoded and compared at a time


class Curve:
    """Evaluates a job's runs on dev queries: every `curve_every` steps and at the end."""

    def __init__(self, dataset: Path, training: dict[str, Any]) -> None:
        self._every, self._steps = training["curve_every"], training["steps"]
        self._split = TestSplit(dataset, "dev", training["curve_queries"])
        if not self._split.names:
            raise UserError(
                f"{dataset}: the dataset has no dev split, which curves and tuning need; set the dataset's "
                "`dev_queries`, or `curve_every: 0`"
            )
        self._metric = training.get("metric", DEFAULT[0])
        self._evaluator = Evaluator(self._split.qrels, [self._metric], self._split.relevant)
        self._depth = depth(measure(self._metric))
        self._unseen = ~_seen(dataset, self._split)

    def take_if_due(self, run: "Run", step: int) -> None:
        """Add a point after `step` steps if one is due; an interval of all steps or more gives only the last point."""
        due = step == self._steps or (step % self._every == 0 and self._every < self._steps)
        if due and run.encoder.writes:
            with run.clock.paused():
                run.curve.append(self._point(run, step))

    def values(self, run: "Run") -> NDArray[np.float64]:
        """Return the metric [Q] of each dev query with the run's encoder as it is now."""
        searcher = BlockSearcher(run.encoder, run.labels.documents)
        metrics = self._evaluator.values(rank(searcher, self._split, self._depth))
        return np.array([metrics[name][self._metric] for name in self._split.names])

    def deciding(self) -> tuple[str, NDArray[np.bool_]]:
        """Return the slice that decides, `all` or `unseen`, and which dev queries [Q] are of it."""
        name = decides_by(int(self._unseen.sum()))
        return name, self._unseen if name == "unseen" else np.ones_like(self._unseen)

    def _point(self, run: "Run", step: int) -> dict[str, Any]:
        values = self.values(run)
        unseen = values[self._unseen]
        counters = run.services.counters
        return {
            "step": step,
            "queries": len(values),
            self._metric: float(values.mean()),
            "unseen_queries": len(unseen),
            f"{self._metric}/unseen": float(unseen.mean()) if len(unseen) else None,
            "vectors": vectors_of(run),
            **counters.as_dict(),
            "wall_seconds": run.clock.total_wall,
            "cpu_seconds": run.clock.total_cpu,
            "joules": run.clock.joules,
        }  # fmt: skip


def vectors_of(run: "Run") -> int:
    """Return how many vectors a run has taken from its encoder, those of refreshes included."""
    counters = run.services.counters
    own = counters.query_vectors + counters.document_vectors + counters.extra_vectors
    return own + counters.refreshes * run.labels.documents


class BlockSearcher:
    """Exact search with the encoder's current weights, one block of documents at a time: an `index.Searcher`."""

    def __init__(self, encoder: TrainedEncoder, documents: int) -> None:
        self._encoder, self.documents = encoder, documents

    def search(self, queries: NDArray[np.int64], depth: int) -> Hits:
        """Return the documents of highest inner product; ties go to the lower row."""
        query_vectors = self._encoder.still("query", queries)
        scores, rows = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
        for start in range(0, self.documents, BLOCK):
            block = np.arange(start, min(start + BLOCK, self.documents))
            products = query_vectors @ self._encoder.still("document", block).T
            best = torch.topk(products, min(depth, len(block)), dim=1)
            scores = torch.cat([scores, best.values], dim=1)
            rows = torch.cat([rows, best.indices + start], dim=1)
            order = np.lexsort((rows.numpy(), -scores.numpy()), axis=1)[:, :depth]
            top = torch.from_numpy(np.ascontiguousarray(order))
            scores, rows = scores.gather(1, top), rows.gather(1, top)
        return rows.numpy(), scores.numpy()

    def score_pairs(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return inner products."""
        products = (self._encoder.still("query", queries) * self._encoder.still("document", documents)).sum(
            dim=1
        )
        values: NDArray[np.float32] = products.numpy()
        return values


def _seen(dataset: Path, split: TestSplit) -> NDArray[np.bool_]:
    """Return which dev queries share a relevant document with training positives: `seen`, as for test queries."""
    trained = set(collection.qrels(dataset, "train").positives().documents.tolist())
    relevant = collection.qrels(dataset, "dev").positives()
    shared = [document in trained for document in relevant.documents.tolist()]
    return np.isin(split.queries, relevant.queries[np.array(shared, dtype=bool)])
