"""Stage train: one method and seed through the loop that all methods share."""

import importlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from typer import Argument, Option

from negmark.core import stage, tiers
from negmark.core.files import read_json, replacing, sha256_file, write_json
from negmark.core.provenance import environment, process_cost
from negmark.core.seeds import torch_seed
from negmark.methods import registry
from negmark.methods.base import NO_DOCUMENT, Batch, Ids, Method, Negatives, Scores, Step
from negmark.search.candidates import CandidatePool
from negmark.store import collection
from negmark.store.collection import write_table
from negmark.store.contents import seed_of
from negmark.store.labels import Labels
from negmark.store.ledger import VECTOR, Ledger
from negmark.train.checkpoint import Checkpoint
from negmark.train.clock import Clock
from negmark.train.contract import check_loss, check_negatives
from negmark.train.inputs import Materials, hidden_labels, load_materials
from negmark.train.services import TrainingServices
from negmark.train.tiers.protocol import TrainedEncoder

log = logging.getLogger(__name__)
MODEL, HISTORY, LEDGER, SCORES = "model.safetensors", "history.parquet", "negatives.parquet", "scores.parquet"
CURVE = "dev.parquet"


@dataclass
class Run:
    """Everything of one run that changes while it trains."""

    encoder: TrainedEncoder
    method: Method
    services: TrainingServices
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    labels: Labels
    seed: int
    batch_size: int
    temperature: float
    ledger: Ledger
    history: list[dict[str, float | None]]
    scores: list[tuple[int, str, NDArray[np.float32]]]
    clock: Clock
    accumulation: int = 1
    curve: list[dict[str, Any]] = field(default_factory=list)


def set_up(spec: Mapping[str, Any], materials: Materials, start: Path | None = None) -> Run:
    """Build a run from its spec: encoder, method, optimiser and labels, all at step 0.

    `start` is the model of another run to go on from.
    """
    training, seed = spec["training"], spec["seed"]
    row = spec.get(
        "drawn_as", spec["method"]
    )  # a row with other settings draws as the row that it is compared with
    torch.manual_seed(torch_seed(seed, "weights"))
    encoder = tiers.module("train", spec.get("tier", "adapter")).open_encoder(spec, materials)
    if start is not None:
        encoder.load(start)
    kind = registry.available()[spec["class"]]
    services = TrainingServices(
        encoder, materials.labels, materials.pools, row, seed, training["negatives"], training["temperature"],
        materials.teacher, spec.get("track", "controlled"), materials.graded,
        hidden_labels(materials) if kind.knows_hidden else None,
    )  # fmt: skip
    method = kind(kind.Params.model_validate(spec["params"]), services)
    encoder.freeze(method.trained_towers())
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    parameters = [*trained, *method.extra_modules().parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=training["learning_rate"], weight_decay=training["weight_decay"]
    )
    optimizer = encoder.prepared(optimizer)
    accumulation = training.get("accumulation", 1)
    moves = max(training["steps"] // accumulation, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda move: rate_factor(move, moves, training["warmup"])
    )
    return Run(
        encoder, method, services, optimizer, schedule, materials.labels, seed, training["batch_size"],
        1.0 if encoder.pairs else training["temperature"], Ledger(), [], [], Clock(), accumulation,
    )  # fmt: skip


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Return the share of the peak learning rate at a step: a linear rise, then a linear fall towards zero."""
    rise = max(round(steps * warmup), 1)
    if step < rise:
        return (step + 1) / rise
    return max((steps - step) / max(steps - rise, 1), 0.0)


def one_step(run: Run, step: int, keep_scores: bool) -> None:
    """Run one optimiser step and record it. Raises `DivergedError` if the loss is no finite number."""
    run.encoder.begin(run.seed, step)
    with run.clock.own():
        run.method.refresh(step)
    example = _example(run, step)
    with run.clock.own():
        faithful = run.services.track == "faithful"
        loss = run.method.faithful_loss(example) if faithful else run.method.loss(example)
    check_loss(loss, step, run.method)
    with run.clock.own():
        run.method.observe(example)
    if step % run.accumulation == 0:
        run.optimizer.zero_grad(set_to_none=True)
    run.encoder.backward(loss / run.accumulation)
    moves = (step + 1) % run.accumulation == 0
    if moves:
        run.optimizer.step()
        run.encoder.stepped()
        run.services.counters.optimizer_steps += 1
    _record(run, example, loss.item(), keep_scores)
    if moves:
        run.schedule.step()


class Curve(Protocol):
    """Adds a point to a run's curve on the dev split, outside its cost."""

    def take_if_due(self, run: Run, step: int) -> None:
        """Evaluate the run after `step` steps if a point is due."""


