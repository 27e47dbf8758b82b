r"""CLAPS-style perturbations: the positive, moved a little to be a negative, and far to be a second positive.

What the paper says: for conditional generation, random targets are too easy as negatives. An imposter is the target's
hidden states moved a small step so that its likelihood falls; a distant target is moved a large step away from the
source while the output distribution is held. Contrastive losses over both are added to the likelihood.
What the released code does (seanie12/CLAPS, T5-small): similarity is the cosine of both sides' mean of a shared
Linear - ReLU. Imposter: d + e g / |g| for each token of the decoder's states, g the gradient of the negative
log-likelihood, e = 1 (3 in translation). Distant target: 3 g / |g| with g that of the contrastive loss, then back by
3 k / |k|, k the gradient of KL(p(.|d) || p(.|d')). A is the batch's row and the row's own imposter, over tau = .1; B
the same with the distant target in place of the target, which is *not* divided by tau; the loss is likelihood +
(CE(A) + CE(B)) / 2. Two of its trainers add the gradients of making the distant target to those of the loss.
What we do: there is no decoder, so **every part is our adaptation**: the likelihood of a document is its share of the
softmax over the batch's documents, the tokens are those of the encoder's input (`Services.perturbed_documents`), and
what is held for the distant target is the softmax of its cosines with the batch's documents. Sizes are in units of
the tokens' mean length; in the static tier all tokens of a text move alike, so a text's mean moves by the size
itself, and the paper's sizes would turn it round: a tenth of them is the default. Controlled track: the imposter is
the one negative beside the batch. Faithful track: (CE(A) + CE(B)) / 2 by the projection, which is dropped after
training, without likelihood. Gradients of the moves reach no parameter.
Cost per step: 2 passes over the positives in the controlled track, 5 in the faithful one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, nn, torch
from negmark.methods.types import Batch, Claim, Footnote, Move, Negatives, Step, Tried, When


class CLAPS(Method):
    """Adversarial perturbations of the positive."""

    name = "claps"
    title = "CLAPS-style perturbations"
    citation = "Lee et al. 2021, ICLR, arXiv 2012.07280"
    needs_vectors = "vectors that come from tokens"
    needs_tokens = "perturbations"
    faithful = True
    footnotes = (
        Footnote(
            "an adaptation: a document's share of the batch's softmax stands for a decoder's likelihood"
        ),
        Footnote("the tokens of the encoder's input are moved, not a decoder's states"),
        Footnote(
            "one imposter a query beside the batch; no distant positive and no projection", {When.CONTROLLED}
        ),
        Footnote("no likelihood in the loss", {When.FAITHFUL}),
        Footnote("the projection is of the text's vector, not of its tokens", {When.FAITHFUL}),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="claps",
            worse="inbatch",
            metric="nDCG@10",
            condition="translation, summarisation and question generation: better than contrast with random targets "
            "by the abstract; figures not verified",
            differs="retrieval instead of generation; no likelihood, so an adaptation",
        ),
    )

    class Params(base.Params):
        """Sizes of the moves, in units of the mean length of the texts' token vectors."""

        imposter: float = Field(default=0.1, gt=0)
        """How far an imposter's tokens move; 1 in the paper, which is about a token's length there."""
        distant: float = Field(default=0.3, gt=0)
        """Faithful track: how far a distant positive's tokens move, there and back; 3 in the paper."""
        distant_temperature: bool = False
        """Faithful track: divide B, the row with the distant positive, by the temperature, as the paper is remembered
        to; the released code does not."""
        detach: bool = False
        """Keep the gradient out of the imposter."""

    @classmethod
    def gives(cls, params: CLAPS.Params, track: str) -> base.Gives:
        """Return imposters."""
        return base.Gives.BESIDE

    @classmethod
    def space(cls, params: CLAPS.Params, track: str) -> Mapping[str, Tried]:
        """Tune how far an imposter goes."""
        return {"imposter": Tried((0.01, 0.03, 0.1, 0.3, 1.0), "ours, up to the paper's 1")}

    @classmethod
    def own_notes(cls, params: CLAPS.Params, track: str) -> list[str]:
        """Return the sizes of the moves: the row's own, which may be tuned."""
        paper, units = "the paper's", "in units of the tokens' length"
        if track == "controlled":
            return [f"moves of {params.imposter:g} instead of {paper} 1, {units}"]
        return [f"moves of {params.imposter:g} and {params.distant:g} instead of {paper} 1 and 3, {units}"]

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        dimension = services.warmup_documents(np.zeros(1, dtype=np.int64)).shape[1]
        self.projection = nn.Sequential(nn.Linear(dimension, dimension), nn.ReLU())
        self.hard = torch.zeros(1, dtype=torch.int64)
        """Imposters so far that their query found better than a document of the batch."""
        self._telemetry: dict[str, float] = {}

    @classmethod
    def papers_temperature(cls, params: CLAPS.Params) -> float | None:
        """Return the released code's."""
        return 0.1

    def negatives(self, batch: Batch) -> Negatives:
        """Return each positive as an imposter: moved to where the query finds it less likely."""
        queries, documents = batch.query_vectors.detach(), batch.positive_vectors.detach()
        allowed = self._allowed(batch)

        def unlikely(moved: torch.Tensor) -> torch.Tensor:
            return likelihood_loss(queries, documents, moved, allowed, self.services.temperature)

        imposters = self.services.perturbed_documents(batch.positives, [Move(unlikely, self.params.imposter)])
        self._telemetry = {"imposter_cosine": float((imposters.detach() * documents).sum(dim=1).mean())}
        return Negatives(
            vectors=imposters.detach()[:, None] if self.params.detach else imposters[:, None],
            source="imposter",
        )

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the mean of both contrastive losses, by projected vectors."""
        batch, temperature = step.batch, step.temperature
        queries, documents = self._projected(batch.query_vectors), self._projected(batch.positive_vectors)
        cosines = losses.masked(queries @ documents.T, self._allowed(batch))
        imposters = (queries * self._projected(step.negative_vectors[:, 0])).sum(dim=1)
        distant = (queries * self._projected(self._distant(batch, temperature))).sum(dim=1)
        self._telemetry["distant_score"] = float(distant.detach().mean())
        scale = temperature if self.params.distant_temperature else 1.0
        return both_contrasts(cosines, imposters, distant, temperature, scale)

    def observe(self, step: Step) -> None:
        """Count imposters that are harder than the easiest document of the batch."""
        scores = step.scores
        easiest = scores.in_batch.detach().masked_fill(~scores.in_batch_mask, torch.inf).amin(dim=1)
        self.hard += int((scores.negatives[:, 0].detach() > easiest).sum())

    def idle(self) -> str:
        """Return that imposters went so far that none was hard."""
        return "" if self.hard else "no imposter was ever harder than the easiest document of its batch"

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return how many imposters were hard."""
        return {"hard": self.hard}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the count."""
        self.hard = state["hard"]

    def extra_modules(self) -> nn.ModuleDict:
        """Return the projection, which the faithful track alone trains."""
        return nn.ModuleDict({"projection": self.projection} if self.services.track == "faithful" else {})

    def telemetry(self) -> dict[str, float]:
        """Return the imposters' cosine with their positives, and in the faithful track the distant positives' score."""
        return self._telemetry

    def _distant(self, batch: Batch, temperature: float) -> torch.Tensor:
        """Return the positives moved away from their queries, and back to what they have in common with others."""
        queries = self._projected(batch.query_vectors).detach()
        documents, allowed = batch.positive_vectors.detach(), self._allowed(batch)
        held = documents @ documents.T / temperature

        def contrast(moved: torch.Tensor) -> torch.Tensor:
            logits = losses.masked(queries @ self._projected(moved).T / temperature, allowed)
            return functional.cross_entropy(logits, torch.arange(len(logits)), reduction="sum")

        def change(moved: torch.Tensor) -> torch.Tensor:
            everywhere = torch.ones_like(held, dtype=torch.bool)
            return losses.kl_from_teacher(moved @ documents.T / temperature, held, everywhere)

        size = self.params.distant
        return self.services.perturbed_documents(batch.positives, [Move(contrast, size), Move(change, -size)])

    def _projected(self, vectors: torch.Tensor) -> torch.Tensor:
        self.services.count_network(len(vectors))
        return functional.normalize(self.projection(vectors), dim=1)

    def _allowed(self, batch: Batch) -> torch.Tensor:
        """Mark each query's own positive and what may be its negative: [B, B]."""
        everyone = np.broadcast_to(batch.positives, (len(batch.queries), len(batch.positives)))
        labelled = torch.from_numpy(self.services.is_positive(batch.queries, everyone))
        return ~labelled | torch.eye(len(batch.queries), dtype=torch.bool)


