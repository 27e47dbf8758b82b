"""A config file as it is written: Snakemake reads it, but takes the last of two equal keys without a word."""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from negmark.core.errors import UserError

MERGE = "tag:yaml.org,2002:merge"
"""The key `<<`, which takes the keys of another mapping; those that stand beside it go before them."""


def refuse_repeated_keys(path: Path) -> None:
    """Raise `UserError` with the line where a key comes again in a mapping; as Snakemake, take JSON and YAML."""
    text = path.read_text(encoding="utf-8")
    try:
        json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, path))
    except ValueError:
        loader = _Loader(text)
        loader.path = path
        loader.get_single_data()


def _once(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    found = dict(pairs)
    for key in found if len(found) < len(pairs) else ():
        if [name for name, _ in pairs].count(key) > 1:
            raise UserError(f"{path}: {key}: this key stands there twice in one object; keep one of the two")
    return found


class _Loader(yaml.SafeLoader):
    """Reads plain values, as Snakemake does, and minds keys."""

    path: Path

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if key in lines:
                raise UserError(
                    f"{self.path}: line {line}: {key}: this key stands on line {lines[key]} already; "
                    "keep one of the two"
                )
            lines[key] = line
        return super().construct_mapping(node, deep)
