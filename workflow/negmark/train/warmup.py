"""Stage warm_up: one checkpoint per dataset, from which every method starts and pools are mined.

The published recipes start from a model that was warmed up on the task. An encoder that saw many of the web's
question-answer pairs leaves little to learn; `reinit_top` re-initialises its top layers, for a weaker start, and
`warmup_steps` of in-batch training (the method `inbatch`, seed 0, the finetune budget) follow. The result is an
encoder folder like any other: embeddings, pools and runs name it as their model.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from typer import Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, replacing, write_json
from negmark.core.provenance import Cost, environment, process_cost
from negmark.core.seeds import torch_seed
from negmark.encode.head import save_steps
from negmark.encode.model_files import MODULES, WEIGHTS, read_modules, transformer_folder
from negmark.encode.pretrained import find_model
from negmark.encode.weights import storable
from negmark.store import collection
from negmark.store.labels import Labels
from negmark.store.left_out import read_left_out
from negmark.train.checkpoint import Checkpoint
from negmark.train.inputs import Materials
from negmark.train.run import Run, set_up
from negmark.train.step import train_until
from negmark.train.tiers import finetune

log = logging.getLogger(__name__)
SEED = 0


def reinit_top(network: nn.Module, layers: int, seed: int) -> None:
    """Re-initialise the top layers as the network's own class does: normal weights, zero biases, norms that only scale.

    Raises `UserError` if the network has fewer layers, or if they share their weights.
    """
    stacks = [module for module in network.modules() if isinstance(module, nn.ModuleList)]
    stack = max(stacks, key=len) if stacks else nn.ModuleList()
    if layers and len(stack) < (count := getattr(network.config, "num_hidden_layers", len(stack))):
        raise UserError(
            f"encoder.reinit_top: the {count} layers of this encoder share their weights, so none can be drawn anew "
            "alone; leave it out"
        )
    if layers > len(stack):
        raise UserError(f"encoder.reinit_top: {layers} layers are asked for, the encoder has {len(stack)}")
    torch.manual_seed(torch_seed(seed, "reinit"))
    for layer in stack[len(stack) - layers :]:
        for module in layer.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.dim() > 1:  # drawn here, as the class's own init may skip a kind of module
                    nn.init.normal_(parameter, std=getattr(network.config, "initializer_range", 0.02))
                elif name == "bias":
                    nn.init.zeros_(parameter)
                else:
                    parameter.data.copy_(_at_the_start(module, name))


def _at_the_start(module: nn.Module, name: str) -> torch.Tensor:
    """Return a parameter [D] of a norm as its class makes it: ones, or zeros where one is added to it (Gemma)."""
    width = getattr(module, name).shape[0]
    try:
        fresh: torch.Tensor = getattr(type(module)(width), name)
    except (TypeError, AttributeError) as error:
        raise UserError(
            f"encoder.reinit_top: {type(module).__name__} has a {name} that can't be drawn anew; leave it out"
        ) from error
    return fresh.detach()


def materials(dataset: Path, dimension: int) -> Materials:
    """Return what in-batch training needs: labels and texts; vectors don't exist yet and are never read."""
    sizes = [
        len(collection.column(dataset, table, "id")) for table in (collection.DOCUMENTS, collection.QUERIES)
    ]
    documents, queries = (np.broadcast_to(np.float32(0), (size, dimension)) for size in sizes)
    labels = Labels(collection.qrels(dataset, "train"), sizes[0], read_left_out(dataset))
    return Materials(dataset, documents, queries, labels, {})


def main(
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    settings: Annotated[str, Option(help="settings of the encoder, as JSON")],
    training: Annotated[str, Option(help="budget of the finetune tier, as JSON")],
    folder: Annotated[Path, Option(help="where the encoder goes")],
    state: Annotated[Path, Option(help="where checkpoints are kept while it lasts")],
    threads: Annotated[int, Option(help="threads of torch")] = 1,
) -> None:
    """Make the encoder that every method of a dataset starts from."""
    torch.set_num_threads(threads)
    encoder = json.loads(settings)
    budget = {**json.loads(training), "steps": encoder["warmup_steps"]}
    model = find_model(encoder["model"])
    with process_cost() as cost:
        tower = _warmed_tower(dataset, encoder, budget, model, state)
    save_tower(tower, model, folder)
    write_facts(folder, encoder, budget, dataset, cost)
    shutil.rmtree(state, ignore_errors=True)


def save_tower(tower: finetune.Tower, model: Path, folder: Path) -> None:
    """Write a tower as a folder like that of the model it comes from, its transformer in the folder itself."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in [
        *model.iterdir(),
        *transformer_folder(model).iterdir(),
    ]:  # an index would name weights that aren't there
        if file.suffix in {".json", ".txt", ".model"} and not file.name.endswith(".index.json"):
            shutil.copyfile(file, folder / file.name)
    entries = read_modules(model)
    if entries:
        told = read_json(model / MODULES)
        paths = [
            "" if entry.kind == "Transformer" else str(entry.path.relative_to(model)) for entry in entries
        ]
        write_json(folder / MODULES, [{**step, "path": path} for step, path in zip(told, paths, strict=True)])
    for entry in entries:
        if entry.kind != "Transformer" and entry.path.is_dir():
            shutil.copytree(entry.path, folder / entry.path.relative_to(model), dirs_exist_ok=True)
    save_steps(tower.head, [folder / step.folder.relative_to(model) for step in tower.head.recipe.steps])
    with replacing(folder / WEIGHTS) as partial:
        save_file(storable(tower.model.state_dict()), partial, metadata={"format": "pt"})


def write_facts(
    folder: Path, encoder: dict[str, Any], budget: dict[str, Any], dataset: Path, cost: Cost
) -> None:
    """Write beside what was warmed up how it was."""
    facts = {"encoder": encoder, "training": budget, "dataset": read_json(dataset / "card.json")}
    write_json(folder / "warmup.json", {**facts, "cost": cost.as_dict(), **environment()})


def begun(
    tier: str, encoder: dict[str, Any], budget: dict[str, Any], given: Materials
) -> tuple[dict[str, Any], Run]:
    """Return the spec and the run of in-batch training by which a tier is warmed up, at step 0."""
    spec = {
        "method": "inbatch", "row": "warm-up", "params": {}, "seed": SEED, "tier": tier,
        "training": budget, "encoder": encoder,
    }  # fmt: skip
    return spec, set_up(spec, given)


def _warmed_tower(
    dataset: Path, encoder: dict[str, Any], budget: dict[str, Any], model: Path, state: Path
) -> finetune.Tower:
    tower = finetune.load_tower(model, encoder["similarity"], budget["dropout"])
    reinit_top(tower.model, encoder["reinit_top"], SEED)
    if not encoder["warmup_steps"]:
        return tower
    spec, run = begun("finetune", encoder, budget, materials(dataset, tower.head.dimension))
    run.encoder.load_state_dict(
        {f"towers.{finetune.SHARED}.{name}": value for name, value in tower.state_dict().items()}
    )
    train_until(run, budget["steps"], Checkpoint(state, spec, budget["checkpoint_steps"]))
    warmed: finetune.Tower = run.encoder.towers[finetune.SHARED]  # type: ignore[attr-defined]
    return warmed


if __name__ == "__main__":
    stage.command(main)
