r"""ClusterNS: the centre of the second-nearest cluster is a hard negative; one's own cluster holds false ones.

What the paper says: run K-means along with training. The hard negative of a sentence is a centroid near it but not
its own; other sentences of the batch in its own cluster are suspected false negatives, which a bidirectional margin
loss (BML, from SNCSE) holds at a bounded distance. It embeds sentences without labels, by two dropout views.
What the released code does (djz233/ClusterNS): clustering starts when the mean cosine of all pairs of views in the
batch is at most 0.4: centroid 0 is a random sample, each next one the unused sample whose second view is farthest
from the *last* one, so the batch must hold K; that step has no cluster losses. Afterwards, each step: samples go to
their nearest centroid, c <- (1 - g) c + g * *sum* of its samples (empty ones stay), then nearest and second-nearest are
taken by the new centroids. InfoNCE has B columns of samples and B of centroids: every sample sees every sample's
centroid. Suspected false negatives stay in its denominator. BML is a mean over all B x B places of
relu(x + alpha) + relu(-x - beta), x = cos(i, j) - cos(i, i) for suspects and 0 elsewhere, so that a constant is
within. K = 128 with batches of 256 to 512 (BERT-base), 0.001 for g and for BML's weight.
What we do: on a dataset of sentences as the paper does, less the MLP head and the choice of the best model by STS-B
dev. On retrieval data supervised use, our reading: the first view is the query, the second its positive. Centroids
start from and follow query vectors; j is suspected of i if both positives (with `suspected_by: query`, both first
views, as in the code) have the same nearest centroid. Training starts from an
encoder whose mean cosine is far below 0.4, so by default clustering starts at a step, not at a cosine. K is 32 by
default, as a batch of 64 can't start 128. Controlled track: each query sees its own second-nearest centroid alone (in
the code it is pushed from others' too, often its own nearest) and there is no BML. Faithful track: all B centroid
columns and BML. Suspects stay in the denominator in both.
Cost per step: no document but the batch's; B K products with the centroids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, torch
from negmark.methods.types import Batch, Claim, Footnote, Gives, Negatives, Step, Tried, When


class ClusterNS(Method):
    """Centroids as negatives, clusters as suspicion."""

    name = "clusterns"
    title = "ClusterNS"
    citation = "Deng et al. 2023, Findings of ACL, arXiv 2305.09892"
    needs_vectors = "vectors as negatives"
    footnotes = (
        Footnote(
            "supervised: queries and their positives instead of two dropout views of a sentence",
            {When.RETRIEVAL},
        ),
        Footnote("clustering starts at a step instead of at a mean cosine, unless asked for"),
        Footnote("32 centroids by default instead of 96 to 128, as they start from one batch"),
        Footnote("vectors are of unit length when they move a centroid"),
        Footnote(
            "a query sees its own second-nearest centroid only; no bidirectional margin loss",
            {When.CONTROLLED},
        ),
        Footnote(
            "labelled positives of a query are masked in the batch and never suspected", {When.FAITHFUL}
        ),
        Footnote("the suite's encoder, steps and optimiser", {When.FAITHFUL}),
        Footnote("no MLP head over the pooled vector while training", {When.SENTENCES}),
        Footnote("the last model is judged, not the best by STS-B dev", {When.SENTENCES}),
    )
    claims = (
        Claim(
            better="clusterns",
            worse="inbatch",
            metric="STS",
            condition="seven STS tasks, BERT-base without labels: 77.55 by its README against SimCSE's 76.25 (from "
            "memory [M])",
            differs="another encoder, fewer sentences and steps",
        ),
    )
    faithful = True

    class Params(base.Params):
        """Parameters of the clustering and of BML."""

        clusters: int = Field(default=32, ge=2)
        """Centroids (K), at most the batch size: 128 in the paper's BERT-base run, with a batch of 256."""
        start_by: Literal["step", "cosine"] = "step"
        """What starts the clustering: `cosine` is the paper's rule."""
        start_step: int = Field(default=20, ge=0)
        """First step of clustering under `step`; not the paper's."""
        start_cosine: float = 0.4
        """Under `cosine`, start when the mean cosine of the batch's queries and positives is at most this."""
        update: Literal["sum", "mean"] = "sum"
        """Move a centroid by the sum of its members, as the released code, or by their mean."""
        gamma: float = Field(default=1e-3, gt=0, le=1)
        """Rate of that move."""
        bml_weight: float = Field(default=1e-3, ge=0)
        """Weight of BML in the faithful track."""
        alpha: float = 0.0
        """BML: a suspect's cosine should be below the positive's by this at least."""
        beta: float = 0.3
        """BML: and by this at most."""
        suspected_by: Literal["positive", "query"] = "positive"
        """Whose cluster makes a suspect; `query` is the paper's first view, where both are views of a sentence."""

    @classmethod
    def space(cls, params: ClusterNS.Params, track: str) -> Mapping[str, Tried]:
        """Tune the number of centroids."""
        return {
            "clusters": Tried(
                (4, 8, 16, 24, 32),
                "the paper's half of the batch, 32 of 64 here, and ours below it: a batch must hold them",
            )
        }

    @classmethod
    def gives(cls, params: ClusterNS.Params, track: str) -> Gives:
        """Return centroids."""
        return Gives.BESIDE

    @classmethod
    def unfit(cls, params: ClusterNS.Params, batch_size: int) -> str:
        """Return that a batch doesn't hold the centroids, which start as queries of one."""
        if params.clusters <= batch_size:
            return ""
        return f"{params.clusters} centroids can't start from a batch of {batch_size}; lower `clusters`"

    @classmethod
    def own_notes(cls, params: ClusterNS.Params, track: str) -> list[str]:
        """Say on which scale the start is decided where cosines decide it."""
        if params.start_by == "step":
            return []
        return [
            f"clustering starts at a mean raw cosine of {params.start_cosine:g}, the paper's rule, which an encoder "
            "with other cosines meets at another time"
        ]

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.centroids = torch.zeros(0, 0)

    def negatives(self, batch: Batch) -> Negatives:
        """Return the centroid second-nearest to each query, by centroids that have just followed the batch."""
        queries = batch.query_vectors.detach()
        if not len(self.centroids):
            self._start_if_due(batch)
            return Negatives()
        self.centroids = moved(self.centroids, queries, self.params.gamma, self.params.update)
        second = nearest_two(queries, self.centroids)[:, 1]
        return Negatives(vectors=functional.normalize(self.centroids, dim=1)[second, None], source="centroid")

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE in which every query sees every query's centroid, plus BML."""
        if step.negatives.vectors is None:
            return self.loss(step)
        scores, batch = step.scores, step.batch
        shared = batch.query_vectors @ step.negatives.vectors[:, 0].T
        mask = torch.ones_like(shared, dtype=torch.bool)
        shared_scores = replace(scores, negatives=shared, negatives_mask=mask)
        clustered = batch.positive_vectors if self.params.suspected_by == "positive" else batch.query_vectors
        gaps = suspected_gaps(scores.in_batch, scores.positive, clustered.detach(), self.centroids).where(
            scores.in_batch_mask, 0.0
        )
        margins = losses.bidirectional_margin(gaps, self.params.alpha, self.params.beta)
        return losses.info_nce(shared_scores, step.temperature) + self.params.bml_weight * margins.mean()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the centroids [K, D], none before the start."""
        return {"centroids": self.centroids}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.centroids = state["centroids"]

    def idle(self) -> str:
        """Return why there were no clusters."""
        if len(self.centroids):
            return ""
        p = self.params
        if p.start_by == "cosine":
            return f"clustering never started: no batch had a mean cosine of {p.start_cosine} or less"
        return f"clustering never started: it starts at step {p.start_step:,}"

    def _start_if_due(self, batch: Batch) -> None:
        queries, positives = batch.query_vectors.detach(), batch.positive_vectors.detach()
        cosines = queries @ positives.T
        by_step = self.params.start_by == "step"
        if (batch.step < self.params.start_step) if by_step else (cosines.mean() > self.params.start_cosine):
            return
        if reason := self.unfit(self.params, len(queries)):
            raise ValueError(f"clusterns: {reason}")
        index = int(self.services.rng(batch.step, "first centroid").integers(len(queries)))
        self.centroids = queries[far_from_the_last(cosines, index, self.params.clusters)].clone()


def far_from_the_last(cosines: torch.Tensor, index: int, count: int) -> list[int]:
    """Return `count` rows: `index`, then each time the unused one with the lowest cosine to the last one."""
    chosen = [index]
    for _ in range(count - 1):
        row = cosines[chosen[-1]].clone()
        row[chosen] = torch.inf
        chosen.append(int(row.argmin()))
    return chosen


def nearest_two(vectors: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Return the nearest and second-nearest centroid [B, 2] by cosine."""
    return (vectors @ functional.normalize(centroids, dim=1).T).topk(2, dim=1).indices


def moved(
    centroids: torch.Tensor, vectors: torch.Tensor, gamma: float, update: Literal["sum", "mean"]
) -> torch.Tensor:
    """Return (1 - gamma) c + gamma times the sum or mean of each centroid's members; one without members stays."""
    members = functional.one_hot(nearest_two(vectors, centroids)[:, 0], len(centroids)).to(vectors.dtype)
    counts = members.sum(dim=0)[:, None]
    target = members.T @ vectors
    if update == "mean":
        target = target / counts.clamp(min=1)
    return torch.where(counts > 0, (1 - gamma) * centroids + gamma * target, centroids)


def suspected_gaps(
    in_batch: torch.Tensor, positive: torch.Tensor, clustered: torch.Tensor, centroids: torch.Tensor
) -> torch.Tensor:
    """Return cos(i, j) - cos(i, i) [B, B] where `clustered` i and j share a cluster, i != j, and 0 elsewhere."""
    cluster = nearest_two(clustered, centroids)[:, 0]
    suspected = (cluster[:, None] == cluster[None, :]).fill_diagonal_(False)
    return (in_batch - positive[:, None]).where(suspected, 0.0)
