"""How many tokens texts have before truncation, and how many the tokenizer doesn't know; cached like the tokens."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negmark.core.files import replacing
from negmark.core.folders import cache_folder
from negmark.encode.model_files import open_tokenizer
from negmark.encode.tokens import Texts, chunks, tokens_key

UNCUT = 10**9
"""No text has so many tokens."""


def token_counts(model: Path, lines: list[str], prompt: str) -> NDArray[np.int64]:
    """Return the tokens of each text, and those of them that are unknown: [2, N].

    They include prompt and special tokens, and those beyond what the model can read. A tokenizer that falls back to
    bytes knows all; one that was made for other scripts may know next to none.
    """
    side = Texts(lines, UNCUT, prompt)
    path = cache_folder() / "token-counts" / f"{tokens_key(model, side)[:32]}.npy"
    if (cached := _read(path, len(lines))) is not None:
        return cached
    tokenizer = open_tokenizer(model)
    unknown = tokenizer.unk_token_id
    found = [(len(line), line.count(unknown)) for chunk in chunks(tokenizer, side) for line in chunk]
    counts = np.array(found, dtype=np.int64).reshape(-1, 2).T
    with replacing(path) as partial:
        np.save(partial, counts)
    return counts


def _read(path: Path, count: int) -> NDArray[np.int64] | None:
    """Return cached counts; None if there are none, or not those of each text."""
    try:
        counts: NDArray[np.int64] = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return counts if counts.shape == (2, count) else None
