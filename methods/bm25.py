"""BM25: hard negatives by words, drawn from each query's BM25 candidates.

What the paper says: DPR's best recipe adds one passage to the in-batch ones, the BM25 passage that ranks
highest and holds no answer string; two don't help.
What the released code does: its configuration sets `hard_negatives: 1`, taken from a static list.
What we do: `depth` best BM25 candidates without labelled positives; M of them drawn uniformly without
replacement at every step (`depth` = M always takes the same top M). A query with fewer candidates, because no
other document shares a word with it, has fewer negatives.
Cost per step: M document vectors per query; the BM25 pool is made once and shared.
"""

from collections.abc import Mapping

from pydantic import Field

from negmark.methods import base, sampling
from negmark.methods.base import Method
from negmark.methods.types import Batch, Footnote, Negatives, Tried


class BM25(Method):
    """Lexical hard negatives."""

    name = "bm25"
    title = "BM25"
    citation = "Karpukhin et al. 2020, arXiv 2004.04906"
    pools = frozenset({"bm25"})
    footnotes = (
        Footnote("no answer strings exist, so only labelled positives are filtered"),
        Footnote("the suite's number of negatives instead of the paper's one"),
    )

    class Params(base.Params):
        """Parameters of BM25."""

        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates that are drawn from, best first; that of all rows here, as the paper takes the first only."""

    @classmethod
    def space(cls, params: "BM25.Params", track: str) -> Mapping[str, Tried]:
        """Tune the depth: how hard the negatives are."""
        return {"depth": Tried((10, 25, 50, 100, 200), "ours: halves of the default, down to about M")}

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M of the best `depth` BM25 candidates."""
        return Negatives(ids=sampling.draw_from_pool(batch, "bm25", self.params.depth, self.services))
