"""Given negatives: those that a file names for each query, whoever chose them.

What the paper says: there is none; the data of DPR and of sentence-transformers are published with their negatives.
What the released code does: Tevatron and FlagEmbedding draw a group from a query's list, sentence-transformers takes a
line as it is.
What we do: the first M of the query's list in the file's order (a TREC run by its scores), or with `draw` a fresh
uniform draw of M. A list that is shorter leaves places empty, and so does a query without one.
Cost per step: M document vectors per query; the file is matched with the collection once.
"""

from negmark.methods import base, sampling
from negmark.methods.base import Method
from negmark.methods.types import Batch, Negatives


class Given(Method):
    """Negatives from a file (`given` of a dataset)."""

    name = "given"
    title = "Given negatives"
    citation = "none: the negatives of a file"
    pools = frozenset({"given"})

    class Params(base.Params):
        """Parameters of given negatives."""

        draw: bool = False
        """Draw from the whole list instead of taking its first."""

    def negatives(self, batch: Batch) -> Negatives:
        """Take the first M of each query's list, or draw them."""
        ids, _ = self.services.pool("given").candidates(batch.queries)
        count = self.services.negatives
        if not self.params.draw:
            return Negatives(ids=sampling.first(ids, count))
        return Negatives(ids=sampling.draw_uniform(ids, count, self.services.rng(batch.step)))
