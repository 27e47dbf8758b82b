"""Warms up the table of the static tier: in-batch training of the start that every method of a dataset then shares.

What `negmark.train.warmup` is to a transformer. The result is a folder that `static.start` may name.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negmark.encode.static_vectors import save_table
from negmark.encode.table_starts import open_table
from negmark.train.checkpoint import Checkpoint
from negmark.train.run import set_up
from negmark.train.step import train_until
from negmark.train.tiers.static_rows import SHARED, Moved, trained_table
from negmark.train.warmup import SEED, materials


def warm_up_table(
    dataset: Path, encoder: Mapping[str, Any], training: Mapping[str, Any], folder: Path, state: Path
) -> None:
    """Train a table by the method `inbatch`, seed 0, for `encoder.warmup_steps`, and write it to a folder.

    `training` is the budget of the static tier; `state` keeps checkpoints while it lasts. Learned weights are folded
    into the rows, and begin at 1 again where they are learned further.
    """
    start = open_table(training, encoder["model"])
    steps = encoder["warmup_steps"]
    spec = {
        "method": "inbatch", "row": "warm-up", "params": {}, "seed": SEED, "tier": "static",
        "training": {**training, "steps": steps}, "encoder": dict(encoder),
    }  # fmt: skip
    run = set_up(spec, materials(dataset, start.dimension))
    train_until(run, steps, Checkpoint(state, spec, training["checkpoint_steps"]))
    found = {name: value.detach().numpy() for name, value in run.encoder.weights().items()}
    weights = found.get(f"{SHARED}.weights")
    moved = Moved(found[f"{SHARED}.tokens"], found[f"{SHARED}.rows"], weights)
    save_table(start, trained_table(start, {SHARED: moved}, "document"), folder)
    shutil.rmtree(state, ignore_errors=True)
