r"""SimANS: negatives whose score lies near the positive's are the informative ones.

What the paper says: p_i ~ exp(-a (s(q, d_i) - s(q, d+) - b)^2) over the top-k candidates of the current
retriever without positives; top ranks hold false negatives, low ranks teach nothing. The density peaks at
s+ + b. Setting in the paper: a = 0.5, b = 0.
What the released code does (microsoft/SimXNS, folder SimANS): the sign of b is flipped (centre s+ - b) for
NQ, TQ and MS-Doc; MS-Pas runs a Laplacian exp(-tau |s - s+|) with tau = 3 instead; a class that no script
calls has exp(tau |dd - min dd|), tau = 0.5, of a third score dd. 15 negatives; the pool of 100 to 200 is mined
anew every 2,000 to 5,000 steps; where the positive was not retrieved (stored score 0), it samples nothing and
takes the last n of the pool; n are drawn with replacement into a set until it is full. The loss is AR2's: the
KL divergence from a cross-encoder, trained in turns, over positive and negatives, without in-batch ones.
What we do: the paper's sign of b (the code's `--b 1` is b = -1), all three kernels (dd is taken to be the
retrieval score), drawn without replacement in log space (Gumbel top-n: the released loop's exact distribution,
and no weight underflows). a, b and tau act on dot products whose gaps are of order 1 to 10, so cosine
similarities are first divided by the suite's temperature: that is the scale of the loss, as the dot product is
in the paper. s+ comes from the scoring pass that made the pool, whether or not the positive was retrieved;
`missing_positive: last` does what the code does where it was not. The faithful track takes the code's loss with
the suite's teacher, which stays as it is; a suite without one is refused, as the run's own start has nothing to
teach. `target: labels` takes the cross-entropy of the labelled positive over the same 1 + M documents instead.
Cost per step: M document vectors per query; the dense pool is made once and shared. With `refresh_steps`, also B
searches per step and the whole corpus at a refresh; in the faithful track 1 + M more teacher vectors per query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from negmark.methods import base, losses, sampling, teacher
from negmark.methods.base import Method, Services, Snapshot
from negmark.methods.later import torch
from negmark.methods.types import (
    NO_DOCUMENT,
    Batch,
    Claim,
    Footnote,
    Ids,
    Lends,
    Negatives,
    Step,
    Tried,
    When,
    Work,
)

Kernel = Literal["gaussian", "laplace", "far"]
TAU = {"gaussian": 0.0, "laplace": 3.0, "far": 0.5}
"""Sharpness that the released code gives each kernel; the Gaussian reads none."""
_DIFFERS = (
    "the small encoder of the suite and public data instead of Bing's; InfoNCE; static pool unless refreshed"
)


class SimANS(Method):
    """Ambiguous negatives: a distribution over scores."""

    name = "simans"
    title = "SimANS"
    citation = "Zhou et al. 2022, EMNLP Industry, arXiv 2210.11773"
    pools = frozenset({"dense"})
    uses_teacher = True
    footnotes = (
        Footnote("scores are cosine similarity / temperature"),
        Footnote(
            "static pool of the warm-up encoder instead of one mined anew every few thousand steps, unless "
            "`refresh_steps` is set"
        ),
        Footnote("InfoNCE instead of distillation from a cross-encoder (AR2)", {When.CONTROLLED}),
        Footnote("the suite's number of negatives instead of 15", {When.FAITHFUL}),
    )
    faithful = True
    lends_loss = Lends.TO_DOCUMENTS
    claims = (
        Claim(
            "simans", "random", "R@100", "Bing, SimXNS's README: 85.6 against 76.2 (R@5 59.1 against 39.5)", _DIFFERS
        ),
        Claim(
            "simans", "dense_topk", "R@100", "Bing, SimXNS's README: 85.6 against 85.1 (R@5 59.1 against 57.1)",
            _DIFFERS,
        ),
    )  # fmt: skip

    class Params(base.Params):
        """Parameters of the SimANS distribution."""

        a: float = Field(default=0.5, gt=0)
        """Sharpness of the Gaussian kernel; larger is a narrower band of scores."""
        b: float = 0.0
        """Shift of the centre in the paper's sign: the peak is at s+ + b. The code's `--b 1` is -1 here."""
        kernel: Kernel = "gaussian"
        """`gaussian` is the paper's; `laplace` is what the released MS-Pas run executes; `far`, which nothing
        in the released code calls, prefers scores far above the lowest candidate's and ignores the positive's."""
        tau: float | None = Field(default=None, gt=0)
        """Sharpness of `laplace` and `far`; the released code's if None: 3 and 0.5."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of the pool that are drawn from (top-k)."""
        refresh_steps: int | None = Field(default=None, ge=1)
        """Steps between refreshes of the pool with the encoder as it is; None keeps the static one."""
        target: Literal["teacher", "labels"] = "teacher"
        """Faithful track: what scores over 1 + M documents are trained towards, the teacher's as in the paper or, an
        adaptation, the labels."""
        missing_positive: Literal["score", "last"] = "score"
        """Where the positive lies below all candidates: `score` compares with its score as elsewhere, `last`
        takes the last M candidates, as the released code does."""

    @classmethod
    def space(cls, params: SimANS.Params, track: str) -> Mapping[str, Tried]:
        """Tune the sharpness of the kernel that a row takes."""
        wider = "the released code's value and, ours, factors of four around it"
        if params.kernel == "gaussian":
            return {"a": Tried((0.03125, 0.125, 0.5, 2.0, 8.0), wider)}
        factors = (0.0625, 0.25, 1.0, 4.0, 16.0)
        default = TAU[params.kernel]
        return {"tau": Tried(tuple(None if factor == 1 else default * factor for factor in factors), wider)}

    def __init__(self, params: SimANS.Params, services: Services) -> None:
        super().__init__(params, services)
        self._snapshot: Snapshot | None = None
        self.refreshed = torch.zeros(1, dtype=torch.int64)
        """Refreshes after the first."""

    @classmethod
    def asks_teacher(cls, params: SimANS.Params, track: str) -> bool:
        """Say whether the row distils."""
        return track == "faithful" and params.target == "teacher"

    @classmethod
    def needs_teacher(cls, params: SimANS.Params, track: str) -> bool:
        """Say the same: no label enters that loss."""
        return cls.asks_teacher(params, track)

    @classmethod
    def work(cls, params: SimANS.Params, track: str, steps: int, batch_size: int) -> Work:
        """Return a corpus encoded at each refresh and a search per query, if the pool is refreshed."""
        every = params.refresh_steps
        return Work(-(-steps // every), steps * batch_size) if every else Work()

    @classmethod
    def own_notes(cls, params: SimANS.Params, track: str) -> list[str]:
        """Return what the paper's loss is trained towards here."""
        if track != "faithful":
            return []
        if params.target == "labels":
            return [
                "the labels as target instead of a teacher: cross-entropy over the positive and M negatives"
            ]
        return ["the teacher is {teacher}, which stays as it is, instead of a cross-encoder trained in turns"]

    @classmethod
    def vectors_needed(cls, params: SimANS.Params, track: str) -> str:
        """Return what a refreshed pool needs, else what every method does."""
        return "a corpus encoded anew" if params.refresh_steps else super().vectors_needed(params, track)

    @classmethod
    def asks_beyond_pool(cls, params: SimANS.Params, track: str) -> bool:
        """Say that a refreshed pool has candidates of its own."""
        return params.refresh_steps is not None

    def refresh(self, step: int) -> None:
        """Freeze the encoder as it is now, on the steps that are due, if the pool is to be refreshed."""
        every = self.params.refresh_steps
        if every is not None and (self._snapshot is None or step % every == 0):
            self.refreshed += self._snapshot is not None
            self._snapshot = self.services.snapshot()

    def idle(self) -> str:
        """Return that a pool which was to be refreshed is that of the start."""
        every = self.params.refresh_steps
        return f"no refresh: the first is after {every:,} steps" if every and not self.refreshed else ""

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M candidates by how near their score is to the positive's."""
        ids, scores, positive = self._candidates(batch)
        temperature, granted = self.services.temperature, self.services.negatives
        weights = log_weights(scores / temperature, positive / temperature, self.params)
        if self.params.missing_positive == "last":
            weights = np.where(missing(scores, positive)[:, None], last(scores, granted), weights)
        columns = sampling.top_n_by_gumbel(weights, granted, self.services.rng(batch.step))
        return Negatives(ids=sampling.take(ids, columns))

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the divergence of the scores over positive and negatives from the teacher's, or from the labels."""
        assert step.negatives.ids is not None
        batch, scores = step.batch, step.scores
        if self.params.target == "labels":
            return losses.cross_batch_balanced(scores, step.temperature)
        documents = np.concatenate([batch.positives[:, None], step.negatives.ids], axis=1)
        aim = teacher.logits(self.services, batch.queries, documents)
        student = torch.cat([scores.positive[:, None], scores.negatives], dim=1)
        used = torch.from_numpy(documents != NO_DOCUMENT)
        return losses.kl_from_teacher(student / step.temperature, aim, used)

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the snapshot that negatives are drawn from, if the pool is refreshed."""
        return {} if self._snapshot is None else {**self._snapshot.state_dict(), "refreshed": self.refreshed}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the snapshot."""
        if state:
            self.refreshed = state["refreshed"]
            self._snapshot = self.services.snapshot({key: state[key] for key in state if key != "refreshed"})

    def _candidates(self, batch: Batch) -> tuple[Ids, NDArray[np.float32], NDArray[np.float32]]:
        """Return ids and scores [B, K] and the positives' scores [B], all of one scoring pass."""
        if self._snapshot is None:
            pool = self.services.pool("dense")
            ids, scores = pool.candidates(batch.queries, self.params.depth)
            return ids, scores, pool.positive_scores(batch.queries, batch.positives)
        ids, scores = self._snapshot.candidates(batch.queries, self.params.depth)
        return ids, scores, self._snapshot.scores(batch.queries, batch.positives[:, None])[:, 0]


def log_weights(
    scores: NDArray[np.floating], positive: NDArray[np.floating], params: SimANS.Params
) -> NDArray[np.float64]:
    """Return the logarithm of each candidate's unnormalised chance [B, K]; -inf stays -inf.

    Takes scores [B, K] and the positives' scores [B] on the scale that a, b and tau mean.
    """
    exact: NDArray[np.float64] = scores.astype(np.float64)
    gap = exact - positive[:, None].astype(np.float64)
    tau = TAU[params.kernel] if params.tau is None else params.tau
    if params.kernel == "laplace":
        return -tau * np.abs(gap)
    if params.kernel == "far":
        lowest = np.where(np.isneginf(exact), np.inf, exact).min(axis=1, keepdims=True, initial=np.inf)
        return tau * (exact - np.where(np.isposinf(lowest), 0.0, lowest))
    return -params.a * (gap - params.b) ** 2


def missing(scores: NDArray[np.floating], positive: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return for which queries the positive scores below all candidates [B, K]; never for one with empty places.

    Empty places mean that the whole corpus was ranked, including the positive.
    """
    return positive < scores.min(axis=1, initial=np.inf)


def last(scores: NDArray[np.floating], n: int) -> NDArray[np.float64]:
    """Return log-weights [B, K] that draw the last n columns and no other."""
    columns = np.arange(scores.shape[1])
    return np.where((columns >= len(columns) - n) & ~np.isneginf(scores), 0.0, -np.inf)
