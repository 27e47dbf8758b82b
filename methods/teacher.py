"""Scores by the suite's teacher, for methods in which another model judges the candidates.

A bi-encoder's scores are cosines. A cross-encoder has judged the dense pool's candidates and the labelled pairs before
training; its scores are logits, whose logistic function is a probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from negmark.methods.base import Services
from negmark.methods.later import special, torch
from negmark.methods.scale import rescaled
from negmark.methods.types import NO_DOCUMENT, Ids, Step


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
    if services.ranker_teaches:
        scores = special.expit(raw)
        scores[:, 1:][ids == NO_DOCUMENT] = -np.inf
    else:
        scores = rescaled(raw, services.chance(of_teacher=True))
    return ids, scores[:, 1:], scores[:, 0]


def logits(services: Services, queries: Ids, documents: Ids) -> torch.Tensor:
    """Return the teacher's scores [B, K] on the scale of the loss, -inf in empty places: what is distilled.

    A cross-encoder's logits as they are, an encoder's cosines over the suite's temperature.
    """
    scores = torch.from_numpy(score(services, queries, documents))
    return scores if services.ranker_teaches else scores / services.temperature


class Lists(NamedTuple):
    """What a student and its teacher make of the documents of a step: the positive, then the given negatives."""

    student: torch.Tensor
    """[B, 1 + M] logits, with gradient."""
    teacher: torch.Tensor
    """[B, 1 + M] on the same scale (`logits`); -inf in empty places."""
    used: torch.Tensor
    """[B, 1 + M] bool."""


def lists(services: Services, step: Step) -> Lists:
    """Return the lists of a step whose negatives are documents alone."""
    assert step.negatives.ids is not None
    documents = np.concatenate([step.batch.positives[:, None], step.negatives.ids], axis=1)
    student = torch.cat([step.scores.positive[:, None], step.scores.negatives], dim=1) / step.temperature
    used = torch.from_numpy(documents != NO_DOCUMENT)
    return Lists(student, logits(services, step.batch.queries, documents), used)


class Rejecting:
    """A part of methods that reject candidates by a threshold: counts them, to say if it told none apart."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.judged = torch.zeros(2, dtype=torch.int64)
        """Candidates judged, and those of them that were rejected."""

    def count_rejected(self, candidates: Ids, left: Ids) -> None:
        """Count the candidates of a batch, and those of them that are no longer `left`."""
        total = int((candidates != NO_DOCUMENT).sum())
        self.judged += torch.tensor([total, total - int((left != NO_DOCUMENT).sum())])

    def idle(self) -> str:
        """Return that the threshold rejected none or all of the candidates; empty if it told them apart."""
        count, rejected = self.judged.tolist()
        if 0 < rejected < count:
            return ""
        return f"its threshold rejected {'all' if rejected else 'none'} of {count:,} candidates"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return what has been judged."""
        return {"judged": self.judged}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.judged = state["judged"]
