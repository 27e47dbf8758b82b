"""Metrics of a ranking with ir_measures and pytrec_eval, avoiding their pitfalls.

Gains are linear in the label, as in trec_eval. Every labelled query counts, with 0 where the run lacks it.
Ties are broken by document id descending, as in trec_eval. Each provider behind ir_measures breaks ties in its own
way, so all get this order as scores without ties.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from negmark.core import metrics

Run = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, int]]


class Evaluator:
    """Computes metrics of runs on one set of labels; created once for all runs of a job.

    Binary metrics count documents with at least the grade `relevant`; nDCG uses every grade above 0 as its gain.
    """

    def __init__(self, qrels: Qrels, names: Sequence[str] = metrics.DEFAULT, relevant: int = 1) -> None:
        self.names = list(names)
        self._queries = list(qrels)
        graded = {query: dict(labels) for query, labels in qrels.items()}
        # one evaluator per metric: ir_measures 0.4.3 confuses nDCG with and without `gains`, and depths differ
        self._parts = [
            (name, metrics.depth(measure), metrics.provider(measure).evaluator([measure], graded))
            for name, measure in ((name, metrics.measure(name, relevant)) for name in names)
        ]

    def values(self, run: Run) -> dict[str, dict[str, float]]:
        """Return the metrics of each labelled query. Raises ValueError on a score that is not finite."""
        for query, scores in run.items():
            if not np.isfinite(list(scores.values())).all():
                raise ValueError(f"query {query}: a score is not a finite number")
        orders = {query: ranked(run[query]) for query in self._queries if run.get(query)}
        descending = [float(place) for place in range(max(map(len, orders.values()), default=0), 0, -1)]
        heads = {
            depth: {
                query: dict(zip(order[:depth], descending, strict=False)) for query, order in orders.items()
            }
            for depth in {depth for _, depth, _ in self._parts}
        }
        values: dict[str, dict[str, float]] = {query: {} for query in self._queries}
        for name, depth, evaluator in self._parts:
            for metric in evaluator.iter_calc(heads[depth]):
                values[metric.query_id][name] = float(metric.value)
        return values


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Return documents by score descending, ties by id descending, as trec_eval orders them."""
    values = np.fromiter(scores.values(), dtype=np.float32, count=len(scores)).tolist()
    return [document for _, document in sorted(zip(values, scores, strict=True), reverse=True)]
