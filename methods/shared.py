"""Negatives of the whole batch: each query is compared with the documents that were given to the others, too.

Tevatron, FlagEmbedding, ANCE-Tele and KaLM-Embedding put all passages of a batch into one denominator; the shared loss
has a query's own and the positives of the others.
"""

from __future__ import annotations

import numpy as np

from negmark.methods import losses
from negmark.methods.base import Services
from negmark.methods.later import torch
from negmark.methods.types import NO_DOCUMENT, Scores, Step


def with_documents_of_all(step: Step, services: Services) -> Scores:
    """Return a step's scores with the other queries' given documents behind a query's own: [B, M + V + B M].

    Places of a query itself are masked there, and so is what is no negative of it. Vectors that are no documents
    aren't shared, as nobody can say what they hold of another query's positive. A document that two were given counts
    twice, as in the released code.
    """
    ids, queries = step.negatives.ids, step.batch.queries
    if ids is None:
        return step.scores
    everyone = np.broadcast_to(ids.ravel(), (len(queries), ids.size))
    vectors = step.negative_vectors[:, : ids.shape[1]].flatten(0, 1)
    own = np.repeat(np.eye(len(queries), dtype=bool), ids.shape[1], axis=1)
    usable = (everyone != NO_DOCUMENT) & ~own & ~services.is_positive(queries, everyone)
    return losses.with_more(step.scores, step.batch.query_vectors @ vectors.T, torch.from_numpy(usable))
