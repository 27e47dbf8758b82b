"""RLHN by a judge who is always right: the hidden positives among the candidates (a control).

What the paper says: no paper; a control of this benchmark. A judge of hard negatives can find no more than what is
relevant among them. Where a dataset hides positives, that is known: so this row is the upper bound of `rlhn`, and its
distance from `dense_uniform` is what all relabelling is about.
What the released code does: none.
What we do: as `rlhn`, with the hidden positives among the dense pool's best `depth` in place of a file of verdicts. No
other method sees them. A run that met none says that it did not act.
Cost per step: M document vectors per query; the dense pool is made once and shared.
"""

import numpy as np

from negmark.methods import rlhn
from negmark.methods.base import Method
from negmark.methods.types import NO_DOCUMENT, Ids


class RLHNTruth(rlhn.RLHN, Method):
    """Relabelled by the truth."""

    name = "rlhn_truth"
    title = "RLHN by the truth (control)"
    citation = "a control of negmark, 2026"
    pools = frozenset({"dense"})
    knows_hidden = True
    footnotes = tuple(note for note in rlhn.RLHN.footnotes if note is not rlhn.UNJUDGED)
    claims = ()

    def relevant(self, queries: Ids) -> Ids:
        """Return the hidden positives among the candidates."""
        ids, _ = self.services.pool("dense").candidates(queries, self.params.depth)
        hidden = self.services.is_hidden_positive(queries, ids)
        return np.where(hidden, ids, NO_DOCUMENT)
