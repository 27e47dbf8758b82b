r"""CET: a negative counts the more, the surer it is that an annotator would have been shown it.

What the paper says: a label needs a document to be selected for judging and to be relevant, P(c) = P(o) P(r). A
relevance model R and a selection model S are learnt together. An unlabelled document is a trustworthy negative of
R if it was probably selected, and of S if it is probably relevant, so each weights its negatives by the other's
score (abstract; we had no access to the estimator's details and use the code's formulas instead).
What the released code does (caiyinqiong/Coupled_Estimation_Technique): R and S are two BERT cross-encoders on
pairs (q, d+, d-) of a fixed pool. Weights, taken first and without gradient, wR = 1 + exp(sS- / T) and
wS = 1 + exp(sR- / T); losses mean wR softplus(sR- - sR+) and mean wS softplus(sS- - sS+); both step at once. T is
10 in ranker.sh and 2 by default; weights are neither clipped nor normalised and are 2 at a logit of 0. S is discarded
after training.
What we do: R is the suite's bi-encoder with logits cosine / the suite's temperature, S two linear maps on vectors of
the encoder before training, near the identity at the start, trained by its own loss only. M negatives are drawn
uniformly from the dense pool. Controlled track: wR weighs the drawn negatives in InfoNCE, in-batch ones keep weight
1 (a document of another query was hardly ever selected for this one; our reading). Faithful track: the code's two
pairwise losses. R and S see the same labels and, in the adapter tier, have the same form, so that they may end as
one scorer and wR weigh up what R already scores high; the paper's models share that risk. Here S differs by its
seeded noise, its symmetric loss and its weights alone, which `score_correlation` in the history watches.
Scale: T was made for a cross-encoder's logits, which lie on both sides of 0. A bi-encoder's all lie at 5 to 10
(cosine / .05) within a spread of about 1, so that T = 10 gives weights of 2.4 to 3.4, a constant. So the logits that
give the weights are standardised over the batch's negatives (`standardise`): the mean one weighs 2, as a logit of 0
does in the code, and T = 2, the code's other value, gives 1.4 to 3.7 within two standard deviations.
`clip`, `normalise` and `warmup_steps` are not the paper's and off by default. Rerank tier: R and S are two
cross-encoders from the same start, each with a scoring head drawn by itself, and weights are taken without dropout,
as in the code; R ranks.
Cost per step: M document vectors per query; S scores B M pairs for the weights and B (M + 1) for its own loss. In the
rerank tier R scores B M pairs once more, for the weights of S.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from negmark.methods import base, losses, sampling
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, nn, torch
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Ids, Negatives, Step, Tried, When


def selection_model(services: Services, noise: float) -> nn.Module:
    """Return S: one linear map per side on vectors of the encoder before training.

    It takes queries [B] and documents [B, K] and gives logits [B, K]; any number in empty places.
    """

    class Selection(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            dimension = services.warmup_documents(np.zeros(1, dtype=np.int64)).shape[1]
            drawn = noise * services.rng(0, "selection model").standard_normal((2, dimension, dimension))
            maps = torch.eye(dimension) + torch.from_numpy(drawn).float()
            self.query, self.document = nn.Parameter(maps[0].clone()), nn.Parameter(maps[1].clone())

        def forward(self, queries: Ids, documents: Ids) -> torch.Tensor:
            left = functional.normalize(services.warmup_queries(queries) @ self.query.T, dim=-1)
            right = functional.normalize(services.warmup_documents(documents) @ self.document.T, dim=-1)
            return torch.einsum("bd,bkd->bk", left, right) / services.temperature

    return Selection()


class CET(Method):
    """Negatives weighted by a selection model that is learnt along."""

    name = "cet"
    title = "CET"
    citation = "Cai et al. 2022, CIKM, arXiv 2209.05072"
    pools = frozenset({"dense"})
    footnotes = (
        Footnote(
            "a bi-encoder instead of a cross-encoder; logits are cosine similarity / temperature",
            {When.VECTORS},
        ),
        Footnote(
            "the selection model is two linear maps on vectors of the encoder before training, not a BERT",
            {When.VECTORS},
        ),
        Footnote(
            "the logits that give weights are standardised over the batch's negatives, with T = 2, as T = 10 made for "
            "a cross-encoder's logits leaves the weights near constant",
            {When.VECTORS},
        ),
        Footnote("M negatives a query, drawn uniformly from the dense pool, instead of one given pair"),
        Footnote(
            "weights of InfoNCE instead of the pairwise loss; in-batch negatives have weight 1",
            {When.CONTROLLED, When.VECTORS},
        ),
        Footnote("one learning rate and optimiser for both models", {When.CONTROLLED, When.VECTORS}),
        Footnote("the suite's steps, rate and optimiser for both models", {When.FAITHFUL, When.VECTORS}),
        Footnote("the suite's start, steps and rate, and one optimiser for both models", {When.PAIRS}),
        Footnote(
            "weights of the listwise softmax instead of the pairwise loss", {When.CONTROLLED, When.PAIRS}
        ),
    )
    claims = (
        Claim(
            better="cet",
            worse="dense_uniform",
            metric="RR@10",
            condition="three retrieval benchmarks, by the abstract better than other ways of sampling; no figures here",
            differs="other data; dense_uniform draws from the same depth of the same pool without weights",
            of_rankers=True,
        ),
        Claim(
            better="bm25",
            worse="dense_uniform",
            metric="RR@10",
            condition="MS MARCO: a ranker has about 9 % less MRR@10 with negatives of RepBERT, the stronger retriever, "
            "than with BM25's (secondary notes [S])",
            differs="the dense pool is that of the suite's untrained encoder",
            of_rankers=True,
        ),
    )
    faithful = True

    class Params(base.Params):
        """Parameters of the coupled weights."""

        temperature: float | None = Field(default=None, gt=0)
        """T of the weights: 10 in the released ranker.sh, 2 as its parser's default; larger is nearer to 2. If None,
        2 for standardised logits and 10 for others."""
        standardise: bool = True
        """Take a bi-encoder's logits less their mean, over their standard deviation; never a cross-encoder's."""
        clip: float | None = Field(default=None, ge=1)
        """Largest weight; none in the released code. At T = 2 a logit of 20 already weighs 22,027."""
        normalise: bool = False
        """Divide a batch's weights by their mean, so that the effective learning rate stays; not the paper's."""
        warmup_steps: int = Field(default=0, ge=0)
        """First steps in which all weights are 1; not the paper's."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that are drawn from."""
        noise: float = Field(default=0.01, ge=0)
        """Standard deviation of the noise added to the identity in the selection model's maps at the start."""

    @classmethod
    def space(cls, params: CET.Params, track: str) -> Mapping[str, Tried]:
        """Tune the temperature of the weights."""
        return {
            "temperature": Tried(
                (None, 0.5, 1.0, 5.0, 10.0),
                "the released code's 2 (None) and 10 and, ours, what lies around them",
            )
        }

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self._ranker: nn.Module | None
        self._ranker, second = services.rankers() or (None, None)
        self.selection: nn.Module = second or selection_model(services, params.noise)
        self._telemetry: dict[str, float] = {}

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M candidates uniformly and weigh them by the selection model."""
        drawn = sampling.draw_from_pool(batch, "dense", self.params.depth, self.services)
        with torch.no_grad():
            logits = self._logits(self.selection, batch.queries, drawn)
        return Negatives(ids=drawn, weights=self.weights(logits, torch.from_numpy(drawn >= 0), batch.step))

    @classmethod
    def has_own_loss(cls, track: str) -> bool:
        """Say that the controlled track has none: what it adds trains the selection model alone."""
        return track == "faithful"

    def loss(self, step: Step) -> torch.Tensor:
        """Return weighted InfoNCE plus the selection model's loss; neither gives the other a gradient."""
        return super().loss(step) + self.selection_loss(step)

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return both models' weighted pairwise losses."""
        scores = step.scores
        assert scores.weights is not None
        relevance = losses.pairwise_softplus(
            scores.positive / step.temperature,
            scores.negatives / step.temperature,
            scores.weights,
            scores.negatives_mask,
        )
        return relevance + self.selection_loss(step)

    def selection_loss(self, step: Step) -> torch.Tensor:
        """Return the selection model's pairwise loss, weighted by the relevance model's logits."""
        assert step.negatives.ids is not None
        batch, used = step.batch, step.scores.negatives_mask
        logits = self._logits(
            self.selection, batch.queries, np.column_stack([batch.positives, step.negatives.ids])
        )
        relevance = self._relevance(step)
        weights = self.weights(relevance, used, batch.step)
        loss = losses.pairwise_softplus(logits[:, 0], logits[:, 1:], weights, used)
        self._telemetry = self._measured(step, logits[:, 1:].detach()[used], relevance[used], loss.item())
        return loss

    def weights(self, logits: torch.Tensor, used: torch.Tensor, step: int) -> torch.Tensor:
        """Return the weights [B, M] that the other model's logits give, 1 in empty places."""
        if step < self.params.warmup_steps:
            return torch.ones_like(logits)
        scaled = self._ranker is None and self.params.standardise
        temperature = self.params.temperature or (2.0 if scaled else 10.0)
        weights = losses.coupled_weights(standardised(logits, used) if scaled else logits, temperature)
        if self.params.clip is not None:
            weights = weights.clamp(max=self.params.clip)
        if self.params.normalise and used.any():
            weights = weights / weights[used].mean()
        return weights.masked_fill(~used, 1.0)

    def extra_modules(self) -> nn.ModuleDict:
        """Return the selection model."""
        return nn.ModuleDict({"selection": self.selection})

    def telemetry(self) -> dict[str, float]:
        """Return the selection model's loss, mean and spread of weights, and how both models' scores correlate."""
        return self._telemetry

    def _relevance(self, step: Step) -> torch.Tensor:
        """Return the relevance model's logits [B, M] of the negatives, a cross-encoder's without dropout."""
        if self._ranker is None or step.negatives.ids is None:
            return step.scores.negatives.detach() / step.temperature
        with torch.no_grad():
            return self._logits(self._ranker, step.batch.queries, step.negatives.ids)

    def _logits(self, model: nn.Module, queries: Ids, documents: Ids) -> torch.Tensor:
        """Return a model's logits [B, K], counted as cost."""
        self.services.count_network(int((documents != NO_DOCUMENT).sum()))
        return model(queries, documents)

    @classmethod
    def vectors_needed(cls, params: base.Params, track: str) -> str:
        """Return nothing: cross-encoders are the paper's own setting."""
        return ""

    @staticmethod
    def _measured(
        step: Step, selection: torch.Tensor, relevance: torch.Tensor, loss: float
    ) -> dict[str, float]:
        numbers = {"selection_loss": loss}
        if len(selection):
            assert step.scores.weights is not None
            weights = step.scores.weights[step.scores.negatives_mask]
            numbers["weight_mean"], numbers["weight_spread"] = (
                weights.mean().item(),
                weights.std(correction=0).item(),
            )
        if len(selection) > 1 and min(selection.std(), relevance.std()) > 0:
            numbers["score_correlation"] = torch.corrcoef(torch.stack([selection, relevance]))[0, 1].item()
        return numbers


def standardised(logits: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
    """Return logits [B, M] less the mean of those in use, over their standard deviation; 0 where all are equal."""
    if not used.any():
        return torch.zeros_like(logits)
    kept = logits[used]
    return (logits - kept.mean()) / kept.std(correction=0).clamp(min=1e-6)
