"""Stage train: one method and seed through the loop that all methods share."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from safetensors.torch import save_file
from typer import Argument, Option

from negmark.core import stage
from negmark.core.files import replacing, sha256_file, write_json
from negmark.core.provenance import environment, process_cost
from negmark.core.run_folders import seed_of
from negmark.core.tier_modules import curve_module
from negmark.encode.weights import storable
from negmark.store import collection
from negmark.store.collection import write_table
from negmark.store.filled import filled, gave_none, words
from negmark.store.pool import CandidatePool
from negmark.train.checkpoint import Checkpoint
from negmark.train.inputs import judgments_of, load_materials, models_of, origins, taught
from negmark.train.run import Run, set_up
from negmark.train.step import Curve, train_until

log = logging.getLogger(__name__)
MODEL, HISTORY, LEDGER, SCORES = "model.safetensors", "history.parquet", "negatives.parquet", "scores.parquet"
CURVE = "dev.parquet"


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
    teachers: Annotated[str, Option(help="models that teach, one a seed, spaces between")] = "",
    judgments: Annotated[
        str, Option(help="scores by the cross-encoder that teaches, a file or one a seed")
    ] = "",
    auxiliary: Annotated[
        list[Path] | None, Option(help="a table of texts beside the corpus; may be repeated")
    ] = None,
) -> None:
    """Train one method with one or several seeds and write model, history, ledger and manifest of each."""
    torch.set_num_threads(threads)
    files = dict(entry.split("=", 1) for entry in pool or [])
    with process_cost() as loading:
        pools = {kind: CandidatePool(Path(file)) for kind, file in files.items()}
        materials = load_materials(dataset, vectors, pools, teacher, auxiliary=auxiliary or ())
    data = origins(dataset, vectors, teacher, auxiliary or ())
    curve = _curve(dataset, json.loads(spec)["training"])
    folders = [model.parent for model in models]
    checkpoints = []
    count = len(folders)
    per_seed = models_of(start, count), models_of(teachers, count), judgments_of(judgments, count)
    for folder, model, taught_by, judged in zip(folders, *per_seed, strict=True):
        run_spec = {**json.loads(spec), "seed": seed_of(folder)}
        start_hash = sha256_file(model) if model else None
        teaching = taught_by or judged
        origin = {**data, "start": start_hash, **({"teacher": sha256_file(teaching)} if teaching else {})}
        manifest = {"run": run_spec, "collection": dataset.name, "data": origin}
        with process_cost() as preparation:
            materials = taught(materials, judged)
            run = set_up(run_spec, materials, model, taught_by)
        steps, every = run_spec["training"]["steps"], run_spec["training"]["checkpoint_steps"]
        checkpoint = Checkpoint(
            state / folder.name, {**run_spec, "data": manifest["data"], "pools": files}, every
        )
        with process_cost() as training:
            train_until(run, steps, checkpoint, curve)
        if not run.encoder.writes:
            continue
        if folder != folders[-1]:  # Snakemake deletes all outputs of a job killed at a later seed
            checkpoint.save(run, steps)
        cost = {
            "loading": {**loading.as_dict(), "runs": len(folders)},
            "preparation": preparation.as_dict(),
            "peak_mebibytes": training.as_dict()["peak_mebibytes"],
            **run.clock.as_dict(),
            "joules": run.clock.joules,
        }
        write_run(run, folder, {**manifest, "cost": cost, "resumed_at": checkpoint.resumed_at})
        checkpoints.append(checkpoint)
    for checkpoint in checkpoints:
        checkpoint.clear()


def _curve(dataset: Path, training: dict[str, Any]) -> Curve | None:
    """Return what evaluates runs while they train, None if no curve is wanted."""
    curve: Curve | None = None
    if training.get("curve_every"):
        curve = curve_module().Curve(dataset, training)
    return curve


def write_run(run: Run, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the files of a finished run: weights, history, ledger, curve, scores, and its manifest last."""
    with replacing(folder / MODEL) as partial:
        save_file(storable(run.encoder.weights()), partial)
    write_table(folder / HISTORY, collection.columns(run.history))
    run.ledger.write(folder / LEDGER)
    # an empty table without a curve: a run has the same files in every suite
    write_table(folder / CURVE, collection.columns(run.curve) if run.curve else {"step": []})
    write_table(
        folder / SCORES,
        {
            "step": np.concatenate([np.full(len(values), step, np.int32) for step, _, values in run.scores]),
            "kind": [kind for _, kind, values in run.scores for _ in values],
            "score": np.concatenate([values for _, _, values in run.scores]).astype(np.float32),
        },
    )
    shares = filled(run.history, run.ledger.backfilled())
    idle = run.method.idle() or ("it never gave a negative" if gave_none(shares) else "")
    if told := idle or ", ".join(words({name: share or 0 for name, share in shares.items()})):
        dataset, row = folder.absolute().parts[-3:-1]
        stage.say(f"{dataset}: {row}, seed {run.seed}: {told}")
    ledger = {"negatives": len(run.ledger), "bytes": (folder / LEDGER).stat().st_size}
    counters = run.services.counters.as_dict()
    write_json(
        folder / "manifest.json",
        {
            **manifest,
            "counters": counters,
            "ledger": ledger,
            "filled": shares,
            "idle": idle,
            **environment(),
        },
    )


if __name__ == "__main__":
    stage.command(main)
