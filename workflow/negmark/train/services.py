"""What the training loop offers to a method, with every request counted as cost."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from negmark.core.seeds import stream
from negmark.methods.base import Pool
from negmark.methods.types import NO_DOCUMENT, Graded, Ids, Move
from negmark.store.auxiliary import Auxiliary
from negmark.store.graph import Graph, within_hops
from negmark.store.judgments import Judgments
from negmark.store.labels import Labels
from negmark.store.vectors import Vectors, float32
from negmark.train.counters import Counters
from negmark.train.momentum import MomentumCopy
from negmark.train.perturb import perturbed
from negmark.train.tiers.protocol import Moment, TrainedEncoder

BLOCK = 1 << 20
"""Documents that are searched at once: their scores for a batch of 256 take a gigabyte."""
CHANCE_ROWS = 2048
"""Queries and documents of which the mean cosine of random pairs is taken."""


class EncoderSnapshot:
    """The encoder of one moment, searchable: a `negmark.methods.base.Snapshot`."""

    def __init__(self, moment: Moment, labels: Labels, counters: Counters, device: torch.device) -> None:
        self._moment, self._labels, self._counters = moment, labels, counters
        self._device = device

    @cached_property
    def _documents(self) -> torch.Tensor:
        """The documents where they are searched; moved there once, at the first search."""
        return self._moment.documents.to(self._device)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what `Services.snapshot` needs to restore the snapshot."""
        return self._moment.state_dict()

    def candidates(self, queries: Ids, depth: int) -> tuple[Ids, NDArray[np.float32]]:
        """Return the best documents of each query that may be its negatives."""
        vectors = self._moment.queries(queries)
        self._counters.searches += len(queries)
        ids, scores = top(vectors, self._documents, depth + self._labels.most_positives(queries))
        usable = ~self._labels.is_positive(queries, ids)
        best = np.argsort(~usable, axis=1, kind="stable")[:, :depth]
        mask = np.take_along_axis(usable, best, axis=1)
        return (
            padded(np.where(mask, np.take_along_axis(ids, best, axis=1), NO_DOCUMENT), depth, NO_DOCUMENT),
            padded(np.where(mask, np.take_along_axis(scores, best, axis=1), -np.inf), depth, -np.inf),
        )

    def search(self, query_vectors: torch.Tensor, depth: int) -> tuple[Ids, NDArray[np.float32]]:
        """Search the documents of that moment with other query vectors."""
        self._counters.searches += len(query_vectors)
        return top(query_vectors.detach(), self._documents, depth)

    def scores(self, queries: Ids, documents: Ids) -> NDArray[np.float32]:
        """Return the scores of pairs."""
        query_vectors = self._moment.queries(queries)
        document_vectors = self._moment.documents[torch.from_numpy(np.maximum(documents, 0))]
        scores = torch.einsum("bd,bkd->bk", query_vectors, document_vectors).numpy()
        return np.where(documents == NO_DOCUMENT, -np.inf, scores).astype(np.float32)

    def vectors(self, documents: Ids) -> torch.Tensor:
        """Return the vectors that documents had."""
        return self._moment.documents[torch.from_numpy(documents)]


def top(
    queries: torch.Tensor, documents: torch.Tensor, depth: int, block: int = BLOCK
) -> tuple[Ids, NDArray[np.float32]]:
    """Return rows and scores [B, depth] of the best documents by inner product, fewer in a smaller corpus.

    Searched where the documents are, `block` of them at a time.
    """
    queries = queries.to(documents.device)
    found = [torch.topk(queries @ part.T, min(depth, len(part)), dim=1) for part in documents.split(block)]
    scores = torch.cat([part.values for part in found], dim=1)
    rows = torch.cat([part.indices + number * block for number, part in enumerate(found)], dim=1)
    if len(found) > 1:
        best = torch.topk(scores, min(depth, scores.shape[1]), dim=1)
        scores, rows = best.values, rows.gather(1, best.indices)
    return rows.cpu().numpy(), scores.cpu().numpy()


