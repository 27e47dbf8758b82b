r"""AMCL: several heads, each with a temperature that is learnt for every pair, and the hardest negative of each.

What the paper says: views of one item need not be alike, and views of two may be. So C projection heads with a
similarity each, and a temperature for every pair and head, regularised. Its table 2 (SimCLR and MoCo, eq. 2.1) has,
for each head, -s+ / tau+ + max_n s_n / tau_n + beta Om(tau+) - beta Om(tau_n), n the hardest negative; it weighs
pairs and doesn't choose, but for this max. Om could not be read; 1 / tau + (d / 2) log tau has the form of the
code's, and makes the positive part, at beta = 1, the likelihood of a Gaussian of variance tau on vectors of d
numbers.
What the released code does (LeiWangR/cl): it can't run: the temperature's parameters are put where a module must be,
and the loss is an undefined name. Its loss has no negatives of the batch at all.
What we do: **the paper's table of losses, with Om reconstructed**, faithful track only. 3 heads Linear - ReLU -
Linear of 128 numbers, shared by both sides and dropped after training, and one network for all heads that reads both
vectors of a pair: tau = low + (high - low) sigmoid(MLP). For beta < s the positive part has no least value, it falls
without end as tau goes to 0: the paper's low of .00001 would multiply gradients by 100,000, so it is .02 here. The
temperatures have no gradient to heads and encoder (`detach`): with it the encoder learns to tell pairs to the
temperature network instead of by similarity, and unlearns (on WordNet .10 nDCG@10, untrained .23; .35 without, one
seed). `form` has the log-sum-exp that max stands for.
Cost per step: 2 C head passes and 2 C temperatures per query; without max, C temperatures for every pair of the
batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, nn, torch
from negmark.methods.types import IN_BATCH, Batch, Claim, Footnote, Negatives, Step, Tried, When


class AMCL(Method):
    """Heads with learnt temperatures."""

    name = "amcl"
    title = "AMCL (paper's table of losses)"
    citation = "Wang et al. 2024, ECCV, arXiv 2310.05615"
    needs_vectors = IN_BATCH
    faithful = True
    footnotes = (
        Footnote("queries and their positives instead of two views of an image", {When.RETRIEVAL}),
        Footnote(
            "the loss of the paper's table; its regulariser is a reconstruction, and its code can't run"
        ),
        Footnote(
            "temperatures give no gradient to heads and encoder, unless asked for otherwise", {When.FAITHFUL}
        ),
        Footnote(
            "temperatures of .02 at least, instead of .00001, towards which the loss falls without end",
            {When.FAITHFUL},
        ),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="amcl",
            worse="inbatch",
            metric="nDCG@10",
            condition="CIFAR-10 and other images, linear and k-NN classifiers: better than SimCLR, MoCo, SimSiam and "
            "Barlow Twins by the abstract; no figures verified",
            differs="queries and documents instead of views by several kinds of augmentation; no suite tests it: the "
            "loss is the method, so that no row of in-batch negatives has the same",
        ),
    )

    class Params(base.Params):
        """Parameters of heads and temperatures."""

        heads: int = Field(default=3, ge=1)
        """Projection heads (C)."""
        dimension: int = Field(default=128, ge=2)
        """Numbers that a head leaves."""
        beta: float = Field(default=0.1, ge=0)
        """Weight of the temperatures' regulariser."""
        low: float = Field(default=0.02, gt=0)
        """Least temperature; .00001 in the paper."""
        high: float = Field(default=2.0, gt=0)
        """Largest temperature."""
        detach: bool = True
        """Keep the gradient of the temperatures out of heads and encoder; ours."""
        form: Literal["hardest", "negatives", "all"] = "hardest"
        """The hardest negative alone, or the log-sum-exp of all of them, or of the positive too."""

    @classmethod
    def space(cls, params: AMCL.Params, track: str) -> Mapping[str, Tried]:
        """Tune the weight of the regulariser."""
        return {"beta": Tried((0.0, 0.03, 0.1, 0.3, 1.0), "the paper's .1 and, ours, what lies around it")}

    @classmethod
    def refusal(cls, params: AMCL.Params, track: str) -> str:
        """Refuse the controlled track."""
        why = "its negatives are those of the batch, and all else is its loss; set `track: faithful`"
        return why if track == "controlled" else ""

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        wide, narrow = services.warmup_documents(np.zeros(1, dtype=np.int64)).shape[1], params.dimension
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, narrow))
            for _ in range(params.heads)
        )
        self.warmth = nn.Sequential(nn.Linear(2 * narrow, narrow), nn.ReLU(), nn.Linear(narrow, 1))
        self._telemetry: dict[str, float] = {}

    def negatives(self, batch: Batch) -> Negatives:
        """Give none: the batch's documents are its negatives."""
        return Negatives()

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the sum over heads of the loss of the paper's table."""
        batch, mask = step.batch, step.scores.in_batch_mask
        rows = mask.any(dim=1)
        if not rows.any():
            return 0.0 * step.scores.positive.sum()
        taus, total = [], torch.zeros(len(mask))
        for head in self.heads:
            queries, documents = (
                functional.normalize(head(side), dim=1)
                for side in (batch.query_vectors, batch.positive_vectors)
            )
            positive, (negatives, columns) = (
                (queries * documents).sum(dim=1),
                self._negatives(queries, documents, mask),
            )
            near, far = self._temperature(queries, documents), self._temperature(queries[:, None], columns)
            used = mask if self.params.form != "hardest" else rows[:, None]
            p = self.params
            total = total + table_loss(positive, near, negatives, far, used, p.beta, p.dimension, p.form)
            taus.append((float(near.detach().mean()), float(far.detach()[used].mean())))
        self.services.count_network(2 * len(mask) * len(self.heads))
        self._telemetry = dict(
            zip(("tau_positive", "tau_negative"), np.mean(taus, axis=0).tolist(), strict=True)
        )
        return total[rows].mean()

    def extra_modules(self) -> nn.ModuleDict:
        """Return the heads and the network of the temperatures."""
        return nn.ModuleDict({"heads": self.heads, "warmth": self.warmth})

    def telemetry(self) -> dict[str, float]:
        """Return the mean temperatures of positives and of the negatives that count."""
        return self._telemetry

    def _negatives(
        self, queries: torch.Tensor, documents: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines [B, K] of the negatives that count, and their vectors [B or 1, K, N]: one, or the batch."""
        cosines = queries @ documents.T
        if self.params.form != "hardest":
            return cosines, documents[None]
        hardest = losses.masked(cosines.detach(), mask).argmax(dim=1)
        return cosines.gather(1, hardest[:, None]), documents[hardest][:, None]

    def _temperature(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return the temperatures of pairs of vectors [*, N]."""
        pairs = torch.cat(torch.broadcast_tensors(queries, documents), dim=-1)
        pairs = pairs.detach() if self.params.detach else pairs
        self.services.count_network(pairs.shape[:-1].numel())
        return within(self.warmth(pairs)[..., 0], self.params.low, self.params.high)


def within(number: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Return a temperature between two bounds from any number: low + (high - low) sigmoid."""
    return number.sigmoid() * (high - low) + low


def regulariser(tau: torch.Tensor, dimension: int) -> torch.Tensor:
    """Return Om(tau) = 1 / tau + (d / 2) log tau: least at tau = 2 / d."""
    return 1 / tau + dimension / 2 * tau.log()


def table_loss(
    positive: torch.Tensor,
    tau_positive: torch.Tensor,
    negatives: torch.Tensor,
    tau_negatives: torch.Tensor,
    used: torch.Tensor,
    beta: float,
    dimension: int,
    form: Literal["hardest", "negatives", "all"] = "hardest",
) -> torch.Tensor:
    """Return one head's loss [B] of AMCL's table 2, of cosines and temperatures [B] and [B, K].

    -s+ / tau+ + max_n s_n / tau_n + beta (Om(tau+) - Om(tau_n)), n the used place with the highest cosine; `negatives`
    and `all` have a log-sum-exp in place of the max, `all` over the positive too. A row needs a used place.
    """
    hardest = losses.masked(negatives.detach(), used).argmax(dim=1, keepdim=True)
    scaled, tau = negatives / tau_negatives, tau_negatives.gather(1, hardest)[:, 0]
    pull = positive / tau_positive
    if form == "hardest":
        push = scaled.gather(1, hardest)[:, 0]
    else:
        terms = losses.masked(scaled, used)
        push = (torch.cat([pull[:, None], terms], dim=1) if form == "all" else terms).logsumexp(dim=1)
    return push - pull + beta * (regulariser(tau_positive, dimension) - regulariser(tau, dimension))
