"""A run: everything that training changes, set up from a row's spec and a seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from negmark.core.errors import UserError
from negmark.core.seeds import torch_seed
from negmark.core.tier_modules import tier_module
from negmark.methods import registry
from negmark.methods.base import Method
from negmark.store.graph import Graph, read_graph
from negmark.store.labels import Labels
from negmark.store.ledger import Ledger
from negmark.store.sources import sources_of_queries
from negmark.train import matryoshka
from negmark.train.batches import Batches
from negmark.train.clock import Clock
from negmark.train.inputs import Materials, hidden_labels
from negmark.train.services import TrainingServices
from negmark.train.tiers.protocol import TrainedEncoder


@dataclass
class Run:
    """Everything of one run that changes while it trains."""

    encoder: TrainedEncoder
    method: Method
    """Whose negatives are trained with."""
    objective: Method
    """Whose loss is: that of the method itself, unless the row is trained with another row's."""
    services: TrainingServices
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    labels: Labels
    batches: Batches
    seed: int
    batch_size: int
    temperature: float
    accumulation: int = 1
    """Batches per optimiser step."""
    in_batch: bool = True
    """Are the other queries' positives negatives too?"""
    matryoshka: tuple[int, ...] = ()
    """Dimensions whose losses are added up; none for the loss of whole vectors."""
    relabels: bool = False
    """May the method change positives and queries?"""
    ledger: Ledger = field(default_factory=Ledger)
    history: list[dict[str, float | None]] = field(default_factory=list)
    """One row of telemetry per step."""
    scores: list[tuple[int, str, NDArray[np.float32]]] = field(default_factory=list)
    """Scores at some steps: the step, their kind, their values."""
    clock: Clock = field(default_factory=Clock)
    curve: list[dict[str, Any]] = field(default_factory=list)


def set_up(
    spec: Mapping[str, Any], materials: Materials, start: Path | None = None, teacher: Path | None = None
) -> Run:
    """Build a run from its spec: encoder, method, optimiser and labels, all at step 0.

    `start` is the model of another run to continue from, `teacher` that of the run which teaches this one.
    """
    training, seed = spec["training"], spec["seed"]
    # a copy of a row with other settings draws as the row it is compared with
    row = spec.get("drawn_as", spec["row"])
    teacher_model = _trained(spec, materials, teacher) if teacher is not None else None
    torch.manual_seed(torch_seed(seed, "weights"))
    encoder = tier_module("train", spec.get("tier")).open_encoder(spec, materials)
    if start is not None:
        encoder.load(start)
    method_class = registry.available()[spec["method"]]
    params = method_class.Params.model_validate(spec["params"])
    services = TrainingServices(
        encoder=encoder,
        labels=materials.labels,
        pools=materials.pools,
        row=row,
        seed=seed,
        negatives=training["negatives"],
        temperature=training["temperature"],
        teacher=materials.teacher,
        track=spec.get("track", "controlled"),
        graded=materials.graded,
        hidden=hidden_labels(materials) if method_class.knows_hidden else None,
        teacher_model=teacher_model,
        judgments=materials.judgments,
        steps=training["steps"],
        graph=_graph(spec, materials)
        if method_class.needs_graph(params, spec.get("track", "controlled"))
        else None,
        auxiliary=materials.auxiliary
        if method_class.needs_auxiliary(params, spec.get("track", "controlled"))
        else None,
        sources=sources_of_queries(materials.dataset) if _asks_sources(spec) else None,
    )
    method = method_class(params, services)
    objective = _other(spec["loss"], services) if "loss" in spec else method
    composer = _other(spec["composer"], services) if "composer" in spec else method
    encoder.freeze(objective.trained_towers())
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    parameters = [*trained, *method.extra_modules().parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=training["learning_rate"], weight_decay=training["weight_decay"]
    )
    optimizer = encoder.prepared(optimizer)
    accumulation = training.get("accumulation", 1)
    updates = max(training["steps"] // accumulation, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda update: rate_factor(update, updates, training["warmup"])
    )
    return Run(
        encoder=encoder,
        method=method,
        objective=objective,
        services=services,
        optimizer=optimizer,
        schedule=schedule,
        labels=materials.labels,
        batches=Batches(
            materials.labels, seed, training["batch_size"], training["steps"], composer, composer is method
        ),
        seed=seed,
        batch_size=training["batch_size"],
        temperature=1.0 if encoder.pairs else training["temperature"],  # logits of pairs are not scaled
        accumulation=accumulation,
        in_batch=training.get("in_batch", True),
        matryoshka=matryoshka.checked(training.get("matryoshka", []), materials.documents),
        relabels=method_class.relabels(params, spec.get("track", "controlled")),
    )


def _graph(spec: Mapping[str, Any], materials: Materials) -> Graph:
    """Return the relations between the documents. Raises `UserError` if there are none."""
    graph = read_graph(materials.dataset)
    if not any(related.nnz for related in graph.values()):
        raise UserError(
            f"methods.{spec['row']}: {spec['method']} needs relations between documents, and {materials.dataset.name} "
            "has none; add a graph.tsv to its folder, or remove the row"
        )
    return graph


def _asks_sources(spec: Mapping[str, Any]) -> bool:
    """Say whether the method of a run, or what puts its batches together, reads where queries are from."""
    return any(
        registry.available()[one["method"]].needs_sources for one in (spec, spec.get("composer")) if one
    )


def _other(lent: Mapping[str, Any], services: TrainingServices) -> Method:
    """Return the method whose loss, or whose batches, another row lends."""
    kind = registry.available()[lent["method"]]
    return kind(kind.Params.model_validate(lent["params"]), services)


def _trained(spec: Mapping[str, Any], materials: Materials, model: Path) -> TrainedEncoder:
    """Return another run's encoder, of the same tier, as it was at the end: it is only asked."""
    encoder: TrainedEncoder = tier_module("train", spec.get("tier")).open_encoder(spec, materials)
    encoder.load(model)
    return encoder


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Return the share of the peak learning rate at a step: a linear rise, then a linear fall towards zero."""
    rise = max(round(steps * warmup), 1)
    if step < rise:
        return (step + 1) / rise
    return max((steps - step) / max(steps - rise, 1), 0.0)
