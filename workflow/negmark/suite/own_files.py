"""The files that a suite names by their path: a dataset of the user's own, an encoder that lies in a folder.

They are inputs of the jobs that read them, so that results are made anew after an edit. Snakemake compares times, and
a copy may be newer than what it replaces but carry an older time, so the jobs are told the sizes too.

What is found by a name, in the folders of NEGMARK_DATA and NEGMARK_MODELS or on the hub, is left out: where it lies
changes no result.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from negmark.core.folders import expanded, is_folder
from negmark.data.catalogue import known_datasets
from negmark.data.elsewhere import HUB, prefix_of
from negmark.data.marco_qa import files_of
from negmark.data.records import files_of_collection

OF_A_MODEL = (".safetensors", ".json", ".txt", ".model")
"""Endings of the files that make a model."""


def of_dataset(source: str) -> list[str]:
    """Return the files of a dataset whose source is a path; none of one that is known by name."""
    if source in known_datasets():
        return []
    if prefix := prefix_of(source):
        copy = expanded(source.removeprefix(prefix))
        return _named(copy.rglob("*.*")) if prefix == HUB and is_folder(copy) else []
    place = expanded(source)
    files = files_of_collection(place) or files_of(place) if is_folder(place) else [place]
    return _named(files)


def of_model(name: str | None) -> list[str]:
    """Return the files of a model whose name is the path of a folder: those in it and one folder down."""
    if name is None or not is_folder(folder := expanded(name)):
        return []
    return _named(file for level in ("*", "*/*") for file in folder.glob(level) if file.suffix in OF_A_MODEL)


def inputs(files: Iterable[str]) -> list[str]:
    """Return the files that can be inputs: Snakemake takes a brace in a path for a wildcard, and knows no escape."""
    return [file for file in files if "{" not in file]


def sizes(files: Iterable[str]) -> str:
    """Return the sizes of files in bytes, in their order; with the time of one that can't be an input."""
    states = [(Path(file).stat(), "{" in file) for file in files if Path(file).is_file()]
    return " ".join(
        f"{found.st_size}@{found.st_mtime_ns}" if alone else str(found.st_size) for found, alone in states
    )


def _named(files: Iterable[Path]) -> list[str]:
    """Return paths in order, without the `./` that Snakemake warns of."""
    return sorted(os.path.normpath(file) for file in files)
