r"""ADORE: the documents that the query encoder ranks highest right now, searched anew at every step.

What the paper says: static hard negatives are not those of the model that is trained. So freeze the document index,
retrieve the real top with the current query encoder at each step, and optimise ranking directly with a LambdaLoss.
Best after STAR, which supplies the index and the query encoder's start (ADORE+STAR).
What the released code does (jingtaozhan/DRhard): exact search, 200 deep, with the query vectors of the step (dropout
on); labels part the list. All labelled positives of a query are appended if none was retrieved, else missing ones are
ignored. The pair weight is |gain(r_a) - gain(r_b)| with gain 1/r (like MRR, not nDCG), 0 beyond `metric_cut`, which
the README's command sets to 200. Its log(1 + exp(x)) * mask is NaN where the scores differ by more than 88; its
default metric_cut=None makes every gain 0.
What we do: in the controlled track the M best of a live search without labelled positives. Documents are trained as
in all methods, but searched as they were at the last refresh, every `refresh_steps` steps (step 0 included), as the
paper's index is one moment's too: encoding the corpus at every step (`refresh_steps: 1`) costs more than all else. In
the faithful track documents stay frozen and the code's loss is taken over the code's list, with a softplus that can't
overflow; here `cut: null` means no cut. The ledger then names the M best unlabelled documents of the list. ADORE+STAR
is `{method: adore, track: faithful, start: star}`.
Cost per step: B searches of the whole corpus. Controlled: the corpus and the training queries are encoded at each
refresh. Faithful: the corpus once, then each step the documents of the lists (B * `depth` at most).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from negmark.methods import base, losses, sampling
from negmark.methods.base import Method, Snapshot
from negmark.methods.later import torch
from negmark.methods.types import NO_DOCUMENT, Batch, Claim, Footnote, Ids, Negatives, Step, Tried, When, Work

_DIFFERS = (
    "the small encoder of the suite and cosine / temperature instead of RoBERTa and raw dot products; it is tested by "
    "a row that starts from the other's model, beside one of the other that trained for as long"
)


class ADORE(Method):
    """Hard negatives of the moment."""

    name = "adore"
    title = "ADORE"
    citation = "Zhan et al. 2021, SIGIR, arXiv 2104.08051"
    needs_vectors = "a live search"
    footnotes = (
        Footnote("documents are trained too; they are searched as of the last refresh", {When.CONTROLLED}),
        Footnote(
            "the M best unlabelled documents and InfoNCE instead of the top 200 and a LambdaLoss",
            {When.CONTROLLED},
        ),
        Footnote(
            "the logit is cosine similarity / temperature instead of a raw dot product", {When.FAITHFUL}
        ),
        Footnote(
            "the search has no dropout noise, as adapters and token tables have no dropout", {When.FAITHFUL}
        ),
        Footnote("the suite's learning rate, steps and batch size", {When.FAITHFUL}),
    )
    faithful = True
    claims = (
        Claim(
            "adore", "star", "RR@10",
            "MS MARCO passage dev, DRhard's README, ADORE started from STAR: .34661 against STAR's .34042", _DIFFERS,
            from_worse=True,
        ),
        Claim(
            "adore", "star", "nDCG@10",
            "TREC DL 2019 passage, DRhard's README, ADORE started from STAR: .683 against .642", _DIFFERS,
            from_worse=True,
        ),
        Claim(
            "adore", "random", "RR@10",
            "MS MARCO passage dev, DRhard's README, ADORE started from random negatives: .326 against .301", _DIFFERS,
            from_worse=True,
        ),
        Claim(
            "adore", "inbatch", "RR@10",
            "MS MARCO passage dev, DRhard's README, ADORE started from in-batch negatives: .316 against .264",
            _DIFFERS, from_worse=True,
        ),
    )  # fmt: skip

    class Params(base.Params):
        """Parameters of ADORE's own recipe, and of its index where documents are trained."""

        refresh_steps: int = Field(default=100, ge=1)
        """Controlled track: steps between two encodings of the corpus; as often as in ANCE."""
        depth: int = Field(default=200, ge=1)
        """Faithful track: documents retrieved per query."""
        cut: int | None = Field(default=200, ge=1)
        """Faithful track: ranks beyond it have no gain; None cuts nothing (the code's None trains nothing)."""

    @classmethod
    def space(cls, params: ADORE.Params, track: str) -> Mapping[str, Tried]:
        """Tune where gains end; in the controlled track how old the index may get."""
        values = (10, 25, 50, 100, 200)
        cut = {"cut": Tried(values, "200 in the README's command; the rest, down to nDCG's own cut, is ours")}
        refreshes = {"refresh_steps": Tried((25, 50, 100, 200, 400), "ours: halves and doubles the default")}
        return cut if track == "faithful" else refreshes

    @classmethod
    def work(cls, params: ADORE.Params, track: str, steps: int, batch_size: int) -> Work:
        """Return a search per query; frozen documents are encoded once, trained ones at each refresh."""
        encodings = 1 if track == "faithful" else -(-steps // params.refresh_steps)
        return Work(encodings, steps * batch_size)

    @classmethod
    def own_notes(cls, params: ADORE.Params, track: str) -> list[str]:
        """Return how old the index may get."""
        every = (
            f"the corpus is encoded anew every {params.refresh_steps:,} steps; the paper freezes documents"
        )
        return [] if track == "faithful" else [every]

    def __init__(self, params: ADORE.Params, services: base.Services) -> None:
        super().__init__(params, services)
        self._retrieved: tuple[int, Ids] | None = None
        self._index: Snapshot | None = None
        """Controlled track: what is searched."""

    @classmethod
    def drawn_from(cls, params: ADORE.Params, track: str) -> int | None:
        """Return the length of the recipe's list; the controlled track takes the very top."""
        return params.depth if track == "faithful" else None

    def trained_towers(self) -> frozenset[str]:
        """Freeze the documents in the faithful track."""
        return frozenset({"query"}) if self.services.track == "faithful" else super().trained_towers()

    def refresh(self, step: int) -> None:
        """Encode the corpus as it is now, on the steps that are due; frozen documents need it once."""
        if self.services.track == "faithful":
            return
        if self._index is None or step % self.params.refresh_steps == 0:
            self._index = self.services.snapshot()

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the index of the controlled track."""
        return {} if self._index is None else self._index.state_dict()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the index."""
        self._index = self.services.snapshot(state) if state else None

    def negatives(self, batch: Batch) -> Negatives:
        """Search with the current query vectors and keep the M best that carry no label."""
        granted = self.services.negatives
        faithful = self.services.track == "faithful"
        spare = self.services.most_positives(batch.queries)  # so many may rank above the M best
        search = self.services.search if self._index is None else self._index.search
        ids, _ = search(batch.query_vectors.detach(), self.params.depth if faithful else granted + spare)
        self._retrieved = (batch.step, ids)
        labelled = self.services.is_positive(batch.queries, ids)
        return Negatives(ids=sampling.first_without(ids, labelled, granted))

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the LambdaLoss over what `negatives` retrieved at this step."""
        assert self._retrieved is not None
        assert self._retrieved[0] == step.batch.step
        ids, relevant = self._list(step.batch.queries, self._retrieved[1])
        documents, places = np.unique(ids, return_inverse=True)  # encode each once: many lists share it
        vectors = self.services.encode_documents(documents)
        logits = (step.batch.query_vectors @ vectors.T) / step.temperature
        return losses.adore_lambda(
            logits.gather(1, torch.from_numpy(places.reshape(ids.shape))),
            torch.from_numpy(relevant),
            torch.from_numpy(ids != NO_DOCUMENT),
            self.params.cut,
        )

    def _list(self, queries: Ids, retrieved: Ids) -> tuple[Ids, np.ndarray]:
        """Return ids and labels [B, K + P]: the retrieved documents, and all positives if none was retrieved.

        The query's own text is neither relevant nor irrelevant: its place is empty.
        """
        retrieved = np.where(self.services.is_own(queries, retrieved), NO_DOCUMENT, retrieved)
        relevant = self.services.is_positive(queries, retrieved)
        without_positive = ~relevant.any(axis=1, keepdims=True)
        appended = np.where(without_positive, self.services.positives(queries), NO_DOCUMENT)
        return (
            np.concatenate([retrieved, appended], axis=1),
            np.concatenate([relevant, appended != NO_DOCUMENT], axis=1),
        )
