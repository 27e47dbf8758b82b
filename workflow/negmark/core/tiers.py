"""The tiers by name, and the modules behind them: imported when a run is of that tier, so an edit of one tier's
files re-runs no other's."""

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

TRAIN = {tier: f"negmark.train.tiers.{tier}" for tier in ("adapter", "finetune", "rerank")}
"""Modules with `open_encoder(spec, materials)`, which returns a `tier.TrainedEncoder`."""
EVALUATE = {**TRAIN, "adapter": "negmark.train.tiers.adapter_maps"}
"""Modules with `trained_side(about, model, dataset, vectors, side, rows, threads)`, which gives the vectors [N, D] of
a side, of which only `rows` count, or all; with `searcher(about, model, dataset, first, place, threads)` instead where
the tier re-ranks what a searcher `first` finds."""
CURVE = "negmark.evaluate.dev_curve"
"""Module with `Curve(dataset, training)`, which evaluates runs on the dev split while they train."""
STAGES = {"train": TRAIN, "evaluate": EVALUATE}


def training_modules(spec: Mapping[str, Any]) -> list[str]:
    """Return the modules behind the training of a run, by its spec: curves alone depend on what evaluates."""
    return [TRAIN[spec.get("tier", "adapter")], *([CURVE] if spec["training"].get("curve_every") else [])]


def module(stage: str, tier: str) -> ModuleType:
    """Import what a stage needs for a tier."""
    return importlib.import_module(STAGES[stage][tier])


TIERS = {
    "adapter": "linear maps on the vectors of a frozen encoder are trained",
    "finetune": "the whole encoder is trained",
    "rerank": "a cross-encoder is trained, which re-ranks the top of a first stage",
}
"""What is trained in each tier, the cheapest first: the order in which they stand on a board."""


TRACKS = {"controlled": "only the negatives are the method's", "faithful": "the paper's own recipe"}
"""What a method may bring: rows of two tracks are never ranked together."""


def in_order(tiers: Sequence[str]) -> list[str]:
    """Return tiers once each, the cheapest first; one that isn't known here stands last, by name."""
    known = list(TIERS)
    return sorted(set(tiers), key=lambda tier: (known.index(tier) if tier in known else len(known), tier))
