"""Metrics of a ranking through ir_measures and pytrec_eval, with the traps around them closed.

Gains are linear in the label, as trec_eval has them. Every query of the labels counts, with 0 where the run lacks it.
Equal scores are ordered by document id descending, as trec_eval orders them. The programs behind ir_measures part ties
each in its own way, so all get that order as scores without ties.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from negmark.core import metrics

Run = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, int]]


class Evaluator:
    """Computes metrics of runs on one set of labels: made once for all runs of a job.

    Binary metrics count documents of at least the grade `relevant`; nDCG takes every grade above 0 as its gain.
    """

    def __init__(self, qrels: Qrels, names: Sequence[str] = metrics.DEFAULT, relevant: int = 1) -> None:
        self.names = list(names)
        self._queries = list(qrels)
        graded = {query: dict(labels) for query, labels in qrels.items()}
        # one each: ir_measures 0.4.3 mixes nDCG with and without `gains` up, and so each gets what it looks at alone
        self._parts = [
            (name, metrics.depth(asked), metrics.provider(asked).evaluator([asked], graded))
            for name, asked in ((name, metrics.measure(name, relevant)) for name in names)
        ]

    def values(self, run: Run) -> dict[str, dict[str, float]]:
        """Return the metrics of each query of the labels. Raises ValueError on a score that is no finite number."""
        for query, scores in run.items():
            if not np.isfinite(list(scores.values())).all():
                raise ValueError(f"query {query}: a score is not a finite number")
        orders = {query: ranked(run[query]) for query in self._queries if run.get(query)}
        falling = [float(place) for place in range(max(map(len, orders.values()), default=0), 0, -1)]
        heads = {
            depth: {query: dict(zip(order[:depth], falling, strict=False)) for query, order in orders.items()}
            for depth in {depth for _, depth, _ in self._parts}
        }
        found: dict[str, dict[str, float]] = {query: {} for query in self._queries}
        for name, depth, evaluator in self._parts:
            for metric in evaluator.iter_calc(heads[depth]):
                found[metric.query_id][name] = float(metric.value)
        return found


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Return documents by score descending, equal ones by id descending: the order in which trec_eval reads them."""
    values = np.fromiter(scores.values(), dtype=np.float32, count=len(scores)).tolist()
    return [document for _, document in sorted(zip(values, scores, strict=True), reverse=True)]
