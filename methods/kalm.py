r"""KaLM-Embedding-V2: hard negatives are mixed into new ones, and queries that are hard weigh more.

What the paper says (read in summaries and reviews; the body was not): fine-tuning has InfoNCE over the positives and
the 7 hard negatives of all queries of a batch, sampled from ranks 50 to 100 of an earlier model. Focal-style
reweighting makes hard queries weigh more: (1 - p)^gamma, p the positive's share of its softmax ([R]). Online
hard-negative mixing makes negatives of negatives without mining anew, pair-wise and list-wise. gamma = .5 and pair-wise
shares of Beta(2, 2) are told of its 12B successor. Its ablations support both parts, a reviewer says.
What the released code does (HITsz-TMG/KaLM-Embedding): neither part is in its `train/losses.py`.
What we do: of the M places half are documents, drawn uniformly from the dense pool, and half are mixtures of these:
one list-wise, of all of them with weights softmax(s / temperature), the rest pair-wise of two different ones. [R], a
reconstruction: how many there are of each kind, the weights of the list, that mixtures are of unit length and carry no
gradient to the documents, and that the focal weight is a constant in the gradient (its own has no bound where p is 1).
The controlled track has the mixtures alone, as a weight of queries is no choice of negatives. The faithful one has 7
documents of ranks 51 to 100, 7 pair-wise mixtures and 1 list-wise, the documents of all queries in each denominator and
the focal weight; a mixture stays with its own query.
Cost per step: M / 2 document vectors per query, each encoded twice, as mixtures are made before the loss.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from negmark.methods import base, losses, sampling, shared
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, torch
from negmark.methods.mochi import mixtures_of_pairs
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Negatives, Step, Tried, When

RECIPE = 7
"""Documents, and pair-wise mixtures, of a query in the faithful track."""
WINDOW = 50, 100
"""Its ranks: the first that are left out, and the last that is drawn from."""


class KaLM(Method):
    """Mixtures of hard negatives, and focal weights."""

    name = "kalm"
    title = "KaLM's mixing"
    citation = "Zhao et al. 2025, arXiv 2506.20923"
    pools = frozenset({"dense"})
    needs_vectors = "vectors as negatives"
    faithful = True
    recipe_negatives = 2 * RECIPE + 1
    footnotes = (
        Footnote(
            "a reconstruction, by summaries and reviews of the paper: how many mixtures there are, the weights of "
            "the list-wise one and the formula of the focal weight are ours"
        ),
        Footnote(
            "no focal weights; half of the granted places are mixtures of the other half", {When.CONTROLLED}
        ),
        Footnote("the suite's encoder, steps, batch size and optimiser; no distillation", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="kalm",
            worse="dense_uniform",
            metric="nDCG@10",
            condition="MTEB, ablations of focal weights and of mixing (by a review; figures not read)",
            differs="both parts and 7 hard negatives of ranks 50 to 100 there; in the controlled track mixing alone",
        ),
    )

    class Params(base.Params):
        """Parameters of mixing and weights."""

        beta: float = Field(default=2.0, gt=0)
        """Shape of Beta(a, a), from which the share of a pair-wise mixture is drawn."""
        list_wise: bool = True
        """Is one mixture of all of a query's drawn documents made?"""
        gamma: float = Field(default=0.5, ge=0)
        """Faithful track: focus on hard queries; 0 weighs all alike."""
        skip: int | None = Field(default=None, ge=0)
        """Best candidates that are left out. If None, none in the controlled track, 50 in the faithful one."""
        last: int | None = Field(default=None, ge=1)
        """The last rank that is drawn from. If None, 200 in the controlled track, 100 in the faithful one."""

    @classmethod
    def space(cls, params: KaLM.Params, track: str) -> Mapping[str, Tried]:
        """Tune the focus in the faithful track, how evenly pairs are mixed in the controlled one."""
        if track == "faithful":
            return {"gamma": Tried((0.0, 0.25, 0.5, 1.0, 2.0), "the paper's .5 and, ours, both sides of it")}
        return {"beta": Tried((0.5, 1.0, 2.0, 4.0, 8.0), "the paper's 2 and, ours, both sides of it")}

    @classmethod
    def drawn_from(cls, params: KaLM.Params, track: str) -> int | None:
        """Return how many ranks are drawn from."""
        skip, last = window(params, track)
        return max(last - skip, 0)

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        faithful = services.track == "faithful"
        granted = services.negatives
        self._documents = RECIPE if faithful else granted - granted // 2
        mixtures = RECIPE + 1 if faithful else granted // 2
        self._lists = int(params.list_wise and mixtures > 1)
        self._pairs = mixtures - self._lists
        self.mixed = torch.zeros(1, dtype=torch.int64)
        """Mixtures that were given."""

    def negatives(self, batch: Batch) -> Negatives:
        """Draw documents and mix them."""
        skip, last = window(self.params, self.services.track)
        ids, _ = self.services.pool("dense").candidates(batch.queries, last)
        drawn = sampling.draw_uniform(ids[:, skip:], self._documents, self.services.rng(batch.step))
        if not self._pairs:
            return Negatives(ids=drawn)
        used = torch.from_numpy(drawn != NO_DOCUMENT)
        counts, vectors = used.sum(dim=1), self.services.encode_documents(drawn)
        mixtures = [mixtures_of_pairs(vectors, counts, self._draws(batch.step, len(drawn)))]
        if self._lists:
            queries = batch.query_vectors.detach()
            mixtures.append(mixture_of_list(queries, vectors, used, self.services.temperature)[:, None])
        mask = (counts >= 2)[:, None].expand(-1, self._pairs + self._lists)
        self.mixed += int(mask.sum())
        return Negatives(ids=drawn, vectors=torch.cat(mixtures, dim=1), vectors_mask=mask)

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE over the documents of all queries, each query by its focal weight."""
        scores = shared.with_documents_of_all(step, self.services)
        return losses.focal(losses.info_nce_rows(scores, step.temperature), self.params.gamma)

    def idle(self) -> str:
        """Return that nothing was mixed."""
        return "" if self.mixed else "no mixture was made: it takes two drawn documents of a query"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return how many mixtures were given."""
        return {"mixed": self.mixed}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.mixed = state["mixed"]

    def _draws(self, step: int, size: int) -> np.ndarray:
        """Return what chooses the two documents and the share of each pair-wise mixture: [B, pairs, 3]."""
        rng = self.services.rng(step, "mixtures")
        chosen = rng.random((size, self._pairs, 2))
        share = rng.beta(self.params.beta, self.params.beta, (size, self._pairs, 1))
        return np.concatenate([chosen, share], axis=2)


def window(params: KaLM.Params, track: str) -> tuple[int, int]:
    """Return how many of the best ranks are left out, and the last that is drawn from."""
    skip, last = WINDOW if track == "faithful" else (0, base.DEPTH)
    return skip if params.skip is None else params.skip, last if params.last is None else params.last


def mixture_of_list(
    queries: torch.Tensor, vectors: torch.Tensor, used: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return of each row of vectors [B, K, D] the sum with weights softmax(cosine to the query / temperature): [B, D].

    Of unit length; places that aren't used [B, K] have no part, a row without any gives its first vector.
    """
    cosines = torch.einsum("bd,bkd->bk", queries, vectors) / temperature
    first = torch.zeros_like(used)
    first[:, :1] = True
    weights = losses.masked(cosines, used | (first & ~used.any(dim=1, keepdim=True))).softmax(dim=1)
    return functional.normalize(torch.einsum("bk,bkd->bd", weights, vectors), dim=1)
