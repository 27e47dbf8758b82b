"""Token ids to vectors with a transformer: sorted by length, in batches of texts of equal length.

Equal lengths need no padding and no mask, so the other texts in a batch affect a vector only by rounding.
"""

import contextlib
import copy
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from negmark.core.files import canonical
from negmark.encode.architecture import attention, encoder_class, open_encoder, usable_dtype, width
from negmark.encode.device import device, keep_freed_memory
from negmark.encode.head import Head
from negmark.encode.model_files import CONFIG, open_config, transformer_folder, weights_sha256
from negmark.encode.pretrained import config_content
from negmark.encode.recipe import recipe_of
from negmark.encode.tokens import Tokens

VERSION = 3
"""Part of the key of cached vectors: raise it when a change here changes their bytes."""
TOKENS_PER_BATCH = {"cpu": 512, "cuda": 32768}
"""By device. A CPU core multiplies as fast with 512 tokens as with more, and the results fit its cache; a GPU needs
more to be busy."""


def vectors_key(
    model: Path, tokens: str, dtype: str, similarity: str = "cosine", output: str = "float32"
) -> str:
    """Return a SHA-256 of everything that decides the bytes of a side's vectors, and nothing else: no name, no path.

    That is the weights, what the folder's recipe does with hidden states, precisions, similarity, the key of the tokens
    (tokenizer, texts, length and prompt), the versions of the code and the kind of device.
    """
    parts = [*network_key(model), recipe_of(model).decides(), dtype, similarity, output, tokens]
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def network_key(model: Path) -> list[Any]:
    """Return what decides what a network gives for tokens: weights, config, versions, and the kind of device."""
    versions = [VERSION, torch.__version__, transformers.__version__, device()]
    return [*versions, weights_sha256(model), config_content(transformer_folder(model) / CONFIG)]


class Encoder:
    """A transformer and what its folder puts behind it: `negmark.encode.recipe`.

    With `normalize` vectors have length 1, for cosine similarity; without it they keep the length that the folder gives
    them.
    """

    def __init__(self, model: Path, dtype: str, normalize: bool = True) -> None:
        config = open_config(model)
        attend = attention(encoder_class(config), device())
        network = open_encoder(model, usable_dtype(config, dtype), attend)
        self._take(network.to(device()), Head(recipe_of(model), width(config), normalize))

    @classmethod
    def around(cls, model: Any, head: Head, dtype: str = "float32") -> "Encoder":
        """Return an encoder with the current weights of a transformers model and of what follows it, on their device.

        The weights are copied and cast to `dtype`, so the model can be trained further and keeps its mode; make
        another encoder for its later weights.
        """
        encoder = cls.__new__(cls)
        usable = getattr(torch, usable_dtype(model.config, dtype))
        network = copy.deepcopy(model).requires_grad_(False).to(usable)
        network.set_attn_implementation(attention(type(model), model.device.type))
        encoder._take(network, copy.deepcopy(head).requires_grad_(False))
        return encoder

    def _take(self, model: Any, head: Head) -> None:
        self.device: str = model.device.type
        self.model, self.head = model.eval(), head.to(model.device).eval()
        if self.device == "cpu":
            keep_freed_memory()

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return self.head.dimension

    def plan(self, tokens: Tokens) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each batch, as `encode` takes them."""
        return even_batches(tokens.lengths, TOKENS_PER_BATCH[self.device])

    def encode(
        self,
        tokens: Tokens,
        rows: NDArray[np.int64] | None = None,
        advance: Callable[[int], object] = lambda count: None,
        threads: int = 1,
    ) -> NDArray[np.float32]:
        """Return the vectors [R, D] of R rows of `tokens`, of all rows by default.

        `advance` is called with the number of tokens of each batch.

        On a CPU each thread encodes batches of its own on one core. Threads that share every operation wait for
        the slowest at each one: next to one busy core that took three times as long. It also makes the vectors
        independent of the number of cores.
        """
        rows = np.arange(len(tokens)) if rows is None else rows
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        lengths = tokens.lengths[rows]
        plan = list(even_batches(lengths, TOKENS_PER_BATCH[self.device]))
        with _one_core_each(), ThreadPoolExecutor(threads if self.device == "cpu" else 1) as workers:
            results = workers.map(lambda places: self._encode_batch(tokens, rows[places]), plan)
            for places, encoded in zip(plan, results, strict=True):
                vectors[places] = encoded
                advance(int(lengths[places].sum()))
        return vectors

    @torch.inference_mode()
    def _encode_batch(self, tokens: Tokens, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        ids, mask = (torch.from_numpy(part) for part in tokens.padded(rows))
        if self.device != "cpu":
            ids = ids.pin_memory().to(self.model.device, non_blocking=True)
            mask = mask.to(self.model.device)
        vectors: torch.Tensor = self.head(self.model(input_ids=ids).last_hidden_state, mask, tokens.left_out)
        return vectors.cpu().numpy()


def batches(lengths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Yield batches of rows, longest first, each within `budget` tokens after padding."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        width = max(int(lengths[order[start]]), 1)
        end = start + max(budget // width, 1)
        yield order[start:end]
        start = end


def even_batches(lengths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Yield batches of rows of equal length, longest first, each within `budget` tokens."""
    order = np.argsort(-lengths, kind="stable")
    for equal in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        for batch in batches(lengths[equal], budget):
            yield equal[batch]


@contextlib.contextmanager
def _one_core_each() -> Iterator[None]:
    """Run every operation on the core of its thread; the process's own setting is restored afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
