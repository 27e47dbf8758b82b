r"""ANCE: negatives from the model's own index of the whole corpus, refreshed as training goes on.

What the paper says: informative negatives have large gradients, and local ones (in-batch, BM25) don't; so
retrieve them globally with the model in training, from an index that another process rebuilds from the
latest checkpoint while training continues.
What the released code does (microsoft/ANCE): the trainer saves every 10,000 steps; the inferencer then encodes
all passages anew, searches the top 200 for a fifth of the queries (round robin), shuffles them and writes 20
negatives per query. It knows only the one positive of a row, so other positives may be written as
negatives. Each triple is trained with -log(e^{s+} / (e^{s+} + e^{s-})), without in-batch negatives.
What we do: every `refresh_steps` steps, step 0 included, the training loop itself takes a snapshot of the
encoder, for all queries at once, and training waits for it: no negative is older than `refresh_steps` (the
default suits runs of some hundred steps, the code's is 10,000). At every step M negatives are drawn uniformly
from the snapshot's top `depth`, all labelled positives left out. The faithful track takes the code's loss.
Cost per step: M document vectors per query and B searches of the whole corpus; at a refresh, the whole corpus.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from negmark.methods import base, losses, sampling
from negmark.methods.base import Method, Services, Snapshot
from negmark.methods.later import torch
from negmark.methods.types import Batch, Claim, Footnote, Lends, Negatives, Step, Tried, When, Work

_DIFFERS = (
    "the small encoder of the suite and InfoNCE instead of RoBERTa and a pairwise loss; synchronous refresh"
)


class ANCE(Method):
    """Global hard negatives of a recent model."""

    name = "ance"
    title = "ANCE"
    citation = "Xiong et al. 2021, ICLR, arXiv 2007.00808"
    needs_vectors = "a corpus encoded anew"
    footnotes = (
        Footnote(
            "the pool is refreshed synchronously and for all queries at once, every 100 steps by default "
            "instead of about 10,000"
        ),
        Footnote(
            "M fresh draws a step instead of 20 written at a refresh; all labelled positives are filtered"
        ),
        Footnote("InfoNCE with in-batch negatives instead of the pairwise loss", {When.CONTROLLED}),
        Footnote(
            "the logit is cosine similarity / temperature instead of a raw dot product", {When.FAITHFUL}
        ),
        Footnote("the suite's optimiser and start instead of LAMB and a BM25 warm-up", {When.FAITHFUL}),
    )
    faithful = True
    lends_loss = Lends.TO_DOCUMENTS
    claims = (
        Claim(
            "ance",
            "random",
            "RR@10",
            "MS MARCO passage dev, read partly second-hand: .330 against .261",
            _DIFFERS,
        ),
        Claim(
            "ance",
            "bm25",
            "RR@10",
            "MS MARCO passage dev, read partly second-hand: .330 against .299",
            _DIFFERS,
        ),
    )

    class Params(base.Params):
        """Parameters of ANCE."""

        refresh_steps: int = Field(default=100, ge=1)
        """Steps between refreshes of the pool; about 10,000 in the released code's much longer runs."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the refreshed pool that are drawn from, best first."""

    @classmethod
    def space(cls, params: ANCE.Params, track: str) -> Mapping[str, Tried]:
        """Tune how old the pool may get."""
        return {"refresh_steps": Tried((25, 50, 100, 200, 400), "ours: halves and doubles the default")}

    def __init__(self, params: ANCE.Params, services: Services) -> None:
        super().__init__(params, services)
        self._snapshot: Snapshot | None = None
        self.refreshed = torch.zeros(1, dtype=torch.int64)
        """Refreshes after the first."""

    @classmethod
    def work(cls, params: ANCE.Params, track: str, steps: int, batch_size: int) -> Work:
        """Return a corpus encoded at each refresh and a search per query."""
        return Work(-(-steps // params.refresh_steps), steps * batch_size)

    def refresh(self, step: int) -> None:
        """Freeze the encoder as it is now, on the steps that are due."""
        if self._snapshot is None or step % self.params.refresh_steps == 0:
            self.refreshed += self._snapshot is not None
            self._snapshot = self.services.snapshot()

    def idle(self) -> str:
        """Return that the pool is that of the start."""
        return "" if self.refreshed else f"no refresh: the first is after {self.params.refresh_steps:,} steps"

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M of what the snapshot ranks highest."""
        assert self._snapshot is not None
        ids, _ = self._snapshot.candidates(batch.queries, self.params.depth)
        rng = self.services.rng(batch.step)
        return Negatives(ids=sampling.draw_uniform(ids, self.services.negatives, rng))

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the negative log-likelihood of each triple, averaged."""
        scores = step.scores
        positive, negatives = scores.positive / step.temperature, scores.negatives / step.temperature
        return losses.pairwise_softplus(
            positive, negatives, torch.ones_like(negatives), scores.negatives_mask
        )

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the snapshot that negatives are drawn from."""
        return {} if self._snapshot is None else {**self._snapshot.state_dict(), "refreshed": self.refreshed}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the snapshot."""
        if state:
            self.refreshed = state["refreshed"]
            self._snapshot = self.services.snapshot({key: state[key] for key in state if key != "refreshed"})
