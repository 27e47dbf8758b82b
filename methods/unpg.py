r"""UNPG: pairs of queries, and pairs of documents, of the batch join every row's denominator, outliers cut off.

What the paper says (its README; the body we couldn't read): face recognition pairs features with class centres, which
are never extremely hard, or features with features, which are few. UNPG puts both kinds of negative pair in one
softmax, after noisy ones are dropped by box and whisker.
What the released code does (Jung-Jun-Uk/UNPG): cosines of all pairs of the batch with different labels, each once;
those outside [Q1 - r IQR, Q3 + r IQR] are dropped, too easy and too hard ones alike, with quartiles at int(.25 l) and
int(.75 l) and r = 1.5 (1.0 for K-FACE). What is left is appended to the logits of every row, the same values for each,
with gradient; scale 64, margin on the positive alone. Its MagFace head and its train.py don't run as released.
What we do: classes are the documents of a row's softmax. Faithful track: to the suite's InfoNCE over in-batch and
given documents, cosines between queries and between documents are appended, those of each side by their own box; a
pair is left out if either document is a labelled positive, or its copy, of the other query. The paper's scale is
`budget: {temperature: 0.0156}`. Controlled track: shared scores are no negatives that a query can be given, so that
the filter alone is left: query-document pairs of the batch outside the whiskers are masked. Where most scores lie near
0 and few are high, the upper whisker cuts off all that is hard: `kept_share` and `kept_highest` in the history say so.
Cost per step: nothing beyond the batch; B (B - 1) more products (faithful).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method, Services
from negmark.methods.later import torch
from negmark.methods.types import (
    IN_BATCH,
    Batch,
    Claim,
    Footnote,
    Lends,
    Negatives,
    Scores,
    Step,
    Tried,
    When,
)


class UNPG(Method):
    """Unified negative pairs."""

    name = "unpg"
    title = "UNPG"
    citation = "Jung et al. 2022, arXiv 2203.11593"
    needs_vectors = IN_BATCH
    faithful = True
    lends_loss = Lends.TO_ALL
    footnotes = (
        Footnote(
            "the filter alone, on pairs of queries and in-batch documents; no pairs of two queries or two documents",
            {When.CONTROLLED},
        ),
        Footnote(
            "in-batch documents instead of class centres; pairs of queries and pairs of documents are filtered each by "
            "their own box; no margin unless asked for",
            {When.FAITHFUL},
        ),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="unpg",
            worse="inbatch",
            metric="nDCG@10",
            condition="TAR on IJB-B at 1e-5, by its README: 90.61 against CosFace's 89.38, 90.57 against ArcFace's "
            "89.99",
            differs="faces, class centres with margins and large batches there; in the controlled track the filter "
            "alone",
        ),
    )

    class Params(base.Params):
        """Parameters of the filter and of what is shared."""

        whisker: float | None = Field(default=1.5, ge=0)
        """Length of the whiskers in interquartile ranges (r); None drops none."""
        sides: Literal["both", "queries", "documents"] = "both"
        """Faithful track: whose pairs are appended."""
        margin: float = Field(default=0.0, ge=0)
        """Faithful track: margin taken off the positive's cosine, .5 in the paper's CosFace."""

    @classmethod
    def space(cls, params: UNPG.Params, track: str) -> Mapping[str, Tried]:
        """Tune the length of the whiskers."""
        longest = None if track == "faithful" else 2.0
        return {
            "whisker": Tried((0.5, 1.0, 1.5, 3.0, longest), "the released 1.5 and 1.0 and, ours, around them")
        }

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.pairs = torch.zeros(2, dtype=torch.int64)
        """Pairs seen, and those of them that were kept."""
        self._telemetry: dict[str, float] = {}

    @classmethod
    def papers_temperature(cls, params: UNPG.Params) -> float | None:
        """Return that of the released scale s = 64."""
        return 1 / 64

    def negatives(self, batch: Batch) -> Negatives:
        """Give none: the pairs are those of the batch."""
        return Negatives()

    def weighed(self, step: Step) -> Scores:
        """Return a mask of in-batch documents without outliers, in the controlled track."""
        scores = step.scores
        if self.services.track == "faithful":
            return scores
        among = scores.in_batch.detach()[scores.in_batch_mask]
        kept = scores.in_batch_mask.clone()
        kept[scores.in_batch_mask] = self._measured(among, within_whiskers(among, self.params.whisker))
        return replace(scores, in_batch_mask=kept)

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE with the kept pairs of either side in every row."""
        scores, batch = step.scores, step.batch
        apart = (scores.in_batch_mask & scores.in_batch_mask.T).triu(diagonal=1)
        sides = {"queries": batch.query_vectors, "documents": batch.positive_vectors}
        chosen = [sides[name] for name in sides if self.params.sides in (name, "both")]
        cosines = [(vectors @ vectors.T)[apart] for vectors in chosen]
        masks = [within_whiskers(each.detach(), self.params.whisker) for each in cosines]
        self._measured(torch.cat(cosines).detach(), torch.cat(masks))
        shared = torch.cat([each[mask] for each, mask in zip(cosines, masks, strict=True)])
        more = shared.expand(len(scores.positive), -1)
        scores = losses.with_more(scores, more, torch.ones_like(more, dtype=torch.bool))
        return losses.info_nce(
            replace(scores, positive=scores.positive - self.params.margin), step.temperature
        )

    def telemetry(self) -> dict[str, float]:
        """Return the share of pairs that were kept, and the highest cosine among them."""
        return self._telemetry

    def idle(self) -> str:
        """Return that nothing was cut off (controlled) or appended (faithful)."""
        seen, kept = self.pairs.tolist()
        if self.services.track == "faithful":
            return "" if kept else "no pair was appended"
        return "" if kept < seen else f"its whiskers cut off none of {seen:,} pairs"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return how many pairs were seen and kept."""
        return {"pairs": self.pairs}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.pairs = state["pairs"]

    def _measured(self, cosines: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        count = int(kept.sum())
        self.pairs += torch.tensor([len(kept), count])
        self._telemetry = (
            {"kept_share": count / len(kept), "kept_highest": cosines[kept].max().item()} if count else {}
        )
        return kept


def within_whiskers(values: torch.Tensor, whisker: float | None) -> torch.Tensor:
    """Mark the values [P] in [Q1 - r IQR, Q3 + r IQR], with quartiles at int(P / 4) and int(3 P / 4) of them sorted."""
    if whisker is None or not len(values):
        return torch.ones_like(values, dtype=torch.bool)
    ordered = values.sort().values
    first, third = ordered[int(0.25 * len(values))], ordered[int(0.75 * len(values))]
    reach = whisker * (third - first)
    return (values >= first - reach) & (values <= third + reach)
