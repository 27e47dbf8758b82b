"""The files that trainers read negatives from: what a line of each holds.

Keys are those that the trainers ask for: sentence-transformers takes every column for a text, in order, so scores
stand in the run file alone; Tevatron and DPR read passages with a title; FlagEmbedding reads whole texts, and leaves
`neg_scores` out unless it distils.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from negmark.core.trec import trec_id
from negmark.store.collection import joined
from negmark.store.passages import Passage


@dataclass(frozen=True)
class Chosen:
    """The negatives of a training query, last seen first, with their scores, and the query's positives."""

    dataset: str
    query_id: str
    query: str
    positives: list[Passage]
    negatives: list[Passage]
    scores: list[float]


def triplets(chosen: Chosen, width: int) -> Iterator[str]:
    """Yield a line for each positive and negative: anchor, positive, negative."""
    for positive in _texts(chosen.positives):
        for negative in _texts(chosen.negatives):
            yield _line({"anchor": chosen.query, "positive": positive, "negative": negative})


def tuples(chosen: Chosen, width: int) -> Iterator[str]:
    """Yield a line for each positive: anchor, positive, negative_1 to negative_<width>; none if the query has fewer.

    All lines need the same columns.
    """
    negatives = _texts(chosen.negatives)
    if len(negatives) < width:
        return
    columns = {f"negative_{place}": text for place, text in enumerate(negatives, start=1)}
    for positive in _texts(chosen.positives):
        yield _line({"anchor": chosen.query, "positive": positive, **columns})


def tevatron(chosen: Chosen, width: int) -> Iterator[str]:
    """Yield the query's line: query_id, query, positive_passages, negative_passages."""
    scored = zip(chosen.negatives, chosen.scores, strict=True)
    yield _line({
        "query_id": chosen.query_id,
        "query": chosen.query,
        "positive_passages": [_passage("docid", positive) for positive in chosen.positives],
        "negative_passages": [{**_passage("docid", negative), "score": score} for negative, score in scored],
    })  # fmt: skip


def bge(chosen: Chosen, width: int) -> Iterator[str]:
    """Yield the query's line for FlagEmbedding: query, pos, neg, and by our own keys ids and scores."""
    yield _line({
        "query": chosen.query,
        "pos": _texts(chosen.positives),
        "neg": _texts(chosen.negatives),
        "neg_scores": chosen.scores,
        "query_id": chosen.query_id,
        "pos_id": [positive.id for positive in chosen.positives],
        "neg_id": [negative.id for negative in chosen.negatives],
    })  # fmt: skip


def dpr(chosen: Chosen, width: int) -> Iterator[str]:
    """Yield the query's line: question, answers, positive_ctxs, negative_ctxs, hard_negative_ctxs."""
    scored = zip(chosen.negatives, chosen.scores, strict=True)
    yield _line({
        "dataset": chosen.dataset,
        "question": chosen.query,
        "answers": [],
        "positive_ctxs": [_passage("passage_id", positive) for positive in chosen.positives],
        "negative_ctxs": [],
        "hard_negative_ctxs": [{**_passage("passage_id", one), "score": score} for one, score in scored],
    })  # fmt: skip


def run(chosen: Chosen, width: int) -> Iterator[str]:
    """Yield a line of a TREC run for each negative, the highest score first."""
    ranked = sorted(zip(chosen.scores, chosen.negatives, strict=True), key=lambda pair: -pair[0])
    for rank, (score, negative) in enumerate(ranked, start=1):
        yield f"{trec_id(chosen.query_id)} Q0 {trec_id(negative.id)} {rank} {score} negmark"


WRITERS: dict[str, Callable[[Chosen, int], Iterator[str]]] = {
    "triplets.jsonl": triplets,
    "tuples.jsonl": tuples,
    "tevatron.jsonl": tevatron,
    "bge.jsonl": bge,
    "dpr.jsonl": dpr,
    "run.trec": run,
}
"""What yields the lines of a query, by the name of the file; `width` is the most negatives that any query has."""


def _texts(passages: list[Passage]) -> list[str]:
    """Return documents as encoders read them."""
    return joined([one.title for one in passages], [one.text for one in passages])


def _passage(key: str, passage: Passage) -> dict[str, Any]:
    return {key: passage.id, "title": passage.title, "text": passage.text}


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
