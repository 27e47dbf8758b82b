"""The contract between a method and the fair training loop.

Shapes use B for the batch, M for negatives per query, K for the depth of a candidate pool and D for the
dimension of a vector. Queries and documents are named by their row in the dataset (int64). Scores are cosine
similarities unless said otherwise; dividing by the temperature gives the logits of the loss.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from negmark.methods import losses, values
from negmark.methods.later import torch
from negmark.methods.types import (
    IN_BATCH,
    NO_DOCUMENT,
    Batch,
    Claim,
    Composition,
    Footnote,
    Gives,
    Graded,
    Ids,
    Lends,
    Move,
    Negatives,
    Pairs,
    Scores,
    Step,
    Tried,
    When,
    Work,
)  # fmt: skip

__all__ = [
    "NO_DOCUMENT", "Batch", "Claim", "Composition", "Footnote", "Gives", "Graded", "Ids", "Lends", "Method", "Momentum",
    "Move", "Negatives", "Pairs", "Params", "Pool", "Scores", "Services", "Snapshot", "Step", "Tried", "When", "Work",
]  # fmt: skip
"""All that a method's file needs, by one line of import."""

DEPTH = 200
"""Candidates of a pool that every row looks at by default, best first: the depth that ANCE, DRhard and SimANS mine.

One depth for all: rows that differ in what they choose, or how they weigh it, differ in nothing else. A row whose
method is its depth (`dense_topk`, the `top` of a row of `dense_uniform`) says so by its own parameter.
"""
RANKER = Footnote(
    "a cross-encoder learns by the listwise softmax over the positive and the given negatives; "
    "in-batch documents are none",
    {When.CONTROLLED, When.PAIRS},
)
"""Shared by all methods made for bi-encoders: those without a footnote of their own for `When.PAIRS`."""


class Params(BaseModel):
    """Typed parameters of a method; the defaults are the paper's, each field describes itself."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _parsed(cls, value: Any, info: ValidationInfo) -> Any:
        """Parse numbers and booleans that a config could only give as text, each only where its type is allowed."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        types = get_args(annotation) or (annotation,)
        for kind, parse in ((int, values.whole), (float, values.number), (bool, values.truth)):
            value = parse(value) if kind in types else value
        return value


class Pool(Protocol):
    """Static candidates of every training query, best first, without positives and what else is no negative."""

    def candidates(self, queries: Ids, depth: int | None = None) -> tuple[Ids, NDArray[np.float32]]:
        """Return ids [B, K] and scores [B, K]; short rows end in `NO_DOCUMENT` with score -inf."""

    def positive_scores(self, queries: Ids, positives: Ids) -> NDArray[np.float32]:
        """Return [B] scores of labelled pairs from the same scoring pass as the candidates."""


class Snapshot(Protocol):
    """The encoder as it was when the snapshot was taken, searchable: a refreshed pool for every query.

    Candidates are searched when they are requested, with the same result as mining all queries at once.
    """

    def candidates(self, queries: Ids, depth: int) -> tuple[Ids, NDArray[np.float32]]:
        """Return ids [B, depth] and scores, best first, of what may be a negative, as a `Pool` does."""

    def search(self, query_vectors: torch.Tensor, depth: int) -> tuple[Ids, NDArray[np.float32]]:
        """Search the snapshot's documents with other vectors [B, D]: ids and scores [B, depth], best first.

        What is no negative (`Services.is_positive`) is among them.
        """

    def scores(self, queries: Ids, documents: Ids) -> NDArray[np.float32]:
        """Return the scores [B, K] of queries [B] with documents [B, K]; -inf in empty places."""

    def vectors(self, documents: Ids) -> torch.Tensor:
        """Return the unit vectors [B, D] that documents [B] had, without gradient."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what restores the snapshot: two [D, D] matrices in the adapter tier, else all its vectors."""


class Momentum(Protocol):
    """A second set of the towers' parameters that follows the trained one slowly, without gradient or dropout."""

    def queries(self, queries: Ids) -> torch.Tensor:
        """Return unit vectors [*, D]; each is counted as cost."""

    def documents(self, documents: Ids) -> torch.Tensor:
        """Return unit vectors [*, D], of document 0 in empty places; each is counted as cost."""


