"""Stage trials: train what one stage of a row's tuning tries, all its trials and seeds in one process.

Everything up to training is loaded once. A trial leaves only its scores on the dev queries: no model, no ledger. The
test split is not read. Without `--grid` the rates of the suite are tried; with it, what the grid has grown by, and
then every value of the parameter at the best rate. Finished trials are kept beside the results until all are, so a
killed job goes on, and leaves what an unbroken one leaves.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from typer import Option

from negmark.core import stage
from negmark.core.errors import UnwritableError, UserError
from negmark.core.files import read_json, sha256_file, short_hash, write_json
from negmark.evaluate.choice import Setting, best_rate
from negmark.evaluate.dev_curve import Curve, vectors_of
from negmark.store.pool import CandidatePool
from negmark.store.trials import Trial, Trials, read_trials, write_trials
from negmark.suite.tuning import rate_of
from negmark.train.checkpoint import Checkpoint, code_of
from negmark.train.inputs import Materials, judgments_of, load_materials, models_of, origins, taught
from negmark.train.run import Run, set_up
from negmark.train.step import train_until

MODULE = "negmark.evaluate.trials"


class Finished:
    """The finished trials of a job, kept until it has written its output; those of other settings or code are not."""

    def __init__(self, path: Path, decides: Mapping[str, Any]) -> None:
        self._path, self._key = path, short_hash(decides)
        kept = read_json(path) if path.is_file() else {}
        mine = kept.get("trials", []) if kept.get("key") == self._key else []
        self._trials = [Trial.model_validate(trial) for trial in mine]

    def find(self, setting: Setting, seed: int) -> Trial | None:
        """Return a trial if it is finished."""
        wanted = (*setting, seed)
        return next((one for one in self._trials if (one.factor, one.params, one.seed) == wanted), None)

    def add(self, trial: Trial, writes: bool) -> None:
        """Keep a trial; of several processes, one writes."""
        self._trials.append(trial)
        if writes:
            kept = [one.model_dump(mode="json") for one in self._trials]
            write_json(self._path, {"key": self._key, "trials": kept})

    def clear(self) -> None:
        """Forget them: the output is written."""
        self._path.unlink(missing_ok=True)


class Workbench:
    """A row's spec and all that its trials share."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        starts: Mapping[int, Path | None],
        teachers: Mapping[int, Path | None],
        materials: Materials,
        state: Path,
        decides: Mapping[str, Any],
        judgments: Mapping[int, Path | None],
    ) -> None:
        """`starts` are the models to start from, by trial seed, `teachers` those that teach, `judgments` their scores.

        `decides` is what decides beside the spec.
        """
        self._spec, self._starts, self._materials, self._state = spec, starts, materials, state
        self._teachers, self._judgments = teachers, judgments
        self._decides = {**decides, "start": {seed: _hash(model) for seed, model in starts.items()}}
        if any(teachers.values()):
            self._decides["teachers"] = {seed: _hash(model) for seed, model in teachers.items()}
        if any(judgments.values()):
            self._decides["judgments"] = {seed: _hash(file) for seed, file in judgments.items()}
        self._curve = Curve(materials.dataset, spec["training"])
        self._slice, self._deciding = self._curve.deciding()
        code = code_of(spec, MODULE)
        self._finished = Finished(state / "finished.json", {**self._decides, "spec": spec, "code": code})

    def tried(self, settings: Sequence[Setting]) -> list[Trial]:
        """Return the trials of settings with all seeds; those that are finished are not trained again."""
        trials = []
        for setting in settings:
            mine = [self._finished.find(setting, seed) or self._train(setting, seed) for seed in self._starts]
            stage.say(f"{self._spec['row']}: {described(setting)}: {outcome(mine)}")
            trials += mine
        return trials

    def write(self, output: Path, trials: list[Trial]) -> None:
        """Write the trials of the stage, whole, and forget what was kept for a job that is killed."""
        write_trials(output, Trials(slice=self._slice, trials=trials))
        self._finished.clear()

    def _train(self, setting: Setting, seed: int) -> Trial:
        """Train a trial to its end. One that diverges, or can't run with its settings, says so and has no scores."""
        training = self._spec["training"]
        spec = {
            **self._spec,
            "params": {**self._spec["params"], **setting.params},
            "training": {**training, "learning_rate": rate_of(training["learning_rate"], setting.factor)},
            "seed": seed,
        }
        decides = {**spec, **self._decides}
        checkpoint = Checkpoint(self._state / "running", decides, training["checkpoint_steps"])
        run: Run | None = None
        try:
            self._materials = taught(self._materials, self._judgments[seed])
            run = set_up(spec, self._materials, self._starts[seed], self._teachers[seed])
            train_until(run, training["steps"], checkpoint)
            trial = self._measured(run, setting, seed)
        except UnwritableError:
            raise
        except UserError as error:
            trial = Trial(**setting._asdict(), seed=seed, failure=str(error))
        writes = run is None or run.encoder.writes
        self._finished.add(trial, writes)
        if writes:
            checkpoint.clear()
        return trial

    def _measured(self, run: Run, setting: Setting, seed: int) -> Trial:
        """Return a trained trial with its scores on the dev queries that decide."""
        return Trial(
            **setting._asdict(),
            seed=seed,
            values=self._curve.values(run)[self._deciding].tolist(),
            vectors=vectors_of(run),
            searches=run.services.counters.searches,
        )


