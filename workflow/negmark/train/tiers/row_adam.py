"""A table of which a step moves some rows: means of rows, their gradient, and an AdamW that touches nothing else.

What a step costs is memory traffic: its tokens' rows and their two moments are read and written once, six passes over
[R, D] floats for R distinct tokens, beside the reading of the rows for the means. So gradients of whole tables never
exist, in whatever form: the backward pass keeps the gradient of each text's sum [T, D], and the optimiser adds those up
a token at a time and moves its row (`negmark.train.tiers.row_kernels`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.autograd.function import once_differentiable

from negmark.encode.token_table import even
from negmark.train.tiers import row_kernels

Floats = NDArray[np.float32]
NO_WEIGHTS = np.empty(0, np.float32)
"""Stands for weights where all tokens count alike."""


class Bags(NamedTuple):
    """Texts as numbers of tokens, one after the other: `tokens` [n], and `starts` [T + 1] where texts begin and end."""

    tokens: NDArray[np.int32]
    starts: NDArray[np.int32]


def means(
    bags: Bags, rows: torch.Tensor, weights: torch.Tensor | None, moved: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit vectors [T, D] of texts by rows [U, D], and the lengths [T] of the sums they come from.

    `moved` [T, D] is added to the sums. The sum of rows has the direction of their mean. A text without tokens, or
    whose rows add up to nothing, gets the vector whose numbers are all equal, and a length without end, so that no
    gradient comes back from it.
    """
    count = len(bags.starts) - 1
    vectors, lengths = np.empty((count, rows.shape[1]), np.float32), np.empty(count, np.float32)
    row_kernels.fill_means(bags.tokens, bags.starts, _array(rows), _array(weights), vectors, lengths)
    if moved is not None:
        vectors *= lengths[:, None]
        vectors += _array(moved)
        lengths = np.linalg.norm(vectors, axis=1)
        np.divide(vectors, lengths[:, None], out=vectors, where=lengths[:, None] > 0)
    if not lengths.all():
        nothing = lengths == 0
        vectors[nothing], lengths[nothing] = even(rows.shape[1]), np.inf
    return torch.from_numpy(vectors), torch.from_numpy(lengths)


class _Means(torch.autograd.Function):
    """`means` whose backward pass leaves the gradient of the sums with the table, for the optimiser to add up."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        weights: torch.Tensor | None,
        table: "TrainedTable",
        bags: Bags,
        moved: torch.Tensor | None,
    ) -> torch.Tensor:
        vectors, lengths = means(bags, rows, weights, moved)
        ctx.save_for_backward(vectors, lengths)
        ctx.table, ctx.bags = table, bags
        return vectors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, None, None, None, None]:
        vectors, lengths = ctx.saved_tensors
        sums = np.empty(tuple(vectors.shape), np.float32)
        row_kernels.fill_gradients(_array(gradient), _array(vectors), _array(lengths), sums)
        ctx.table.collected.append((ctx.bags, sums))
        return None, None, None, None, None


class TrainedTable(nn.Module):
    """Rows [U, D] that are trained, with or without a weight for each [U], and the gradients of the texts so far."""

    def __init__(self, rows: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)
        self.weights = None if weights is None else nn.Parameter(weights)
        self.collected: list[tuple[Bags, Floats]] = []
        """Texts of the backward passes since the last `zero_grad`, and the gradient [T, D] of the sum of each."""

    def forward(self, bags: Bags, moved: torch.Tensor | None = None) -> torch.Tensor:
        """Return unit vectors [T, D] of texts, whose sums `moved` [T, D] is added to; it gets no gradient."""
        return _Means.apply(self.rows, self.weights, self, bags, moved)

    def now(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return rows and weights without gradient."""
        return self.rows.detach(), None if self.weights is None else self.weights.detach()

    @torch.no_grad()
    def folded(self) -> torch.Tensor:
        """Return a copy of the rows, times their weights."""
        return self.rows.clone() if self.weights is None else self.rows * self.weights[:, None]

    def gathered(self) -> tuple[Bags, Floats]:
        """Return all texts so far, one after the other, and the gradients [T, D] of their sums."""
        bags, sums = zip(*self.collected, strict=True)
        begins = np.cumsum([0, *(len(part.tokens) for part in bags)], dtype=np.int32)
        starts = [part.starts[:-1] + begin for part, begin in zip(bags, begins, strict=False)]
        return Bags(
            np.concatenate([part.tokens for part in bags]), np.concatenate([*starts, begins[-1:]])
        ), np.concatenate(sums)


class RowAdam(torch.optim.AdamW):
    """AdamW that moves the rows of a step's tokens and no others (`row_kernels.adam`).

    A row that a step doesn't touch stays as it is: its moments don't decay, it isn't pushed on by old gradients,
    and no weight decay draws at it. The bias of the moments is corrected by the steps of the run, not of the row, as
    `torch.optim.SparseAdam` does. So the first step of any row is that of the usual Adam, in which its moments were
    zero until then, and no counts are kept; counted by row, a rare token's first step would be up to 3.2 times smaller
    than Adam's. What isn't in a table, as a method's own networks, is moved as `torch.optim.AdamW` does.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, tables: Sequence[TrainedTable]) -> None:
        super().__init__([dict(group) for group in optimizer.param_groups])
        self._tables = tables

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients so far."""
        super().zero_grad(set_to_none)
        for table in self._tables:
            table.collected.clear()

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move what has a gradient."""
        loss = super().step(closure)
        for table in self._tables:
            if table.collected:
                self._move(table)
        return loss

    def _move(self, table: TrainedTable) -> None:
        bags, sums = table.gathered()
        rows, weights = self._with_moments(table.rows), (NO_WEIGHTS,) * 3
        if table.weights is not None:
            weights = self._with_moments(table.weights)
        settings = self._settings(self.state[table.rows]["step"].item())
        row_kernels.move_rows(*bags, sums, *rows, *weights, settings)

    def _with_moments(self, parameter: nn.Parameter) -> tuple[Floats, Floats, Floats]:
        """Return a parameter and its moments as arrays that share their memory, and count the step."""
        if not self.state[parameter]:
            moments = {name: _zeros(parameter) for name in ("exp_avg", "exp_avg_sq")}
            self.state[parameter] = {"step": torch.tensor(0.0), **moments}
        state = self.state[parameter]
        state["step"] += 1
        return _array(parameter), _array(state["exp_avg"]), _array(state["exp_avg_sq"])

    def _settings(self, step: float) -> tuple[np.float32, ...]:
        """Return what `row_kernels.adam` wants to know at a step that is counted from 1."""
        group = self.param_groups[0]
        rate, (beta1, beta2) = float(group["lr"]), group["betas"]
        kept, corrections = 1 - rate * group["weight_decay"], (1 - beta1**step, 1 - beta2**step)
        return tuple(map(np.float32, (rate, kept, 1 - beta1, beta2, 1 - beta2, group["eps"], *corrections)))


def _array(tensor: torch.Tensor | None) -> Floats:
    """Return the numbers of a tensor where they lie; `NO_WEIGHTS` for None."""
    return NO_WEIGHTS if tensor is None else tensor.detach().contiguous().numpy()


def _zeros(parameter: nn.Parameter) -> torch.Tensor:
    """Return zeros from numpy, which asks the system for large pages: rows far from each other are found faster."""
    return torch.from_numpy(np.zeros(tuple(parameter.shape), np.float32))
