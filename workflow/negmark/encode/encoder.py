"""Token ids to vectors with a transformer: sorted by length, in batches of texts that are equally long.

Equal lengths leave nothing to pad and nothing to mask, so company doesn't touch a vector but for rounding.
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

from negmark.core.files import canonical, sha256_file
from negmark.encode.device import device, keep_freed_memory
from negmark.encode.model_files import CONFIG, WEIGHTS, open_network
from negmark.encode.pretrained import config_content, pooling
from negmark.encode.tokens import Tokens

VERSION = 2
"""Part of the key of cached vectors: to be raised when a change here changes their bytes."""
TOKENS_PER_BATCH = {"cpu": 512, "cuda": 32768}
"""By device. A core's products are as fast with 512 tokens as with more, and their results fit into its cache; a card
wants more to be busy."""
ATTENTION = {"cpu": "eager", "cuda": "sdpa"}
"""By device. Where nothing is masked, two products and a softmax are no slower on a core than PyTorch's kernel."""


def vectors_key(
    model: Path, tokens: str, dtype: str, similarity: str = "cosine", output: str = "float32"
) -> str:
    """Return a SHA-256 of all that decides the bytes of a side's vectors, and of nothing else: no name, no place.

    That is the weights, pooling, precisions, similarity, the key of the tokens (tokenizer, texts, length and
    prompt), and the code and the kind of device that compute.
    """
    parts: list[Any] = [VERSION, torch.__version__, transformers.__version__, device()]
    parts += [sha256_file(model / WEIGHTS), config_content(model / CONFIG), pooling(model)]
    parts += [dtype, similarity, output, tokens]
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


class Encoder:
    """A transformer with the pooling that its folder declares, mean pooling if none.

    With `normalize` vectors are of length 1, for cosine similarity; without they are as long as they come out.
    """

    def __init__(self, model: Path, dtype: str, normalize: bool = True) -> None:
        loaded = open_network(
            transformers.AutoModel,
            model,
            dtype=getattr(torch, dtype),
            attn_implementation=ATTENTION[device()],
        )
        self._take(loaded.to(device()), pooling(model), normalize)

    @classmethod
    def around(cls, model: Any, pooling: str, dtype: str = "float32", normalize: bool = True) -> "Encoder":
        """Return an encoder with the weights that a transformers model has now, on its device.

        The weights are copied, to `dtype`, so the model may be trained on and keeps its mode; make another
        encoder to follow it.
        """
        encoder = cls.__new__(cls)
        copied = copy.deepcopy(model).requires_grad_(False).to(getattr(torch, dtype))
        copied.set_attn_implementation(ATTENTION[model.device.type])
        encoder._take(copied, pooling, normalize)
        return encoder

    def _take(self, model: Any, pooling: str, normalize: bool) -> None:
        self.model, self.pooling, self._normalize = model.eval(), pooling, normalize
        self.device: str = model.device.type
        if self.device == "cpu":
            keep_freed_memory()

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self.model.config.hidden_size)

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
        """Return the vectors [R, D] of R rows of `tokens`, of all if left out.

        `advance` is told how many tokens each batch took.

        On a CPU each thread encodes batches of its own on one core. Threads that share the work of every
        operation wait for the slowest at each of them: beside one busy core that took three times as long.
        It also makes the vectors independent of the number of cores.
        """
        rows = np.arange(len(tokens)) if rows is None else rows
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        lengths = tokens.lengths[rows]
        plan = list(even_batches(lengths, TOKENS_PER_BATCH[self.device]))
        with _one_core_each(), ThreadPoolExecutor(threads if self.device == "cpu" else 1) as workers:
            jobs = workers.map(lambda places: self._encode_batch(tokens, rows[places]), plan)
            for places, found in zip(plan, jobs, strict=True):
                vectors[places] = found
                advance(int(lengths[places].sum()))
        return vectors

    @torch.inference_mode()
    def _encode_batch(self, tokens: Tokens, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        ids, within = (torch.from_numpy(part) for part in tokens.padded(rows))
        if self.device != "cpu":
            ids = ids.pin_memory().to(self.model.device, non_blocking=True)
            within = within.to(self.model.device)
        hidden = self.model(input_ids=ids).last_hidden_state.float()
        vectors = pool(hidden, within, self.pooling)
        return (torch.nn.functional.normalize(vectors, dim=1) if self._normalize else vectors).cpu().numpy()


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """Reduce hidden states [B, T, D] to [B, D]: `mean` over real tokens, the first (`cls`) or the `last` one."""
    if how == "cls":
        return hidden[:, 0]
    if how == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
    weights = mask.unsqueeze(2).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def batches(lengths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows, longest first, so many at a time that the padded batch stays within `budget` tokens."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        width = max(int(lengths[order[start]]), 1)
        end = start + max(budget // width, 1)
        yield order[start:end]
        start = end


def even_batches(lengths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows of equal length, longest first, so many at a time that a batch stays within `budget` tokens."""
    order = np.argsort(-lengths, kind="stable")
    for equal in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        for batch in batches(lengths[equal], budget):
            yield equal[batch]


@contextlib.contextmanager
def _one_core_each() -> Iterator[None]:
    """Let every operation run on the core of its thread, and give the process its own setting back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
