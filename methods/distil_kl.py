"""Listwise distillation: the student's distribution over positive and negatives follows its teacher's.

What the paper says: dense retrievers learn more from a teacher's soft labels than from the one label that a query has
(TCT-ColBERT, Lin et al. 2020); RocketQAv2, AR2 and others do so with a cross-encoder, by the Kullback-Leibler
divergence of two softmaxes over one list. We read abstracts ([P]).
What the released code does (sentence-transformers 6.2, `DistillKLDivLoss`): KL(softmax(t / T_t) || softmax(s / T_s)),
summed over the list, averaged over queries, times T_s^2; both temperatures are 1 by default. No in-batch negatives.
What we do: the same over M negatives drawn uniformly from the dense pool's best `depth`, without the factor T_s^2,
which only scales the gradient. T_s is the suite's temperature, as everywhere; a cross-encoder's logits are divided by
`teacher_temperature`, an encoder's cosines by the suite's before. SimANS's faithful loss is this one on its own
negatives. These are `dense_uniform`'s, so it stands in the faithful track alone.
Cost per step: M document vectors and the teacher's scores of 1 + M documents per query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from negmark.methods import base, distilled, losses, teacher
from negmark.methods.base import Method
from negmark.methods.later import torch
from negmark.methods.types import Footnote, Step, Tried


class DistilKL(distilled.OnlyALoss, Method):
    """Distilled lists."""

    name = "distil_kl"
    title = "Listwise distillation (KL)"
    citation = "Lin et al. 2020, arXiv 2010.11386"
    footnotes = (
        Footnote("the teacher is {teacher}, which stays as it is"),
        distilled.FROM_DENSE,
    )

    class Params(base.Params):
        """Parameters of the distillation."""

        teacher_temperature: float = Field(default=1.0, gt=0)
        """Divides the teacher's logits: larger is a flatter distribution to follow."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that are drawn from; that of all rows here."""

    @classmethod
    def space(cls, params: Any, track: str) -> Mapping[str, Tried]:
        """Tune how flat the teacher's distribution is."""
        return {
            "teacher_temperature": Tried((0.25, 0.5, 1.0, 2.0, 4.0), "the code's 1 and, ours, factors of two")
        }

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the divergence of the student's lists from the teacher's."""
        student, taught, used = teacher.lists(self.services, step)
        return losses.kl_from_teacher(student, taught / self.params.teacher_temperature, used)
