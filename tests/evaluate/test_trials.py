"""Trials of tuning: what a job leaves, that a killed one leaves the same, and that one that diverges sinks nothing."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from builders import Bench, set_dev_aside
from negmark.evaluate import rate_grid
from negmark.evaluate import trials as stage_trials
from negmark.store.trials import Trials, read_trials
from negmark.train.step import train_until

RATES, SEEDS = [0.5, 1.0, 2.0], [1000, 1001]


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return set_dev_aside(Bench(tmp_path_factory.mktemp("bench")))


def spec_of(bench: Bench, method: str = "simans", **training) -> dict:
    spec = bench.spec(method, curve_every=12, curve_queries=100, **training)
    del spec["seed"]
    return spec


def tried(bench: Bench, folder: Path, spec: dict, rates: list[float] = RATES) -> Trials:
    """Run the first stage, as the rule calls it."""
    task = json.dumps({"spec": spec, "seeds": SEEDS, "rates": rates})
    output = folder / spec["row"] / "rates.json"
    pool = [f"dense={bench.pool}"]
    stage_trials.main(output, task, bench.dataset, bench.vectors, folder / "state", pool)
    return read_trials(output)


def values_tried(bench: Bench, folder: Path, spec: dict, values: list[dict]) -> Trials:
    """Run the stage of the grid, of one row, and the second stage."""
    rates, grid, output = folder / spec["row"] / "rates.json", folder / "grid.json", folder / "values.json"
    rate_grid.main([rates], grid)
    task = json.dumps({"spec": spec, "seeds": SEEDS, "values": values})
    stage_trials.main(
        output, task, bench.dataset, bench.vectors, folder / "state", [f"dense={bench.pool}"], "", None, 1, rates, grid
    )  # fmt: skip
    return read_trials(output)


def test_a_trial_scores_what_an_ordinary_run_does(bench, tmp_path):
    spec = spec_of(bench)
    found = tried(bench, tmp_path, spec)
    assert found.slice == "all", "of nine dev queries too few are unseen"
    assert [(one.factor, one.seed) for one in found.trials] == [
        (rate, seed) for rate in RATES for seed in SEEDS
    ]
    twice = {**spec["training"], "learning_rate": 0.02}
    run = bench.train(tmp_path / "run", {**spec, "training": twice, "seed": 1001})
    end = pd.read_parquet(run / "dev.parquet").iloc[-1]
    last = found.trials[-1]
    assert np.mean(last.values) == pytest.approx(end["nDCG@10"])
    assert (len(last.values), last.vectors) == (9, end["vectors"])
    assert {path.name for path in tmp_path.rglob("*") if path.is_file() and "run" not in path.parts} == {
        "rates.json"
    }, "no model, no ledger, and no state of a finished job"


def test_the_second_stage_tries_values_at_the_best_rate_and_what_the_grid_grew_by(bench, tmp_path):
    spec = spec_of(bench)
    first = tried(bench, tmp_path, spec)
    mean = {rate: np.mean([one.values for one in first.trials if one.factor == rate]) for rate in RATES}
    assert max(mean, key=mean.get) == 2.0, "at the edge: the grid grows by 4 and 8"
    found = values_tried(bench, tmp_path, spec, [{"a": 0.125}, {"a": 2.0}])
    assert json.loads((tmp_path / "grid.json").read_text()) == {
        "best": {"simans": 2.0},
        "rates": [0.5, 1.0, 2.0, 4.0, 8.0],
    }
    assert found.trials[: len(first.trials)] == first.trials
    rest = found.trials[len(first.trials) :]
    grew = [(one.factor, one.params) for one in rest[: 2 * len(SEEDS) : len(SEEDS)]]
    assert grew == [(4.0, {}), (8.0, {})]
    mean |= {
        rate: np.mean([one.values for one in rest if one.factor == rate and not one.params])
        for rate in (4.0, 8.0)
    }
    best = max(mean, key=mean.get)
    tail = rest[2 * len(SEEDS) :]
    assert [(one.factor, one.params["a"]) for one in tail] == [
        (best, 0.125), (best, 0.125), (best, 2.0), (best, 2.0)
    ]  # fmt: skip
    assert tail[0].values != tail[2].values


def test_a_killed_job_goes_on_and_leaves_what_an_unbroken_one_leaves(bench, tmp_path, monkeypatch):
    spec = spec_of(bench, checkpoint_steps=5)
    tried(bench, tmp_path / "unbroken", spec)
    calls = []

    def killed(run, steps, checkpoint, curve=None):
        calls.append(run.seed)
        if len(calls) == 4:  # in the middle of the fourth trial
            train_until(run, 7, checkpoint)
            checkpoint.save(run, 7)
            raise KeyboardInterrupt
        train_until(run, steps, checkpoint, curve)

    monkeypatch.setattr(stage_trials, "train_until", killed)
    with pytest.raises(KeyboardInterrupt):
        tried(bench, tmp_path / "killed", spec)
    assert not (tmp_path / "killed" / "simans" / "rates.json").exists()
    assert (tmp_path / "killed" / "state" / "running" / "step-000000007").is_dir()
    tried(bench, tmp_path / "killed", spec)
    assert calls == [*SEEDS, *SEEDS, SEEDS[1], *SEEDS], "three are not trained again"
    one, two = (tmp_path / name / "simans" / "rates.json" for name in ("unbroken", "killed"))
    assert one.read_bytes() == two.read_bytes()
    assert not list((tmp_path / "killed" / "state").iterdir())


def test_finished_trials_of_other_settings_are_not_taken(bench, tmp_path, monkeypatch):
    found = {}
    for name in ("first", "other"):
        state = stage_trials.Finished(tmp_path / "finished.json", {"steps": name})
        found[name] = state.find(stage_trials.Setting(1.0, {}), 0)
        state.add(stage_trials.Trial(factor=1.0, params={}, seed=0, values=[1.0]), writes=True)
    assert found == {"first": None, "other": None}
    again = stage_trials.Finished(tmp_path / "finished.json", {"steps": "other"})
    assert again.find(stage_trials.Setting(1.0, {}), 0) is not None


def test_a_trial_that_diverges_is_told_and_sinks_nothing(bench, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NEGMARK_LOG", str(tmp_path / "log"))
    spec = spec_of(bench, "inbatch", weight_decay=1e7)  # at a rate of 0.01 weights grow by 1e5 a step
    found = tried(bench, tmp_path, spec, [1e-7, 1.0])
    good, wild = found.trials[: len(SEEDS)], found.trials[len(SEEDS) :]
    assert all(one.values and not one.failure for one in good)
    assert all(not one.values and "lower the learning rate" in one.failure for one in wild)
    assert "inbatch: rate x 1: counts as worst: seed 1000: inbatch: " in capsys.readouterr().err
