"""What methods that learn from a teacher alone have in common; some draw as `dense_uniform` and differ in the loss."""

from typing import Any, ClassVar

from negmark.methods import sampling
from negmark.methods.base import Services
from negmark.methods.types import Batch, Footnote, Lends, Negatives, Tried

DEPTHS = Tried((16, 32, 50, 100, 200), "ours: as for dense_uniform")
FROM_DENSE = Footnote(
    "negatives from the dense pool, which the teacher has judged, instead of the paper's list"
)


class Taught:
    """A part of methods of the faithful track that learn from a teacher alone."""

    pools: ClassVar[frozenset[str]] = frozenset({"dense"})
    uses_teacher: ClassVar[bool] = True
    faithful: ClassVar[bool] = True

    @classmethod
    def needs_teacher(cls, params: Any, track: str) -> bool:
        """Say that no label enters the loss but through the teacher."""
        return True


class OnlyALoss(Taught):
    """A part of those whose negatives are drawn uniformly from the dense pool."""

    lends_loss: ClassVar[Lends] = Lends.TO_DOCUMENTS
    services: Services
    params: Any

    @classmethod
    def refusal(cls, params: Any, track: str) -> str:
        """Return that the controlled track has one loss for all."""
        why = "what is its own is the loss, its negatives are those of dense_uniform; add `track: faithful`"
        return why if track == "controlled" else ""

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M of the best `depth` candidates."""
        return Negatives(ids=sampling.draw_from_pool(batch, "dense", self.params.depth, self.services))
