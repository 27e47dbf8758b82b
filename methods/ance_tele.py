r"""ANCE-Tele: ANCE's pool, last time's pool and the neighbours of the positive, so that little is forgotten.

What the paper says: ANCE's negatives swing from group to group as the index is refreshed, and what was learnt of the
last group is forgotten. Teleportation negatives smooth that: momentum negatives are those of the refresh before, and
lookahead negatives are near the positive, where the query will be once it is trained. Half of either kind ([M]).
What the released code does (OpenMatch/ANCE-Tele): three episodes, each trained from the same start. In an episode the
top 200 of a query and the top 200 of its positive, labelled ones left out, are sampled for 30 each and joined; from
the second episode on all of the last episode's list is joined to them, which holds that of the one before: so in the
third half a query's own 60 stand beside 120 older ones, and a document may be listed twice. 31 of a list are
drawn in turn, and the loss is a softmax over the passages of all queries, by raw dot products. A query with several
positives looks ahead from one vector.
What we do: every `refresh_steps` steps, step 0 included, a snapshot for all queries at once; that of before is kept. At
every step M negatives are drawn, each from last time's pool with chance `momentum` (once there is one), else of now;
and each from the neighbours of the step's positive with chance `lookahead`, else of the query; uniformly in the
best `depth`, without replacement. Only the last refresh is remembered, not all of them. Training goes on where it is.
The faithful track has the code's loss, over the given documents of all queries, by cosine / temperature.
Cost per step: M document vectors per query; 2 B searches of the whole corpus, 4 B after the first refresh that
follows step 0; at a refresh the whole corpus. Two snapshots are in memory.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from negmark.methods import base, losses, sampling, shared
from negmark.methods.base import Method, Services, Snapshot
from negmark.methods.later import torch
from negmark.methods.types import Batch, Claim, Footnote, Ids, Negatives, Step, Tried, When, Work


class ANCETele(Method):
    """Teleportation negatives."""

    name = "ance_tele"
    title = "ANCE-Tele"
    citation = "Sun et al. 2022, EMNLP, arXiv 2210.17167"
    needs_vectors = "a corpus encoded anew"
    faithful = True
    footnotes = (
        Footnote(
            "the pool is refreshed synchronously and for all queries at once, every 100 steps by default, and training "
            "goes on, instead of three episodes from the same start"
        ),
        Footnote(
            "the pool of the last refresh alone is kept, instead of all before, and a half is drawn of it"
        ),
        Footnote("other queries' given negatives are not shared", {When.CONTROLLED}),
        Footnote("cosine similarity / temperature instead of a raw dot product", {When.FAITHFUL}),
        Footnote("the suite's encoder, steps, batch size, negatives and optimiser", {When.FAITHFUL}),
    )
    claims = (
        Claim(
            better="ance_tele",
            worse="ance",
            metric="RR@10",
            condition="MS MARCO passage dev: .391 by its README, from co-condenser-marco; ANCE's .330 is from RoBERTa, "
            "and no pair from one start was read",
            differs="the small encoder of the suite, M negatives instead of 31, no restart at a refresh",
        ),
    )

    class Params(base.Params):
        """Parameters of the pools."""

        momentum: float = Field(default=0.5, ge=0, lt=1)
        """Chance that a negative is of the last refresh's pools; 0 keeps none of them."""
        lookahead: float = Field(default=0.5, ge=0, lt=1)
        """Chance that a negative is a neighbour of the positive instead of the query."""
        refresh_steps: int = Field(default=100, ge=1)
        """Steps between refreshes of the pool, as in `ance`; 20,000 in the released code."""
        depth: int = Field(default=base.DEPTH, ge=1)
        """Candidates of each pool that are drawn from, best first."""

    @classmethod
    def space(cls, params: ANCETele.Params, track: str) -> Mapping[str, Tried]:
        """Tune how much is drawn of the last pool."""
        return {"momentum": Tried((0.0, 0.25, 0.5, 0.75, 0.9), "the paper's half ([M]) and, ours, around it")}

    @classmethod
    def work(cls, params: ANCETele.Params, track: str, steps: int, batch_size: int) -> Work:
        """Return a corpus encoded at each refresh, and the searches of a query and its positive in one or both."""
        searched = steps + (max(steps - params.refresh_steps, 0) if params.momentum else 0)
        return Work(-(-steps // params.refresh_steps), searched * batch_size * (2 if params.lookahead else 1))

    def __init__(self, params: Params, services: Services) -> None:
        super().__init__(params, services)
        self._now: Snapshot | None = None
        self._before: Snapshot | None = None
        self.refreshed = torch.zeros(1, dtype=torch.int64)
        """Refreshes after the first."""

    def refresh(self, step: int) -> None:
        """Freeze the encoder as it is now, on the steps that are due, and keep how it was."""
        if self._now is None or step % self.params.refresh_steps == 0:
            self.refreshed += self._now is not None
            self._before = self._now if self.params.momentum else None
            self._now = self.services.snapshot()

    def idle(self) -> str:
        """Return that there was no last pool."""
        return "" if self.refreshed else f"no refresh: the first is after {self.params.refresh_steps:,} steps"

    def negatives(self, batch: Batch) -> Negatives:
        """Draw M of the pools, each by its share."""
        lookahead = self.params.lookahead
        momentum = 0.0 if self._before is None else self.params.momentum
        sources: list[Ids] = []
        shares: list[float] = []
        for snapshot, share in ((self._now, 1 - momentum), (self._before, momentum)):
            if snapshot is None:
                continue
            sources.append(snapshot.candidates(batch.queries, self.params.depth)[0])
            shares.append(share * (1 - lookahead))
            if lookahead:
                sources.append(self._ahead(snapshot, batch))
                shares.append(share * lookahead)
        rng = self.services.rng(batch.step)
        return Negatives(ids=sampling.draw_from_sources(sources, shares, self.services.negatives, rng))

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return InfoNCE over the positives and the given documents of all queries."""
        return losses.info_nce(shared.with_documents_of_all(step, self.services), step.temperature)

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the snapshots that negatives are drawn from."""
        kept = {"now": self._now, "before": self._before}
        state = {
            f"{name}.{key}": value
            for name, snapshot in kept.items()
            if snapshot is not None
            for key, value in snapshot.state_dict().items()
        }
        return {**state, "refreshed": self.refreshed} if state else {}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the snapshots."""
        if state:
            self.refreshed = state["refreshed"]
            self._now, self._before = (self._restored(state, name) for name in ("now", "before"))

    def _restored(self, state: Mapping[str, torch.Tensor], name: str) -> Snapshot | None:
        part = {key.removeprefix(f"{name}."): state[key] for key in state if key.startswith(f"{name}.")}
        return self.services.snapshot(part) if part else None

    def _ahead(self, snapshot: Snapshot, batch: Batch) -> Ids:
        """Return the documents nearest to each positive that may be negatives of its query: [B, depth]."""
        spare = self.services.most_positives(batch.queries)
        ids, _ = snapshot.search(snapshot.vectors(batch.positives), self.params.depth + spare)
        return sampling.first_without(ids, self.services.is_positive(batch.queries, ids), self.params.depth)
