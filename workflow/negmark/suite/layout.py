"""A suite laid out for Snakemake: its rows and datasets with their paths, specs and resources, and its targets."""

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from negmark.core.files import canonical
from negmark.core.names import LEXICAL, RANKER, TRAINED
from negmark.core.tiers import TIERS
from negmark.store.auxiliary import KINDS, RETRIEVED
from negmark.store.contents import Contents
from negmark.store.failures import FailedRow, Failure, Place, is_partial, read_failures, with_heirs
from negmark.suite import own_files
from negmark.suite.about import About
from negmark.suite.datasets import Dataset
from negmark.suite.figures import BY_NAME, of_dataset
from negmark.suite.paths import VERDICTS, Paths
from negmark.suite.resources import Resources
from negmark.suite.rows import Row
from negmark.suite.specs import Specs
from negmark.suite.suite import MACHINE, Suite
from negmark.suite.tier_pairs import Entry, comparisons
from negmark.suite.tuned_rows import board_rows
from negmark.suite.tuning import TUNED


class Layout:
    """What the rules ask of a suite.

    They look a row or a dataset up once, by a wildcard, and pass it on: `paths` says where its files are, `specs` what
    decides them, `about` what they say about themselves, `resources` what its jobs ask for.
    """

    def __init__(self, suite: Suite, committed: str | None = None) -> None:
        self.suite = suite
        self.paths = Paths(suite, committed)
        self.specs = Specs(suite, self.paths)
        self.about = About(suite, self.paths)
        self.resources = Resources(suite)
        self.datasets = suite.datasets
        self.collections = {dataset.collection: dataset for dataset in suite.datasets.values()}
        """The datasets by the folder name of what is prepared of them."""
        tuned = Path(self.paths.tuned)
        self.untuned = bool(suite.tuned) and not tuned.is_file()
        """Does the suite have tuned rows that `tune` has not chosen yet?"""
        self.rows: dict[str, Row] = board_rows(suite, self.specs, tuned)
        """The rows of the board by name, tuned ones behind the others."""

    @property
    def reference(self) -> str:
        """The row, or its method, that the others are compared with: the tuned one, where it is tuned."""
        tuned = f"{self.suite.reference}{TUNED}"
        return tuned if tuned in self.rows else self.suite.reference

    @cached_property
    def failed(self) -> dict[Place, Failure]:
        """The rows that this plan does without: those whose runs failed in the first, and their heirs."""
        if not is_partial():
            return {}
        places = [(name, row) for name in self.datasets for row in self.rows]
        return with_heirs(self.recorded_failures(), {place: self._needs_of(*place) for place in places})

    def recorded_failures(self) -> list[Failure]:
        """Return the failures of runs that were recorded since they last began."""
        places = [(name, row) for name in self.datasets for row in self.rows]
        return read_failures(self.suite.suite, places, {seeds[0] for seeds in self.batches()})

    def _needs_of(self, dataset: str, name: str) -> list[tuple[Place, str]]:
        """Return the rows without whose runs this one has none, and how it depends on each."""
        if (home := self.datasets[dataset].home) != dataset:
            return [((home, name), f"it is trained on {home}")]
        row, needs = self.rows[name], []
        if row.start:
            needs.append(((dataset, row.start), f"it starts from {row.start}"))
        if (teacher := self.suite.trained_teacher) and row.asks_teacher:
            needs.append(((dataset, teacher), f"its teacher is {teacher}"))
        return needs

    def batches(self) -> list[list[int]]:
        """Return the seeds of each job: `seeds_per_job` at a time, so that start-up is paid once for all."""
        seeds, size = self.suite.seeds, self.suite.seeds_per_job
        return [seeds[start : start + size] for start in range(0, len(seeds), size)]

    def trials(self, stage: str, *datasets: str) -> list[str]:
        """Return what a stage of tuning leaves of every row on these datasets, or on all: `rates` or `values`."""
        return [
            self.paths.tried(dataset, row, stage)
            for dataset in self.suite.with_dev
            if not datasets or dataset.name in datasets
            for row in self.suite.tuned_rows()
        ]

    def grids(self) -> list[str]:
        """Return the files of the learning rates that all rows try, one a dataset."""
        datasets = self.suite.with_dev if self.suite.tuned_rows() else []
        return [self.paths.grid(dataset) for dataset in datasets]

    @cached_property
    def contents(self) -> Contents:
        """What is on the board."""
        lacking = {one.row for one in self.failed.values()}
        rows, datasets = self.rows.values(), self.datasets.values()
        curved = any(row.budget.curve_every for row in rows)
        ranked_first = sorted(
            rows, key=lambda row: row.untuned
        )  # of rows of one method the first is compared
        return Contents(
            suite=self.suite.suite,
            cards={dataset.name: self.paths.card(dataset) for dataset in datasets},
            rows=list(self.rows),
            seeds=self.suite.seeds,
            tiers={row.name: row.tier.name for row in rows},
            sentences=[dataset.name for dataset in datasets if dataset.has_sentences],
            homes=self.suite.homes,
            curved=[dataset.name for dataset in self.suite.with_dev] if curved else [],
            hiding=[dataset.name for dataset in datasets if dataset.hides_labels],
            generating=[dataset.name for dataset in self.generating],
            controls=[row.name for row in rows if row.method.knows_hidden or row.method.gives_positives],
            untuned=[row.name for row in rows if row.untuned],
            comparisons=comparisons([Entry.of(row) for row in ranked_first if row.name not in lacking]),
            failed=[self._failed_row(one) for one in self.failed.values() if one.row in self.rows],
        )

    def _failed_row(self, failure: Failure) -> FailedRow:
        about = json.loads(self.about.runs(self.datasets[failure.dataset], self.rows[failure.row]))
        return FailedRow(**failure.model_dump(), **{key: about[key] for key in ("title", "tier", "track")})

    def targets(self) -> list[str]:
        """Return what a suite is run for: the board with its audits, or gates and cards where nothing is trained."""
        paths, board = self.paths, self.paths.board
        if self.untuned:
            return [paths.tuned]
        if not self.suite.rows:
            return [*paths.gate_tables(), *(f"{board}/cards/{name}.md" for name in self.datasets)]
        audits = [paths.audit(dataset) for dataset in self.datasets.values() if dataset.is_home]
        sent = [] if paths.rebuilds else [paths.wandb, paths.wandb_board]
        return [f"{board}/leaderboard.html", f"{board}/claims.md", paths.manifest, *audits, *sent]

    def pools(self, dataset: Dataset) -> list[str]:
        """Return the pools of a dataset that its rows draw from, which the card describes; verdicts are none."""
        rows = self.rows.values() if dataset.is_home else []
        kinds = {kind for row in rows for kind in row.method.pools} - {VERDICTS}
        return sorted(self.paths.pool(dataset, kind) for kind in kinds)

    @property
    def giving(self) -> list[Dataset]:
        """The datasets that have a file of given negatives."""
        return [dataset for dataset in self.datasets.values() if dataset.given_files]

    def judge_files(self) -> list[str]:
        """Return what to ask a judge about each dataset, and what the truth is where labels are hidden."""
        return [
            f"results/to_judge/{self.suite.suite}/{one.name}/{kind}.jsonl"
            for one in self.datasets.values()
            if one.is_home and not one.has_sentences
            for kind in ("prompts", *(["truth"] if one.hides_labels else []))
        ]

    def given_inputs(self, name: str) -> list[str]:
        """Return a file that the audit of given negatives reads, by its name, of each dataset that has some."""
        return [{**self.paths.shared(one), "table": self.paths.given(one)}[name] for one in self.giving]

    def given_entries(self) -> list[str]:
        """Return the same files as the audit takes them: name=table=dataset=vectors."""
        return [
            f"{one.name}={self.paths.given(one)}={self.paths.collection(one)}={self.paths.vectors(one)}"
            for one in self.giving
        ]

    @property
    def generating(self) -> list[Dataset]:
        """The datasets of whose positives texts are made, as negatives of some row."""
        made = any(row.text_kinds for row in self.rows.values())
        return [dataset for dataset in self.datasets.values() if made and dataset.is_home]

    def text_sources(self) -> list[str]:
        """Return who makes texts for some row, and `retrieved`, which they are compared with."""
        kinds = frozenset[str]().union(*(row.text_kinds for row in self.rows.values()))
        return [*(source for source, of in KINDS.items() if kinds & set(of)), RETRIEVED]

    def text_tables(self, dataset: Dataset) -> dict[str, str]:
        """Return the judged tables of a dataset by their source."""
        return {source: self.paths.judged_texts(dataset, source) for source in self.text_sources()}

    def judged_inputs(self, collection: str, source: str) -> list[str]:
        """Return what is judged: a file of texts, or the pools of BM25 and of the encoder."""
        dataset = self.collections[collection]
        if source != RETRIEVED:
            return [self.paths.made_texts(dataset, source)]
        return [self.paths.pool(dataset, kind) for kind in ("bm25", "dense")]

    def judged_options(self, collection: str, source: str) -> str:
        """Return the same as options of the stage that judges."""
        files = self.judged_inputs(collection, source)
        if source != RETRIEVED:
            return f"--texts {files[0]}"
        return " ".join(f"--pool {kind}={file}" for kind, file in zip(("bm25", "dense"), files, strict=True))

    def text_judge_files(self) -> list[str]:
        """Return the files of the model that judges texts, where the suite names its folder."""
        judge = self.suite.judge()
        return own_files.of_model(judge.get("ranker") or judge["model"])

    def writer_files(self) -> list[str]:
        """Return the files of the model that writes texts, where the suite names its folder."""
        return own_files.of_model(self.suite.generator.model)

    @property
    def warmup_modules(self) -> list[str]:
        """Return the stage that warms up the start of a suite's runs, and the tier that it trains in."""
        if "table" in self.suite.start():
            return ["negmark.train.table_warmup", "negmark.train.tiers.static"]
        return ["negmark.train.warmup", "negmark.train.tiers.finetune"]

    def table_modules(self) -> list[str]:
        """Return the module that encodes by a token table, where the suite's runs start from one."""
        return ["negmark.encode.static_vectors"] if "table" in self.suite.start() else []

    def encoder_files(self, key: str) -> list[str]:
        """Return the files of the encoder or teacher that a folder name belongs to, where the suite names a folder."""
        if self.suite.teacher_encoder and key == self.paths.teacher_key:
            return own_files.of_model(self.suite.teacher_encoder.model)
        table = self.suite.start().get("table", {})
        return [*own_files.of_model(self.suite.encoder.model), *own_files.of_model(table.get("start"))]

    def ranker_files(self) -> list[str]:
        """Return the files of the cross-encoder that teaches, where the suite names its folder."""
        ranker = self.suite.teacher_ranker
        return own_files.of_model(ranker.ranker) if ranker else []

    def judgments_settings(self) -> str:
        """Return the settings of the cross-encoder that teaches, as canonical JSON; empty where none does."""
        ranker = self.suite.teacher_ranker
        return canonical(ranker.model_dump()) if ranker else ""

    def vector_facts(self) -> dict[str, dict[str, str]]:
        """Return the files about each dataset's vectors, by whose they are and by dataset."""
        homes = [dataset for dataset in self.datasets.values() if dataset.is_home]
        has_teacher = any(self.paths.teacher(homes[0], row) for row in self.rows.values())
        owners = {"encoder": list(self.datasets.values()), **({"teacher": homes} if has_teacher else {})}
        return {
            owner: {
                dataset.name: self.paths.vector_facts(dataset, owner == "teacher") for dataset in datasets
            }
            for owner, datasets in owners.items()
        }

    def board_settings(self) -> dict[str, Any]:
        """Return what the page of the board needs besides its rows: what all of them share, and the figures it has."""
        figures = {name: of_dataset(self.contents, name) for name in self.datasets}
        return {**self.about.board(), "reference": self.reference, "figures": figures}

    def gate_inputs(self, gate: str) -> dict[str, str]:
        """Return what a gate's baseline is evaluated from, by name: BM25 needs no vectors."""
        settings = self.suite.gates[gate]
        shared = self.paths.shared(self.datasets[settings.dataset])
        first = self.suite.rerank.first_stage if settings.system == RANKER else settings.system
        return {"qrels": shared["qrels"]} if first == LEXICAL else shared

    def gate_pattern(self, *, trained: bool) -> str:
        """Return the pattern of the gates of trained rows or of all others; where there are none, what no name is."""
        names = [name for name, gate in self.suite.gates.items() if (gate.system == TRAINED) is trained]
        return "|".join(map(re.escape, names)) or "NONE"

    def gate_runs(self, gate: str) -> list[str]:
        """Return the metrics of the runs behind a gate of a trained row."""
        settings = self.suite.gates[gate]
        assert settings.row is not None
        return self.paths.run_files(settings.dataset, settings.row, self.suite.seeds, "metrics.json")

    def gate_modules(self, gate: str) -> list[str]:
        """Return the stage that evaluates a gate's system, and what it opens by name."""
        ranker = self.suite.gates[gate].system == RANKER
        return ["negmark.evaluate.evaluate", *([TIERS["rerank"].evaluate] if ranker else [])]

    def figure_inputs(self, figure: str, *datasets: str) -> list[str]:
        """Return what a figure of these datasets is drawn from; manifests are with the dataset trained on."""
        kind, contents = BY_NAME[figure], self.contents
        homes = dict.fromkeys(self.datasets[name].home for name in datasets)
        names = ("manifest.json", *kind.run_files)
        files = [str(run / name) for run in contents.runs(*homes) for name in names]
        tables = [f"{self.paths.board}/{table}/{name}.csv" for table in kind.tables for name in datasets]
        return [*map(str, contents.files("metrics.json", *datasets)), *files, *tables]

    def pool_command(self, folder: str, kind: str) -> str:
        """Return the stage that makes a pool: one that searches, or one that gathers its parts."""
        if not (parts := self.paths.pool_parts(folder, kind)):
            return f"negmark.search.candidates --kind {kind}"
        documents, queries = self.paths.pool_shares(kind)
        named = " ".join(f"--parts {part}" for part in parts)
        return f"negmark.search.parts --documents {documents} --queries {queries} {named}"

    def as_given(self) -> dict[str, Any]:
        """Return the config of the suite, what only this machine needs too.

        Rows without their defaults: what a row sets itself isn't tuned.
        """
        machine = self.suite.model_dump(mode="json", include={*MACHINE, "tracking"})
        rows = self.suite.row_settings.items()
        return {
            **self.suite.resolved(),
            **{key: value for key, value in machine.items() if value is not None},
            "methods": {name: row.model_dump(mode="json", exclude_unset=True) for name, row in rows},
        }
