"""Weights as they go into a file."""

from collections.abc import Mapping

import torch


def storable(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors in one piece on the CPU, and a copy of each that is another one too: tied weights, as T5 has."""
    found: dict[str, torch.Tensor] = {}
    places: set[int] = set()
    for name, value in tensors.items():
        whole = value.detach().cpu().contiguous()
        found[name] = whole.clone() if whole.data_ptr() in places else whole
        places.add(whole.data_ptr())
    return found
