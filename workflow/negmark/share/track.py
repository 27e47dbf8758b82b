"""Stage track: send the local results to Weights & Biases; they never depend on it.

One process sends the whole suite after it is done, so no run waits for W&B or fails with it. A receipt says what was
sent, what was not, and why. At W&B a group is a suite and dataset; its jobs are

- `train`, one per trained row and seed: training metrics over steps (`train/step` is their axis), histograms of the
  scores at the first and the last step, test metrics and costs as summary, the model as artifact if asked for;
- `evaluate`: what was evaluated but not trained here: zero-shot runs, baselines;
- `board`, one per suite, in a group of the suite's name: the board as table and as artifact.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
from typer import Option

from negmark.core import stage
from negmark.core.files import canonical, is_unwritable, read_json, write_json
from negmark.core.spreadsheet import read_table
from negmark.store.contents import Contents, read_contents

log = logging.getLogger(__name__)
FOLDER = Path("results")  # W&B makes its own folder `wandb` in it
STEP = "train/step"
PATIENCE = 3
"""Online runs that may fail in a row before the rest is given up: each waits for the network."""
BOARD_FILES = ("leaderboard.csv", "leaderboard.md", "leaderboard.html", "summary.txt", "manifest.json")


@dataclass(frozen=True)
class Job:
    """One run at W&B: its name and group, the config that identifies it, and the function that fills it."""

    name: str
    group: str
    kind: str
    config: dict[str, Any]
    fill: Callable[[Any], None]


def training(run: Path, settings: dict[str, Any]) -> Job:
    """Return the job of a trained run from its folder."""
    manifest, metrics = read_json(run / "manifest.json"), read_json(run / "metrics.json")

    def fill(tracked: Any) -> None:
        _log_steps(tracked, run, settings["every"])
        cost = {"train_seconds": manifest["cost"]["training"]["wall_seconds"], **manifest["counters"]}
        tracked.summary.update({**_test_values(metrics), **cost})
        if settings["models"]:
            name = "-".join(str(about[key]) for key in ("suite", "dataset", "row", "seed"))
            files = [run / "model.safetensors", run / "manifest.json"]
            _log_artifact(tracked, name, "model", files, policy="immutable")

    about = manifest["run"]
    return Job(_name(about), f"{about['suite']}/{about['dataset']}", "train", about, fill)


def evaluation(run: Path) -> Job:
    """Return the job of a folder that was evaluated but not trained."""
    metrics = read_json(run / "metrics.json")
    about = {key: value for key, value in metrics.items() if key not in ("slices", "status")}
    group = f"{about['suite']}/{about['dataset']}"
    return Job(
        _name(about), group, "evaluate", about, lambda tracked: tracked.summary.update(_test_values(metrics))
    )


def board(folder: Path, suite: str) -> Job:
    """Return the job of a suite's board from its folder."""
    frame = read_table(folder / "leaderboard.csv")

    def fill(tracked: Any) -> None:
        import wandb

        values = frame.astype(object).where(frame.notna(), None).to_numpy()
        tracked.log({"leaderboard": wandb.Table(columns=list(frame.columns), data=values)})
        files = [folder / name for name in BOARD_FILES if (folder / name).is_file()]
        _log_artifact(tracked, f"{suite}-board", "board", files, policy="mutable")

    return Job(f"board of {suite}", suite, "board", {"suite": suite, "job": "board"}, fill)


