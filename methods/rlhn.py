"""RLHN: a judge reads the hard negatives; those that it finds relevant become positives, or are removed.

What the paper says: many hard negatives of public training sets are relevant. A cascade of two language models judges
each query's negatives against its positive: relevant and as good or better, relevant but worse, or irrelevant. What is
found is removed with its query, removed as a negative, or made a positive (RLHN), which does best. We read the
abstract and the code ([P], [C]), not the tables.
What the released code does (castorini/rlhn, dataset/techniques.py): `remove` drops a query with a false negative;
`hn_remove` drops the negatives; `rlhn` moves them to the positives; with more than 8 of them, both of these drop the
query. What counts is a setting: those found better with the first model alone (`better`), or all relevant ones (`both`)
after the second. Tevatron then trains with InfoNCE, in-batch negatives, a positive and 7 negatives a query.
What we do: the judge is yours: verdicts on pairs are read from a file (`verdicts:` of a dataset), and
`snakemake to_judge` writes what to ask it. M negatives are drawn uniformly from the dense pool's best `depth` without
those found relevant, which are no in-batch negatives either; what was not judged stays a negative. Labels are the
same for all rows of the controlled track, so there only `remove_negative` may stand, and no query is left out. In the
faithful track a query's positive is drawn uniformly from its labelled and its made ones, and another training query
stands in for one that is left out. The loss is the shared one.
Cost per step: M document vectors per query; the dense pool is made once and shared, the file is read once.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, sampling
from negmark.methods.base import Method
from negmark.methods.relabelling import BETTER, WORSE, Relabelling
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Ids, Lends, Negatives, Tried, When

Technique = Literal["relabel", "remove_negative", "remove_query"]
NOTES = {
    "relabel": "documents found relevant become positives of their query",
    "remove_negative": "documents found relevant are no negatives",
    "remove_query": "a query with a document found relevant is left out, and another stands in for it",
}
UNJUDGED = Footnote("only pairs that the file has were judged; other candidates may be negatives")


class RLHN(Relabelling, Method):
    """Relabelled hard negatives."""

    name = "rlhn"
    title = "RLHN"
    citation = "Thakur et al. 2025, arXiv 2505.16967"
    pools = frozenset({"dense", "verdicts"})
    faithful = True
    lends_loss = Lends.TO_ALL
    footnotes: ClassVar[tuple[Footnote, ...]] = (
        UNJUDGED,
        Footnote("the suite's number of negatives instead of 7", {When.FAITHFUL}),
        Footnote(
            "no query is left out, however many documents were found relevant: `most` acts in the faithful track alone",
            {When.CONTROLLED},
        ),
    )
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            better="rlhn",
            worse="dense_uniform",
            metric="nDCG@10",
            condition="E5 (base) and Qwen2.5-7B: relabelled negatives gain .007 to .014 on BEIR and .017 to .018 on "
            "AIR-Bench over the same training set as it was (abstract [P])",
            differs="there a judge saw each of a training set's given negatives and tests are zero-shot; here the "
            "pool's candidates, as far as the file of verdicts goes",
        ),
    )

    class Params(base.Params):
        """Parameters of relabelling."""

        technique: Technique = "remove_negative"
        """What is done with what is found relevant: `relabel` makes it a positive (RLHN), `remove_negative` only takes
        it out of the negatives, `remove_query` leaves its query out. The last and the first change what all rows of
        the controlled track share."""
        counts: Literal["better", "relevant"] = "relevant"
        """`relevant`: all that is found relevant counts, as after the paper's second model; `better`: only what is as
        good as the labelled positive or better."""
        most: int = Field(default=8, ge=0)
        """Faithful track: a query with more documents found relevant is left out, the released code's 8."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that are drawn from; that of all rows here."""

    @classmethod
    def refusal(cls, params: "RLHN.Params", track: str) -> str:
        """Return that labels are the same for all in the controlled track."""
        if track == "controlled" and params.technique != "remove_negative":
            return f"`technique: {params.technique}` changes the labels; add `track: faithful`"
        return ""

    @classmethod
    def relabels(cls, params: "RLHN.Params", track: str) -> bool:
        """Say that the faithful track changes positives, or leaves queries out."""
        return track == "faithful"

    @classmethod
    def has_own_loss(cls, track: str) -> bool:
        """Say that a faithful row's loss is that of a recipe: baselines take it by `loss:`."""
        return track == "faithful"

    @classmethod
    def own_notes(cls, params: "RLHN.Params", track: str) -> list[str]:
        """Return what is done with documents found relevant."""
        note = NOTES[params.technique]
        return [
            f"{note}; only those as good as the labelled positive count"
            if params.counts == "better"
            else note
        ]

    @classmethod
    def space(cls, params: "RLHN.Params", track: str) -> Mapping[str, Tried]:
        """Tune the depth: how hard the negatives are."""
        return {"depth": Tried((16, 32, 50, 100, 200), "ours: as for dense_uniform")}

    def relevant(self, queries: Ids) -> Ids:
        """Return the documents whose verdicts count."""
        ids, verdicts = self.services.pool("verdicts").candidates(queries)
        least = BETTER if self.params.counts == "better" else WORSE
        return np.where(verdicts >= least, ids, NO_DOCUMENT)

    def examples(self, step: int, queries: Ids, positives: Ids) -> tuple[Ids, Ids]:
        """Leave queries out and make positives, as the technique says."""
        out = left_out(self.relevant(queries), self.params)
        if out.any():
            usable = ~left_out(self.relevant(self.services.queries), self.params)
            queries, positives = self.replaced(step, queries, positives, out, usable)
        if self.params.technique == "relabel":
            positives = self.with_made(step, queries, positives)
        return queries, positives

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M of the candidates that were not found relevant."""
        ids, _ = self.services.pool("dense").candidates(batch.queries, self.params.depth)
        kept = self.without_relevant(batch.queries, ids)
        chosen = sampling.draw_uniform(kept, self.services.negatives, self.services.rng(batch.step))
        return Negatives(ids=chosen, in_batch=self.in_batch(batch))


def left_out(relevant: Ids, params: RLHN.Params) -> NDArray[np.bool_]:
    """Return which queries are left out, by the documents [B, P] found relevant to them."""
    found = (relevant != NO_DOCUMENT).sum(axis=1)
    return found > (0 if params.technique == "remove_query" else params.most)
