"""PyTorch and SciPy, imported when they are first asked for something: who reads what methods are waits for none.

A plan, a board and Snakemake's own start open every method, for its name, parameters and claims. `import torch` takes 3
seconds of each, so methods write

    from __future__ import annotations

    from negmark.methods.later import functional, nn, torch

and may use them wherever code runs after the import: in functions and annotations, not as the base of a class.
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
    from scipy import sparse as sparse
    from scipy import special as special
    from torch import nn as nn
    from torch.nn import functional as functional
else:
    torch, nn, functional = Later("torch"), Later("torch.nn"), Later("torch.nn.functional")
    sparse, special = Later("scipy.sparse"), Later("scipy.special")
