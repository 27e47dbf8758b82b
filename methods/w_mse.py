r"""W-MSE: no negatives; whitening scatters a batch's vectors, and pairs are pulled together after that.

What the paper says: contrastive losses need negatives only to keep vectors apart. Whitening the batch keeps them
apart by itself: its covariance is the identity. Then the mean squared distance of two views is all that is left to
minimise; no asymmetric networks, and many positive pairs per item, as no negatives are needed.
What the released code does (htdt/self-supervised): a head, Linear - BN - ReLU - Linear, of 1,024 and then 64 numbers.
A random permutation cuts the batch of 512 into chunks of 128 (twice the 64), and *each view* of a chunk is whitened
by itself: less its mean, times the inverse of the Cholesky factor of its covariance (n - 1 below), gradients through
all of it. The loss is 2 - 2 times the mean cosine; `w_iter` permutations are averaged. The head is dropped after
training.
What we do: query and positive are the two views, one head for both; faithful track only. 32 numbers and chunks of 64,
as a batch of 64 whitens no 64 numbers; a smaller batch is one chunk, what is left over when chunks don't divide it
takes no part, and the covariance is mixed with .001 of the identity, so that it has a factor in any case. Whitening
removes a constant shift between the sides, which a search by inner product sees: `mean_cosine` in the history tells.
Cost per step: 2 passes of the head per query.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from negmark.methods import base
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, nn, torch
from negmark.methods.types import Claim, Footnote, Step, Tried, When
from negmark.methods.without_negatives import Cosines, WithoutNegatives


class WMSE(WithoutNegatives, Method):
    """Whitened vectors instead of negatives."""

    name = "w_mse"
    title = "W-MSE (no negatives)"
    citation = "Ermolov et al. 2021, ICML, arXiv 2007.06346"
    needs_vectors = "vectors to whiten"
    faithful = True
    footnotes = (
        Footnote("queries and their positives instead of two views of an image", {When.RETRIEVAL}),
        Footnote("the covariance is mixed with .001 of the identity", {When.FAITHFUL}),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="w_mse",
            worse="inbatch",
            metric="nDCG@10",
            condition="image classification (CIFAR, STL-10, Tiny ImageNet) by a linear and a 5-NN classifier: better "
            "than or equal to SimCLR at the same budget; figures not verified",
            differs="queries and documents instead of two views of an image; retrieval instead of classes; no suite "
            "tests it: the loss knows no negatives, so that no row of in-batch ones has the same",
        ),
    )

    class Params(base.Params):
        """Parameters of head and whitening."""

        dimension: int = Field(default=32, ge=2)
        """Numbers that the head leaves, which are whitened; 64 in the paper."""
        hidden: int = Field(default=1024, ge=1)
        """Width of the head's hidden layer."""
        chunk: int = Field(default=64, ge=2)
        """Pairs that are whitened together: twice `dimension` in the paper."""
        permutations: int = Field(default=1, ge=1)
        """Ways of cutting the batch into chunks that are averaged over."""
        shrink: float = Field(default=1e-3, ge=0, le=1)
        """Share of the identity in the covariance (eps); 0 in the paper."""

    @classmethod
    def space(cls, params: WMSE.Params, track: str) -> Mapping[str, Tried]:
        """Tune how many numbers are whitened."""
        return {"dimension": Tried((8, 16, 24, 32, 48), "ours: what a batch of 64 can whiten")}

    @classmethod
    def own_notes(cls, params: WMSE.Params, track: str) -> list[str]:
        """Return how many numbers are whitened in how large chunks: the row's own, which may be tuned."""
        size, chunk = params.dimension, params.chunk
        return [f"vectors of {size} numbers are whitened in chunks of {chunk}, instead of 64 in 128"]

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        dimension = services.warmup_documents(np.zeros(1, dtype=np.int64)).shape[1]
        self.head = nn.Sequential(
            nn.Linear(dimension, params.hidden),
            nn.BatchNorm1d(params.hidden),
            nn.ReLU(),
            nn.Linear(params.hidden, params.dimension),
        )
        self.cosines = Cosines()

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the distance of whitened queries and positives."""
        batch, p = step.batch, self.params
        size = len(batch.queries)
        self.services.count_network(2 * size)
        self.cosines.add(batch.query_vectors)
        queries, documents = self.head(torch.cat([batch.query_vectors, batch.positive_vectors])).split(size)
        rng = self.services.rng(batch.step, "chunks")
        orders = (torch.from_numpy(rng.permutation(size)) for _ in range(p.permutations))
        each = [
            whitened_distance(queries[rows], documents[rows], p.shrink)
            for order in orders
            for rows in whole_chunks(order, p.chunk)
        ]
        return torch.stack(each).mean()

    def extra_modules(self) -> nn.ModuleDict:
        """Return the head."""
        return nn.ModuleDict({"head": self.head})


def whole_chunks(order: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Return the chunks of `size` rows that a permutation [B] has; one of all where it is shorter."""
    chunks = order.split(min(size, len(order)))
    return [chunk for chunk in chunks if len(chunk) == len(chunks[0])]


def whitened(vectors: torch.Tensor, shrink: float = 0.0) -> torch.Tensor:
    """Return rows [n, D] less their mean, times the inverse of the Cholesky factor of their covariance.

    Of (1 - shrink) times the covariance plus shrink times the identity.
    """
    centred = vectors - vectors.mean(dim=0)
    covariance = centred.T @ centred / max(len(vectors) - 1, 1)
    mixed = (1 - shrink) * covariance + shrink * torch.eye(vectors.shape[1], dtype=vectors.dtype)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(mixed), centred.T, upper=False).T


def whitened_distance(first: torch.Tensor, second: torch.Tensor, shrink: float = 0.0) -> torch.Tensor:
    """Return 2 - 2 times the mean cosine of pairs of rows [n, D], each side whitened by itself (a scalar)."""
    return 2 - 2 * functional.cosine_similarity(whitened(first, shrink), whitened(second, shrink)).mean()
