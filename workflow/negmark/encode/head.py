"""What stands behind a transformer: hidden states to the vectors that a folder's recipe makes of them."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from negmark.core.errors import UserError
from negmark.encode.recipe import Recipe, Step
from negmark.encode.weights import storable

ACTIVATIONS = ("torch.nn.modules.activation.", "torch.nn.modules.linear.Identity")
"""How the names of functions begin that a Dense may apply; no other name from a folder is looked up."""


class Dense(nn.Module):
    """A linear layer with an activation, as sentence-transformers' module of that name, by whose names it stores."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        told = step.settings
        sizes = told["in_features"], told["out_features"]
        self.linear = nn.Linear(*sizes, bias=told.get("bias", True))
        self.activation = activation(
            told.get("activation_function", "torch.nn.modules.activation.Tanh"), step
        )
        self.adds_input = bool(told.get("use_residual"))
        self.residual = nn.Linear(*sizes, bias=False) if self.adds_input and sizes[0] != sizes[1] else None

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return vectors [B, D'] of vectors [B, D]."""
        found = self.activation(self.linear(vectors))
        if self.adds_input:
            found = found + (vectors if self.residual is None else self.residual(vectors))
        return found


class LayerNorm(nn.Module):
    """A layer norm, as sentence-transformers' module of that name."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(step.settings["dimension"])

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return vectors [B, D]."""
        normed: torch.Tensor = self.norm(vectors)
        return normed


class Normalize(nn.Module):
    """Brings vectors to length 1."""

    def __init__(self, step: Step) -> None:
        super().__init__()

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return vectors [B, D]."""
        return functional.normalize(vectors, dim=1)


KINDS: dict[str, type[nn.Module]] = {"Dense": Dense, "LayerNorm": LayerNorm, "Normalize": Normalize}


class Head(nn.Module):
    """Pooling, what follows it, and the cut to the first dimensions, in float32 whatever the transformer computes in.

    With `normalize` vectors have length 1 at the end, for cosine similarity. Its weights are trained with those of the
    transformer in front.
    """

    def __init__(self, recipe: Recipe, hidden: int, normalize: bool = True) -> None:
        super().__init__()
        self.recipe, self.hidden, self.normalize = recipe, hidden, normalize
        self.steps = nn.ModuleList(_opened(step) for step in recipe.steps)
        self.width = self._width(hidden * len(recipe.pooling))
        self.dimension = min(recipe.truncate or self.width, self.width)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor, left_out: int = 0) -> torch.Tensor:
        """Return vectors [B, D] of hidden states [B, T, H]; the first `left_out` tokens are those of a prompt."""
        with torch.autocast(hidden.device.type, enabled=False):
            kept = without_prompt(mask, 0 if self.recipe.include_prompt else left_out)
            parts = [pool(hidden.float(), kept, how) for how in self.recipe.pooling]
            whole = self._after(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))
            vectors = whole[:, : self.dimension]
            wanted = self.normalize and not self.recipe.unit
            return functional.normalize(vectors, dim=1) if wanted else vectors

    def _width(self, pooled: int) -> int:
        """Return the dimensions behind all steps. Raises `UserError` if they don't fit together."""
        try:
            with torch.no_grad():
                return int(self._after(torch.zeros(1, pooled)).shape[1])
        except RuntimeError as error:
            raise UserError(
                f"{self.recipe.steps[0].folder.parent}: its modules don't fit together: what is pooled has {pooled} "
                f"dimensions ({error}); get the model again"
            ) from error

    def _after(self, pooled: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            pooled = step(pooled)
        return pooled


def without_prompt(mask: torch.Tensor, left_out: int) -> torch.Tensor:
    """Return a mask [B, T] of what is pooled: not the first `left_out` tokens, padding only behind a text."""
    if not left_out:
        return mask
    kept = mask.clone()
    kept[:, :left_out] = 0
    return kept


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """Reduce hidden states [B, T, D] to [B, D] over the tokens of a mask [B, T], by a name of `recipe.POOLINGS`.

    The formulas are those of sentence-transformers; a text without any token there gives zeros, by `cls` its first one.
    """
    rows = torch.arange(len(hidden), device=hidden.device)
    if how == "cls":
        return hidden[rows, mask.argmax(dim=1)]
    if how == "lasttoken":
        last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
        return hidden[rows, last] * mask.any(dim=1, keepdim=True)
    if how == "max":
        return hidden.masked_fill(mask.unsqueeze(2) == 0, float("-inf")).amax(dim=1)
    weights = mask.unsqueeze(2).to(hidden.dtype)
    if how == "weightedmean":
        weights = weights * torch.arange(1, mask.shape[1] + 1, device=hidden.device).view(1, -1, 1)
    total = weights.sum(dim=1).clamp(min=1e-9)
    return (hidden * weights).sum(dim=1) / (total.sqrt() if how == "mean_sqrt_len_tokens" else total)


def activation(name: str, step: Step) -> nn.Module:
    """Return PyTorch's own activation of a name. Raises `UserError` for any other name."""
    kind: Any = getattr(nn, name.rpartition(".")[2], None) if name.startswith(ACTIVATIONS) else None
    try:
        if isinstance(kind, type) and f"{kind.__module__}.{kind.__name__}" == name:
            made: nn.Module = kind()
            return made
    except TypeError:
        pass  # one that needs arguments, of which a folder has none
    raise UserError(
        f"{step.folder / 'config.json'}: activation_function: {name} is none of PyTorch's activations without "
        "arguments; take another model"
    )


def save_steps(head: Head, folders: list[Path]) -> None:
    """Write the weights of a head's steps, each into its folder."""
    for step, module, folder in zip(head.recipe.steps, head.steps, folders, strict=True):
        if step.has_weights:
            save_file(storable(module.state_dict()), folder / step.weights.name)


def _opened(step: Step) -> nn.Module:
    """Return a step with the weights of its folder. Raises `UserError` if they aren't those of its settings."""
    try:
        module = KINDS[step.kind](step)
        if step.has_weights:
            module.load_state_dict(load_file(step.weights))
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{step.folder}: no {step.kind} can be read from it ({type(error).__name__}: {error}); get the model again"
        ) from error
    return module.float()
