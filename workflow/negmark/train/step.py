"""The training loop: what happens in one step, the same for every method."""

import contextlib
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch

from negmark.core import stage
from negmark.methods.base import Method
from negmark.methods.types import NO_DOCUMENT, Batch, Ids, Negatives, Scores, Step
from negmark.store.filled import EMPTY, IN_BATCH_COPIES, IN_BATCH_OWN, WITHOUT
from negmark.store.ledger import VECTOR, Ledger
from negmark.train import matryoshka
from negmark.train.checkpoint import Checkpoint
from negmark.train.contract import check_examples, check_loss, check_negatives, check_trained, check_weighed
from negmark.train.run import Run


def one_step(run: Run, step: int, keep_scores: bool) -> None:
    """Run one optimiser step and record it. Raises `DivergedError` if the loss is no finite number."""
    run.encoder.begin(run.seed, step)
    with run.clock.own():
        run.method.refresh(step)
    example = _example(run, step)
    with run.clock.own():
        loss = _loss(run, example)
    check_loss(loss, step, run.objective)
    with run.clock.own():
        run.method.observe(example)
    if step % run.accumulation == 0:
        run.optimizer.zero_grad(set_to_none=True)
    run.encoder.backward(loss / run.accumulation)
    moves = (step + 1) % run.accumulation == 0
    if moves:
        run.optimizer.step()
        run.encoder.stepped()
        with run.clock.own():
            run.services.follow()
        run.services.counters.optimizer_steps += 1
    _record(run, example, loss.item(), keep_scores)
    if moves:
        run.schedule.step()


class Curve(Protocol):
    """Adds a point to a run's curve on the dev split, outside its cost."""

    def take_if_due(self, run: Run, step: int) -> None:
        """Evaluate the run after `step` steps if a point is due."""


def train_until(run: Run, steps: int, checkpoint: Checkpoint, curve: Curve | None = None) -> None:
    """Take all steps, from the checkpoint if there is one, and save checkpoints on the way."""
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
    check_trained(run.encoder.parameters(), run.method)


def _example(run: Run, step: int) -> Step:
    queries, positives = _relabelled(run, step, *_pairs(run, step))
    batch = run.encoder.batch(step, queries, positives)
    with run.clock.own():
        negatives = run.method.negatives(batch)
    check_negatives(negatives, batch, run.method)
    similarities = run.encoder.similarities(batch, negatives)
    used = _used_places(negatives, len(queries))
    _count(run, batch, negatives)
    labelled = run.labels.is_positive(queries, positives) | (positives[:, None] == positives)
    allowed = torch.from_numpy(~labelled & (run.in_batch and not run.encoder.pairs))
    if negatives.in_batch is not None:
        allowed = allowed & negatives.in_batch
    scores = Scores(
        positive=similarities.positive,
        in_batch=similarities.in_batch,
        in_batch_mask=allowed,
        negatives=similarities.negatives,
        negatives_mask=used,
        weights=negatives.weights,
    )
    example = Step(batch, negatives, similarities.negative_vectors, scores, run.temperature)
    with run.clock.own():
        weighed = run.method.weighed(example)
    check_weighed(weighed, scores, run.method)
    return replace(example, scores=weighed)


def _pairs(run: Run, step: int) -> tuple[Ids, Ids]:
    """Return the queries and positives of a step; the time it takes is the method's own where that composes them."""
    with run.clock.own() if run.batches.composition else contextlib.nullcontext():
        return run.batches.taken(step)


def _loss(run: Run, example: Step) -> torch.Tensor:
    if run.matryoshka:  # of rows without a loss of their own
        return matryoshka.loss(run.objective, example, run.matryoshka)
    faithful = run.services.track == "faithful"
    return run.objective.faithful_loss(example) if faithful else run.objective.loss(example)


def _relabelled(run: Run, step: int, queries: Ids, positives: Ids) -> tuple[Ids, Ids]:
    """Return the queries and positives of a step as a method that relabels has them."""
    if not run.relabels:
        return queries, positives
    with run.clock.own():
        examples = run.method.examples(step, queries, positives)
    check_examples(examples, queries, run.method, run.labels.queries, run.labels.documents)
    return examples


