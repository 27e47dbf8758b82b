"""Given negatives: those that a file names for each query, whoever chose them.

What the paper says: there is none; the data of DPR and of sentence-transformers are published with their negatives.
What the released code does: Tevatron and FlagEmbedding draw a group from a query's list, sentence-transformers takes a
line as it is.
What we do: the first M of the query's list in the file's order (a TREC run by its scores), or a fresh uniform draw of
M from its `first` so many. A list that is shorter leaves places empty, and so does a query without one.
Cost per step: M document vectors per query; the file is matched with the collection once.
"""

from collections.abc import Mapping

from pydantic import Field

from negmark.methods import base, sampling
from negmark.methods.base import Method
from negmark.methods.types import Batch, Negatives, Tried


class Given(Method):
    """Negatives from a file (`given` of a dataset)."""

    name = "given"
    title = "Given negatives"
    citation = "a file of yours; no paper, negmark, 2026"
    pools = frozenset({"given"})

    class Params(base.Params):
        """Parameters of given negatives."""

        first: int | None = Field(default=None, ge=1)
        """Draw uniformly from the first so many of a query's list; None takes the first M as they are."""

    @classmethod
    def space(cls, params: "Given.Params", track: str) -> Mapping[str, Tried]:
        """Tune how far down a list is drawn from."""
        return {
            "first": Tried(
                (None, 10, 20, 50, 100), "ours: the first M, or a draw from more and more of a list"
            )
        }

    @classmethod
    def drawn_from(cls, params: "Given.Params", track: str) -> int | None:
        """Return how much of a list is drawn from."""
        return params.first

    def negatives(self, batch: Batch) -> Negatives:
        """Take the first M of each query's list, or draw them."""
        ids, _ = self.services.pool("given").candidates(batch.queries, self.params.first)
        count = self.services.negatives
        if self.params.first is None:
            return Negatives(ids=sampling.first(ids, count))
        return Negatives(ids=sampling.draw_uniform(ids, count, self.services.rng(batch.step)))
