"""Token tables: one row for each token, and a text is the mean of its tokens' rows, of unit length.

That is what sentence-transformers calls a StaticEmbedding (with a Normalize behind it), and model2vec a static model.
Everything here is numpy: evaluation starts without torch. Where tables come from: `negmark.encode.table_starts`.
"""

import functools
import hashlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from negmark.core.files import canonical
from negmark.encode import tokens
from negmark.encode.tokens import Texts, Tokens
from negmark.store import collection
from negmark.store.vectors import float32

VERSION = 1
"""Part of the key of cached vectors: to be raised when a change here changes their bytes."""
TEXTS_AT_A_TIME = 1 << 14
"""Texts that are encoded together, so that a corpus never lies in memory twice."""
SIDES = ("query", "document")


@dataclass(frozen=True, eq=False)
class TokenTable:
    """Rows [V, D] of the tokens that a tokenizer knows, by their ids; `weights` [V] where tokens count unequally."""

    tokenizer: Tokenizer
    rows: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None
    unknown: int | None = None
    """Id that stands for what the vocabulary lacks, where that is no token of its own: it is left out of texts."""

    @property
    def dimension(self) -> int:
        """Width of a row."""
        return int(self.rows.shape[1])

    @functools.cached_property
    def tokenizer_key(self) -> str:
        """A SHA-256 of all that decides how texts are cut."""
        parts = self.tokenizer.to_str(), importlib.metadata.version("tokenizers"), self.unknown
        return hashlib.sha256(canonical(parts).encode()).hexdigest()

    @functools.cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of all that decides the vector of a text: tokenizer, rows and weights, no name and no place."""
        found = hashlib.sha256(canonical([VERSION, self.tokenizer_key, self.rows.shape]).encode())
        for part in (self.rows, self.weights):
            found.update(b"" if part is None else np.ascontiguousarray(part).data)
        return found.hexdigest()

    def folded(self) -> NDArray[np.float32]:
        """Return the rows times their weights, which mean the same without weights."""
        return self.rows if self.weights is None else self.rows * self.weights[:, None]


def tokens_of(table: TokenTable, side: Texts) -> Tokens:
    """Return the tokens of a side without special ones, from the cache if they are there whole.

    A text is cut after `side.length` tokens, before unknown ones are left out; one may be left without any token.
    """
    key = hashlib.sha256(canonical([table.tokenizer_key, *tokens.texts_key(side)]).encode()).hexdigest()
    return tokens.cached(
        key, len(side.lines), lambda folder: tokens.write(folder, chunks(table, side), len(table.rows))
    )


def tokenise(table: TokenTable, side: Texts) -> Tokens:
    """Return the tokens of a few texts, in memory."""
    return tokens.gather(chunks(table, side))


def chunks(table: TokenTable, side: Texts) -> Iterator[list[list[int]]]:
    """Yield token ids, a few thousand texts at a time."""
    tokenizer = cutting(table.tokenizer, side.length)
    for start in range(0, len(side.lines), tokens.TEXTS_PER_CHUNK):
        lines = [side.prompt + line for line in side.lines[start : start + tokens.TEXTS_PER_CHUNK]]
        found = [text.ids for text in tokenizer.encode_batch_fast(lines, add_special_tokens=False)]
        yield found if table.unknown is None else [_without(line, table.unknown) for line in found]


def cutting(tokenizer: Tokenizer, length: int) -> Tokenizer:
    """Return a copy of a tokenizer that cuts texts after so many tokens, and fills nothing up."""
    copied = Tokenizer.from_str(tokenizer.to_str())
    copied.no_padding()
    copied.enable_truncation(length)
    return copied


def tokens_of_sides(table: TokenTable, dataset: Path, encoder: Mapping[str, Any]) -> dict[str, Tokens]:
    """Return the tokens of all documents and queries of a dataset; `encoder` says lengths and prompts."""
    texts = dict(zip(("document", "query"), collection.texts(dataset), strict=True))
    return {
        side: tokens_of(table, Texts(lines, encoder[f"{side}_length"], encoder[f"{side}_prompt"]))
        for side, lines in texts.items()
    }


def without_tokens(found: Tokens) -> int:
    """Count the texts that have no token, which all get the same vector."""
    return int((found.lengths == 0).sum())


def mean_vectors(rows: NDArray[np.float32], found: Tokens) -> NDArray[np.float32]:
    """Return unit vectors [N, D] of texts: the mean of the rows [V, D] of their tokens, by a sparse product.

    A mean and a sum have the same direction. A text without tokens, or whose rows add up to nothing, gets the
    vector whose numbers are all equal.
    """
    from scipy import sparse  # here, as plans read this module too

    vectors = np.empty((len(found), rows.shape[1]), np.float32)
    for start in range(0, len(found), TEXTS_AT_A_TIME):
        starts = found.starts[start : start + TEXTS_AT_A_TIME + 1]
        ids = np.asarray(found.ids[starts[0] : starts[-1]]).astype(np.int32)
        shape = len(starts) - 1, len(rows)
        counts = sparse.csr_array((np.ones(len(ids), np.float32), ids, starts - starts[0]), shape=shape)
        vectors[start : start + shape[0]] = counts @ float32(rows)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    vectors[lengths[:, 0] == 0] = even(rows.shape[1])
    return vectors


def even(dimension: int) -> float:
    """Return what each number of a unit vector is whose numbers are all equal."""
    return float(dimension**-0.5)


def _without(line: list[int], unknown: int) -> list[int]:
    return [token for token in line if token != unknown]
