"""PyTorch, imported when it is first asked for something: whoever only reads what methods are waits for nothing.

A plan, a board and Snakemake's own start open every method, for its name, parameters and claims. `import torch` takes 3
seconds of each, so methods write

    from __future__ import annotations

    from negmark.methods.later import functional, nn, torch

and may use all three wherever code runs after the import: in functions and annotations, not in the base of a class.
"""

import importlib
from typing import TYPE_CHECKING, Any


class Later:
    """Stands for a module until one of its names is asked for."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module(self._module), name)
        setattr(self, name, value)  # so that it is asked once
        return value


if TYPE_CHECKING:
    import torch as torch
    from torch import nn as nn
    from torch.nn import functional as functional
else:
    torch, nn, functional = Later("torch"), Later("torch.nn"), Later("torch.nn.functional")
