r"""SimANS: negatives whose score lies near the positive's are the informative ones.

What the paper says: p_i ~ exp(-a (s(q, d_i) - s(q, d+) - b)^2) over the top-k candidates of the current
retriever without positives; top ranks hold false negatives, low ranks teach nothing. The density peaks at
s+ + b. Setting in the paper: a = 0.5, b = 0.
What the released code does (microsoft/SimXNS, folder SimANS): the sign of b is flipped (centre s+ - b) for
NQ, TQ and MS-Doc; MS-Pas runs a Laplacian exp(-tau |s - s+|) with tau = 3 instead; 15 negatives; the pool of
100 to 200 is mined anew every 2,000 to 5,000 steps; where the positive was not retrieved (stored score 0), it
samples nothing and takes the last n of the pool; n are drawn with replacement into a set until it is full.
What we do: the paper's sign of b, both kernels, drawn without replacement in log space (Gumbel top-n: the
released loop's exact distribution, and no weight underflows). a and b act on dot products whose gaps are of
order 1 to 10, so cosine similarities are first divided by the suite's temperature: that is the scale of the
loss, as the dot product is in the paper. s+ comes from the scoring pass that made the pool, whether or not
the positive was retrieved, so the released code's case of a missing score doesn't arise.
Cost per step: M document vectors a query; the dense pool is made once and shared.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods import base, sampling
from methods.base import Batch, Method, Negatives


class SimANS(Method):
    """Ambiguous negatives: a distribution over scores."""

    name = "simans"
    title = "SimANS"
    citation = "Zhou et al. 2022, EMNLP Industry, arXiv 2210.11773"
    pools = frozenset({"dense"})
    adaptations = (
        "scores are cosine similarity / temperature",
        "static pool of the warm-up encoder instead of one mined anew every few thousand steps",
        "InfoNCE instead of distillation from a cross-encoder (AR2)",
    )

    class Params(base.Params):
        """Parameters of the SimANS distribution."""

        a: float = Field(default=0.5, gt=0)
        """Sharpness of the Gaussian kernel; larger is a narrower band of scores."""
        b: float = 0.0
        """Shift of the centre in the paper's sign: the peak is at s+ + b. The code's `--b 1` is -1 here."""
        kernel: Literal["gaussian", "laplace"] = "gaussian"
        """`gaussian` is the paper's; `laplace` is what the released MS-Pas run executes."""
        tau: float = Field(default=3.0, gt=0)
        """Sharpness of the Laplace kernel, 3 in the released code."""
        depth: int = Field(default=200, ge=1)
        """Candidates of the pool that are drawn from (top-k)."""

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M candidates by how near their score is to the positive's."""
        pool = self.services.pool("dense")
        ids, scores = pool.candidates(batch.queries, self.params.depth)
        positive = pool.positive_scores(batch.queries, batch.positives)
        weights = log_weights(
            scores / self.services.temperature, positive / self.services.temperature, self.params
        )
        columns = sampling.top_n_by_gumbel(weights, self.services.negatives, self.services.rng(batch.step))
        return Negatives(ids=sampling.take(ids, columns))


def log_weights(
    scores: NDArray[np.floating], positive: NDArray[np.floating], params: SimANS.Params
) -> NDArray[np.float64]:
    """Return the logarithm of each candidate's unnormalised chance [B, K]; -inf stays -inf.

    Takes scores [B, K] and the positives' scores [B] on the scale that a and b mean.
    """
    gap = scores.astype(np.float64) - positive[:, None].astype(np.float64)
    if params.kernel == "laplace":
        return -params.tau * np.abs(gap)
    return -params.a * (gap - params.b) ** 2