class Services(Protocol):
    """What the training loop offers to a method."""

    @property
    def documents(self) -> int:
        """Documents in the corpus; rows run from 0 to this."""

    @property
    def negatives(self) -> int:
        """Negatives per query that the suite grants (M)."""

    @property
    def temperature(self) -> float:
        """The suite's temperature: cosine similarity over this is the scale of the loss."""

    @property
    def steps(self) -> int:
        """Steps of the whole run, for schedules that are shares of it."""

    @property
    def queries(self) -> Ids:
        """The training queries [Q], ascending: those that a batch may have."""

    @property
    def ranker_teaches(self) -> bool:
        """Is the suite's teacher a cross-encoder? Then its scores come from `judgments`, else from its vectors."""

    @property
    def track(self) -> str:
        """`controlled`, where only negatives may differ, or `faithful`, for the paper's own recipe."""

    def rng(self, step: int, purpose: str = "") -> np.random.Generator:
        """Return the stream of this method, seed, step and purpose: the same at every call."""

    def pool(self, name: str) -> Pool:
        """Return a candidate pool; its name must be in the method's `pools`."""

    def is_positive(self, queries: Ids, documents: Ids) -> NDArray[np.bool_]:
        """Return for queries [B] and documents [B, K] which are no negatives: [B, K].

        Labelled positives, copies of their texts, and the query's own text where the corpus holds it.
        """

    def is_own(self, queries: Ids, documents: Ids) -> NDArray[np.bool_]:
        """Return for the same pairs in which the document is the query's own text and no positive of it: [B, K].

        `is_positive` marks it as no negative, but nothing says that it is relevant.
        """

    def most_positives(self, queries: Ids) -> int:
        """Return how many documents `is_positive` marks for one of these queries [B], at most."""

    def is_hidden_positive(self, queries: Ids, documents: Ids) -> NDArray[np.bool_]:
        """Return for queries [B] and documents [B, K] which pairs are relevant but hidden from training: [B, K].

        All False if the dataset hides nothing. For controls with `knows_hidden`; any other gets a PermissionError.
        """

    def positives(self, queries: Ids) -> Ids:
        """Return the labelled positives of queries [B] as [B, P], `NO_DOCUMENT` after a query's last one."""

    def snapshot(self, state: Mapping[str, torch.Tensor] | None = None) -> Snapshot:
        """Freeze the encoder as it is now (counted as a refresh), or restore what `Snapshot.state_dict` returned."""

    def search(self, query_vectors: torch.Tensor, depth: int) -> tuple[Ids, NDArray[np.float32]]:
        """Search the current document vectors with vectors [B, D]: ids and scores [B, depth], best first.

        What is no negative (`is_positive`) is among them. The document vectors are recomputed only if they changed.
        """

    def teacher_queries(self, queries: Ids) -> torch.Tensor:
        """Return unit vectors [*, E] of the suite's teacher, the warm-up encoder if it names none."""

    def teacher_documents(self, documents: Ids) -> torch.Tensor:
        """Return unit vectors [*, E] of the teacher; those of document 0 in empty places."""

    def judgments(self, queries: Ids, documents: Ids) -> NDArray[np.float32] | None:
        """Return logits [B, K] of queries [B] with documents [B, K] by the cross-encoder that teaches; -inf if empty.

        None if the teacher has vectors. Raises KeyError for a document that is neither in the query's dense pool nor
        labelled (`Method.asks_beyond_pool`).
        """

    def chance(self, of_teacher: bool = False) -> float:
        """Return the mean cosine of random pairs of a training query and a document before training.

        By the encoder, or by the teacher: where its scale has the 0 of `scale.rescaled`. The same for all seeds.
        """

    def graded(self, step: int, count: int) -> Graded | None:
        """Draw `count` graded pairs, encoded with gradient and counted as cost; None if the dataset has none."""

    def rankers(self) -> tuple[torch.nn.Module, torch.nn.Module] | None:
        """Return the trained cross-encoder and a second one from the same start, but with its own scoring head.

        None outside the rerank tier. Called with queries [B] and documents [B, K] they return logits [B, K], 0 in
        empty places; without gradient also without dropout. The second one belongs to the method: it is trained
        and saved if it is in `extra_modules`, and dropped after training.
        """

    def count_network(self, forwards: int) -> None:
        """Count pairs or vectors that went through networks of the method's own."""

    def warmup_queries(self, queries: Ids) -> torch.Tensor:
        """Return unit vectors [*, D] of the encoder before training: the input of a method's own network."""

    def warmup_documents(self, documents: Ids) -> torch.Tensor:
        """Return unit vectors [*, D] of the encoder before training; document 0's in empty places."""

    def encode_queries(self, queries: Ids) -> torch.Tensor:
        """Return current unit vectors [*, D] without gradient; each is counted as cost."""

    def encode_documents(self, documents: Ids, gradient: bool = False) -> torch.Tensor:
        """Return current unit vectors [*, D], without gradient unless asked for; each is counted as cost."""

    def momentum(self, decay: float) -> Momentum:
        """Return the run's momentum copy of its towers, which is made equal to them when it is first asked for.

        After each optimiser step its parameters become `decay` times themselves plus (1 - decay) times the trained
        ones (an exponential moving average, as in MoCo, He et al. 2020); `decay` is that of the last call. The loop
        saves and restores it. Ask for it in `refresh` or later: a frozen tower is parted from the other only then.
        """

    def perturbed_documents(self, documents: Ids, moves: Sequence[Move]) -> torch.Tensor:
        """Encode documents [B] again after each of their tokens has made these moves, one after the other: [B, D].

        A move goes along the gradient of its objective, normalised for each token; a token without gradient stays.
        Gradients that moves ask for reach no parameter; that of the vectors returned does. Every pass is counted as
        cost. Only for methods that name `needs_tokens`: other tiers have no vectors of tokens.
        """

    @property
    def auxiliary_documents(self) -> int:
        """Texts that are in no corpus and that the row may give as negatives (`negmark.methods.auxiliary`)."""

    def auxiliary(
        self, queries: Ids, kinds: Sequence[str], judged: bool = True, positives: Ids | None = None
    ) -> tuple[Ids, NDArray[np.float32]]:
        """Return the auxiliary documents of these kinds that were made for queries [B], in the order of their making.

        Ids [B, K] and scores [B, K] by the judge of the suite; `NO_DOCUMENT` and -inf after a query's last one, K is 0
        if none has any. With `judged` those alone that passed the filter of the suite's `generator`, with `positives`
        [B] those alone that were made of that positive of the query. None has the text of a document of the corpus.
        Only with `needs_auxiliary`.
        """

    def sources(self, queries: Ids) -> Ids:
        """Return the numbers [B], from 0 on, of the training sets that queries [B] of a mixture are from."""

    def neighbours(self, documents: Ids, hops: int = 1) -> Ids:
        """Return the documents within so many hops of documents [B] in the dataset's graph, nearest first: [B, K].

        A hop leads to a relative by any relation of the dataset (`ancestor`, `sibling`, `synonym`). `NO_DOCUMENT`
        after a row's last one, K is 0 if none has any; a document is none of its own. Only with `needs_graph`.
        """


