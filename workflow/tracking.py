"""Stage track: feed Weights & Biases from the local record, which never depends on it.

All runs of a suite are sent by one process after they are done, so that no run waits for W&B or fails with
it. A receipt says what was sent and what was not, and why.
"""

import json
import logging
import os
import time
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
from typer import Option

from workflow import stage
from workflow.contents import Contents
from workflow.files import canonical, read_json, write_json

log = logging.getLogger(__name__)
FOLDER = "results"  # W&B makes its own folder `wandb` in it


def send(run: Path, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Send one run. Returns its receipt: `sent` and seconds, or the reason why not. Never raises."""
    started = time.perf_counter()
    try:
        _log_run(run, settings, folder)
        outcome: dict[str, Any] = {"sent": True}
    except Exception as error:  # nothing of W&B's may stop a suite
        log.warning("%s: not sent to W&B: %s: %s", run, type(error).__name__, error)
        outcome = {"sent": False, "reason": f"{type(error).__name__}: {error}"}
    return {**outcome, "run": str(run), "seconds": round(time.perf_counter() - started, 3)}


def main(
    contents: Annotated[str, Option(help="what stands on the board, as JSON")],
    settings: Annotated[str, Option(help="settings of the tracking, as JSON")],
    receipt: Annotated[Path, Option(help="where the receipt goes")],
) -> None:
    """Send all runs of a suite to Weights & Biases and write a receipt."""
    options = json.loads(settings)
    listed = Contents.model_validate_json(contents)
    runs = listed.runs(*listed.trained())
    if options["mode"] == "disabled":
        write_json(receipt, {"mode": "disabled", "runs": []})
        return
    sent = [send(run, options, Path(FOLDER)) for run in stage.progress(runs, "wandb")]
    _close()
    write_json(receipt, {"mode": options["mode"], "runs": sent})
    _tell(sent, options)


def _close() -> None:
    """Wait until W&B's own process has written all it was given: `finish` may return before that."""
    try:
        import wandb

        wandb.teardown()
    except Exception as error:
        log.warning("W&B couldn't be closed: %s: %s", type(error).__name__, error)


def _log_run(run: Path, settings: dict[str, Any], folder: Path) -> None:
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    manifest, metrics = read_json(run / "manifest.json"), read_json(run / "metrics.json")
    about = manifest["run"]
    tracked = wandb.init(
        project=settings["project"],
        id=_identity(about),
        name=f"{about['dataset']} {about['method']} seed {about['seed']}",
        group=f"{about['suite']}/{about['dataset']}",
        job_type="train",
        config=about,
        mode=settings["mode"],
        dir=str(folder),
        resume="allow" if settings["mode"] == "online" else None,
        reinit="create_new",
        settings=wandb.Settings(
            console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True,
            x_disable_meta=True, init_timeout=30,
        ),
    )  # fmt: skip
    try:
        _log_history(tracked, run, settings["every"])
        tracked.summary.update(_summary(metrics, manifest))
    finally:
        tracked.finish()


def _log_history(tracked: Any, run: Path, every: int) -> None:
    """Log every n-th step and the last: loss, rate, and the hardness of the negatives as mean similarity."""
    rows = pq.read_table(run / "history.parquet").to_pylist()
    for row in rows:
        if row["step"] % every == 0 or row is rows[-1]:
            step = row.pop("step")
            tracked.log({key: value for key, value in row.items() if value is not None}, step=step)


def _summary(metrics: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    values = {
        f"test/{name}/{metric}": value
        for name, slice_ in metrics["slices"].items()
        for metric, value in slice_.items()
    }
    return {**values, "train_seconds": manifest["cost"]["training"]["wall_seconds"], **manifest["counters"]}


def _identity(about: dict[str, Any]) -> str:
    """Return the run's id at W&B: the same run, sent again, is the same run there."""
    import hashlib

    return hashlib.sha256(canonical(about).encode()).hexdigest()[:16]


def _tell(sent: list[dict[str, Any]], options: dict[str, Any]) -> None:
    failed = [entry for entry in sent if not entry["sent"]]
    seconds = sum(entry["seconds"] for entry in sent)
    stage.say(f"wandb ({options['mode']}): {len(sent) - len(failed)} runs in {seconds:.1f} s")
    if failed:
        stage.say(
            f"warning: {len(failed)} runs were not sent to W&B ({failed[0]['reason']}); the local record is whole; "
            "delete the receipt under results/wandb and run again to send them"
        )


if __name__ == "__main__":
    stage.command(main)
