"""Model folders are untrusted data: what is read of them, and how, so that nothing in them ever runs.

Weights come from safetensors, everything else from JSON. A pickle runs code when loaded, so none is ever opened: beside
safetensors it is ignored, instead of them it is refused. So are code in the folder (`auto_map`) and a module behind the
transformer that is unknown here, as the vectors would differ from what the folder means.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.core.files import read_json

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
MODULES, ADAPTER = "modules.json", "adapter_config.json"
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}
UNDERSTOOD = {"Transformer", "Pooling", "Normalize"}
"""Modules of a sentence-transformers folder that `negmark.encode.encoder` supports."""
SAFELY: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
"""Without the first, transformers asks on the terminal whether to run a folder's code."""


def check_model(folder: Path, shown: str) -> None:
    """Raise `UserError` with the reason if a folder can't be read purely as data; `shown` starts the message."""
    for file in (CONFIG, WEIGHTS, TOKENIZER):
        if not (folder / file).is_file():
            raise UserError(f"{shown} has no {file}; {_why_not(folder, file)}")
    if (folder / ADAPTER).is_file():
        raise UserError(f"{shown} has an {ADAPTER}: merge the adapter into its model and save that")
    for name in (CONFIG, "tokenizer_config.json"):
        content = read_json(folder / name) if (folder / name).is_file() else {}
        if not isinstance(content, dict):
            raise UserError(f"{folder / name}: expected a JSON object; get the model again")
        if "auto_map" in content:
            raise UserError(
                f"{shown} brings code of its own (auto_map in {name}), which negmark never runs; take a model whose "
                "type transformers knows"
            )
    steps = read_json(folder / MODULES) if (folder / MODULES).is_file() else []
    for kind in _module_types(steps, folder):
        package, _, name = kind.rpartition(".")
        if package.partition(".")[0] != "sentence_transformers":
            raise UserError(f"{shown} brings code of its own ({kind} in {MODULES}), which negmark never runs")
        if name not in UNDERSTOOD:
            raise UserError(
                f"{shown} has a {name} in {MODULES}, which is not understood; only {', '.join(sorted(UNDERSTOOD))} are"
            )


def hush_transformers() -> None:
    """Silence transformers' progress bars and its notes on unused layers, such as a pooler."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def open_network(kind: Any, folder: Path, **options: Any) -> Any:
    """Load a folder's weights as a transformers class (such as `AutoModel`), in evaluation mode.

    Raises `UserError` if they can't be read or lack a part of the network, which would then be random; except for
    poolers and heads, which are random or unused on purpose.
    """
    with _quietly(folder):
        network, info = kind.from_pretrained(
            folder, **SAFELY, use_safetensors=True, output_loading_info=True, **options
        )
    prefix = network.base_model_prefix
    body = (
        f"{prefix}." if hasattr(network, prefix) else ""
    )  # a network with a head holds its body under that name
    missing = [name for name in info["missing_keys"] if name.startswith(body) and "pooler." not in name]
    if missing:
        raise UserError(
            f"{folder / WEIGHTS}: lacks {len(missing)} weights of the network in {CONFIG}, {min(missing)} for one; "
            "get the model again"
        )
    return network


def open_config(folder: Path, **options: Any) -> Any:
    """Load a folder's config. Raises `UserError` if it can't be read."""
    import transformers

    with _quietly(folder):
        return transformers.AutoConfig.from_pretrained(folder, **SAFELY, **options)


def open_tokenizer(folder: Path) -> Any:
    """Load a folder's tokenizer. Raises `UserError` if it can't be read."""
    import transformers

    with _quietly(folder):
        return transformers.AutoTokenizer.from_pretrained(folder, **SAFELY)


@contextlib.contextmanager
def _quietly(folder: Path) -> Iterator[None]:
    hush_transformers()
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # transformers, tokenizers and safetensors raise many kinds
        raise UserError(
            f"{folder}: no model can be read from it ({type(error).__name__}: {error}); get it again"
        ) from error


def _why_not(folder: Path, needed: str) -> str:
    """Return why what the folder has instead isn't accepted."""
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    pickles = [name for name in names if Path(name).suffix in PICKLES]
    if needed == WEIGHTS and pickles:
        return (
            f"{pickles[0]} is a pickle, which can run code when it is loaded: save the model as safetensors"
        )
    return "a model folder needs it (safetensors only)"


def _module_types(steps: Any, folder: Path) -> list[str]:
    """Return the module types listed in `modules.json`, in order."""
    try:
        return [str(step["type"]) for step in steps]
    except (TypeError, KeyError):
        raise UserError(
            f"{folder / MODULES}: expected a list of objects with a type; get the model again"
        ) from None
