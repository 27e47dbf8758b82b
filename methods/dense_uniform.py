"""Dense uniform: a uniform draw from the top N of the warm-up encoder.

What the paper says: negatives drawn from the top of a retrieved list, 200 deep in ANCE; the usual recipe of
embedding toolkits too. A deeper draw meets each single false negative less often.
What the released code does: Tevatron takes 30 from depth 200, FlagEmbedding 15 of the ranks 10 to 209.
What we do: M of ranks `skip` + 1 to `skip` + `top`, uniformly, without replacement, a fresh draw every step.
Cost per step: M document vectors per query; the dense pool is made once and shared.
"""

from collections.abc import Mapping

from pydantic import Field

from negmark.methods import base, sampling
from negmark.methods.base import Method
from negmark.methods.types import Batch, Negatives, Tried


class DenseUniform(Method):
    """Static hard negatives, diluted by depth."""

    name = "dense_uniform"
    title = "Dense uniform"
    citation = "Xiong et al. 2021, arXiv 2007.00808 (static pool)"
    pools = frozenset({"dense"})

    class Params(base.Params):
        """Parameters of the uniform draw."""

        top: int = Field(default=base.DEPTH, ge=1)
        """Candidates that are drawn from (N); by default as many as all rows look at."""
        skip: int = Field(default=0, ge=0)
        """Best candidates that are left out, as FlagEmbedding does with 10."""

    @classmethod
    def space(cls, params: "DenseUniform.Params", track: str) -> Mapping[str, Tried]:
        """Tune the depth: how hard the negatives are."""
        return {
            "top": Tried((16, 32, 50, 100, 200), "ours: halves of the default, which is all that a pool has")
        }

    @classmethod
    def drawn_from(cls, params: "DenseUniform.Params", track: str) -> int | None:
        """Return N."""
        return params.top

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M of the chosen ranks."""
        ids, _ = self.services.pool("dense").candidates(batch.queries, self.params.skip + self.params.top)
        rng = self.services.rng(batch.step)
        return Negatives(ids=sampling.draw_uniform(ids[:, self.params.skip :], self.services.negatives, rng))
