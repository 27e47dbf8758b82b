"""Stage warm_up of the static tier: in-batch training of the token table that all methods of a dataset then start from.

What `negmark.train.warmup` is to a transformer. The result is a folder that `static.start` may name, so that pools,
vectors and runs start from it like from any other.
"""

import json
import shutil
from pathlib import Path
from typing import Annotated

import torch
from typer import Option

from negmark.core import stage
from negmark.core.provenance import process_cost
from negmark.encode.static_vectors import save_table
from negmark.encode.table_starts import SETTINGS, open_table
from negmark.train.checkpoint import Checkpoint
from negmark.train.step import train_until
from negmark.train.tiers.static_rows import SHARED, Moved, trained_table
from negmark.train.warmup import begun, materials, write_facts


def main(
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    settings: Annotated[str, Option(help="settings of the encoder, as JSON")],
    training: Annotated[str, Option(help="budget of the static tier, as JSON")],
    folder: Annotated[Path, Option(help="where the table goes")],
    state: Annotated[Path, Option(help="where checkpoints are kept while it lasts")],
    threads: Annotated[int, Option(help="threads of torch")] = 1,
) -> None:
    """Make the token table that every method of a dataset starts from: the method `inbatch`, seed 0."""
    torch.set_num_threads(threads)
    encoder = json.loads(settings)
    budget = {**json.loads(training), "steps": encoder["warmup_steps"]}
    table = {key: budget[key] for key in SETTINGS}
    start = open_table(table, encoder["model"])
    with process_cost() as cost:
        given = materials(dataset, start.dimension)
        spec, run = begun("static", {**encoder, "table": table}, budget, given)
        train_until(run, budget["steps"], Checkpoint(state, spec, budget["checkpoint_steps"]))
    found = {name: value.detach().numpy() for name, value in run.encoder.weights().items()}
    # learned weights are folded into the rows, and begin at 1 again where they are learned further
    moved = Moved(found[f"{SHARED}.tokens"], found[f"{SHARED}.rows"], found.get(f"{SHARED}.weights"))
    save_table(start, trained_table(start, {SHARED: moved}, "document"), folder)
    write_facts(folder, encoder, budget, dataset, cost)
    shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    stage.command(main)
