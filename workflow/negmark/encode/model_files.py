"""Model folders are untrusted data: what is read of them, and how, so that nothing in them ever runs.

Weights come from safetensors, in one file or in several that an index names, everything else from JSON. A pickle runs
code when loaded, so none is ever opened: beside safetensors it is ignored, instead of them it is refused. So are code
in the folder (`auto_map`) and a module behind the transformer that is unknown here, as the vectors would differ from
what the folder means.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tokenizers import normalizers

from negmark.core.errors import UserError
from negmark.core.files import canonical, read_json, sha256_file

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
INDEX = f"{WEIGHTS}.index.json"
"""Names the files of weights that lie in several, and which has what."""
MODULES, ADAPTER = "modules.json", "adapter_config.json"
TRANSFORMER_SETTINGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Where sentence-transformers looks for the settings of its Transformer module; the first that is there counts."""
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}
UNDERSTOOD = {"Dense", "LayerNorm", "Normalize", "Pooling", "Transformer"}
"""Modules of a sentence-transformers folder that `negmark.encode.recipe` follows."""
SAFELY: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
"""Without the first, transformers asks on the terminal whether to run a folder's code."""


@dataclass(frozen=True)
class ModuleEntry:
    """A module of a sentence-transformers folder: its class without the package, and where its files lie."""

    kind: str
    path: Path


def read_modules(folder: Path, shown: str | None = None) -> list[ModuleEntry]:
    """Return the modules that `modules.json` lists, in order; none where there is no such file.

    Raises `UserError` if it can't be read, names code that isn't sentence-transformers' own, or a place outside the
    folder.
    """
    path = folder / MODULES
    if not path.is_file():
        return []
    try:
        steps = [(str(step["type"]), str(step.get("path", ""))) for step in read_json(path)]
    except (TypeError, KeyError, AttributeError):
        raise UserError(
            f"{path}: expected a list of objects with a type and a path; get the model again"
        ) from None
    for kind, place in steps:
        if kind.partition(".")[0] != "sentence_transformers" or "." not in kind:
            raise UserError(
                f"{shown or folder} brings code of its own ({kind} in {MODULES}), which negmark never runs"
            )
        if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise UserError(f"{path}: {place} lies outside the folder; get the model again")
    return [ModuleEntry(kind.rpartition(".")[2], folder / place) for kind, place in steps]


def transformer_folder(folder: Path) -> Path:
    """Return where the transformer of a model lies: the folder itself, unless `modules.json` names one in it."""
    return next((module.path for module in read_modules(folder) if module.kind == "Transformer"), folder)


def check_model(folder: Path, shown: str) -> None:
    """Raise `UserError` with the reason if a folder can't be read purely as data; `shown` starts the message."""
    modules = read_modules(folder, shown)
    inner = transformer_folder(folder)
    for file in (CONFIG, WEIGHTS, TOKENIZER):
        if not (inner / file).is_file() and not (file == WEIGHTS and (inner / INDEX).is_file()):
            raise UserError(f"{shown} has no {(inner / file).relative_to(folder)}; {_why_not(inner, file)}")
    if missing := [file.name for file in weight_files(folder) if not file.is_file()]:
        raise UserError(
            f"{shown} lacks {len(missing)} of the files that its {INDEX} names: {', '.join(missing)}; get them too"
        )
    if (inner / ADAPTER).is_file():
        raise UserError(f"{shown} has an {ADAPTER}: merge the adapter into its model and save that")
    for name in (CONFIG, "tokenizer_config.json"):
        content = read_json(inner / name) if (inner / name).is_file() else {}
        if not isinstance(content, dict):
            raise UserError(f"{inner / name}: expected a JSON object; get the model again")
        if "auto_map" in content:
            raise UserError(
                f"{shown} brings code of its own (auto_map in {name}), which negmark never runs; take a model whose "
                "type transformers knows"
            )
    for module in modules:
        if module.kind not in UNDERSTOOD:
            raise UserError(
                f"{shown} has a {module.kind} in {MODULES}, which is not understood; only "
                f"{', '.join(sorted(UNDERSTOOD))} are"
            )


def weight_files(folder: Path) -> list[Path]:
    """Return the files of a transformer's weights: one, or those that an index names, which may be missing.

    Raises `UserError` if the index can't be read or names something else than files beside it.
    """
    inner = transformer_folder(folder)
    if (inner / WEIGHTS).is_file() or not (inner / INDEX).is_file():
        return [inner / WEIGHTS]
    try:
        names = sorted({str(name) for name in read_json(inner / INDEX)["weight_map"].values()})
    except (TypeError, KeyError, AttributeError):
        raise UserError(f"{inner / INDEX}: expected a weight_map; get the model again") from None
    if wrong := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
        raise UserError(f"{inner / INDEX}: {wrong[0]} is no safetensors file beside it; get the model again")
    return [inner / name for name in names]


def weights_sha256(folder: Path) -> str:
    """Return a SHA-256 of a transformer's weights: of the file's bytes, or of those of all files together."""
    sums = [sha256_file(file) for file in weight_files(folder)]
    return sums[0] if len(sums) == 1 else hashlib.sha256(canonical(sums).encode()).hexdigest()


def transformer_settings(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return what sentence-transformers' Transformer module is told, and in which file; nothing without `modules.json`.

    Raises `UserError` if it isn't a JSON object.
    """
    inner = transformer_folder(folder)
    path = next((inner / name for name in TRANSFORMER_SETTINGS if (inner / name).is_file()), None)
    if path is None or not (folder / MODULES).is_file():
        return inner / TRANSFORMER_SETTINGS[0], {}
    if not isinstance(told := read_json(path), dict):
        raise UserError(f"{path}: expected a JSON object; get the model again")
    return path, told


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
    with reading(folder):
        network, info = kind.from_pretrained(
            transformer_folder(folder), **SAFELY, use_safetensors=True, output_loading_info=True, **options
        )
    prefix = network.base_model_prefix
    body = (
        f"{prefix}." if hasattr(network, prefix) else ""
    )  # a network with a head holds its body under that name
    missing = [name for name in info["missing_keys"] if name.startswith(body) and "pooler." not in name]
    if missing:
        raise UserError(
            f"{weight_files(folder)[0]}: lacks {len(missing)} weights of the network in {CONFIG}, {min(missing)} for "
            "one; get the model again"
        )
    return network


def open_config(folder: Path, **options: Any) -> Any:
    """Load a folder's config. Raises `UserError` if it can't be read."""
    import transformers

    with reading(folder):
        return transformers.AutoConfig.from_pretrained(transformer_folder(folder), **SAFELY, **options)


def open_tokenizer(folder: Path) -> Any:
    """Load a folder's tokenizer. Raises `UserError` if it can't be read."""
    import transformers

    with reading(folder):
        tokenizer = transformers.AutoTokenizer.from_pretrained(transformer_folder(folder), **SAFELY)
        if lowers(folder):
            inner = tokenizer.backend_tokenizer
            inner.normalizer = in_lower_case(inner.normalizer)
        return tokenizer


def lowers(folder: Path) -> bool:
    """Return whether sentence-transformers is told to put texts into lower case before they are cut."""
    return bool(transformer_settings(folder)[1].get("do_lower_case"))


def in_lower_case(normalizer: Any) -> Any:
    """Return a normalizer of tokenizers that puts texts into lower case, and then does what the given one does."""
    return normalizers.Sequence([normalizers.Lowercase(), *([normalizer] if normalizer else [])])


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep transformers quiet; what it raises becomes one line that names the folder."""
    hush_transformers()
    try:
        yield
    except (MemoryError, UserError):
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
