"""A suite: its whole config, and the rows and datasets that are made of it."""

import re
from collections.abc import Mapping
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from negmark.core.files import short_hash
from negmark.core.metrics import DEFAULT as METRICS
from negmark.core.tiers import DEFAULT, TIERS
from negmark.methods import registry
from negmark.suite.datasets import Dataset, dataset_of
from negmark.suite.rows import Lender, Row, RowSettings, row_of
from negmark.suite.settings import (
    DatasetSettings,
    EncoderSettings,
    FinetuneSettings,
    GateSettings,
    GeneratorSettings,
    Metric,
    Name,
    Number,
    PoolSettings,
    RankerRowTeacher,
    RankerTeacher,
    RerankSettings,
    RowTeacher,
    Settings,
    ShardSettings,
    StaticSettings,
    Teacher,
    Text,
    TrackingSettings,
    TrainingSettings,
    Truth,
    TuningSettings,
    Whole,
)  # fmt: skip

TRIAL_SEEDS, FIRST_TRIAL_SEED = 3, 1000
MACHINE = frozenset({"data", "models", "shards", "gpu"})
"""Keys of a suite that say where and how it runs, and don't change its results."""


def _keys(value: Any) -> Any:
    """Read an empty entry as one without keys."""
    if value is not None and not isinstance(value, Mapping | Settings):
        raise ValueError("input should be a valid dictionary")
    return {} if value is None else value


