"""Margin-MSE: the student learns by how much its teacher prefers the positive, so that a false negative does no harm.

What the paper says: rankers of different architectures score on different scales, but their margins can be compared.
The student's margin between a positive and a negative is trained towards the teacher's by mean squared error; a
negative that the teacher likes better than the positive pushes the other way. The teachers are BERT cross-encoders,
alone or three averaged; the negatives those of MS MARCO's training triples; dot products. We read the abstract, model
cards and loss ([P], [C]).
What the released code does (sebastian-hofstaetter, losses of neural-ranking-kd and matchmaker; sentence-transformers'
`MarginMSELoss`): mean over pairs of ((s+ - s-) - (t+ - t-))^2, one negative a query there, several in the latter, which
is the mean over all of them. No in-batch negatives.
What we do: the same loss over M negatives drawn uniformly from the dense pool's best `depth`, as a cross-encoder has
judged those. Cosines have a range of 2, the teacher's logits one of 20 or so: the student's score is cosine /
temperature, the scale of the shared loss, and so is that of a teacher that is an encoder. Its negatives are
`dense_uniform`'s, so it stands in the faithful track alone.
Cost per step: M document vectors and the teacher's scores of 1 + M documents per query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from negmark.methods import base, distilled, losses, teacher
from negmark.methods.base import Method
from negmark.methods.later import torch
from negmark.methods.types import Claim, Footnote, Step, Tried


class MarginMSE(distilled.OnlyALoss, Method):
    """Distilled margins."""

    name = "margin_mse"
    title = "Margin-MSE"
    citation = "Hofstätter et al. 2020, arXiv 2010.02666"
    footnotes = (
        Footnote("the teacher is {teacher}"),
        Footnote("scores are cosine similarity / temperature instead of dot products"),
        distilled.FROM_DENSE,
    )
    claims = (
        Claim(
            better="margin_mse",
            worse="mine_hard_negatives",
            metric="RR@10",
            condition="MS MARCO dev, sentence-transformers' models: 38.08 (bert-base-dot-v5) against 33.01 "
            "(roberta-base-v3, negatives that a cross-encoder left)",
            differs="base models and training data differ there too; the loss is the method, which the other has in "
            "no track",
            own_loss=True,
        ),
    )

    class Params(base.Params):
        """Parameters of the draw."""

        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that are drawn from; that of all rows here."""

    @classmethod
    def space(cls, params: Any, track: str) -> Mapping[str, Tried]:
        """Tune the depth."""
        return {"depth": distilled.DEPTHS}

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the squared distance of the student's margins from the teacher's."""
        student, taught, used = teacher.lists(self.services, step)
        return losses.margin_mse(student[:, 0], student[:, 1:], taught[:, 0], taught[:, 1:], used[:, 1:])
