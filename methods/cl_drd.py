"""CL-DRD: distillation from coarse to fine: first the teacher's few best before all others, later more of its order.

What the paper says: a student that is to copy a re-ranker's whole order at once learns worse than one whose task grows
harder. In three iterations more and more of the teacher's top is to be ordered one by one, the rest only in groups; the
loss is listwise, weighted by reciprocal ranks. We read the abstract ([P]) and the code ([C]).
What the released code does (HansiZeng/CL-DRD): a query has 30 documents. Of these the teacher's first 5, then 10, then
20 are ordered, with the labels 1/rank; the others are two halves with the labels -1/4 and -1/2 (label modes 8, 9, 10).
`lambda_mrr_loss` is the mean over pairs of |1/r_i - 1/r_j| log(1 + e^(s_j - s_i)), r being the student's ranks. The
iterations take 4, 2 and 2 epochs with a learning rate of 7e-6 and twice 3e-6, each from the model of the last, the
first from TAS-B. How the lists were drawn is not in the code.
What we do: the list is the positive and M documents. A sixth of it, then a third, then two thirds are the teacher's
best, in the first half of the steps and the two quarters after it; the learning rate follows the suite's schedule. Of
the other places one half is drawn uniformly from the upper half of the candidates that the teacher ranks behind these,
one from the lower: a reconstruction ([R]). The positive takes part where the teacher ranks it. Scores are cosine /
temperature. There are no negatives without its loss, so it stands in the faithful track alone.
Cost per step: M document vectors and the teacher's scores of the `depth` candidates and the positive per query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, distilled, losses, sampling, teacher
from negmark.methods.base import Method
from negmark.methods.later import torch
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Ids, Negatives, Step, Tried

ORDERED = (1 / 6, 1 / 3, 2 / 3)
"""Share of a list whose order counts, in each stage: 5, 10 and 20 of 30."""
BEGINS = (0.0, 0.5, 0.75)
"""Share of the steps at which a stage begins: 4, 2 and 2 epochs."""
SECOND, THIRD = -0.25, -0.5
"""Labels of the two groups behind."""


class CLDRD(distilled.Taught, Method):
    """Distilled orders of growing detail."""

    name = "cl_drd"
    title = "CL-DRD"
    citation = "Zeng et al. 2022, SIGIR, arXiv 2204.13679"
    footnotes = (
        Footnote("the teacher is {teacher}"),
        Footnote("lists of the suite's number of negatives and the positive instead of 30 documents"),
        Footnote("how the documents behind the teacher's best are drawn is a reconstruction"),
        Footnote(
            "one schedule of the learning rate over the three stages, from the suite's start instead of TAS-B unless "
            "the row has a `start`"
        ),
    )
    claims = (
        Claim(
            better="cl_drd",
            worse="tas_b",
            metric="RR@10",
            condition="MS MARCO dev: .382 from TAS-B's model (the code's README) against .340 of TAS-B itself "
            "(secondary notes [S])",
            differs="TAS-B has a second teacher, and is Margin-MSE's here only with `loss:` of a row of that",
            own_teacher=True,
            from_worse=True,
        ),
    )

    class Params(base.Params):
        """Parameters of the lists."""

        depth: int = Field(default=base.DEPTH, ge=3)
        """Candidates of the pool that the teacher ranks; that of all rows here."""

    @classmethod
    def refusal(cls, params: Any, track: str) -> str:
        """Return that its lists hold what the teacher finds best."""
        if track == "controlled":
            return "its lists begin with what the teacher finds best, which is no negative; add `track: faithful`"
        return ""

    @classmethod
    def space(cls, params: Any, track: str) -> Mapping[str, Tried]:
        """Tune the depth."""
        return {"depth": distilled.DEPTHS}

    def ordered(self, step: int) -> int:
        """Return how many of a list's documents are ordered one by one at a step."""
        return places(step, self.services.steps, 1 + self.services.negatives)

    def negatives(self, batch: Batch) -> Negatives:
        """List the teacher's best, and draw from both halves of what is behind."""
        ids, _ = self.services.pool("dense").candidates(batch.queries, self.params.depth)
        scores = teacher.score(self.services, batch.queries, ids)
        order = np.argsort(-scores, axis=1, kind="stable")
        ranked = np.take_along_axis(ids, order, axis=1)
        top = self.ordered(batch.step) - 1  # the positive has a place
        rng = self.services.rng(batch.step)
        return Negatives(ids=listed(ranked, top, self.services.negatives, rng))

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Compare the student's order with the labels that the teacher's order has at this stage."""
        student, taught, used = teacher.lists(self.services, step)
        return losses.lambda_mrr(student, labels(taught, self.ordered(step.batch.step)), used)


def places(step: int, steps: int, length: int) -> int:
    """Return how many of `length` documents are ordered at a step: one at least."""
    stage = sum(step >= begin * steps for begin in BEGINS) - 1
    return max(1, round(length * ORDERED[stage]))


def listed(ranked: Ids, top: int, count: int, rng: np.random.Generator) -> Ids:
    """Return `count` of each row's documents [B, K], best first: the `top` ones, then of both halves of the rest."""
    best, rest = ranked[:, :top], ranked[:, top:]
    real = (rest != NO_DOCUMENT).sum(axis=1, keepdims=True)
    upper = np.arange(rest.shape[1]) < (real + 1) // 2
    many = count - best.shape[1]
    halves: list[NDArray[np.int64]] = [
        sampling.draw_uniform(np.where(upper == is_upper, rest, NO_DOCUMENT), size, rng)
        for is_upper, size in ((True, (many + 1) // 2), (False, many // 2))
    ]
    return np.concatenate([best, *halves], axis=1)


def labels(taught: torch.Tensor, ordered: int) -> torch.Tensor:
    """Return labels of lists [B, K] by the teacher's scores: 1/rank of the first, then those of two halves."""
    ranks = taught.argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1
    second = ordered + (taught.shape[1] - ordered + 1) // 2
    groups = torch.where(ranks <= second, SECOND, THIRD)
    return torch.where(ranks <= ordered, 1 / ranks, groups)
