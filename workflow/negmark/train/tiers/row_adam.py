"""A table of which a step moves some rows: means of rows, their gradient, and an AdamW that touches nothing else.

What a step costs is memory traffic: its tokens' rows and their two moments are read and written once, six passes over
[R, D] floats for R distinct tokens, beside the reading of the rows for the means. So gradients of whole tables never
exist, in whatever form: the backward pass keeps the gradient of each text's sum [T, D], and the optimiser adds those up
for some tokens at a time, moves their rows and writes them back. Measured by `tests/benchmarks/static_step.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag
from torch.optim.adamw import adamw

from negmark.encode.token_table import even

ROWS_AT_A_TIME = 1024
"""Rows that the optimiser moves at a time: fewer would stay in a core's own cache, but each call costs 0.1 ms."""


class Bags(NamedTuple):
    """Texts as numbers of tokens, one after the other: `tokens` [n], and `starts` [T + 1] where texts begin and end."""

    tokens: torch.Tensor
    starts: torch.Tensor


@dataclass(frozen=True)
class Touched:
    """The distinct tokens of a step, and the texts that hold them: a bag of texts for each token."""

    tokens: torch.Tensor
    """[R] in rising order."""
    texts: torch.Tensor
    """[n] texts of the first token, then of the second, and so on."""
    starts: NDArray[np.int32]
    """[R + 1] where the texts of each token begin and end."""

    def blocks(self) -> Iterator[tuple[torch.Tensor, Bags]]:
        """Yield some tokens at a time with their bags of texts."""
        for first in range(0, len(self.tokens), ROWS_AT_A_TIME):
            starts = self.starts[first : first + ROWS_AT_A_TIME + 1]
            bags = Bags(self.texts[starts[0] : starts[-1]], torch.from_numpy(starts - starts[0]))
            yield self.tokens[first : first + ROWS_AT_A_TIME], bags


def means(
    bags: Bags, rows: torch.Tensor, weights: torch.Tensor | None, moved: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit vectors [T, D] of texts by rows [U, D], and the lengths [T, 1] of the sums they come from.

    `moved` [T, D] is added to the sums. The sum of rows has the direction of their mean. A text without tokens, or
    whose rows add up to nothing, gets the vector whose numbers are all equal, and a length without end, so that no
    gradient comes back from it.
    """
    scale = None if weights is None else weights[bags.tokens]
    vectors = embedding_bag(
        bags.tokens, rows, bags.starts, mode="sum", per_sample_weights=scale, include_last_offset=True
    )
    if moved is not None:
        vectors.add_(moved)
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    vectors.div_(lengths)
    if not lengths.all():
        nothing = lengths[:, 0] == 0
        vectors[nothing] = even(rows.shape[1])
        lengths[nothing] = torch.inf
    return vectors, lengths


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
        along = (gradient * vectors).sum(dim=1, keepdim=True)
        ctx.table.collected.append(
            (ctx.bags, torch.addcmul(gradient, vectors, along, value=-1).div_(lengths))
        )
        return None, None, None, None, None


class TrainedTable(nn.Module):
    """Rows [U, D] that are trained, with or without a weight for each [U], and the gradients of the texts so far."""

    def __init__(self, rows: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)
        self.weights = None if weights is None else nn.Parameter(weights)
        self.collected: list[tuple[Bags, torch.Tensor]] = []
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

    def touched(self) -> tuple[Touched, torch.Tensor]:
        """Return the distinct tokens of all texts so far, and the gradients [T, D] of those texts' sums."""
        counts = [np.diff(bags.starts.numpy()) for bags, _ in self.collected]
        tokens = np.concatenate([bags.tokens.numpy() for bags, _ in self.collected])
        texts = np.repeat(np.arange(sum(map(len, counts)), dtype=np.int32), np.concatenate(counts))
        # numbers of 16 bits are sorted by radix, nine times as fast
        keys = tokens.astype(np.uint16) if len(self.rows) <= 1 << 16 else tokens
        order = np.argsort(keys, kind="stable")
        tokens = tokens[order]
        first = np.flatnonzero(np.diff(tokens, prepend=-1))
        touched = Touched(
            torch.from_numpy(tokens[first].astype(np.int64)),
            torch.from_numpy(texts[order]),
            np.append(first, len(tokens)).astype(np.int32),
        )
        return touched, torch.cat([gradient for _, gradient in self.collected])

    def gradient(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the distinct tokens [R] so far, and the whole gradient [R, D] of their rows."""
        touched, sums = self.touched()
        parts = [self.block_gradients(tokens, bags, sums)[0] for tokens, bags in touched.blocks()]
        return touched.tokens, torch.cat(parts)

    @torch.no_grad()
    def block_gradients(
        self, tokens: torch.Tensor, bags: Bags, sums: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the gradients of some rows [r, D], and of their weights [r] if there are any."""
        gradient = embedding_bag(bags.tokens, sums, bags.starts, mode="sum", include_last_offset=True)
        if self.weights is None:
            return gradient, None
        of_weights = torch.linalg.vecdot(gradient, self.rows[tokens])
        return gradient.mul_(self.weights[tokens][:, None]), of_weights


class RowAdam(torch.optim.AdamW):
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) that moves the rows of a step's tokens and no others.

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
        touched, sums = table.touched()
        parameters = [table.rows] if table.weights is None else [table.rows, table.weights]
        for parameter in parameters:
            if not self.state[parameter]:
                names = "exp_avg", "exp_avg_sq"
                self.state[parameter] = {
                    "step": torch.tensor(0.0),
                    **{name: _zeros(parameter) for name in names},
                }
        for tokens, bags in touched.blocks():
            for parameter, gradient in zip(
                parameters, table.block_gradients(tokens, bags, sums), strict=False
            ):
                assert gradient is not None
                self._move_rows(parameter, tokens, gradient)
        for parameter in parameters:
            self.state[parameter]["step"] += 1

    def _move_rows(self, parameter: nn.Parameter, rows: torch.Tensor, gradient: torch.Tensor) -> None:
        """Gather some rows and their moments, move them by PyTorch's own AdamW in one pass, and write them back."""
        state, group = self.state[parameter], self.param_groups[0]
        whole = parameter.detach(), state["exp_avg"], state["exp_avg_sq"]
        moved, first, second = (tensor.index_select(0, rows) for tensor in whole)
        adamw(
            [moved],
            [gradient],
            [first],
            [second],
            [],
            [state["step"].clone()],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        for tensor, part in zip(whole, (moved, first, second), strict=True):
            tensor.index_copy_(0, rows, part)


def _zeros(parameter: nn.Parameter) -> torch.Tensor:
    """Return zeros from numpy, which asks the system for large pages: rows far from each other are found faster."""
    return torch.from_numpy(np.zeros(tuple(parameter.shape), np.float32))
