"""Random: documents drawn uniformly from the whole corpus, beside the in-batch ones.

What the paper says: the plainest source of negatives, the "random" row of DPR's ablation.
What the released code does: no more than the paper; every codebase has its own uniform draw.
What we do: a fresh uniform draw at every step, without replacement, labelled positives left out.
Cost per step: M document vectors per query.
"""

from negmark.methods import sampling
from negmark.methods.base import Method
from negmark.methods.types import Batch, Negatives


class Random(Method):
    """The control for every method that claims to choose."""

    name = "random"
    title = "Random"
    citation = "Karpukhin et al. 2020, arXiv 2004.04906"

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M documents per query from the corpus."""
        rng = self.services.rng(batch.step)
        return Negatives(
            ids=sampling.draw_from_corpus(batch.queries, self.services.negatives, self.services, rng)
        )