class Suite(Settings):
    """A suite: datasets, methods and the budget under which they are compared."""

    suite: Name
    """Names the folder of the board."""
    version: Whole = Field(default=1, ge=1)
    """Increased when a change makes its boards incomparable with earlier ones: another budget, split or encoder."""
    dataset_settings: dict[Name, Annotated[DatasetSettings, BeforeValidator(_keys)]] = Field(
        alias="datasets", min_length=1
    )
    """Datasets by the name shown; an empty entry takes the defaults."""
    row_settings: dict[Name, Annotated[RowSettings, BeforeValidator(_keys)]] = Field(alias="methods")
    """Rows of the board: parameters by method. Besides them, `method:` names the method if the row has another
    name, `track: faithful` takes the paper's own recipe, `tier:` names another tier than the suite's,
    `start:` names a row whose model it starts from, `loss:` a faithful row whose loss a baseline is trained with. `{}`
    in a suite of gates only, which trains nothing."""
    tier: Text = DEFAULT
    """What is trained: `adapter` one linear map per side on cached vectors, `static` a table of token vectors,
    `finetune` the whole encoder, `rerank` a cross-encoder that re-ranks the top of a first stage."""
    reference: Name = "inbatch"
    """The row, or the method of one, that the others of its tier are compared with."""
    metrics: list[Metric] = Field(default=list(METRICS), min_length=1)
    """What rankings are judged by, in ir_measures' names: `nDCG@10`, `RR@10`, `R@100`, `P@5`, `AP`, `Success@5` ... The
    first ranks the board, decides tuning and is shown by learning curves. 100 documents per query are ranked, so `AP`
    and others without a cutoff see no more. Datasets of sentences have `STS` instead."""
    seeds: list[Annotated[Whole, Field(ge=0)]] = Field(default=[0, 1, 2, 3, 4], min_length=1)
    """One run per row and seed."""
    seeds_per_job: Whole = Field(default=1, ge=1)
    """Seeds that one process trains, one after the other: start-up is paid once, and a job lasts longer."""
    gpu: Truth = False
    """Jobs that encode or train ask the scheduler for a GPU, and runs of several processes for one each."""
    data: Text | None = None
    """Folder that is searched before anything is downloaded; default: the environment variable NEGMARK_DATA."""
    models: Text | None = None
    """Folder that is searched first for encoders; default: the environment variable NEGMARK_MODELS."""
    encoder: EncoderSettings = EncoderSettings()
    teacher: Teacher | None = None
    """Who methods with a guide or a teacher ask: an encoder, with the keys of `encoder`; `{ranker: folder}`, a
    cross-encoder, which scores the dense pool's candidates once; `{row: simans}`, a row of the suite, which is
    trained first and whose model of the same seed is asked; or `{ranker_row: ranker}`, a row of the tier `rerank`,
    which is trained first and then scores the candidates. If left out, the encoder that every run starts from, where
    it has something to say: a row that only distils is refused."""
    training: TrainingSettings = TrainingSettings()
    static: StaticSettings = StaticSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    rerank: RerankSettings = RerankSettings()
    pools: PoolSettings = PoolSettings()
    generator: GeneratorSettings = Field(
        default=GeneratorSettings(), exclude_if=lambda settings: settings == GeneratorSettings()
    )
    shards: ShardSettings = ShardSettings()
    tracking: TrackingSettings = TrackingSettings()
    tuning: TuningSettings = TuningSettings()
    tuned: Literal[False, True, "alone"] = False
    """`true`: rows are ranked and compared as they were tuned (`results/leaderboards/<suite>/tuned.json`, which
    `snakemake --cores all tune` writes), and stand below as they are, without a rank. `alone`: only the tuned ones are
    run, under the rows' own names."""
    gates: dict[Name, GateSettings] = Field(default={})
    """Published values of baselines, by a name: the board is built only if ours reproduce them."""
    tolerance: Number = Field(default=0.005, gt=0, lt=1)
    """How far a mean may differ from the committed one when the board is rebuilt (`snakemake reproduce`): a fraction;
    a correlation x 100 may differ a hundred times as much."""

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        """The datasets by name."""
        trains = bool(self.row_settings)
        return {
            name: dataset_of(name, settings, trains, self.pools)
            for name, settings in self.dataset_settings.items()
        }

    @cached_property
    def rows(self) -> dict[str, Row]:
        """The rows by name."""
        methods = registry.available()
        made: dict[str, Row] = {}
        for lends in (
            True,
            False,
        ):  # rows that are trained with another's loss last, then all in the config's order
            for name, settings in self.row_settings.items():
                if (settings.loss is None) is lends:
                    tier = self.tier_of(settings)
                    lender = made[settings.loss] if settings.loss else None
                    composer = self.composer(settings.composer) if settings.composer else None
                    made[name] = row_of(name, settings, tier, self.budget(tier), methods, lender, composer)
        return {name: made[name] for name in self.row_settings}

    def composer(self, name: str) -> Lender:
        """Return who composes batches: the row of that name, or where there is none the method with its defaults."""
        settings = self.row_settings.get(name) or RowSettings()
        method = registry.available()[settings.method or name]
        params = method.Params.model_validate(settings.given).model_dump(mode="json")
        return Lender(row=name, method=method, params=params)

    def chain(self, row: Row) -> list[Row]:
        """Return the rows whose models lead to the one that a row starts from, the nearest first."""
        if row.start is None:
            return []
        nearest = self.rows[row.start]
        return [nearest, *self.chain(nearest)]

    def tier_of(self, settings: RowSettings) -> str:
        """Return the name of what a row trains: its own `tier`, or the suite's."""
        return settings.tier or self.tier

    def budget(self, tier: str) -> TrainingSettings:
        """Return the training settings of a tier."""
        budget = getattr(self, TIERS[tier].section)
        assert isinstance(budget, TrainingSettings)
        return budget

    def resolved(self) -> dict[str, Any]:
        """Return the config with every default written out, so that it says the same to a later version.

        What machines need (`data`, `models`, `shards`, `gpu`) and where runs are sent (`tracking`) is left out.
        """
        own = {"dataset_settings", "row_settings"}
        return {
            **self.model_dump(mode="json", exclude={*MACHINE, "tracking", *own}),
            "datasets": {name: dataset.resolved() for name, dataset in self.datasets.items()},
            "methods": {name: row.resolved() for name, row in self.rows.items()},
        }

    @property
    def homes(self) -> dict[str, str]:
        """The datasets that are evaluated alone, each with the one that its runs are trained on."""
        return {name: dataset.home for name, dataset in self.datasets.items() if not dataset.is_home}

    @property
    def with_dev(self) -> list[Dataset]:
        """The datasets that may have a dev split."""
        return [dataset for dataset in self.datasets.values() if dataset.has_dev]

    @property
    def tier_names(self) -> set[str]:
        """The tiers of the rows."""
        return {row.tier.name for row in self.rows.values()}

    def start(self) -> dict[str, Any]:
        """Return the settings of the encoder that every run starts from; in the static tier it is a token table."""
        table = {"table": self.static.start_settings()} if TIERS[self.tier].starts_from_table else {}
        return {**self.encoder.model_dump(), **table}

    @property
    def teacher_encoder(self) -> EncoderSettings | None:
        """The teacher's settings, if it is an encoder."""
        return self.teacher if isinstance(self.teacher, EncoderSettings) else None

    @property
    def teacher_row(self) -> str | None:
        """The row whose models teach, if the teacher is one."""
        return self.teacher.row if isinstance(self.teacher, RowTeacher) else None

    @property
    def teacher_ranker(self) -> RankerTeacher | None:
        """The teacher's settings, if it is a cross-encoder."""
        return self.teacher if isinstance(self.teacher, RankerTeacher) else None

    @property
    def teacher_ranker_row(self) -> RankerRowTeacher | None:
        """The teacher's settings, if it is a cross-encoder that the suite trains."""
        return self.teacher if isinstance(self.teacher, RankerRowTeacher) else None

    @property
    def ranker_teaches(self) -> bool:
        """Is the teacher a cross-encoder, ready or trained here?"""
        return isinstance(self.teacher, RankerTeacher | RankerRowTeacher)

    @property
    def trained_teacher(self) -> str | None:
        """The row that is trained before those that ask the teacher, whether it gives vectors or scores."""
        return self.teacher_ranker_row.ranker_row if self.teacher_ranker_row else self.teacher_row

    def teacher_text(self) -> str:
        """Return in a few words who the teacher is."""
        if self.teacher is None:
            return f"the encoder that the run starts from ({self.start_text()})"
        if isinstance(self.teacher, RankerTeacher):
            return f"the cross-encoder {self.teacher.ranker}"
        if isinstance(self.teacher, RankerRowTeacher):
            return f"the cross-encoder trained as the row {self.teacher.ranker_row}"
        return (
            f"the trained row {self.teacher.row}"
            if isinstance(self.teacher, RowTeacher)
            else self.teacher.model
        )

    def encoder_key(self, teacher: bool = False) -> str:
        """Return the folder name of the encoder, or of the teacher, with its settings."""
        settings = self.teacher_encoder if teacher and self.teacher_encoder else self.encoder
        decides = self.start() if settings is self.encoder else settings.model_dump()
        if settings is self.encoder and self.encoder.warmup_steps:
            decides["warmup"] = self.warmup_budget().decides()
        return f"{_slug(settings.model)}-{short_hash(decides)}"

    def ranker_key(self, ranker: RankerTeacher) -> str:
        """Return the file name of a cross-encoder's judgments."""
        return f"{_slug(ranker.ranker)}-{short_hash(ranker.model_dump())}"

    def judge(self) -> dict[str, Any]:
        """Return the settings of who judges texts that are made: a teacher with weights, else the whole encoder."""
        if self.teacher_ranker:
            return self.teacher_ranker.model_dump()
        return (self.teacher_encoder or self.encoder).model_dump()

    def judge_text(self) -> str:
        """Return in a few words who judges texts that are made."""
        return (
            f"the cross-encoder {self.teacher_ranker.ranker}"
            if self.teacher_ranker
            else str(self.judge()["model"])
        )

    def pool_key(self) -> str:
        """Return the folder name of the candidate pools with their settings."""
        return f"pools-{short_hash(self.pools.decides())}"

    def warms_up(self) -> bool:
        """Say whether the encoder is changed before any method starts from it."""
        return bool(self.encoder.reinit_top or self.encoder.warmup_steps)

    def warmup_budget(self) -> TrainingSettings:
        """Return the budget of the warm-up: that of the tier in which the start can be trained."""
        return self.static if "table" in self.start() else self.finetune

    def start_text(self) -> str:
        """Return in a few words what every run starts from."""
        layers, steps = self.encoder.reinit_top, self.encoder.warmup_steps
        parts = [
            self.static.start_text(self.encoder.model) if "table" in self.start() else self.encoder.model
        ]
        parts += [f"top {layers} layer{'s' * (layers > 1)} drawn anew"] if layers else []
        parts += [f"{steps:,} steps of in-batch warm-up"] if steps else []
        return ", ".join(parts)

    def tuned_rows(self) -> list[Row]:
        """Return the rows that tuning can be asked for."""
        named = {*(self.tuning.methods or self.row_settings)} - {*self.tuning.untuned}
        return [row for row in self.rows.values() if row.name in named and not row.tier.scores_pairs]

    def trial_seeds(self) -> list[int]:
        """Return the seeds of every trial: none of them is one of the board's, which would be judged on what chose."""
        free = (seed for seed in count(FIRST_TRIAL_SEED) if seed not in self.seeds)
        return self.tuning.seeds or list(islice(free, TRIAL_SEEDS))

    def trial_start_seeds(self) -> list[int]:
        """Return the seeds of the runs that trials start from where a row starts from another: the suite's, in turn."""
        return [self.seeds[place % len(self.seeds)] for place in range(len(self.trial_seeds()))]


def _slug(model: str) -> str:
    """Return the name of a model as part of a path."""
    return re.sub(r"[^a-z0-9._-]+", "-", Path(model).name.lower()).strip(".-")[:48]
