"""Candidates of every training query, as stored on disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from negmark.core.errors import UserError

INDEX, ANALYZER = "index", "analyzer"
"""Keys of a pool's header: facts about an approximate index, and BM25's analyser if it isn't the English one."""


class CandidatePool:
    """Candidates of the training queries: a `negmark.methods.base.Pool`."""

    def __init__(self, path: Path) -> None:
        arrays = read_arrays(path)
        self._ids, self._scores = arrays["ids"], arrays["scores"]
        self._row = np.full(int(arrays["queries"].max()) + 1, -1, dtype=np.int64)
        self._row[arrays["queries"]] = np.arange(len(arrays["queries"]))
        self._documents = int(arrays["documents"][0])
        keys = arrays["positive_queries"].astype(np.int64) * self._documents + arrays["positive_documents"]
        order = np.argsort(keys)
        self._keys, self._positive_scores = keys[order], arrays["positive_scores"][order]

    @property
    def depth(self) -> int:
        """Candidates per query, empty places included."""
        return int(self._ids.shape[1])

    def candidates(
        self, queries: NDArray[np.int64], depth: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return ids [B, K] and scores [B, K], best first; short rows end in -1 with score -inf."""
        rows = self._row[queries]
        if (rows < 0).any():
            raise KeyError("a query that carries no training label has no candidates in the pool")
        return self._ids[rows, :depth].astype(np.int64), self._scores[rows, :depth]

    def positive_scores(
        self, queries: NDArray[np.int64], positives: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the scores [B] of labelled pairs. Raises KeyError if a pair has no training label."""
        keys = queries * self._documents + positives
        places = np.searchsorted(self._keys, keys)
        if (places >= len(self._keys)).any() or (self._keys[places] != keys).any():
            raise KeyError("a pair that carries no training label has no score in the pool")
        return self._positive_scores[places]


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of a pool. Raises a `UserError` that names a broken file."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: can't be read ({error}); delete it and run again") from error


def read_pool_facts(pool: Path) -> dict[str, Any]:
    """Return what a card says of a pool: its `queries`, how many are `without` a candidate, and the rest of its header.

    `index` is there for an approximate search, `analyzer` for BM25 if it isn't the English one.
    """
    try:
        with safe_open(pool, "numpy") as arrays:
            first, header = arrays.get_slice("ids")[:, :1], arrays.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{pool}: can't be read ({error}); delete it and run again") from error
    facts: dict[str, Any] = {"queries": len(first), "without": int((first < 0).sum())}
    facts |= {INDEX: json.loads(header[INDEX])} if INDEX in header else {}
    return facts | ({ANALYZER: header[ANALYZER]} if ANALYZER in header else {})
