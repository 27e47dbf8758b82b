r"""Conan: an example's hard negatives are replaced once the model no longer finds them hard.

What the paper says: of each training example keep S0, the mean score of its hard negatives when they came in, and S,
their mean score now. Every 100 iterations test 1.15 S < S0 and |S| < 0.8; where both hold, mine anew: the i-th
replacement takes the candidates (i - 1) n + 10 to i n + 10. Both tasks' losses are summed in every update
(cross-batch balance, eq. 3): softmax of the positive against the N n negatives that N devices hold for the same
query, plus 0.8 CoSENT over pairs of graded similarity. The temperature isn't given.
What the released code does: no training code was released, weights only.
What we do: the rule on cosine similarities, an example being a query. What the paper leaves open is chosen here: the
candidates are ranked once, by the encoder before training (the dense pool); n is the suite's M; the first negatives
are the formula's own window i = 1 (`first`: the ranks 11 to 10 + M) and replacement k takes window k + 1, as the
formula names no set before it and the best 10 are what it keeps away from; with `first: 0` they are the top M and
replacement k takes window k. On WordNet this choice alone moved the row from .347 to .399 nDCG@10 (one seed). S is
the mean score at the query's last step, so that the test costs no forward; S0 is taken at the first step after a
replacement; all queries seen are tested together; one whose list has no whole window left keeps its last. S0 must be
positive: under S0 <= 0 an unchanged S meets 1.15 S < S0 at once. Both are read on a scale on which the mean cosine of
random pairs is 0 and equality 1 (`scale.py`), as .8 and the ratio mean nothing where all cosines lie above .7.
Faithful track: eq. 3 in one process, M negatives in one denominator, no in-batch ones; CoSENT runs over graded pairs,
32 per step as in the paper, if the dataset has some (`graded:` in its settings), else over the batch's labelled pairs
(positives 1, negatives 0). A query must come round again for any of this to act: in a run of less than an epoch each
query has its first window alone, and the board says so.
Cost per step: M document vectors per query; the dense pool is made once and shared.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from negmark.methods import base, losses, sampling
from negmark.methods.base import Method, Services
from negmark.methods.later import functional, torch
from negmark.methods.scale import CHANCE_IS_0, rescaled
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Ids, Negatives, Step, Tried, When

UNSEEN = float("-inf")
"""A score not taken yet."""


class Conan(Method):
    """Dynamic hard negative mining: windows of a ranked list, one further at each replacement."""

    name = "conan"
    title = "Conan"
    citation = "Li et al. 2024, arXiv 2408.15710"
    needs_vectors = "cosines as hardness"
    pools = frozenset({"dense"})
    cosine_thresholds = True
    footnotes = (
        Footnote("candidates are ranked once, by the encoder before training"),
        Footnote(CHANCE_IS_0),
        Footnote("the score now is that of the query's last step, not of a forward of its own"),
        Footnote("a list without a whole window left keeps its last window"),
        Footnote("InfoNCE over in-batch and given negatives instead of eq. 3 with CoSENT", {When.CONTROLLED}),
        Footnote(
            "CoSENT runs over the batch's labelled pairs, as there are no graded ones",
            {When.FAITHFUL, When.UNGRADED},
        ),
        Footnote("the suite's temperature; the paper gives none", {When.FAITHFUL}),
        Footnote("one process holds the negatives that the paper spreads over GPUs", {When.FAITHFUL}),
    )
    faithful = True
    claims = (
        Claim(
            better="conan",
            worse="shifted_topk",
            metric="nDCG@10",
            condition="CMTEB retrieval, average: 73.8 with dynamic mining alone against 72.4 fine-tuned without",
            differs="Chinese, BERT-large, after contrastive pre-training, beside STS and classification data; "
            "that fine-tuning without it uses static hard negatives is our reading, and shifted_topk has those of "
            "Conan's first set: from rank 11 on",
        ),
    )

    class Params(base.Params):
        """Parameters of the replacement rule."""

        margin: float = Field(default=1.15, ge=1)
        """Negatives are no longer hard once margin times their mean score is below the first one."""
        ceiling: float = Field(default=0.8, gt=0)
        """Negatives whose mean score is as large as this are never replaced."""
        check_steps: int = Field(default=100, ge=1)
        """Optimiser steps between two tests of all examples."""
        skip: int = Field(default=10, ge=0)
        """Best candidates that no replacement takes."""
        first: int | None = Field(default=None, ge=0)
        """Rank, from 0, at which the first window starts, which the paper doesn't say; that of `skip` if None."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Length of the ranked list; the paper doesn't say."""
        beta: float = Field(default=0.8, ge=0)
        """Weight of CoSENT in the faithful track."""
        graded_pairs: int = Field(default=32, ge=2)
        """Graded pairs per step in the faithful track, if the dataset has any."""

    @classmethod
    def space(cls, params: Conan.Params, track: str) -> Mapping[str, Tried]:
        """Tune the margin: how soon negatives are replaced."""
        return {"margin": Tried((1.0, 1.05, 1.15, 1.3, 1.5), "the paper's 1.15 and, ours, both sides of it")}

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self.window = torch.zeros(0, dtype=torch.int64)
        self.first, self.last = torch.zeros(0), torch.zeros(0)
        self.acts = torch.zeros(4, dtype=torch.int64)
        """Draws, draws of a query that had been drawn before, tests, and draws of a replaced window."""
        self._telemetry: dict[str, float] = {}

    @classmethod
    def own_notes(cls, params: Conan.Params, track: str) -> list[str]:
        """Return where the first negatives come from."""
        first = params.skip if params.first is None else params.first
        return [
            f"the first negatives are the M of the list from rank {first + 1} on; the paper doesn't say which"
        ]

    def refresh(self, step: int) -> None:
        """Test all examples seen so far and advance the window of those whose negatives are no longer hard."""
        self._telemetry = {}
        if step == 0 or step % self.params.check_steps:
            return
        self.acts[2] += 1
        stale = torch.nonzero(no_longer_hard(self.last, self.first, self.params))[:, 0]
        moved = stale[self.window[stale] < torch.from_numpy(self._windows(stale.numpy()))]
        self.window[moved] += 1
        self.first[moved] = self.last[moved] = UNSEEN
        tested = max(int((self.first != UNSEEN).sum()) + len(moved), 1)
        self._telemetry = {
            "replacement_rate": len(moved) / tested,
            "exhausted_rate": (len(stale) - len(moved)) / tested,
        }

    def negatives(self, batch: Batch) -> Negatives:
        """Return each query's current window of its ranked candidates."""
        self._extend(batch.queries)
        ids, _ = self.services.pool("dense").candidates(batch.queries, self.params.depth)
        starts = window_starts(self.window.numpy()[batch.queries], self.services.negatives, self.params)
        self.acts[0] += len(batch.queries)
        self.acts[1] += int((self.first[torch.from_numpy(batch.queries)] != UNSEEN).sum())
        self.acts[3] += int((self.window[torch.from_numpy(batch.queries)] > 0).sum())
        held = (ids != NO_DOCUMENT).sum(axis=1)  # a list too short for its window gives its last candidates
        starts = np.minimum(starts, np.maximum(held - self.services.negatives, 0))
        columns = starts[:, None] + np.arange(self.services.negatives)
        return Negatives(ids=sampling.take(ids, np.where(columns < ids.shape[1], columns, NO_DOCUMENT)))

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return eq. 3: the positive against the given negatives, plus beta times CoSENT."""
        scores = step.scores
        graded = self.services.graded(step.batch.step, self.params.graded_pairs)
        if graded is None:
            cosines = torch.cat([scores.positive, scores.negatives[scores.negatives_mask]])
            labels = (torch.arange(len(cosines)) < len(scores.positive)).float()
        else:
            cosines, labels = functional.cosine_similarity(graded.first, graded.second), graded.scores
        balanced = losses.cross_batch_balanced(scores, step.temperature)
        return balanced + self.params.beta * losses.cosent(cosines, labels, step.temperature)

    def observe(self, step: Step) -> None:
        """Record each query's mean score: the current one, and the first of a new window."""
        used = step.scores.negatives_mask
        count = used.sum(dim=1)
        mean = step.scores.negatives.detach().masked_fill(~used, 0).sum(dim=1) / count.clamp(min=1)
        mean = rescaled(mean, self.services.chance())
        rows = torch.from_numpy(step.batch.queries)[count > 0]
        self.last[rows] = mean[count > 0]
        self.first[rows] = torch.where(self.first[rows] == UNSEEN, self.last[rows], self.first[rows])

    def telemetry(self) -> dict[str, float]:
        """Return, on steps with a test, the share of seen examples replaced and of those with no window left."""
        return self._telemetry

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return window, S0 and S of every query row up to the highest seen, and what has acted."""
        return {"window": self.window, "first": self.first, "last": self.last, "acts": self.acts}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.window, self.first, self.last = state["window"], state["first"], state["last"]
        self.acts = state["acts"]

    def idle(self) -> str:
        """Return why no query was given a replaced window."""
        draws, returned, tests, acted = self.acts.tolist()
        if acted:
            return ""
        if not tests:
            return f"no test came: the first is after {self.params.check_steps:,} steps"
        if not returned:
            return f"no query came back in {draws:,} draws"
        return f"no query came back to a replaced list: {returned:,} of {draws:,} draws were of a query seen before"

    def _extend(self, queries: Ids) -> None:
        """Extend the state to these rows."""
        missing = max(int(queries.max()) + 1 - len(self.window), 0)
        self.window = functional.pad(self.window, (0, missing))
        self.first, self.last = (
            functional.pad(scores, (0, missing), value=UNSEEN) for scores in (self.first, self.last)
        )

    def _windows(self, queries: Ids) -> Ids:
        """Return how many full windows each query's list has after the skipped candidates."""
        if not len(queries):
            return queries
        ids, _ = self.services.pool("dense").candidates(queries, self.params.depth)
        size = self.services.negatives
        left = (ids != NO_DOCUMENT).sum(axis=1) - window_starts(np.ones(1, dtype=np.int64), size, self.params)
        return np.maximum(left // size, 0)


def no_longer_hard(now: torch.Tensor, first: torch.Tensor, params: Conan.Params) -> torch.Tensor:
    """Return for mean scores S and S0 [Q] whether margin S < S0 and |S| < ceiling, with S0 > 0."""
    return (params.margin * now < first) & (now.abs() < params.ceiling) & (first > 0)


def window_starts(replacements: Ids, size: int, params: Conan.Params) -> Ids:
    """Return the rank (from 0) where a query's window starts after so many replacements.

    The first starts at `first`. Replacement i = 1, 2, ... takes the paper's (i - 1) size + skip; where the first window
    is itself one behind the skipped candidates, each replacement is the next `size` behind it.
    """
    first = params.skip if params.first is None else params.first
    second = params.skip if first < params.skip else first + size
    return np.where(replacements == 0, first, (replacements - 1) * size + second)
