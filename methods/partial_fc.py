r"""Partial FC: every document is a class, and a step sees a random tenth of all classes.

What the paper says: with millions of classes the softmax over all of them is too dear. Sampling a tenth of the
negative class centres a step, beside those of the batch's labels, loses no accuracy; and where labels are noisy,
sampling them less often, with a filter against conflicts, gains.
What the released code does (insightface, arcface_torch/partial_fc_v2.py): centres ~ N(0, .01) are learnt. Of C
classes int(rate C) are kept, first those of the batch's labels, all of them even if they are more, then others,
uniformly without replacement; anew at every step, without a correction for the sampling. Logits are 64 times the
cosine with a margin: CosFace takes .4 off the label's. The filter sets every other cosine above .4 to 0, in the
settings for noisy data (rate .1): such a class stays in the sum as e^0 but gets no gradient. A centre that isn't
sampled has a gradient of 0, but momentum still moves it.
What we do: faithful track: the corpus as classes, centres started from the documents' vectors before training; a query
and its positive are two samples of the positive's class, so that both towers are trained towards it, and both are what
is searched: the centres are dropped. Other labelled documents of a query are masked in its row. The filter reads
cosines on a scale on which random pairs have 0 (`scale.py`): pairs of a query and a document for queries, pairs of two
documents for positives, as centres start from documents, which are nearer to each other. Controlled track: M documents
drawn uniformly without replacement once a step and shared by all its queries, which is all that is left of the method
there.
Cost per step: M document vectors per query, M different ones, in the controlled track. In the faithful track 2 B rate
C products of centres, and the optimiser moves the table [C, D] with its two moments: 4 C D numbers of memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from negmark.methods import base, losses
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, nn, torch
from negmark.methods.scale import CHANCE_IS_0, mean_cosine, rescaled
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Ids, Negatives, Step, Tried, When


class PartialFC(Method):
    """A random part of all documents as classes."""

    name = "partial_fc"
    title = "Partial FC"
    citation = "An et al. 2022, CVPR, arXiv 2203.15565"
    needs_vectors = "vectors as classes"
    cosine_thresholds = True
    faithful = True
    footnotes = (
        Footnote(CHANCE_IS_0, {When.FAITHFUL}),
        Footnote("documents as classes instead of the identities of faces"),
        Footnote(
            "M documents shared by the batch instead of a tenth of all; no margin, no filter",
            {When.CONTROLLED},
        ),
        Footnote(
            "a query and its positive are two samples of a class; the towers are searched, not the centres",
            {When.FAITHFUL},
        ),
        Footnote(
            "for a positive against the centres, 0 is the mean cosine of two documents", {When.FAITHFUL}
        ),
        Footnote("centres start from the documents' vectors", {When.FAITHFUL}),
        Footnote("the suite's encoder, steps, batch size and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="partial_fc",
            worse="inbatch",
            metric="nDCG@10",
            condition="Glint360K, IFRT: a tenth of the classes 88.23, all 88.67; with 40 % of labels flipped 80.20 "
            "with the filter, 43.87 with all classes (README)",
            differs="faces, 360,000 classes and more, whose alternative is the full softmax; here it is the batch",
        ),
    )

    class Params(base.Params):
        """Parameters of sampling, margin and filter, in the faithful track."""

        rate: float = Field(default=0.1, gt=0, le=1)
        """Share of the documents that is sampled at a step, the batch's positives among them."""
        threshold: float | None = Field(default=0.4, gt=0, lt=1)
        """Other classes with a cosine above it are set to 0; None filters nothing."""
        margin: float = Field(default=0.4, ge=0)
        """Taken off the label's cosine (CosFace)."""
        scale: float = Field(default=64.0, gt=0)
        """Factor of cosines in the logits."""
        corrected: bool = False
        """Add log((C - 1) / (S - 1)) to the logits of the S - 1 sampled others; the released code does not."""

    @classmethod
    def gives(cls, params: PartialFC.Params, track: str) -> base.Gives:
        """Return documents in the controlled track; the faithful one has classes."""
        return base.Gives.NOTHING if track == "faithful" else base.Gives.DOCUMENTS

    @classmethod
    def space(cls, params: PartialFC.Params, track: str) -> Mapping[str, Tried]:
        """Tune the share of the classes; there is nothing to tune where M documents are drawn."""
        rates = Tried(
            (0.01, 0.03, 0.1, 0.3, 0.5), "the released settings' .1 and .3 and, ours, what lies around them"
        )
        return {"rate": rates} if track == "faithful" else {}

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.centres = started_centres(services) if services.track == "faithful" else None
        # of two documents before training: a resumed run gets its centres later
        self._chance_of_documents = mean_cosine(self.centres["weight"]) if self.centres is not None else 0.0
        self.acted = torch.zeros(3, dtype=torch.int64)
        """Steps that left classes out, steps with classes of no positive, and places that the filter set to 0."""
        self._telemetry: dict[str, float] = {}

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M documents for the whole batch, in the controlled track."""
        if self.services.track == "faithful":
            return Negatives()
        rng, everyone = self.services.rng(batch.step), self.services.documents
        drawn = rng.choice(everyone, size=min(self.services.negatives, everyone), replace=False)
        ids = np.full((len(batch.queries), self.services.negatives), NO_DOCUMENT, dtype=np.int64)
        ids[:, : len(drawn)] = drawn
        return Negatives(ids=np.where(self.services.is_positive(batch.queries, ids), NO_DOCUMENT, ids))

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the margin softmax of queries and positives over the sampled classes."""
        assert self.centres is not None
        batch, p = step.batch, self.params
        rng = self.services.rng(batch.step, "classes")
        classes = sampled(batch.positives, self.services.documents, p.rate, rng)
        labels = torch.from_numpy(np.searchsorted(classes, batch.positives))
        features = torch.cat([batch.query_vectors, batch.positive_vectors])
        centres = functional.normalize(self.centres["weight"][torch.from_numpy(classes)], dim=1)
        cosines = (features @ centres.T).clamp(-1, 1)
        everyone = np.broadcast_to(classes, (len(batch.queries), len(classes)))
        labelled = torch.from_numpy(self.services.is_positive(batch.queries, everyone)).repeat(2, 1)
        suspects = self._suspects(cosines.detach()) & ~labelled
        self.services.count_network(cosines.numel())
        labels = labels.repeat(2)
        self._count(batch, len(classes), suspects, ~labelled)
        logits = margin_logits(cosines, labels, suspects, p.margin, p.scale)
        logits = losses.masked(logits, ~labelled.scatter(1, labels[:, None], False))
        if p.corrected and len(classes) > 1:
            logits = corrected(logits, labels, self.services.documents)
        return functional.cross_entropy(logits, labels)

    def extra_modules(self) -> nn.ModuleDict:
        """Return the centres."""
        return nn.ModuleDict({} if self.centres is None else {"centres": self.centres})

    def telemetry(self) -> dict[str, float]:
        """Return the number of sampled classes, and the share of other classes' cosines that the filter set to 0."""
        return self._telemetry

    def idle(self) -> str:
        """Return that all classes were sampled, or none but the batch's, or that nothing was filtered."""
        if self.services.track != "faithful":
            return ""
        left_out, others, filtered = self.acted.tolist()
        if not left_out:
            return "every document was a class of every step, which is the full softmax"
        if not others:
            return "no class was sampled beside those of the batch's positives"
        unused = self.params.threshold is not None and not filtered
        return "no cosine was above the filter's threshold" if unused else ""

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return how often sampling and filter acted."""
        return {"acted": self.acted}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the counts."""
        self.acted = state["acted"]

    def _count(self, batch: Batch, classes: int, suspects: torch.Tensor, others: torch.Tensor) -> None:
        """Count what sampling and filter did in a step, of whose cosines [2 B, S] others than labelled are marked."""
        left_out = classes < self.services.documents
        sampled_others = classes > len(np.unique(batch.positives))
        filtered = int(suspects.sum())
        self.acted = self.acted + torch.tensor([left_out, sampled_others, filtered])
        self._telemetry = {"classes": float(classes), "filtered": filtered / max(int(others.sum()), 1)}

    def _suspects(self, cosines: torch.Tensor) -> torch.Tensor:
        """Mark the cosines [2 B, S] of queries and, below them, of positives that are above the threshold."""
        if self.params.threshold is None:
            return torch.zeros_like(cosines, dtype=torch.bool)
        sides = zip(cosines.chunk(2), (self.services.chance(), self._chance_of_documents), strict=True)
        return torch.cat([rescaled(side, chance) > self.params.threshold for side, chance in sides])