def _used_places(negatives: Negatives, size: int) -> torch.Tensor:
    """Return the mask [B, M + V] of places in use."""
    used = torch.empty(size, 0, dtype=torch.bool)
    if negatives.ids is not None:
        used = torch.from_numpy(negatives.ids != NO_DOCUMENT)
    if negatives.vectors is not None:
        mask = negatives.vectors_mask
        own = torch.ones(negatives.vectors.shape[:2], dtype=torch.bool) if mask is None else mask
        used = torch.cat([used, own], dim=1)
    return used


def _count(run: Run, batch: Batch, negatives: Negatives) -> None:
    """Count the batch and its negatives as vectors or as pairs."""
    counters = run.services.counters
    documents = 0 if negatives.ids is None else int((negatives.ids != NO_DOCUMENT).sum())
    if run.encoder.pairs:
        counters.pairs += len(batch.positives) + documents
        return
    counters.query_vectors += len(batch.queries)
    counters.document_vectors += len(batch.positives) + documents


def _record(run: Run, example: Step, loss: float, keep_scores: bool) -> None:
    scores, step = example.scores, example.batch.step
    negative = scores.negatives.detach()[scores.negatives_mask]
    in_batch = scores.in_batch.detach()[scores.in_batch_mask]
    positive = scores.positive.detach()
    places = scores.negatives_mask
    row: dict[str, float | None] = {
        "step": step,
        "loss": loss,
        "learning_rate": float(run.schedule.get_last_lr()[0]),
        "positive_score": positive.mean().item(),
        "in_batch_score": in_batch.mean().item() if len(in_batch) else None,
        "negative_score": negative.mean().item() if len(negative) else None,
        "negative_score_max": negative.max().item() if len(negative) else None,
        "places": float(places.shape[1]),
        EMPTY: 1 - places.float().mean().item() if places.shape[1] else None,
        WITHOUT: 1 - places.any(dim=1).float().mean().item() if places.shape[1] else None,
        IN_BATCH_COPIES: float(run.labels.is_copy(example.batch.queries, example.batch.positives).sum()),
        IN_BATCH_OWN: float(run.labels.is_own(example.batch.queries, example.batch.positives).sum()),
    }
    _add_to_history(run.history, row, run.method)
    _add_to_ledger(run.ledger, example, run.method.name, run.relabels)
    if keep_scores:
        run.scores += [(step, "positive", positive.numpy()), (step, "in_batch", in_batch.numpy())]
        run.scores.append((step, "negative", negative.numpy()))


def _add_to_history(
    history: list[dict[str, float | None]], row: dict[str, float | None], method: Method
) -> None:
    """Add a row and the method's telemetry; all rows keep the same columns, None where a step has no number."""
    own = {name: float(value) for name, value in method.telemetry().items()}
    if clashes := sorted(own.keys() & row.keys()):
        raise ValueError(
            f"{method.name}: telemetry may not be named {clashes[0]!r}, as a column of the loop is"
        )
    columns = dict.fromkeys([*(history[0] if history else row), *own])
    if history and len(columns) > len(history[0]):
        for earlier in history:
            earlier.update({name: earlier.get(name) for name in columns})
    history.append({name: ({**row, **own}).get(name) for name in columns})


def _add_to_ledger(ledger: Ledger, example: Step, name: str, relabels: bool) -> None:
    scores, negatives = example.scores, example.negatives
    size, count = scores.negatives.shape
    documents: Ids = np.full((size, count), VECTOR, dtype=np.int64)
    if negatives.ids is not None:
        documents[:, : negatives.ids.shape[1]] = negatives.ids
    backfilled = np.zeros((size, count), dtype=np.bool_)
    if negatives.backfilled is not None:
        backfilled[:, : negatives.backfilled.shape[1]] = negatives.backfilled
    weights = torch.ones(size, count) if scores.weights is None else scores.weights.detach()
    ledger.add(
        example.batch.step,
        example.batch.queries,
        documents,
        scores.negatives.detach().numpy(),
        weights.numpy(),
        scores.negatives_mask.numpy(),
        backfilled,
        negatives.source or name,
        example.batch.positives if relabels else None,
    )
