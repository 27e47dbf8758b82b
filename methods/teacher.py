"""Scores by the suite's teacher, for methods in which another model judges the candidates.

A bi-encoder's scores are cosines. A cross-encoder has judged the dense pool's candidates and the labelled pairs before
training; its scores are logits, whose logistic function is a probability.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from negmark.methods.base import Services
from negmark.methods.scale import rescaled
from negmark.methods.types import NO_DOCUMENT, Ids


def score(services: Services, queries: Ids, documents: Ids) -> NDArray[np.float32]:
    """Return the teacher's cosine similarity, or logits, of queries [B] with documents [B, K]; -inf in empty places."""
    if (logits := services.judgments(queries, documents)) is not None:
        return logits
    vectors = services.teacher_queries(queries), services.teacher_documents(documents)
    scores = torch.einsum("be,bke->bk", *vectors).numpy()
    return np.where(documents == NO_DOCUMENT, -np.inf, scores).astype(np.float32)


def score_pool(
    services: Services, queries: Ids, positives: Ids, depth: int
) -> tuple[Ids, NDArray[np.float32], NDArray[np.float32]]:
    """Return the dense pool's best candidates [B, K], the teacher's scores of them and of the positives [B].

    All scores come from one pass of the teacher, so they can be compared: cosines on the scale of `scale.rescaled`, or
    a cross-encoder's probabilities.
    """
    ids, _ = services.pool("dense").candidates(queries, depth)
    raw = score(services, queries, np.column_stack([positives, ids]))
    if is_ranker(services):
        scores = expit(raw)
        scores[:, 1:][ids == NO_DOCUMENT] = -np.inf
    else:
        scores = rescaled(raw, services.chance(of_teacher=True))
    return ids, scores[:, 1:], scores[:, 0]


def is_ranker(services: Services) -> bool:
    """Say whether a cross-encoder teaches, whose scores need no temperature and whose probabilities are its own."""
    nobody = np.empty(0, np.int64)
    return services.judgments(nobody, nobody[:, None]) is not None


def judged(candidates: Ids, left: Ids) -> torch.Tensor:
    """Return how many candidates there were and how many of them were rejected: [2]."""
    total = int((candidates != NO_DOCUMENT).sum())
    return torch.tensor([total, total - int((left != NO_DOCUMENT).sum())])


def all_alike(count: int, rejected: int) -> str:
    """Return in a few words that a threshold rejected none or all of the candidates; empty if it told them apart."""
    if 0 < rejected < count:
        return ""
    return f"its threshold rejected {'all' if rejected else 'none'} of {count:,} candidates"