class Method(ABC):
    """A way of choosing negatives. Subclass it in one file of `methods/`; the registry finds it.

    The module's docstring says what the paper says, what the released code does, what we do, the cost per
    step and the citation; its first line is shown on the board.
    """

    name: ClassVar[str]
    """Its name in a suite's config: lower case, digits and underscores."""
    title: ClassVar[str]
    """Its name on the board."""
    citation: ClassVar[str] = ""
    """Authors, year, venue or arXiv id."""
    pools: ClassVar[frozenset[str]] = frozenset()
    """Candidate pools it reads: any of `bm25`, `dense`, `given`. Each is made once and shared by all methods.

    And `verdicts`, the documents that a dataset's file has a verdict on (`negmark.methods.relabelling`).
    """
    footnotes: ClassVar[tuple[Footnote, ...]] = ()
    """What differs from the paper's method, each with the conditions under which it does (`notes`)."""
    faithful: ClassVar[bool] = False
    """Does it have its own recipe (loss, towers, networks) beside its negatives? Then it may be in both tracks."""
    lends_loss: ClassVar[Lends] = Lends.NOT
    """May a row of a method without a recipe be trained with the loss and towers of this one's (`loss: <row>`)?"""
    recipe_negatives: ClassVar[int | None] = None
    """Negatives a query that its recipe takes, if not those the suite grants; a row under its loss has as many."""
    gives_positives: ClassVar[bool] = False
    """Does it put labelled positives among the negatives on purpose? Only a control may."""
    knows_hidden: ClassVar[bool] = False
    """Does it see the positives that a dataset of known truth hides from training? Only a control may."""
    uses_teacher: ClassVar[bool] = False
    """Does it read the suite's teacher?"""
    loss_asks_teacher: ClassVar[bool] = True
    """Does its faithful loss, or only its choice? A row that takes the loss alone asks nobody then."""
    cosine_thresholds: ClassVar[bool] = False
    """Has it thresholds on cosines, read on the scale of `scale.rescaled`? Dot products have no such scale."""
    needs_vectors: ClassVar[str] = ""
    """What it needs trained vectors for, in a few words, as `a live search`; the rerank tier refuses it then."""
    needs_sources: ClassVar[bool] = False
    """Does it read which training set a query is from (`Services.sources`)? Refused on a dataset without `mix:`."""
    needs_tokens: ClassVar[str] = ""
    """What it needs the vectors of tokens for, in a few words; a tier without them refuses it then."""
    claims: ClassVar[tuple[Claim, ...]] = ()
    """What its paper claims."""
    Params: ClassVar[type[BaseModel]] = Params

    def __init__(self, params: Any, services: Services) -> None:
        self.params = params
        self.services = services

    @abstractmethod
    def negatives(self, batch: Batch) -> Negatives:
        """Choose the negatives of a batch."""

    @classmethod
    def vectors_needed(cls, params: Any, track: str) -> str:
        """Return what a row needs trained vectors for, empty if it may be in the rerank tier.

        A method overrides it if parameters decide; a faithful recipe is assumed to be that of a bi-encoder.
        """
        return cls.needs_vectors or ("the vectors of its paper's recipe" if track == "faithful" else "")

    @classmethod
    def gives(cls, params: Any, track: str) -> Gives:
        """Return what a row's negatives are beside the documents of its batch."""
        return Gives.NOTHING if cls.needs_vectors == IN_BATCH else Gives.DOCUMENTS

    @classmethod
    def refusal(cls, params: Any, track: str) -> str:
        """Return in a few words why a row with these parameters can't be in a track, empty if it can."""
        return ""

    @classmethod
    def unfit(cls, params: Any, batch_size: int) -> str:
        """Return in a few words why a row can't be trained in batches of so many queries, empty if it can."""
        return ""

    @classmethod
    def drawn_from(cls, params: Any, track: str) -> int | None:
        """Return how many candidates of a pool a row draws from; None if it draws from none, or takes the very top.

        Claims compare rows of one such depth. It is the parameter `depth` where a method has it.
        """
        depth: int | None = getattr(params, "depth", None)
        return depth

    @classmethod
    def has_own_loss(cls, track: str) -> bool:
        """Say whether rows are trained with another loss than the shared InfoNCE: claims compare rows of one loss."""
        own = cls.loss is not Method.loss
        return own or (track == "faithful" and cls.faithful_loss is not Method.faithful_loss)

    @classmethod
    def work(cls, params: Any, track: str, steps: int, batch_size: int) -> Work:
        """Return how often a run of so many steps encodes and searches the whole corpus, as its counters will."""
        return Work()

    @classmethod
    def composition(cls, params: Any) -> Composition | None:
        """Return how a row puts its batches together (`composed`); None if it takes the order that all rows share."""
        return None

    def composed(self, pairs: Pairs) -> Ids:
        """Return the order [P] in which the loop cuts these pairs into batches, as places in them, each once.

        Called before the first batch of an epoch, and as often as `composition` says. The loop saves the order.
        """
        raise NotImplementedError(f"{type(self).__name__} says that it composes batches, and doesn't")

    @classmethod
    def asks_teacher(cls, params: Any, track: str) -> bool:
        """Say whether a row reads the suite's teacher."""
        return cls.uses_teacher

    @classmethod
    def company_asks_teacher(cls, params: Any) -> bool:
        """Say whether `composed` reads the suite's teacher: a row that takes these batches alone asks it then, too."""
        return False

    @classmethod
    def asks_beyond_pool(cls, params: Any, track: str) -> bool:
        """Say whether a row asks the teacher about documents outside the dense pool, which no ranker has judged."""
        return False

    @classmethod
    def needs_teacher(cls, params: Any, track: str) -> bool:
        """Say whether a row learns from the teacher alone, so that the run's own start would teach it nothing."""
        return False

    @classmethod
    def needs_graph(cls, params: Any, track: str) -> bool:
        """Say whether a row reads relations between documents (`Services.neighbours`): it is refused without any."""
        return False

    @classmethod
    def needs_auxiliary(cls, params: Any, track: str) -> frozenset[str]:
        """Return the kinds of auxiliary documents (`negmark.methods.auxiliary`) that a row reads; none: it reads none.

        They are made once, before training, and are inputs of the row; it is refused where nothing makes them.
        """
        return frozenset()

    @classmethod
    def space(cls, params: Any, track: str) -> Mapping[str, Tried]:
        """Return what tuning tries for a row with these parameters in a track, at the best learning rate.

        A method with parameters names its main one, with five values, the default among them, so that all spaces have
        the same size, and none of them makes it another method; where any other value would, it names none. What the
        row sets itself is not tuned.
        """
        return {}

    @classmethod
    def notes(
        cls, track: str, *, scores_pairs: bool, sentences: bool, graded: bool, ranker_teaches: bool = False
    ) -> list[str]:
        """Return the texts of the footnotes that apply to a row, in order; `{teacher}` in one is who the teacher is.

        `scores_pairs` describes its tier; `sentences` and `graded` describe the dataset it is trained on;
        `ranker_teaches` says that the suite's teacher is a cross-encoder.
        """
        conditions = {
            When(track),
            When.PAIRS if scores_pairs else When.VECTORS,
            When.SENTENCES if sentences else When.RETRIEVAL,
            When.GRADED if graded else When.UNGRADED,
            When.RANKER_TEACHES if ranker_teaches else When.ENCODER_TEACHES,
        }
        shared = [] if any(When.PAIRS in note.when for note in cls.footnotes) else [RANKER]
        return [note.text for note in (*cls.footnotes, *shared) if note.when <= conditions]

    @classmethod
    def own_notes(cls, params: Any, track: str) -> list[str]:
        """Return footnotes that a row's parameters decide, shown behind those of `notes`."""
        return []

    @classmethod
    def papers_temperature(cls, params: Any) -> float | None:
        """Return the temperature of the paper's loss, for a row whose recipe takes the budget's; None: none is known.

        A faithful row of another one says so in a footnote.
        """
        return None

    @classmethod
    def relabels(cls, params: Any, track: str) -> bool:
        """Say whether a row may change positives or leave queries out (`examples`); its ledger has positives then."""
        return False

    def examples(self, step: int, queries: Ids, positives: Ids) -> tuple[Ids, Ids]:
        """Return the queries [b] of a step and a positive [b] of each, b of 1 to B: those given, unless overridden.

        For a method that relabels (`relabels`). Another positive is a document that it takes for relevant: its mask
        `Negatives.in_batch` says for which queries of the batch. Another training query may stand in for one that it
        leaves out. Queries that the batch had once it has once. Called before the batch is encoded.
        """
        return queries, positives

    def weighed(self, step: Step) -> Scores:
        """Return a step's scores with the weights and masks that follow from the scores themselves, in both tracks.

        For a method that weighs or drops negatives, given and in-batch ones, by what the trained encoder makes of them:
        here their scores are known at no further cost. Choose by detached scores, keep the scores themselves, and
        narrow masks only.
        """
        return step.scores

    def loss(self, step: Step) -> torch.Tensor:
        """Return the scalar loss of a step: InfoNCE over in-batch and given negatives unless overridden."""
        return losses.info_nce(step.scores, step.temperature)

    def faithful_loss(self, step: Step) -> torch.Tensor:
        """Return the scalar loss of the paper's own recipe, for the faithful track."""
        return self.loss(step)

    def observe(self, step: Step) -> None:  # noqa: B027 - most methods learn nothing from a step
        """Called with every step after its loss and before the optimiser's step, in both tracks.

        A method that decides by scores it has seen reads them here; what it stores belongs in `state_dict`.
        """

    def telemetry(self) -> dict[str, float]:
        """Return finite numbers of the step just taken, as columns of the history; empty if a step has none."""
        return {}

    def idle(self) -> str:
        """Say in a few words why the method's own rule never acted in this run, empty if it did.

        Asked after the last step. The board marks such a row and doesn't rank it, and no claim is judged by it: what it
        shows is not the method.
        """
        return ""

    def trained_towers(self) -> frozenset[str]:
        """Return which of the towers `query` and `document` are trained; a frozen one keeps its start."""
        return frozenset({"query", "document"})

    def refresh(self, step: int) -> None:  # noqa: B027 - most methods have nothing to refresh
        """Called before every step; a method that re-mines does so here, on the steps it chooses."""

    def extra_modules(self) -> torch.nn.ModuleDict:
        """Return the method's own networks, trained by the shared optimiser and saved with the state."""
        return torch.nn.ModuleDict()

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return what a resumed run needs beyond parameters and seeds."""
        return {}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state but was given {sorted(state)}")

    @classmethod
    def summary(cls) -> str:
        """Return the first line of the docstring of the method's module."""
        documentation = getattr(sys.modules.get(cls.__module__), "__doc__", None) or cls.__doc__ or ""
        return documentation.strip().partition("\n")[0]
