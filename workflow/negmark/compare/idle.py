"""Which rows never acted: their runs trained on what another row's rule gives, so they say nothing of their method."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negmark.core.files import read_json
from negmark.store.contents import Contents
from negmark.store.run import idle_of

Idle = Mapping[tuple[str, str], str]
"""Why a row's own rule never acted, by dataset and row; only where it did in no run."""


def read_idle(contents: Contents, root: Path = Path()) -> Idle:
    """Read from the manifests below `root` which rows never acted; a dataset that is only evaluated has its home's."""
    by_home = {home: _of_rows(contents, home, root) for home in contents.trained()}
    return {
        (dataset, row): reason
        for dataset in contents.cards
        for row, reason in by_home[contents.homes.get(dataset, dataset)].items()
    }


def _of_rows(contents: Contents, home: str, root: Path) -> dict[str, str]:
    runs: dict[str, list[dict[str, Any]]] = {}
    for folder in contents.runs(home):
        runs.setdefault(folder.parent.name, []).append(read_json(root / folder / "manifest.json"))
    return {row: reason for row, manifests in runs.items() if (reason := idle_of(manifests))}
