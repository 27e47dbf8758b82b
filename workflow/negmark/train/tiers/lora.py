"""Low-rank adapters in the finetune tier (LoRA, Hu et al. 2021, arXiv 2106.09685), by peft.

A linear layer W of the transformer becomes W + (alpha / rank) B A; W stays, and A and B are trained, B from zeros. What
stands behind the transformer (Dense, LayerNorm) is trained as ever, as sentence-transformers' `add_adapter` leaves it.

A run's model has the weights with their adapters added to them, under the names that they have without any. So it is
evaluated, exported and started from as any other run, and opens in sentence-transformers without peft.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from negmark.core.errors import UserError

BASE, ADAPTER = ".base_layer.", ".lora_"
NAME = "default"
UNUSED = r".*pooler.*"
"""What no gradient reaches, as pooling here is another."""


def add_adapters(network: nn.Module, settings: Mapping[str, Any]) -> None:
    """Put adapters into a transformer in place; its own weights are trained no more. `settings` is `finetune.lora`."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError("finetune.lora: it needs a package: pip install 'negmark[lora]'") from None
    targets = list(settings["targets"])
    config = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=targets or "all-linear",
        exclude_modules=UNUSED,
    )
    try:
        inject_adapter_in_model(config, network, NAME)
    except ValueError as error:
        raise UserError(f"finetune.lora.targets: {targets}: {error}") from None


def has_adapters(towers: nn.Module) -> bool:
    """Say whether any layer has an adapter."""
    return any(ADAPTER in name for name, _ in towers.named_parameters())


def merged(towers: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights with the adapters added, by the names that they have without any."""
    state, layers = towers.state_dict(), dict(towers.named_modules())
    found = {}
    for name, value in state.items():
        if ADAPTER in name:
            continue
        if name.endswith(f"{BASE}weight"):
            layer: Any = layers[name.removesuffix(f"{BASE}weight")]
            value = value + layer.get_delta_weight(NAME).to(value)
        found[name.replace(BASE, ".")] = value
    return found


def as_bases(weights: Mapping[str, torch.Tensor], towers: nn.Module) -> dict[str, torch.Tensor]:
    """Return a run's weights as the state of towers with adapters: those that have one get it below their adapter.

    The adapters stay as they are: at the start of a run they add nothing.
    """
    state = towers.state_dict()
    named = {name.replace(BASE, "."): name for name in state if ADAPTER not in name}
    own = {name: value for name, value in state.items() if ADAPTER in name}
    return own | {named.get(name, name): value for name, value in weights.items()}