def device_of(encoder: TrainedEncoder) -> torch.device:
    """Return where a run computes, and so searches: on a GPU if its encoder is there."""
    return next(iter(encoder.parameters())).device


def padded(array: NDArray, width: int, value: float) -> NDArray:
    """Fill rows [B, K] up to [B, width]."""
    return np.pad(array, ((0, 0), (0, max(width - array.shape[1], 0))), constant_values=value)


class TrainingServices:
    """Services of one run: a `negmark.methods.base.Services`."""

    def __init__(
        self,
        encoder: TrainedEncoder,
        labels: Labels,
        pools: Mapping[str, Pool],
        row: str,
        seed: int,
        negatives: int,
        temperature: float,
        teacher: tuple[Vectors, Vectors] | None = None,
        track: str = "controlled",
        graded: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None,
        hidden: Labels | None = None,
        teacher_model: TrainedEncoder | None = None,
        judgments: Judgments | None = None,
        steps: int = 0,
        graph: Graph | None = None,
        auxiliary: Auxiliary | None = None,
        sources: Ids | None = None,
    ) -> None:
        self._auxiliary, self._sources = auxiliary, sources
        self._track, self._steps, self._graph = track, steps, graph
        self._encoder, self._labels, self._pools = encoder, labels, pools
        self._teacher, self._graded, self._hidden = teacher, graded, hidden
        self._teacher_model, self._judgments = teacher_model, judgments
        self._chances: dict[bool, float] = {}
        self._matrix: tuple[int, torch.Tensor] | None = None
        self._searched: tuple[torch.Tensor, torch.Tensor] | None = None
        """The corpus, and the same where it is searched."""
        self._row, self._seed = row, seed
        self._negatives, self._temperature = negatives, temperature
        self._momentum: MomentumCopy | None = None
        self.counters = Counters()

    @property
    def documents(self) -> int:
        """Documents in the corpus."""
        return self._labels.documents

    @property
    def negatives(self) -> int:
        """Negatives per query that the suite grants."""
        return self._negatives

    @property
    def temperature(self) -> float:
        """The suite's temperature."""
        return self._temperature

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self._steps

    @property
    def queries(self) -> Ids:
        """The training queries."""
        return self._labels.queries

    @property
    def ranker_teaches(self) -> bool:
        """Has a cross-encoder judged the pool's candidates?"""
        return self._judgments is not None

    @property
    def track(self) -> str:
        """The track of the run."""
        return self._track

    def rng(self, step: int, purpose: str = "") -> np.random.Generator:
        """Return the stream of this row, seed, step and purpose."""
        return stream(self._seed, "method", self._row, purpose, step=step)

    def pool(self, name: str) -> Pool:
        """Return a pool that the method declared."""
        if name not in self._pools:
            raise KeyError(f"{self._row} asks for the pool {name!r} but doesn't name it in `pools`")
        return self._pools[name]

    def is_positive(self, queries: Ids, documents: Ids) -> NDArray[np.bool_]:
        """Return which pairs have a training label, or are no negatives for another reason."""
        return self._labels.is_positive(queries, documents)

    def is_own(self, queries: Ids, documents: Ids) -> NDArray[np.bool_]:
        """Return in which pairs the document is the query itself, but no positive of it."""
        return self._labels.is_own(queries, documents)

    def most_positives(self, queries: Ids) -> int:
        """Return how many documents `is_positive` marks for one query, at most."""
        return self._labels.most_positives(queries)

    def is_hidden_positive(self, queries: Ids, documents: Ids) -> NDArray[np.bool_]:
        """Return which pairs have a label that is hidden from training. Raises PermissionError except for a control."""
        if self._hidden is None:
            raise PermissionError(f"{self._row}: only a control with `knows_hidden` may see hidden labels")
        return self._hidden.is_positive(queries, documents)

    def positives(self, queries: Ids) -> Ids:
        """Return the labelled positives of queries."""
        return self._labels.positives(queries)

    def snapshot(self, state: Mapping[str, torch.Tensor] | None = None) -> EncoderSnapshot:
        """Freeze the encoder as it is now, or restore a snapshot from a checkpoint."""
        if state is None:
            self.counters.refreshes += 1
        return EncoderSnapshot(
            self._encoder.moment(state), self._labels, self.counters, device_of(self._encoder)
        )

    def search(self, query_vectors: torch.Tensor, depth: int) -> tuple[Ids, NDArray[np.float32]]:
        """Search the current document vectors."""
        self.counters.searches += len(query_vectors)
        documents = self._all_documents()
        if self._searched is None or self._searched[0] is not documents:
            self._searched = None  # one corpus at a time on a GPU
            self._searched = (documents, documents.to(device_of(self._encoder)))
        return top(query_vectors.detach(), self._searched[1], depth)

    def teacher_queries(self, queries: Ids) -> torch.Tensor:
        """Return the teacher's vectors of queries."""
        self.counters.teacher_vectors += queries.size
        return self._of_teacher("query", queries)

    def teacher_documents(self, documents: Ids) -> torch.Tensor:
        """Return the teacher's vectors of documents."""
        self.counters.teacher_vectors += int((documents != NO_DOCUMENT).sum())
        return self._of_teacher("document", np.maximum(documents, 0))

    def judgments(self, queries: Ids, documents: Ids) -> NDArray[np.float32] | None:
        """Return the logits of the cross-encoder that teaches, if one does."""
        return None if self._judgments is None else self._judgments.scores(queries, documents)

    def _of_teacher(self, side: str, rows: Ids) -> torch.Tensor:
        if self._teacher_model is not None:
            unique, places = np.unique(rows, return_inverse=True)
            return self._teacher_model.still(side, unique)[torch.from_numpy(places.reshape(rows.shape))]
        if self._teacher is not None:
            return _rows(self._teacher[side == "query"], rows)
        return self.warmup_queries(rows) if side == "query" else self.warmup_documents(rows)

    def chance(self, of_teacher: bool = False) -> float:
        """Return the mean cosine of random pairs before training: of all pairs of so many queries and documents.

        For unit vectors that is the inner product of both sides' means.
        """
        if of_teacher not in self._chances:
            rows = spread(len(self._labels.queries), CHANCE_ROWS)
            queries, documents = self._labels.queries[rows], spread(self.documents, CHANCE_ROWS)
            if of_teacher:
                sides = self._of_teacher("query", queries), self._of_teacher("document", documents)
            else:
                sides = self.warmup_queries(queries), self.warmup_documents(documents)
            left, right = (vectors.double().mean(dim=0) for vectors in sides)
            self._chances[of_teacher] = float(left @ right)
        return self._chances[of_teacher]

    def warmup_queries(self, queries: Ids) -> torch.Tensor:
        """Return the vectors of queries before training."""
        return self._shaped(self._encoder.warmup_queries(queries.ravel()), queries)

    def warmup_documents(self, documents: Ids) -> torch.Tensor:
        """Return the vectors of documents before training."""
        return self._shaped(self._encoder.warmup_documents(np.maximum(documents, 0).ravel()), documents)

    def graded(self, step: int, count: int) -> Graded | None:
        """Draw graded pairs and encode them, with gradient."""
        if self._graded is None:
            return None
        rows, scores = self._graded
        sample = self.rng(step, "graded pairs").choice(len(rows), size=min(count, len(rows)), replace=False)
        self.counters.extra_vectors += 2 * len(sample)
        vectors = self._encoder.queries(rows[sample].ravel()).reshape(len(sample), 2, -1)
        return Graded(vectors[:, 0], vectors[:, 1], torch.from_numpy(scores[sample]).float())

    def rankers(self) -> tuple[torch.nn.Module, torch.nn.Module] | None:
        """Return the trained cross-encoder and a second one."""
        return self._encoder.rankers()

    def count_network(self, forwards: int) -> None:
        """Count what went through networks of the method's own."""
        self.counters.network_forwards += forwards

    def _all_documents(self) -> torch.Tensor:
        version = self._encoder.document_version
        if self._matrix is None or self._matrix[0] != version:
            self._matrix = (version, self._encoder.all_documents())
            # frozen vectors count once, though a resumed run recomputes them
            if "document" in self._encoder.trained or not self.counters.refreshes:
                self.counters.refreshes += 1
        return self._matrix[1]

    @torch.no_grad()
    def encode_queries(self, queries: Ids) -> torch.Tensor:
        """Return current vectors without gradient."""
        self.counters.extra_vectors += queries.size
        return self._shaped(self._encoder.queries(queries.ravel()), queries)

    def encode_documents(self, documents: Ids, gradient: bool = False) -> torch.Tensor:
        """Return current vectors; empty places give the vector of document 0.

        Without gradient they are looked up if the whole corpus was encoded for a search and hasn't changed since.
        """
        known = self._matrix is not None and self._matrix[0] == self._encoder.document_version
        if known and not gradient and self._matrix is not None:
            return self._matrix[1][torch.from_numpy(np.maximum(documents, 0))]
        self.counters.extra_vectors += int((documents != NO_DOCUMENT).sum())
        with torch.set_grad_enabled(gradient):
            return self._shaped(self._encoder.documents(np.maximum(documents, 0).ravel()), documents)

    def momentum(self, decay: float) -> MomentumCopy:
        """Return the run's momentum copy."""
        if self._momentum is None:
            self._momentum = MomentumCopy(self._encoder, self.counters, decay)
        self._momentum.decay = decay
        return self._momentum

    def follow(self) -> None:
        """Let the momentum copy, if there is one, follow what the optimiser has just moved."""
        if self._momentum is not None:
            self._momentum.follow()

    def perturbed_documents(self, documents: Ids, moves: Sequence[Move]) -> torch.Tensor:
        """Return vectors of documents whose tokens have been moved; counted once a move and once at the end."""
        self.counters.extra_vectors += len(documents) * (len(moves) + 1)
        return perturbed(self._encoder, "document", documents, moves)

    def neighbours(self, documents: Ids, hops: int = 1) -> Ids:
        """Return related documents. Raises PermissionError for a method that doesn't declare its need of a graph."""
        if self._graph is None:
            raise PermissionError(f"{self._row}: only a row with `needs_graph` may ask for neighbours")
        return within_hops(self._graph, documents, hops)

    def sources(self, queries: Ids) -> Ids:
        """Return the training sets of queries. Raises PermissionError for a method without `needs_sources`."""
        if self._sources is None:
            raise PermissionError(
                f"{self._row}: only a row with `needs_sources` may ask where queries are from"
            )
        return self._sources[queries]

    @property
    def auxiliary_documents(self) -> int:
        """Texts beside the corpus."""
        return 0 if self._auxiliary is None else len(self._auxiliary)

    def auxiliary(
        self, queries: Ids, kinds: Sequence[str], judged: bool = True, positives: Ids | None = None
    ) -> tuple[Ids, NDArray[np.float32]]:
        """Return texts made for queries. Raises PermissionError for a method that doesn't declare its need of them."""
        if self._auxiliary is None:
            raise PermissionError(
                f"{self._row}: only a row with `needs_auxiliary` may ask for texts beside the corpus"
            )
        return self._auxiliary.candidates(queries, kinds, judged, positives)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what a resumed run needs of the services, counters aside: the momentum copy, if there is one."""
        return {} if self._momentum is None else self._momentum.state_dict()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        if state:
            self._momentum = MomentumCopy.restored(self._encoder, self.counters, state)

    @staticmethod
    def _shaped(vectors: torch.Tensor, rows: Ids) -> torch.Tensor:
        return vectors.reshape(*rows.shape, -1)


def spread(count: int, most: int) -> Ids:
    """Return at most so many of `count` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _rows(vectors: Vectors, rows: Ids) -> torch.Tensor:
    return torch.from_numpy(float32(vectors[rows]))