def described(setting: Setting) -> str:
    """Return a setting in words: `rate x 0.32, margin 0.05`."""
    return ", ".join(
        [f"rate x {setting.factor:.3g}", *(f"{key} {value}" for key, value in setting.params.items())]
    )


def outcome(trials: Sequence[Trial]) -> str:
    """Return in words what came of a setting: its mean over seeds, or why one of them has none."""
    if failed := next((trial for trial in trials if trial.failure), None):
        return f"counts as worst: seed {failed.seed}: {failed.failure}"
    return f"{np.mean([trial.values for trial in trials]):.4f}"


def _hash(model: Path | None) -> str | None:
    return sha256_file(model) if model else None


def main(
    output: Annotated[Path, Option(help="the JSON file of trials to write")],
    task: Annotated[str, Option(help="what is tried, as JSON: spec, seeds, and rates or values")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    vectors: Annotated[Path, Option(help="folder of the embeddings")],
    state: Annotated[Path, Option(help="where finished trials are kept until all are")],
    pool: Annotated[list[str] | None, Option(help="a pool as kind=file; may be repeated")] = None,
    start: Annotated[str, Option(help="models to start from, one a seed, spaces between")] = "",
    teacher: Annotated[Path | None, Option(help="folder of the teacher's embeddings")] = None,
    threads: Annotated[int, Option(help="threads of torch")] = 1,
    rates: Annotated[Path | None, Option(help="trials of the first stage")] = None,
    grid: Annotated[Path | None, Option(help="the factors that all rows try")] = None,
    teachers: Annotated[str, Option(help="models that teach, one a seed, spaces between")] = "",
    judgments: Annotated[
        str, Option(help="scores by the cross-encoder that teaches, a file or one a seed")
    ] = "",
    auxiliary: Annotated[
        list[Path] | None, Option(help="a table of texts beside the corpus; may be repeated")
    ] = None,
) -> None:
    """Train the trials of one row."""
    torch.set_num_threads(threads)
    asked = json.loads(task)
    files = dict(entry.split("=", 1) for entry in pool or [])
    pools = {kind: CandidatePool(Path(file)) for kind, file in files.items()}
    seeds = asked["seeds"]
    starts, taught_by = (
        dict(zip(seeds, models_of(option, len(seeds)), strict=True)) for option in (start, teachers)
    )
    judged = dict(zip(seeds, judgments_of(judgments, len(seeds)), strict=True))
    materials = load_materials(dataset, vectors, pools, teacher, auxiliary=auxiliary or ())
    decides = {"data": origins(dataset, vectors, teacher, auxiliary or ()), "pools": files}
    bench = Workbench(asked["spec"], starts, taught_by, materials, state, decides, judged)
    if rates is None or grid is None:
        bench.write(output, bench.tried([Setting(factor, {}) for factor in asked["rates"]]))
        return
    trials = read_trials(rates).trials
    known = {trial.factor for trial in trials}
    trials += bench.tried([Setting(factor, {}) for factor in read_json(grid)["rates"] if factor not in known])
    rate = best_rate(trials, asked["spec"]["row"])
    bench.write(output, [*trials, *bench.tried([Setting(rate, params) for params in asked["values"]])])


if __name__ == "__main__":
    stage.command(main)