def send(make: Callable[[], Job], run: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Send one run. Returns its receipt: `sent`, seconds, and the folder if offline; or the reason. Never raises."""
    started = time.perf_counter()
    try:
        outcome: dict[str, Any] = {"sent": True, **_send(make(), settings)}
    except Exception as error:  # no W&B failure may stop a suite
        log.warning("%s: not sent to W&B: %s: %s", run, type(error).__name__, error)
        full = f"{FOLDER / 'wandb'}: the disk is full or read-only; make room or fix its permissions"
        reason = full if is_unwritable(error) else f"{type(error).__name__}: {error}"
        outcome = {"sent": False, "reason": reason}
    return {**outcome, "run": str(run), "seconds": round(time.perf_counter() - started, 3)}


def main(
    contents: Annotated[Path, Option(help="contents.json of the board")],
    settings: Annotated[str, Option(help="settings of the tracking, as JSON")],
    receipt: Annotated[Path, Option(help="where the receipt goes")],
    folder: Annotated[Path | None, Option(help="the board's folder, to send the board and no runs")] = None,
) -> None:
    """Send all runs of a suite, or its board, to Weights & Biases and write a receipt."""
    options = json.loads(settings)
    if options["mode"] == "disabled":
        write_json(receipt, {"mode": "disabled", "runs": []})
        return
    board_contents = read_contents(contents)
    jobs = (
        [(folder, lambda: board(folder, board_contents.suite))]
        if folder
        else list(_jobs(board_contents, options))
    )
    sent: list[dict[str, Any]] = []
    for run, make in stage.progress(jobs, "wandb"):
        sent.append(_skipped(run) if _is_hopeless(sent, options) else send(make, run, options))
    _close()
    write_json(receipt, {"mode": options["mode"], "runs": sent})
    _report(sent, options, receipt)


def _jobs(contents: Contents, options: dict[str, Any]) -> Iterator[tuple[Path, Callable[[], Job]]]:
    for run in contents.runs(*contents.trained()):
        yield run, lambda run=run: training(run, options)  # type: ignore[misc]
    for run in [*(contents.runs(*contents.homes) if contents.homes else []), *contents.baselines()]:
        yield run, lambda run=run: evaluation(run)  # type: ignore[misc]


def _is_hopeless(sent: list[dict[str, Any]], options: dict[str, Any]) -> bool:
    last = sent[-PATIENCE:]
    return options["mode"] == "online" and len(last) == PATIENCE and not any(entry["sent"] for entry in last)


def _skipped(run: Path) -> dict[str, Any]:
    return {"sent": False, "reason": "not tried, as those before failed", "run": str(run), "seconds": 0.0}


def _close() -> None:
    """Wait until W&B's own process has written everything: `finish` may return before that."""
    try:
        import wandb

        wandb.teardown()
    except Exception as error:
        log.warning("W&B couldn't be closed: %s: %s", type(error).__name__, error)


def _send(job: Job, settings: dict[str, Any]) -> dict[str, str]:
    """Send a job; returns its folder if it is to be uploaded later."""
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    # Files to upload later stay with the offline runs, not in a cache that the user may clean.
    os.environ.setdefault("WANDB_DATA_DIR", str((FOLDER / "wandb" / "data").resolve()))
    tracked = wandb.init(
        project=settings["project"],
        id=_run_id(job.config),
        name=job.name,
        group=job.group,
        job_type=job.kind,
        config=job.config,
        mode=settings["mode"],
        dir=str(FOLDER),
        resume="allow" if settings["mode"] == "online" else None,
        reinit="create_new",
        settings=wandb.Settings(
            console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True,
            x_disable_meta=True, x_save_requirements=False, init_timeout=30,
        ),
    )  # fmt: skip
    try:
        job.fill(tracked)
        return {"folder": os.path.relpath(Path(tracked.dir).parent)} if settings["mode"] == "offline" else {}
    finally:
        tracked.finish()


def _log_steps(tracked: Any, run: Path, every: int) -> None:
    """Log every n-th step and the last, and score histograms at the steps that have them.

    A step has its loss, learning rate and the hardness of its negatives as mean similarity, under `train/`.
    """
    import wandb

    tracked.define_metric(STEP, hidden=True)
    for names in ("train/*", "scores/*"):
        tracked.define_metric(names, step_metric=STEP)
    scores = _scores(run)
    rows = pq.read_table(run / "history.parquet").to_pylist()
    for row in rows:
        step = row.pop("step")
        if step % every == 0 or row is rows[-1] or step in scores:
            values = {f"train/{key}": value for key, value in row.items() if value is not None}
            histograms = {
                f"scores/{kind}": wandb.Histogram(part) for kind, part in scores.get(step, {}).items()
            }
            tracked.log({STEP: step, **values, **histograms})


def _scores(run: Path) -> dict[int, dict[str, Any]]:
    """Return the finite scores of a run by step and kind: positive, in_batch, negative."""
    frame = pq.read_table(run / "scores.parquet").to_pandas()
    scores: dict[int, dict[str, Any]] = {}
    for (step, kind), part in frame.groupby(["step", "kind"]):
        values = part["score"].to_numpy()
        if len(values := values[np.isfinite(values)]):
            scores.setdefault(int(step), {})[str(kind)] = values
    return scores


def _log_artifact(tracked: Any, name: str, kind: str, files: list[Path], policy: str) -> None:
    """Log files as an artifact; `immutable` ones are uploaded in place, `mutable` ones are copied first."""
    import wandb

    artifact = wandb.Artifact(name, type=kind)
    for file in files:
        artifact.add_file(str(file), policy=policy)  # type: ignore[arg-type]
    tracked.log_artifact(artifact)


def _test_values(metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        f"test/{name}/{metric}": value
        for name, slice_ in metrics["slices"].items()
        for metric, value in slice_.items()
    }


def _name(about: dict[str, Any]) -> str:
    seed = f" seed {about['seed']}" if about.get("seed") is not None else ""
    return f"{about['dataset']} {about['row']}{seed}"


def _run_id(config: dict[str, Any]) -> str:
    """Return the run's id at W&B, so that the same run sent again is the same run there."""
    return hashlib.sha256(canonical(config).encode()).hexdigest()[:16]


def _report(sent: list[dict[str, Any]], options: dict[str, Any], receipt: Path) -> None:
    failed = [entry for entry in sent if not entry["sent"]]
    seconds = sum(entry["seconds"] for entry in sent)
    stage.say(f"wandb ({options['mode']}): {len(sent) - len(failed)} runs in {seconds:.1f} s")
    if failed:
        stage.say(
            f"warning: {len(failed)} runs were not sent to W&B ({failed[0]['reason']}); the local record is whole; "
            f"delete {receipt} and run again to send them"
        )


if __name__ == "__main__":
    stage.command(main)
