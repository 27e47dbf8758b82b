"""Dense top-k: the documents that the warm-up encoder ranks highest, always the same.

What the paper says: the hardest negatives by the current retriever ("static hard negatives"; STAR/ADORE, ANCE
and SimANS all compare with it). SimANS holds that many of them are unlabelled positives.
What the released code does: the static baselines differ in depth; ANCE and DRhard mine 200 per query.
What we do: the first M of the pool, no draw, no refresh; labelled positives are not in the pool.
Cost per step: M document vectors per query; the dense pool is made once and shared.
"""

from negmark.methods import sampling
from negmark.methods.base import Method
from negmark.methods.types import Batch, Negatives


class DenseTopK(Method):
    """The hardest static negatives."""

    name = "dense_topk"
    title = "Dense top-k"
    citation = "Zhan et al. 2021, arXiv 2104.08051 (static hard negatives)"
    pools = frozenset({"dense"})

    def negatives(self, batch: Batch) -> Negatives:
        """Take the M best candidates."""
        ids, _ = self.services.pool("dense").candidates(batch.queries, self.services.negatives)
        return Negatives(ids=sampling.first(ids, self.services.negatives))
