"""Runs that are trained with the loss of another row's method, on their own negatives."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.methods.types import Step
from negmark.train.run import Run, set_up
from negmark.train.step import _example, one_step
from negmark.train.train import load_materials
from world import World


def lent(world: World, method: str, lender: str, **training: Any) -> Run:
    spec = {**world.spec(f"{method}/faithful", **training), "loss": {"method": lender, "params": {}}}
    return set_up(spec, load_materials(world.dataset, world.vectors, world.pools))


def star_loss(run: Run, example: Step) -> torch.Tensor:
    """The mean softplus over pairs of a query's positive and any document of the batch, in loops over the labels."""
    given = [] if example.negatives.ids is None else example.negatives.ids.ravel().tolist()
    queries, positives = example.batch.queries, example.batch.positives
    values = []
    for i, query in enumerate(queries.tolist()):
        own = example.batch.query_vectors[i]
        for document in [*positives.tolist(), *given]:
            if not run.services.is_positive(np.array([query]), np.array([[document]]))[0, 0]:
                vector = run.encoder.documents(np.array([document]))[0]
                values.append(
                    functional.softplus((own @ vector - own @ example.batch.positive_vectors[i]) / 0.05)
                )
    return torch.stack(values).mean()


@pytest.mark.parametrize("method", ["random", "inbatch"])
def test_a_baseline_under_the_loss_of_star(world: World, method: str) -> None:
    run = lent(world, method, "star", negatives=1)
    example = _example(run, 0)
    assert (example.negatives.ids is None) == (method == "inbatch")
    wanted = star_loss(run, example)
    assert run.objective.faithful_loss(example).item() == pytest.approx(wanted.item(), rel=1e-5)
    one_step(run, 0, keep_scores=False)
    assert run.history[0]["loss"] == pytest.approx(wanted.item(), rel=1e-5)


def test_a_baseline_under_the_loss_of_ance(world: World) -> None:
    run = lent(world, "random", "ance")
    example = _example(run, 0)
    one_step(run, 0, keep_scores=False)
    values = [
        functional.softplus((example.scores.negatives[i] - example.scores.positive[i]) / 0.05)
        for i in range(len(example.scores.positive))
    ]
    assert run.history[0]["loss"] == pytest.approx(torch.cat(values).mean().item(), rel=1e-5)


def test_it_draws_what_its_own_method_draws(world: World) -> None:
    under, plain = (_example(run, 0) for run in (lent(world, "random", "star"), world.run("random")))
    np.testing.assert_array_equal(under.negatives.ids, plain.negatives.ids)


def test_a_run_of_its_own_loss_has_one_method(world: World) -> None:
    run = world.run("star/faithful")
    assert run.objective is run.method


def test_the_towers_are_those_of_the_loss(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from negmark.methods.star import STAR

    monkeypatch.setattr(STAR, "trained_towers", lambda self: frozenset({"query"}))
    run = lent(world, "random", "star")
    assert run.encoder.trained == frozenset({"query"})


def test_a_checkpoint_knows_the_code_of_both(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from negmark.train import checkpoint

    seen: list[list[str]] = []
    monkeypatch.setattr(checkpoint, "sources_sha256", lambda files: seen.append(files) or "")
    for more in ({}, {"loss": {"method": "star", "params": {}}}):
        checkpoint.code_of({**world.spec("random"), **more})
    assert [any(file.endswith("star.py") for file in files) for files in seen] == [False, True]