def started_centres(services: Services, at_a_time: int = 4096) -> nn.ParameterDict:
    """Return a vector for each document, `weight` [C, D], started from that before training."""
    rows = np.arange(services.documents)
    parts = [
        services.warmup_documents(rows[start : start + at_a_time]) for start in range(0, len(rows), at_a_time)
    ]
    return nn.ParameterDict({"weight": nn.Parameter(torch.cat(parts).clone())})


def sampled(positives: Ids, documents: int, rate: float, rng: np.random.Generator) -> Ids:
    """Return int(rate C) of C classes in rising order: all of the positives, and others drawn without replacement."""
    wanted = np.unique(positives)
    size = int(rate * documents)
    if size <= len(wanted):
        return wanted
    chances = rng.random(documents)
    chances[wanted] = 2.0
    return np.sort(np.argpartition(-chances, size - 1)[:size])


def margin_logits(
    cosines: torch.Tensor, labels: torch.Tensor, suspects: torch.Tensor, margin: float, scale: float
) -> torch.Tensor:
    """Return `scale` times cosines [B, S]: the label's less the margin, and others that are suspects as 0."""
    own = functional.one_hot(labels, cosines.shape[1]).bool()
    return scale * torch.where(own, cosines - margin, cosines.masked_fill(suspects & ~own, 0.0))


def corrected(logits: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return logits [B, S] of S of C classes, others' raised by log((C - 1) / (S - 1)): the sum is then unbiased."""
    own = functional.one_hot(labels, logits.shape[1]).bool()
    return torch.where(own, logits, logits + float(np.log((classes - 1) / (logits.shape[1] - 1))))
