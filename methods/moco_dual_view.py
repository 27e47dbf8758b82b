r"""Dual-view MoCo (a reconstruction): the hardest of a bank of past keys, for queries and for documents.

What the paper says: only its abstract was open to us. It adds two things to MoCo: a dual-view loss, which optimises
query and key embeddings alike, and a selective sampling of negatives, which emphasises the most challenging of the
memory bank by cosine similarity, to lessen noise. Better classes on CIFAR at a small bank. It isn't said if the
filter keeps a number or what is above a threshold, nor whether keys get gradients.
What the released code does: none was found.
What we do: **a reconstruction; every equation here is ours, not the authors'**. A bank holds the last `bank` vectors of
a momentum copy of the towers, which keeps .99 of itself at a step: by MoCo's .999, made for runs of 100,000 steps, two
thirds of it would still be the start after 400. A row keeps the `kept` candidates with the highest cosine to its
anchor, by detached scores and after its positives and their copies are taken out: L_q = -log e^{s+} / (e^{s+} + sum of
the kept e^s). Controlled track: candidates are the batch's documents, cut by a mask, and beside them the M hardest of
the bank, as vectors. Faithful track: the batch and the bank together, and the same in the other direction, L_k, whose
anchor is the document and whose candidates are the other queries; L_q + `key_weight` L_k, gradients to both sides. With
`kept` as large as all candidates L_q is InfoNCE. This filter keeps what is hardest, so also hidden positives: the
opposite of `gist`.
Cost per step: 1 vector of the copy per query (2 in the faithful track), B * `bank` products, and a pass over all
parameters to move the copy.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method, Services
from negmark.methods.later import torch
from negmark.methods.queue import KEYS, Queue
from negmark.methods.types import Batch, Claim, Footnote, Ids, Negatives, Step, Tried, When


class MoCoDualView(Method):
    """The hardest of a memory bank, in both directions."""

    name = "moco_dual_view"
    title = "MoCo dual-view (reconstruction)"
    citation = "Hoang et al. 2025, arXiv 2501.16360"
    needs_vectors = "momentum copies of its towers"
    faithful = True
    footnotes = (
        Footnote("a reconstruction from the abstract: every equation is ours"),
        Footnote("queries and their positives instead of two views of an image", {When.RETRIEVAL}),
        Footnote("a copy that keeps .99 of itself at a step, not MoCo's .999, as runs are short"),
        Footnote(
            "queries against documents alone; the bank's M hardest stand beside the hardest of the batch",
            {When.CONTROLLED},
        ),
        Footnote("the suite's encoder, temperature, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="moco_dual_view",
            worse="inbatch",
            metric="nDCG@10",
            condition="CIFAR-10 and -100 by a linear and a k-NN classifier, with a small bank: better than MoCo by the "
            "abstract; no figures read",
            differs="a reconstruction; queries and documents, not images; in-batch negatives instead of MoCo's bank",
        ),
    )

    class Params(base.Params):
        """Parameters of bank and filter: none is known from the paper."""

        kept: int = Field(default=64, ge=1)
        """Candidates that a row keeps, the hardest; in the controlled track of the batch's documents."""
        bank: int = Field(default=KEYS, ge=1)
        """Past vectors that are kept, first in, first out."""
        momentum: float = Field(default=0.99, ge=0, le=1)
        """Share of itself that the copy keeps at a step; MoCo's .999 is for longer runs."""
        key_weight: float = Field(default=1.0, ge=0)
        """Faithful track: weight of the direction from documents to queries; 0 leaves it out."""

    @classmethod
    def gives(cls, params: MoCoDualView.Params, track: str) -> base.Gives:
        """Return vectors of the bank in the controlled track; the faithful loss chooses itself."""
        return base.Gives.NOTHING if track == "faithful" else base.Gives.BESIDE

    @classmethod
    def space(cls, params: MoCoDualView.Params, track: str) -> Mapping[str, Tried]:
        """Tune how many candidates are kept: of the batch, and in the faithful track of the bank too."""
        if track == "faithful":
            return {"kept": Tried((4, 16, 64, 256, 1024), "ours: up to a quarter of a bank of 4,096")}
        return {"kept": Tried((4, 8, 16, 32, 64), "ours: up to all documents of a batch of 64")}

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.documents, self.queries = Queue(params.bank), Queue(params.bank)
        self.dropped = torch.zeros(1, dtype=torch.int64)
        """Candidates that the filter has dropped so far."""

    def refresh(self, step: int) -> None:
        """Make the copy, equal to the towers, before the first step."""
        self._copy = self.services.momentum(self.params.momentum)

    def negatives(self, batch: Batch) -> Negatives:
        """Keep the hardest of the batch and, in the controlled track, the M hardest of the bank beside them."""
        if self.services.track == "faithful":  # its own loss chooses
            return Negatives()
        queries = batch.query_vectors.detach()
        cosines = queries @ batch.positive_vectors.detach().T
        allowed = torch.from_numpy(~self.services.is_positive(batch.queries, _everyone(batch.positives)))
        kept = self._hardest(cosines, allowed, self.params.kept)
        if not len(self.documents):
            return Negatives(in_batch=kept)
        allowed = self.documents.allowed(batch.queries, self.services)
        scores = losses.masked(queries @ self.documents.vectors.T, allowed)
        self.dropped += int((allowed.sum(dim=1) - self.services.negatives).clamp(min=0).sum())
        places = scores.topk(min(self.services.negatives, len(self.documents)), dim=1).indices
        return Negatives(
            vectors=self.documents.vectors[places],
            vectors_mask=allowed.gather(1, places),
            in_batch=kept,
            source="bank",
        )

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the loss of both directions, each over the hardest of batch and bank."""
        batch, scores = step.batch, step.scores
        documents = self.documents.allowed(batch.queries, self.services) if len(self.documents) else None
        loss = self._direction(
            step, scores.in_batch, scores.in_batch_mask, batch.query_vectors, self.documents, documents
        )
        if self.params.key_weight:
            queries = self._allowed_queries(batch.positives) if len(self.queries) else None
            columns, mask = scores.in_batch.T, scores.in_batch_mask.T
            back = self._direction(step, columns, mask, batch.positive_vectors, self.queries, queries)
            loss = loss + self.params.key_weight * back
        return loss

    def observe(self, step: Step) -> None:
        """Put the batch into the bank, as the copy sees it."""
        batch = step.batch
        self.documents.push(self._copy.documents(batch.positives), batch.positives)
        if self.services.track == "faithful" and self.params.key_weight:
            self.queries.push(self._copy.queries(batch.queries), batch.queries)

    def idle(self) -> str:
        """Return that the filter has kept all there was."""
        return (
            "" if self.dropped else f"no row had more than its {self.params.kept:,} candidates to choose from"
        )

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return both banks, and what the filter has dropped."""
        banks = {"documents": self.documents, "queries": self.queries}
        kept = {
            f"{side}.{key}": value for side, bank in banks.items() for key, value in bank.state_dict().items()
        }
        return {**kept, "dropped": self.dropped}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        for side, bank in (("documents", self.documents), ("queries", self.queries)):
            own = f"{side}."
            bank.load_state_dict({key.removeprefix(own): state[key] for key in state if key.startswith(own)})
        self.dropped = state["dropped"]

    def _direction(
        self,
        step: Step,
        in_batch: torch.Tensor,
        mask: torch.Tensor,
        anchors: torch.Tensor,
        bank: Queue,
        allowed: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the mean loss of anchors [B, D] over the hardest of the batch's other side and its bank."""
        if allowed is not None:
            in_batch = torch.cat([in_batch, anchors @ bank.vectors.T], dim=1)
            mask = torch.cat([mask, allowed], dim=1)
        kept = self._hardest(in_batch.detach(), mask, self.params.kept)
        return over_kept(step.scores.positive, in_batch, kept, step.temperature).mean()

    def _hardest(self, cosines: torch.Tensor, allowed: torch.Tensor, top: int) -> torch.Tensor:
        kept = hardest(cosines, allowed, top)
        self.dropped += int((allowed & ~kept).sum())
        return kept

    def _allowed_queries(self, documents: Ids) -> torch.Tensor:
        """Return of which queries of the bank documents [B] are no positives: [B, n]."""
        labelled = self.services.is_positive(
            self.queries.ids.numpy(), _everyone(documents, len(self.queries))
        )
        return torch.from_numpy(~labelled).T


def hardest(cosines: torch.Tensor, allowed: torch.Tensor, top: int) -> torch.Tensor:
    """Mark of candidates [B, K] the `top` allowed ones with the highest cosine in each row, fewer where fewer are."""
    count = min(top, cosines.shape[1])
    places = losses.masked(cosines, allowed).topk(count, dim=1).indices
    return torch.zeros_like(allowed).scatter(1, places, True) & allowed


def over_kept(
    positive: torch.Tensor, candidates: torch.Tensor, kept: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return -log e^{s+} / (e^{s+} + sum of the kept e^s) [B] of cosines [B] and [B, K], over the temperature."""
    logits = losses.masked(candidates / temperature, kept)
    own = positive[:, None] / temperature
    return torch.cat([own, logits], dim=1).logsumexp(dim=1) - own[:, 0]


def _everyone(rows: Ids, count: int | None = None) -> Ids:
    """Return rows [B] once for each of `count` others, or of themselves."""
    return np.broadcast_to(rows, (len(rows) if count is None else count, len(rows)))
