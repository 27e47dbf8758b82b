r"""BUIR: no negatives at all; each side predicts a slowly moving copy of the other.

What the paper says: an unobserved pair need not be a negative one, so learn from observed pairs alone, as BYOL does
from two views. Online representations, with a predictor behind them, predict targets: a copy whose parameters are an
exponential moving average of the online ones. It claims to beat recommenders that sample negatives, the more the
sparser the data are.
What the released code does (donalee/BUIR): one linear predictor q for users and items, on the online side alone; all
four outputs of unit length; L = [2 - 2 q(f_u) . t_i] + [2 - 2 q(f_i) . t_u], averaged over the batch; after every
step t <- .995 t + .005 f, from t = f at the start. The predictor starts by Xavier's normal weights and a bias ~ N(0,
1). Ranks by q(f_u) . f_i + f_u . q(f_i), online and *without* unit length. BUIR-nb adds a graph encoder (LightGCN).
What we do: query = user, document = item, faithful track only. The loss and the momentum are the code's. The predictor
starts as the identity: a bias ~ N(0, 1) would drown vectors of unit length (`predictor: xavier` is the code's). The
index is searched by the online towers alone, as a search has one inner product. .995 has a half-life of 138 steps, so
in a run of some hundred the targets stay near the start, and much of what is learnt is the start. Without negatives all
vectors may fall together: `mean_cosine` in the history tells, and the row has no rank where the last are above .99.
Cost per step: 2 vectors of the copy per query, and a pass over all parameters to move it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from negmark.methods import base
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, nn, torch
from negmark.methods.types import Claim, Footnote, Step, Tried, When
from negmark.methods.without_negatives import Cosines, WithoutNegatives


class BUIR(WithoutNegatives, Method):
    """Momentum targets instead of negatives."""

    name = "buir"
    title = "BUIR (no negatives)"
    citation = "Lee et al. 2021, SIGIR, arXiv 2105.06323"
    needs_vectors = "momentum copies of its towers"
    faithful = True
    footnotes = (
        Footnote("queries and documents with texts instead of users and items without"),
        Footnote(
            "documents are searched by the trained towers alone, without the predictor", {When.FAITHFUL}
        ),
        Footnote("the predictor starts as the identity, unless asked for otherwise", {When.FAITHFUL}),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="buir",
            worse="random",
            metric="nDCG@10",
            condition="collaborative filtering on sparse data, by the abstract better than BPR and other ways of "
            "sampling negatives; no figures read",
            differs="queries and documents with texts; new queries at test, where the paper has none; no suite tests "
            "it: the loss knows no negatives, so that no row of random ones has the same",
        ),
    )

    class Params(base.Params):
        """Parameters of targets and predictor."""

        momentum: float = Field(default=0.995, ge=0, le=1)
        """Share of itself that a target keeps at a step; 0 follows at once, 1 never."""
        predictor: Literal["identity", "xavier"] = "identity"
        """How the predictor starts; `xavier`, with a bias ~ N(0, 1), is the released code's."""

    @classmethod
    def space(cls, params: BUIR.Params, track: str) -> Mapping[str, Tried]:
        """Tune the momentum."""
        return {
            "momentum": Tried(
                (0.9, 0.97, 0.99, 0.995, 0.999), "the code's .995 and, ours, half-lives from 7 to 693 steps"
            )
        }

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        dimension = services.warmup_documents(np.zeros(1, dtype=np.int64)).shape[1]
        self.predictor = started(nn.Linear(dimension, dimension), params.predictor)
        self.cosines = Cosines()

    def refresh(self, step: int) -> None:
        """Make the targets, equal to the towers, before the first step."""
        self._targets = self.services.momentum(self.params.momentum)

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return how far each side's prediction is from the other side's target."""
        batch = step.batch
        self.services.count_network(2 * len(batch.queries))
        self.cosines.add(batch.query_vectors)
        return both_ways(
            self.predictor(batch.query_vectors),
            self.predictor(batch.positive_vectors),
            self._targets.queries(batch.queries),
            self._targets.documents(batch.positives),
        )

    def extra_modules(self) -> nn.ModuleDict:
        """Return the predictor."""
        return nn.ModuleDict({"predictor": self.predictor})


def started(predictor: nn.Linear, how: Literal["identity", "xavier"]) -> nn.Linear:
    """Return a predictor with its start."""
    if how == "xavier":
        nn.init.xavier_normal_(predictor.weight)
        nn.init.normal_(predictor.bias)
    else:
        nn.init.eye_(predictor.weight)
        nn.init.zeros_(predictor.bias)
    return predictor


def both_ways(
    predicted_queries: torch.Tensor,
    predicted_documents: torch.Tensor,
    target_queries: torch.Tensor,
    target_documents: torch.Tensor,
) -> torch.Tensor:
    """Return the mean of 2 - 2 cos(q(f_u), t_i) + 2 - 2 cos(q(f_i), t_u) of B pairs (a scalar); takes [B, D] each."""
    to_document = functional.cosine_similarity(predicted_queries, target_documents.detach())
    to_query = functional.cosine_similarity(predicted_documents, target_queries.detach())
    return (4 - 2 * to_document - 2 * to_query).mean()
