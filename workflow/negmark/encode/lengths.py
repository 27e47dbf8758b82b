"""Lengths of texts in tokens before truncation, cached by tokenizer and content like the tokens."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negmark.core.files import replacing
from negmark.core.folders import cache_folder
from negmark.encode.model_files import open_tokenizer
from negmark.encode.tokens import Texts, chunks, tokens_key

UNCUT = 10**9
"""No text has so many tokens."""


def lengths_of(model: Path, lines: list[str], prompt: str) -> NDArray[np.int64]:
    """Return the tokens of each text [N], including prompt and special tokens, beyond what the model can read."""
    side = Texts(lines, UNCUT, prompt)
    path = cache_folder() / "lengths" / f"{tokens_key(model, side)[:32]}.npy"
    if (cached := _read(path, len(lines))) is not None:
        return cached
    tokenizer = open_tokenizer(model)
    counts = [len(line) for chunk in chunks(tokenizer, side) for line in chunk]
    lengths = np.array(counts, dtype=np.int64)
    with replacing(path) as partial:
        np.save(partial, lengths)
    return lengths


def _read(path: Path, count: int) -> NDArray[np.int64] | None:
    """Return cached lengths; None if there are none, or not one per text."""
    try:
        lengths = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return lengths if lengths.shape == (count,) else None
