"""In-batch only: the other queries' positives are all the negatives there are.

What the paper says: for a batch of B pairs every passage is the positive of its own question and a negative
of the B - 1 others, which costs nothing extra (DPR calls it "gold in-batch"; the trick is older: Yih et al.
2011, Henderson et al. 2017).
What the released code does: softmax over all passages of the batch, gathered over processes.
What we do: the same; a document that is a labelled positive of the query is masked, as for every method.
Cost per step: nothing beyond the batch.
"""

from negmark.methods.base import Method
from negmark.methods.types import IN_BATCH, Batch, Negatives


class InBatch(Method):
    """The control that every other row adds negatives to."""

    name = "inbatch"
    title = "In-batch only"
    citation = "Karpukhin et al. 2020, arXiv 2004.04906"
    needs_vectors = IN_BATCH

    def negatives(self, batch: Batch) -> Negatives:
        """Give none: the loss takes the in-batch documents by itself."""
        return Negatives()