def likelihood_loss(
    queries: torch.Tensor,
    documents: torch.Tensor,
    moved: torch.Tensor,
    allowed: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Return the sum of -log p(d_i | q_i) with d_i moved and all other documents where they are (a scalar).

    p is the softmax over the allowed documents [B, D] of the batch, of cosines over the temperature.
    """
    own = torch.eye(len(queries), dtype=torch.bool)
    cosines = torch.where(own, (queries * moved).sum(dim=1), queries @ documents.T)
    logits = losses.masked(cosines / temperature, allowed)
    return functional.cross_entropy(logits, torch.arange(len(logits)), reduction="sum")


def both_contrasts(
    cosines: torch.Tensor, imposters: torch.Tensor, distant: torch.Tensor, temperature: float, scale: float
) -> torch.Tensor:
    """Return (CE(A) + CE(B)) / 2 of cosines [B, B] whose diagonal holds the pairs, [B] and [B] (a scalar).

    A is a row and its imposter, over the temperature; B the same with the distant target's cosine on the diagonal, over
    `scale`.
    """
    targets, own = torch.arange(len(cosines)), torch.eye(len(cosines), dtype=torch.bool)
    first, second = (
        torch.cat([rows, imposters[:, None]], dim=1)
        for rows in (cosines, torch.where(own, distant[:, None], cosines))
    )
    return (
        functional.cross_entropy(first / temperature, targets)
        + functional.cross_entropy(second / scale, targets)
    ) / 2
