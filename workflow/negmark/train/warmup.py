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
from negmark.encode.pretrained import find_model
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
    """Re-initialise the top layers as the network's own class does: normal weights, zero biases.

    Raises `UserError` if the network has fewer layers.
    """
    stacks = [module for module in network.modules() if isinstance(module, nn.ModuleList)]
    stack = max(stacks, key=len) if stacks else nn.ModuleList()
    if layers > len(stack):
        raise UserError(f"encoder.reinit_top: {layers} layers are asked for, the encoder has {len(stack)}")
    torch.manual_seed(torch_seed(seed, "reinit"))
    for layer in stack[len(stack) - layers :]:
        for module in layer.modules():
            for parameter in module.parameters(recurse=False):
                if parameter.dim() > 1:  # drawn here, as the class's own init may skip a kind of module
                    nn.init.normal_(parameter, std=getattr(network.config, "initializer_range", 0.02))
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(bias := getattr(module, "bias", None), nn.Parameter):
                nn.init.zeros_(bias)


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
        network = _warmed_network(dataset, encoder, budget, model, state)
    folder.mkdir(parents=True, exist_ok=True)
    for file in model.iterdir():
        if file.is_dir():
            shutil.copytree(file, folder / file.name, dirs_exist_ok=True)
        elif file.suffix in {".json", ".txt", ".model"}:
            shutil.copyfile(file, folder / file.name)
    with replacing(folder / "model.safetensors") as partial:
        weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        save_file(weights, partial, metadata={"format": "pt"})
    write_facts(folder, encoder, budget, dataset, cost)
    shutil.rmtree(state, ignore_errors=True)


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


def _warmed_network(
    dataset: Path, encoder: dict[str, Any], budget: dict[str, Any], model: Path, state: Path
) -> nn.Module:
    tower = finetune.load_tower(model, encoder["similarity"], budget["dropout"])
    reinit_top(tower.model, encoder["reinit_top"], SEED)
    if not encoder["warmup_steps"]:
        return tower.model
    config: Any = tower.model.config
    spec, run = begun("finetune", encoder, budget, materials(dataset, config.hidden_size))
    run.encoder.load_state_dict(
        {f"towers.{finetune.SHARED}.{name}": value for name, value in tower.state_dict().items()}
    )
    train_until(run, budget["steps"], Checkpoint(state, spec, budget["checkpoint_steps"]))
    return run.encoder.towers[finetune.SHARED].model  # type: ignore[attr-defined]


if __name__ == "__main__":
    stage.command(main)
