"""A cross-encoder's scores of a dense pool's candidates and of labelled pairs, as stored on disk."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negmark.store.pool import read_arrays


class Judgments:
    """Logits by query and document: those that `negmark.train.judgments` has written."""

    def __init__(self, path: Path) -> None:
        arrays = read_arrays(path)
        self._documents = int(arrays["documents"][0])
        rows, columns = np.nonzero(arrays["ids"] >= 0)
        queries = np.concatenate([arrays["queries"][rows], arrays["positive_queries"]]).astype(np.int64)
        documents = np.concatenate([arrays["ids"][rows, columns], arrays["positive_documents"]])
        scores = np.concatenate([arrays["scores"][rows, columns], arrays["positive_scores"]])
        keys = queries * self._documents + documents
        order = np.argsort(keys)
        self._keys, self._scores = keys[order], scores[order]

    def scores(self, queries: NDArray[np.int64], documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits [B, K] of queries [B] with documents [B, K]; -inf in empty places.

        Raises KeyError for a document that is neither a candidate of its query nor labelled.
        """
        used = documents >= 0
        keys = (queries[:, None] * self._documents + documents)[used]
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        if (self._keys[places] != keys).any():
            raise KeyError("a document outside the dense pool was never judged by the cross-encoder")
        found = np.full(documents.shape, -np.inf, np.float32)
        found[used] = self._scores[places]
        return found
