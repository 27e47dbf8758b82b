"""GISTEmbed: a guide model crosses out every in-batch document that it holds for better than the positive.

What the paper says: a guide encoder compares all texts of the batch; what it finds more similar to the query
than the labelled positive is a likely false negative and takes no part in the loss.
What the released code does (avsolatorio/GISTEmbed; GISTEmbedLoss of sentence-transformers): logits are the
blocks query-positive, query-negative (if given), query-query and positive-positive, over temperature 0.01. A
place of row i is masked if the guide's similarity is above g_i, that of pair i, also in the last block, where
it compares positive i with positive j. `margin` lowers the threshold; the relative one is g - |g| margin since
2026, as g (1 - margin) rises for negative g. The authors' own mode 'hard', which masks also what the student
already ranks below the positive, is not done.
What we do: in the controlled track only the query-positive block is masked, so the suite's InfoNCE runs over
what the guide leaves; `hard` (ours, no mode of the paper's code) adds the M best dense candidates under the
same mask. In the faithful track all blocks at the paper's temperature. The suite's teacher is the guide; without one
the warm-up encoder guides.
Cost per step: 2 teacher vectors per query; with `hard`, M document vectors and M teacher vectors more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from negmark.methods import base, losses, sampling
from negmark.methods.base import Method, Services
from negmark.methods.later import torch
from negmark.methods.types import (
    IN_BATCH,
    NO_DOCUMENT,
    Batch,
    Footnote,
    Gives,
    Ids,
    Negatives,
    Step,
    Tried,
    When,
)


class GIST(Method):
    """Guided in-sample selection of training negatives."""

    name = "gist"
    title = "GISTEmbed"
    citation = "Solatorio 2024, arXiv 2402.16829"
    needs_vectors = IN_BATCH
    pools = frozenset({"dense"})
    uses_teacher = True
    faithful = True
    footnotes = (
        Footnote("query-positive block only, under the suite's loss and temperature", {When.CONTROLLED}),
        Footnote("the guide is {teacher} instead of UAE-Large-V1"),
        Footnote(
            "labelled positives of a query are masked, as for every method; the guide's mask comes on top",
            {When.FAITHFUL},
        ),
        Footnote(
            "with `hard`, the negatives of other queries in the batch are not compared", {When.FAITHFUL}
        ),
    )

    class Params(base.Params):
        """Parameters of GISTEmbed."""

        margin: float = Field(default=0.0, ge=0)
        """How far below the positive's similarity the guide's threshold lies."""
        strategy: Literal["absolute", "relative"] = "absolute"
        """Is the margin a difference of cosines or a share of the positive's?"""
        hard: bool = False
        """Add the M best candidates of the dense pool, masked by the guide too."""
        temperature: float = Field(default=0.01, gt=0)
        """Faithful track: temperature of the loss."""
        contrast_anchors: bool = True
        """Faithful track: are the other queries negatives of a query?"""
        contrast_positives: bool = True
        """Faithful track: are the other positives negatives of a positive?"""

    @classmethod
    def gives(cls, params: GIST.Params, track: str) -> Gives:
        """Return documents where hard ones are asked for."""
        return Gives.DOCUMENTS if params.hard else Gives.NOTHING

    @classmethod
    def space(cls, params: GIST.Params, track: str) -> Mapping[str, Tried]:
        """Tune the margin of the guide."""
        return {
            "margin": Tried(
                (0.0, 0.01, 0.02, 0.05, 0.1),
                "the paper's 0 and sentence-transformers' option `margin`; the values are ours",
            )
        }

    @classmethod
    def own_notes(cls, params: GIST.Params, track: str) -> list[str]:
        """Say that a margin is no part of the paper, and on which scale it lies."""
        if not params.margin:
            return []
        option = "sentence-transformers' option; the paper has none"
        return [f"a margin of {params.margin:g} in the guide's raw cosines, {option}"]

    def __init__(self, params: Any, services: Services) -> None:
        super().__init__(params, services)
        self._guide = torch.empty(0), torch.empty(0)
        """The guide's vectors of the batch's queries and positives, kept from choosing until the loss."""
        self.judged = torch.zeros(1, dtype=torch.int64)
        """Documents of the batch, and candidates, that the guide masked."""

    def idle(self) -> str:
        """Return that the guide masked nothing."""
        return "" if self.judged else "its guide masked nothing"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return what has been judged."""
        return {"judged": self.judged}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.judged = state["judged"]

    @classmethod
    def asks_beyond_pool(cls, params: GIST.Params, track: str) -> bool:
        """Say that the guide compares all texts of a batch."""
        return True

    def negatives(self, batch: Batch) -> Negatives:
        """Mask what the guide finds better than the positive."""
        queries = self.services.teacher_queries(batch.queries)
        positives = self.services.teacher_documents(batch.positives)
        self._guide = queries, positives
        similarity = queries @ positives.T
        limit = thresholds(similarity.diagonal(), self.params)
        ids = self._mined(batch, queries, limit) if self.params.hard else None
        masked = too_similar(similarity, limit)
        self.judged += int(masked.sum())
        return Negatives(ids=ids, in_batch=~masked)

    def _mined(self, batch: Batch, queries: torch.Tensor, limit: torch.Tensor) -> Ids:
        candidates, _ = self.services.pool("dense").candidates(batch.queries, self.services.negatives)
        ids = sampling.first(candidates, self.services.negatives)
        similarity = torch.einsum("be,bme->bm", queries, self.services.teacher_documents(ids))
        masked = too_similar(similarity, limit).numpy() & (ids != NO_DOCUMENT)
        self.judged += int(masked.sum())
        return np.where(masked, NO_DOCUMENT, ids)

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE over all blocks that are asked for, each under the guide's mask."""
        batch, scores = step.batch, step.scores
        queries, positives = self._guide
        limit = thresholds((queries * positives).sum(dim=1), self.params)
        blocks, masks = [scores.negatives], [scores.negatives_mask]
        if self.params.contrast_anchors:
            same = torch.from_numpy(batch.queries[:, None] == batch.queries)
            blocks.append(batch.query_vectors @ batch.query_vectors.T)
            masks.append(~too_similar(queries @ queries.T, limit) & ~same)
        if self.params.contrast_positives:
            everyone = batch.positives[None].repeat(len(batch.positives), 0)
            labelled = torch.from_numpy(self.services.is_positive(batch.queries, everyone))
            blocks.append(batch.positive_vectors @ batch.positive_vectors.T)
            masks.append(~too_similar(positives @ positives.T, limit) & ~labelled)
        joined = replace(scores, negatives=torch.cat(blocks, dim=1), negatives_mask=torch.cat(masks, dim=1))
        return losses.info_nce(joined, self.params.temperature)


def thresholds(positive: torch.Tensor, params: GIST.Params) -> torch.Tensor:
    """Return the guide's similarity [B] above which a place is masked, from that of the labelled pairs [B]."""
    relative = params.strategy == "relative"
    return positive - params.margin * (positive.abs() if relative else 1)


def too_similar(similarity: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Mark the places [B, K] that the guide puts strictly above the row's threshold [B]."""
    return similarity > limit[:, None]