def train(run: Run, steps: int, checkpoint: Checkpoint, curve: Curve | None = None) -> None:
    """Take all steps, from the checkpoint if there is one, and leave a checkpoint now and then."""
    first = checkpoint.restore(run)
    run.clock.start()
    if curve and not first:
        curve.take_if_due(run, 0)
    for step in stage.progress(range(first, steps), f"{run.method.name}, seed {run.seed}"):
        one_step(run, step, keep_scores=step in (0, steps - 1))
        if curve:
            curve.take_if_due(run, step + 1)
        checkpoint.save_if_due(run, step + 1, steps)
    run.clock.stop()


def main(
    models: Annotated[list[Path], Argument(help="the model to write for each seed, as <row>/seed-N/<file>")],
    spec: Annotated[str, Option(help="the runs as JSON: method, parameters, training")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    vectors: Annotated[Path, Option(help="folder of the embeddings")],
    state: Annotated[Path, Option(help="where checkpoints are kept while a run lasts")],
    pool: Annotated[list[str] | None, Option(help="a pool as kind=file; may be repeated")] = None,
    start: Annotated[str, Option(help="models to start from, one a seed, spaces between")] = "",
    teacher: Annotated[Path | None, Option(help="folder of the teacher's embeddings")] = None,
    threads: Annotated[int, Option(help="threads of torch")] = 1,
) -> None:
    """Train one method with one or several seeds and write model, history, ledger and manifest of each."""
    torch.set_num_threads(threads)
    files = dict(entry.split("=", 1) for entry in pool or [])
    with process_cost() as loading:
        pools = {kind: CandidatePool(Path(file)) for kind, file in files.items()}
        materials = load_materials(dataset, vectors, pools, teacher)
    data = {
        "dataset": read_json(dataset / "card.json"),
        "vectors": _vectors_key(vectors),
        "teacher": _vectors_key(teacher) if teacher else None,
    }
    curve = _curve(dataset, json.loads(spec)["training"])
    folders = [model.parent for model in models]
    starts: list[Path | None] = [Path(model) for model in start.split()]
    checkpoints = []
    for folder, model in zip(folders, starts or [None] * len(folders), strict=True):
        facts = {**json.loads(spec), "seed": seed_of(folder)}
        about = {"run": facts, "data": {**data, "start": sha256_file(model) if model else None}}
        with process_cost() as preparation:
            run = set_up(facts, materials, model)
        steps, every = facts["training"]["steps"], facts["training"]["checkpoint_steps"]
        checkpoint = Checkpoint(state / folder.name, {**facts, "data": about["data"], "pools": files}, every)
        with process_cost() as training:
            train(run, steps, checkpoint, curve)
        if not run.encoder.writes:
            continue
        if folder != folders[-1]:  # Snakemake drops all outputs of a job that is killed at a later seed
            checkpoint.save(run, steps)
        cost = {
            "loading": {**loading.as_dict(), "runs": len(folders)},
            "preparation": preparation.as_dict(),
            "peak_mebibytes": training.as_dict()["peak_mebibytes"],
            **run.clock.as_dict(),
            "joules": run.clock.joules,
        }
        _write(run, folder, {**about, "cost": cost, "resumed_at": checkpoint.resumed_at})
        checkpoints.append(checkpoint)
    for checkpoint in checkpoints:
        checkpoint.clear()


def _curve(dataset: Path, training: dict[str, Any]) -> Curve | None:
    """Return what evaluates runs while they train, None where no curve is asked for."""
    found: Curve | None = None
    if training.get("curve_every"):
        found = importlib.import_module(tiers.CURVE).Curve(dataset, training)
    return found


def _vectors_key(vectors: Path) -> str:
    return read_json(vectors / "embeddings.json")["key"]


def _example(run: Run, step: int) -> Step:
    queries, positives = run.labels.batch(run.seed, step, run.batch_size)
    batch = run.encoder.batch(step, queries, positives)
    with run.clock.own():
        negatives = run.method.negatives(batch)
    check_negatives(negatives, batch, run.method)
    found = run.encoder.similarities(batch, negatives)
    used = _used(negatives, len(queries))
    _count(run, batch, negatives)
    labelled = run.labels.is_positive(queries, positives[None].repeat(len(queries), 0))
    allowed = torch.from_numpy(~labelled & (not run.encoder.pairs))
    if negatives.in_batch is not None:
        allowed = allowed & negatives.in_batch
    scores = Scores(
        positive=found.positive,
        in_batch=found.in_batch,
        in_batch_mask=allowed,
        negatives=found.negatives,
        negatives_mask=used,
        weights=negatives.weights,
    )
    return Step(batch, negatives, found.negative_vectors, scores, run.temperature)


def _used(negatives: Negatives, size: int) -> torch.Tensor:
    """Return the mask [B, M + V] of places in use."""
    used = torch.empty(size, 0, dtype=torch.bool)
    if negatives.ids is not None:
        used = torch.from_numpy(negatives.ids != NO_DOCUMENT)
    if negatives.vectors is not None:
        used = torch.cat([used, torch.ones(negatives.vectors.shape[:2], dtype=torch.bool)], dim=1)
    return used


def _count(run: Run, batch: Batch, negatives: Negatives) -> None:
    """Count the batch and its negatives as vectors or as pairs."""
    counters = run.services.counters
    given = 0 if negatives.ids is None else int((negatives.ids != NO_DOCUMENT).sum())
    if run.encoder.pairs:
        counters.pairs += len(batch.positives) + given
        return
    counters.query_vectors += len(batch.queries)
    counters.document_vectors += len(batch.positives) + given


def _record(run: Run, example: Step, loss: float, keep_scores: bool) -> None:
    scores, step = example.scores, example.batch.step
    given = scores.negatives.detach()[scores.negatives_mask]
    in_batch = scores.in_batch.detach()[scores.in_batch_mask]
    positive = scores.positive.detach()
    row: dict[str, float | None] = {
        "step": step,
        "loss": loss,
        "learning_rate": float(run.schedule.get_last_lr()[0]),
        "positive_score": positive.mean().item(),
        "in_batch_score": in_batch.mean().item() if len(in_batch) else None,
        "negative_score": given.mean().item() if len(given) else None,
        "negative_score_max": given.max().item() if len(given) else None,
    }
    _append(run.history, row, run.method)
    _enter(run.ledger, example, run.method.name)
    if keep_scores:
        run.scores += [(step, "positive", positive.numpy()), (step, "in_batch", in_batch.numpy())]
        run.scores.append((step, "negative", given.numpy()))


def _append(history: list[dict[str, float | None]], row: dict[str, float | None], method: Method) -> None:
    """Add a row and the method's telemetry; all rows keep the same columns, None where a step has no number."""
    own = {name: float(value) for name, value in method.telemetry().items()}
    if taken := sorted(own.keys() & row.keys()):
        raise ValueError(
            f"{method.name}: telemetry may not be named {taken[0]!r}, as a column of the loop is"
        )
    columns = dict.fromkeys([*(history[0] if history else row), *own])
    if history and len(columns) > len(history[0]):
        for earlier in history:
            earlier.update({name: earlier.get(name) for name in columns})
    history.append({name: ({**row, **own}).get(name) for name in columns})


def _enter(ledger: Ledger, example: Step, name: str) -> None:
    scores, negatives = example.scores, example.negatives
    size, count = scores.negatives.shape
    documents: Ids = np.full((size, count), VECTOR, dtype=np.int64)
    if negatives.ids is not None:
        documents[:, : negatives.ids.shape[1]] = negatives.ids
    weights = torch.ones(size, count) if scores.weights is None else scores.weights.detach()
    ledger.add(
        example.batch.step,
        example.batch.queries,
        documents,
        scores.negatives.detach().numpy(),
        weights.numpy(),
        scores.negatives_mask.numpy(),
        negatives.source or name,
    )


def _write(run: Run, folder: Path, manifest: Mapping[str, Any]) -> None:
    weights = {name: value.detach().contiguous() for name, value in run.encoder.weights().items()}
    with replacing(folder / MODEL) as partial:
        save_file(weights, partial)
    write_table(folder / HISTORY, collection.columns(run.history))
    run.ledger.write(folder / LEDGER)
    # an empty table where no curve was asked for: the files of a run are the same in every suite
    write_table(folder / CURVE, collection.columns(run.curve) if run.curve else {"step": []})
    write_table(
        folder / SCORES,
        {
            "step": np.concatenate([np.full(len(values), step, np.int32) for step, _, values in run.scores]),
            "kind": [kind for _, kind, values in run.scores for _ in values],
            "score": np.concatenate([values for _, _, values in run.scores]).astype(np.float32),
        },
    )
    ledger = {"negatives": len(run.ledger), "bytes": (folder / LEDGER).stat().st_size}
    counters = run.services.counters.as_dict()
    write_json(
        folder / "manifest.json", {**manifest, "counters": counters, "ledger": ledger, **environment()}
    )


if __name__ == "__main__":
    stage.command(main)
