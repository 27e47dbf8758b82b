"""Imports the modules behind a run's tier by name.

The table of tiers is not imported here but looked up when it is needed: so it is no source of any run, and a new tier,
or a new word about an old one, re-runs nothing.
"""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any


def tier_module_name(stage: str, tier: str | None) -> str:
    """Return the module behind a stage, `train` or `evaluate`, of a tier; None is the tier of files that name none."""
    table = _table()
    return str(getattr(table.TIERS[tier or table.DEFAULT], stage))


def tier_module(stage: str, tier: str | None) -> ModuleType:
    """Import the module behind a stage of a tier."""
    return importlib.import_module(tier_module_name(stage, tier))


def curve_module() -> ModuleType:
    """Import what evaluates runs while they train."""
    return importlib.import_module(_table().CURVE)


def training_modules(spec: Mapping[str, Any]) -> list[str]:
    """Return the names of the modules behind the training of a run, by its spec: a curve's only where it has one."""
    curve = [_table().CURVE] if spec["training"].get("curve_every") else []
    return [tier_module_name("train", spec.get("tier")), *curve]


def _table() -> ModuleType:
    return importlib.import_module("negmark.core.tiers")
