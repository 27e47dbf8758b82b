"""Retrieval metrics through pytrec_eval, with the traps around it closed.

Gains are linear in the label, as trec_eval has them. Every query of the qrels counts, with 0 where the run
lacks it. Equal scores are ordered by document id descending, as trec_eval orders them, before any cut.
"""

from collections.abc import Mapping

import numpy as np
import pytrec_eval

METRICS = ("nDCG@10", "MRR@10", "R@100")
_TREC_NAMES = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100"}

Run = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, int]]


def evaluate_run(qrels: Qrels, run: Run, relevant: int = 1) -> dict[str, dict[str, float]]:
    """Return the metrics of each query of the qrels. Raises ValueError on a score that is no finite number.

    MRR and recall count documents of at least the grade `relevant`; nDCG takes every grade above 0 as its gain.
    """
    for query, scores in run.items():
        if not np.isfinite(list(scores.values())).all():
            raise ValueError(f"query {query}: a score is not a finite number")
    graded = {query: dict(labels) for query, labels in qrels.items()}
    evaluator = pytrec_eval.RelevanceEvaluator(
        graded, {"ndcg_cut.10", "recall.100"}, relevance_level=relevant
    )
    found = evaluator.evaluate({query: dict(scores) for query, scores in run.items()})
    # pytrec_eval has no cut for the reciprocal rank: cut the run to ten first
    heads = {query: dict(ranked(scores)[:10]) for query, scores in run.items()}
    reciprocal = pytrec_eval.RelevanceEvaluator(graded, {"recip_rank"}, relevance_level=relevant).evaluate(
        heads
    )
    return {
        query: {
            **{name: found.get(query, {}).get(trec, 0.0) for name, trec in _TREC_NAMES.items()},
            "MRR@10": reciprocal.get(query, {}).get("recip_rank", 0.0),
        }
        for query in qrels
    }


def ranked(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return documents by score descending, equal ones by id descending: the order in which trec_eval reads them."""
    values = np.fromiter(scores.values(), dtype=np.float32, count=len(scores)).tolist()
    return [(document, score) for score, document in sorted(zip(values, scores, strict=True), reverse=True)]
