"""BM25 + dense: negatives of both rankings in one list.

What the paper says: there is none; it is a recipe of practice. A lexical list holds other hard negatives than a dense
one.
What the released code does: the second stage of Tevatron's coCondenser recipe for MS MARCO trains on the union of the
BM25 file and of the file mined by the first stage (30 of its top 200).
What we do: each of M negatives is drawn from the encoder's top 200 with chance `share`, else from BM25's, uniformly and
without replacement, anew at every step; a document that is in both is likelier drawn. A query without candidates in
one list has all of the other.
Cost per step: M document vectors per query; both pools are made once and shared.
"""

from collections.abc import Mapping

from pydantic import Field

from negmark.methods import base, sampling
from negmark.methods.base import Method
from negmark.methods.types import Batch, Footnote, Negatives, Tried


class BM25Dense(Method):
    """Static hard negatives of two rankings."""

    name = "bm25_dense"
    title = "BM25 + dense"
    citation = "a recipe of practice (Tevatron); no paper, negmark, 2026"
    pools = frozenset({"bm25", "dense"})
    footnotes = (
        Footnote("fresh draws at every step instead of lists of 30 that are written once and gone through"),
    )

    class Params(base.Params):
        """Parameters of the mixture."""

        share: float = Field(default=0.5, gt=0, lt=1)
        """Chance that a negative is drawn from the dense list."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of each pool that are drawn from."""

    @classmethod
    def space(cls, params: "BM25Dense.Params", track: str) -> Mapping[str, Tried]:
        """Tune the share of dense negatives."""
        return {"share": Tried((0.1, 0.25, 0.5, 0.75, 0.9), "ours: a half and around it")}

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M of both lists."""
        lists = [
            self.services.pool(kind).candidates(batch.queries, self.params.depth)[0]
            for kind in ("dense", "bm25")
        ]
        shares = self.params.share, 1 - self.params.share
        rng = self.services.rng(batch.step)
        return Negatives(ids=sampling.draw_from_sources(lists, shares, self.services.negatives, rng))
