"""Where everything of a suite lies. All paths are relative to the folder that snakemake runs in."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from negmark.core import tiers
from negmark.core.files import canonical, short_hash
from negmark.core.names import BASELINES
from negmark.core.run_folders import run_folder
from negmark.core.source_files import method_sources, sources
from negmark.encode.shards import part_name
from negmark.methods import registry
from negmark.store.contents import Contents
from negmark.store.failures import FailedRow, Failure, Place, is_partial, read_failures, with_heirs
from negmark.suite.figures import BY_NAME
from negmark.suite.settings import MACHINE, Suite
from negmark.suite.tier_pairs import Entry, comparisons
from negmark.suite.tuning import TUNED, Chosen, Point, chosen_for, rate_of, read_tuned, told, trial_row

BOARDS, MANIFEST = "results/leaderboards", "manifest.json"
ROWS, TRIAL_ROWS = r"[a-z0-9][a-z0-9_-]*", r"[a-z0-9][a-z0-9_-]*\.trial-[0-9]+"
MEASURED = "measured"
"""The group of evaluations; profiles say how many go together."""
CURVE_KEYS = frozenset({"curve_every", "curve_queries"})


class Layout:
    """Paths and job settings of a suite, for the rules."""

    def __init__(self, suite: Suite, committed: str | None = None) -> None:
        self.committed = f"{BOARDS}/{committed or suite.suite}"
        """The board that users see; it lies in the repository."""
        self.rebuilds = committed is not None
        """Whether the board is rebuilt beside it, to be compared with it."""
        self.board = f"results/reproduced/{committed}" if self.rebuilds else self.committed
        self.written = suite
        """The suite as its config has it, without trials and tuned rows."""
        self.tuned = f"{self.committed}/tuned.json"
        self.untuned = suite.tuned and not Path(self.tuned).is_file()
        """Are tuned rows asked for that are still to be found?"""
        self.rows = list(suite.methods)
        """The rows of the board."""
        self._points = {row: suite.points(row) for row in suite.tuned_rows()}
        places = [(row, number) for row, points in self._points.items() for number in range(len(points))]
        self._trials = {trial_row(row, number): self._points[row][number] for row, number in places}
        self._chosen: dict[tuple[str, str], Chosen] = {}
        self._copies = {trial_row(row, number): row for row, number in places}
        self.suite = suite.with_copies(self._copies)
        if suite.tuned and not self.untuned:
            self._take_tuned()
        self.failed = self._left_out() if is_partial() else {}
        """The rows and trials that are done without."""
        self.wandb = f"results/tracking/{suite.suite}.json"
        self.wandb_board = f"results/tracking/{suite.suite}.board.json"

    def _take_tuned(self) -> None:
        """Put the tuned rows on the board, behind the others."""
        found = read_tuned(Path(self.tuned))
        tuned = {f"{row}{TUNED}": row for row in self._points}
        for name, row in tuned.items():
            for dataset in self.with_dev():
                under = self.tuned_under(dataset, row)
                self._chosen[dataset, name] = chosen_for(found, Path(self.tuned), dataset, row, under)
        self._copies |= tuned
        self.suite = self.suite.with_copies(tuned)
        self.rows += tuned

    def recorded_failures(self) -> list[Failure]:
        """Return the failures of runs and trials that were recorded since they last began."""
        rows = [(name, row) for name in self.suite.datasets for row in (*self.rows, *self._trials)]
        return read_failures(self.suite.suite, rows, {seeds[0] for seeds, _ in self.jobs()})

    def _left_out(self) -> dict[Place, Failure]:
        """Return what the second plan of a suite does without: rows whose runs failed in the first, and their heirs."""
        rows = [(name, row) for name in self.suite.datasets for row in self.rows]
        return with_heirs(self.recorded_failures(), {place: self._heir_of(*place) for place in rows})

    def _heir_of(self, dataset: str, row: str) -> tuple[Place, str] | None:
        """Return the row without whose runs this one has none, if any, and how it hangs on it."""
        if (home := self.suite.home(dataset)) != dataset:
            return (home, row), f"it is trained on {home}"
        start = self.suite.start(row)
        return ((dataset, start), f"it starts from {start}") if start else None

    def dataset(self, name: str) -> str:
        """Return the folder of a prepared dataset."""
        return f"results/datasets/{self.suite.dataset_key(name)}"

    def card(self, name: str) -> str:
        """Return the card of a dataset."""
        return f"{self.dataset(name)}/card.json"

    def dataset_files(self, name: str) -> list[str]:
        """Return what the dataset stage leaves of a dataset."""
        tables = (f"{self.dataset(name)}/{table}.parquet" for table in ("documents", "queries", "qrels"))
        return [*tables, self.card(name)]

    def vectors(self, name: str, teacher: bool = False) -> str:
        """Return the folder of a dataset's embeddings by the encoder or by the teacher."""
        return f"results/embeddings/{self.suite.dataset_key(name)}/{self.suite.encoder_key(teacher)}"

    def pool(self, name: str, kind: str) -> str:
        """Return the file of a candidate pool. A BM25 pool knows of no encoder."""
        owner = self.suite.encoder_key() if kind == "dense" else "bm25"
        return (
            f"results/pools/{self.suite.dataset_key(name)}/{owner}/{self.suite.pool_key()}/{kind}.safetensors"
        )

    def encode_parts(self, folder: str) -> list[str]:
        """Return the records of the jobs that encode a share each into a folder; none where one job encodes all."""
        parts = self.suite.shards.encode
        return [f"{folder}/{part_name(part, parts)}" for part in range(parts)] if parts > 1 else []

    def pool_shares(self, kind: str) -> tuple[int, int]:
        """Return among how many shares of documents and of queries the search for a pool is parted."""
        shards = self.suite.shards
        return shards.documents if kind == "dense" else 1, shards.queries

    def pool_parts(self, folder: str, kind: str) -> list[str]:
        """Return the parts of a pool's search in a folder, in their order; none where one job searches all."""
        documents, queries = self.pool_shares(kind)
        count, place = documents * queries, f"{folder}/{kind}-parts/{documents}x{queries}"
        return [f"{place}/{part}.safetensors" for part in range(count)] if count > 1 else []

    def pool_command(self, folder: str, kind: str) -> str:
        """Return the stage that makes a pool: one that searches, or one that gathers its parts."""
        if not self.pool_parts(folder, kind):
            return f"negmark.search.candidates --kind {kind}"
        documents, queries = self.pool_shares(kind)
        parts = " ".join(f"--parts {part}" for part in self.pool_parts(folder, kind))
        return f"negmark.search.parts --documents {documents} --queries {queries} {parts}"

    def pools(self, name: str, method: str) -> dict[str, str]:
        """Return the pools that a row's method reads, by kind."""
        return {kind: self.pool(name, kind) for kind in sorted(self.suite.method(method).pools)}

    def approximate(self, name: str) -> list[str]:
        """Return the pools of a dataset whose index the card tells of: the dense one, if its search isn't exact."""
        rows = self.rows if self.suite.home(name) == name and self.suite.pools.index.used() else []
        return sorted({pools["dense"] for row in rows if "dense" in (pools := self.pools(name, row))})

    def pool_options(self, name: str, method: str) -> str:
        """Return a row's pools as options of the training command."""
        return " ".join(f"--pool {kind}={path}" for kind, path in self.pools(name, method).items())

    def batches(self) -> list[list[int]]:
        """Return the seeds of each job: `seeds_per_job` at a time, so that start-up is paid once for all."""
        seeds, size = self.suite.seeds, self.suite.seeds_per_job
        return [seeds[start : start + size] for start in range(0, len(seeds), size)]

    def jobs(self) -> list[tuple[list[int], str]]:
        """Return the seeds of every kind of training job, with a pattern of the rows that it may train.

        A trial runs with seeds of its own, all in one job.
        """
        trials = [(self.suite.trial_seeds(), TRIAL_ROWS)] if self._trials else []
        return [*((seeds, ROWS) for seeds in self.batches()), *trials]

    def with_dev(self) -> list[str]:
        """Return the datasets that may have a dev split: those that are trained on and whose queries are searched."""
        homes = [name for name in self.suite.datasets if self.suite.home(name) == name]
        return [name for name in homes if name not in self.suite.sentences()]

    def trials(self) -> list[str]:
        """Return what the trials of the suite leave on the dev split."""
        return [
            f"results/runs/{self.suite.suite}/{dataset}/{row}/{run_folder(seed)}/dev.parquet"
            for dataset in self.with_dev()
            for row in self._trials
            if (dataset, row) not in self.failed
            for seed in self.suite.trial_seeds()
        ]

    def tuning(self) -> str:
        """Return what the stage `tune` needs to know, as canonical JSON."""
        rates = {row: self.suite.row_budget(row).learning_rate for row in self._points}
        under = {name: {row: self.tuned_under(name, row) for row in self._points} for name in self.with_dev()}
        return canonical(
            {
                "suite": self.suite.suite,
                "seeds": self.suite.trial_seeds(),
                "rates": rates,
                "points": self._points,
                "under": under,
                "failed": sorted(place for place in self.failed if place[1] in self._trials),
            }
        )

    def tuned_under(self, dataset: str, row: str) -> str:
        """Return what stands for all settings under which a row is tuned on a dataset."""
        spec = json.loads(self.spec(dataset, row))
        spec["training"] = self.suite.row_budget(row).decides()
        teacher = self.suite.encoder_key(teacher=True)
        keys = [self.suite.dataset_key(dataset), self.suite.encoder_key(), self.suite.pool_key(), teacher]
        return short_hash([spec, *keys])

    def point(self, dataset: str, row: str) -> Point | None:
        """Return what a trial or a tuned row changes of the row that it is a copy of; None of any other."""
        chosen = self._chosen.get((self.suite.home(dataset), row))
        return Point(chosen.factor, chosen.params) if chosen else self._trials.get(row)

    def parameters(self, dataset: str, row: str) -> dict[str, Any]:
        """Return all parameters of a row's method on a dataset."""
        point = self.point(dataset, row)
        return {**self.suite.parameters(row), **(point.params if point else {})}

    def original(self, row: str) -> str:
        """Return the row of the suite that a trial or a tuned row is a copy of; any other is its own."""
        return self._copies.get(row, row)

    def training(self, dataset: str, row: str) -> dict[str, Any]:
        """Return the budget of a row's runs, with its learning rate and its curve, if it has one."""
        budget = self.suite.row_budget(row)
        found = budget.model_dump(exclude={"first_stage", "depth"})
        if point := self.point(dataset, row):
            found["learning_rate"] = rate_of(budget.learning_rate, point.factor)
        every = budget.steps if row in self._trials else budget.curve_every
        if not every or dataset in self.suite.sentences():
            return {key: value for key, value in found.items() if key not in CURVE_KEYS}
        return {**found, "curve_every": every}

    def start(self, name: str, method: str, seeds: Sequence[int]) -> list[str]:
        """Return the models that a row's runs start from, one a seed; none where they start from the encoder."""
        start = self.suite.start(method)
        row = f"results/runs/{self.suite.suite}/{name}/{start}"
        return [f"{row}/{run_folder(seed)}/model.safetensors" for seed in seeds] if start else []

    def teacher(self, name: str, method: str) -> list[str]:
        """Return the teacher's document vectors where a row's method asks a teacher other than the encoder."""
        asked = self.suite.method(method).uses_teacher and self.suite.teacher
        return [f"{self.vectors(name, teacher=True)}/documents.npy"] if asked else []

    def texts(self, name: str, method: str) -> list[str]:
        """Return the texts, and the warmed-up encoder if any, where a row's runs encode texts anew."""
        tables = [f"{self.dataset(name)}/{table}.parquet" for table in ("documents", "queries")]
        warm = self.warmup(*self.encoder_place(name))  # never of a dataset that is evaluated alone
        return [*tables, *warm] if self.suite.row_tier(method) != "adapter" else []

    def threads(self, method: str) -> int:
        """Return the cores of a row's runs."""
        budget = self.suite.row_budget(method)
        return getattr(budget, "threads", 1) * getattr(budget, "processes", 1)

    def gpus(self, method: str | None = None) -> int:
        """Return how many GPUs a job that encodes, or one of a row, asks the scheduler for."""
        processes = getattr(self.suite.row_budget(method), "processes", 1) if method else 1
        return processes if self.suite.gpu else 0

    def evaluation_gpus(self, method: str) -> int:
        """Return how many GPUs the evaluation of a row asks for: one where it encodes."""
        return int(self.suite.gpu and self.suite.row_tier(method) != "adapter")

    def group(self, method: str) -> str | None:
        """Return the group in which a row's evaluations go several to one job of a scheduler: short ones alone do."""
        return None if self.evaluation_gpus(method) else MEASURED

    def launcher(self, method: str) -> str:
        """Return the command that runs a module: accelerate's launcher where a run has several processes.

        That starts several on GPUs alone; under torch's own, accelerate finds them on CPUs as well.
        """
        processes = getattr(self.suite.row_budget(method), "processes", 1)
        if processes == 1:
            return "python -m"
        if self.suite.gpu:
            return (
                f"accelerate launch --multi_gpu --num_machines 1 --num_processes {processes} --mixed_precision no"
                " --dynamo_backend no --module"
            )
        return f"python -m torch.distributed.run --standalone --nproc_per_node {processes} -m"

    def models(self, dataset: str, method: str, seeds: Sequence[int]) -> list[str]:
        """Return the models that are evaluated on a dataset: those of its own runs or of the runs it names."""
        row = f"results/runs/{self.suite.suite}/{self.suite.home(dataset)}/{method}"
        return [f"{row}/{run_folder(seed)}/model.safetensors" for seed in seeds]

    def outputs(self, seeds: Sequence[int], file: str) -> list[str]:
        """Return a file of the runs of these seeds, dataset and method as wildcards."""
        return [f"results/runs/{{suite}}/{{dataset}}/{{method}}/{run_folder(seed)}/{file}" for seed in seeds]

    def shared(self, name: str) -> dict[str, str]:
        """Return the shared inputs of a dataset's runs: tables and vectors, by name."""
        return {
            "qrels": f"{self.dataset(name)}/qrels.parquet",
            **{side: f"{self.vectors(name)}/{side}.npy" for side in ("documents", "queries")},
        }

    def method_sources(self, method: str) -> list[str]:
        """Return the source files behind a row."""
        return method_sources(self.suite.method(method))

    def stage_sources(self, stage: str, method: str, module: str | None = None) -> list[str]:
        """Return the source files behind a stage of a row: its own and those of the row's tier."""
        return sources(module or f"negmark.{stage}.{stage}", tiers.STAGES[stage][self.suite.row_tier(method)])

    def train_sources(self, dataset: str, method: str) -> list[str]:
        """Return the source files behind a row's training."""
        spec = json.loads(self.spec(dataset, method))
        return sources("negmark.train.train", *tiers.training_modules(spec))

    def preparer(self, name: str) -> str:
        """Return the module that prepares a dataset of this kind."""
        return "negmark.data.sentences" if name in self.suite.sentences() else "negmark.data.prepare"

    def preparers(self, name: str) -> list[str]:
        """Return all modules behind a dataset: what hides labels too, where some are hidden."""
        return [self.preparer(name), *(["negmark.data.hidden"] if name in self.suite.known_truth() else [])]

    def evaluator(self, name: str) -> str:
        """Return the module that evaluates runs on a dataset of this kind; all take the same options."""
        return "negmark.evaluate.sts" if name in self.suite.sentences() else "negmark.evaluate.evaluate"

    def contents(self) -> Contents:
        """Return what stands on the board."""
        lacking = {one.method for one in self.failed.values()}
        return Contents(
            suite=self.suite.suite,
            cards={name: self.card(name) for name in self.suite.datasets},
            methods=self.rows,
            seeds=self.suite.seeds,
            tiers={row: self.suite.row_tier(row) for row in self.rows},
            sentences=self.suite.sentences(),
            homes=self.suite.homes(),
            curved=self.curved(),
            controls=[row for row in self.rows if self._is_told(row)],
            comparisons=comparisons([self._entry(row) for row in self.rows if row not in lacking]),
            failed=[self._failed_row(one) for one in self.failed.values() if one.method in self.rows],
        )

    def _failed_row(self, failure: Failure) -> FailedRow:
        about = json.loads(self.about(failure.dataset, failure.method))
        return FailedRow(**failure.model_dump(), **{key: about[key] for key in ("title", "tier", "track")})

    def _is_told(self, row: str) -> bool:
        kind = self.suite.method(row)
        return kind.knows_hidden or kind.gives_positives

    def _entry(self, row: str) -> Entry:
        suite = self.suite
        kind, params = suite.method(row).name, suite.parameters(row)
        return Entry(row, kind, suite.track(row), params, suite.row_tier(row), suite.start(row))

    def spec(self, dataset: str, method: str) -> str:
        """Return what decides a row's runs, as canonical JSON: an edit of another row doesn't touch it.

        The seeds are left out, as they name the folders: so the same runs in other jobs stay done.
        """
        tier = self.suite.row_tier(method)
        return canonical(
            {
                "suite": self.suite.suite,
                "dataset": dataset,
                "method": method,
                "class": self.suite.method(method).name,
                "params": self.parameters(dataset, method),
                "training": self.training(dataset, method),
                **(
                    {"tier": tier, "encoder": self._encoder(self.suite.dataset_key(dataset))}
                    if tier != "adapter"
                    else {}
                ),
                **({"track": "faithful"} if self.suite.track(method) == "faithful" else {}),
                **({"drawn_as": self._copies[method]} if method in self._copies else {}),
            }
        )

    def curved_rows(self) -> list[str]:
        """Return the rows of the board whose runs leave learning curves."""
        return [row for row in self.rows if self.suite.row_budget(row).curve_every]

    def curved(self) -> list[str]:
        """Return the datasets of which learning curves are drawn."""
        return self.with_dev() if self.curved_rows() else []

    def about(self, dataset: str, method: str) -> str:
        """Return what the metrics.json of a row's runs say about it, as canonical JSON."""
        kind, row = self.suite.method(method), self._copies.get(method, method)
        track, tier = self.suite.track(method), self.suite.row_tier(method)
        title = (
            kind.title
            if row in {kind.name, f"{kind.name}_{track}", f"{kind.name}_{tier}"}
            else f"{kind.title} ({row})"
        )
        adaptations = [*kind.footnotes(track, tier)]
        home = self.suite.home(dataset)
        if home in self.suite.sentences():
            adaptations = [*kind.on_sentences(adaptations)]
        if self.suite.has_graded_pairs(home):
            adaptations = [line for line in adaptations if line not in kind.ungraded_only]
        begins = self.suite.start_text()
        again: dict[str, Any] = {}
        if tier == "rerank":
            budget = self.suite.rerank
            begins = budget.model or f"{begins}, with a new scoring head,"
            begins += f" and re-rank the top {budget.depth} of {BASELINES[budget.first_stage][0]}"
            again = {
                "first_stage": budget.first(self.suite.pools),
                "ranker": budget.model_dump(include={"model", "precision", "chunk_tokens"}),
            }
        if own := self.suite.own_budget(method):
            said = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in own.items())
            adaptations.append(f"trained with a budget of its own: {said}")
        if start := self.suite.start(method):
            adaptations.append(f"starts from the trained model of {start}")
            begins += f", then the model of {start}"
        params = self.parameters(dataset, method)
        if chosen := self._chosen.get((home, method)):
            title += ", tuned"
            adaptations.append(told(chosen, self.suite.tuning.trials, len(self.suite.trial_seeds())))
            params["learning_rate"] = chosen.learning_rate
        return canonical(
            {
                **self._common(dataset, method, title),
                **({"trained_on": home} if home != dataset else {}),
                "class": kind.name,
                "tier": tier,
                "start": begins,
                **({"encoder": self._encoder(self.suite.dataset_key(home))} if tier != "adapter" else {}),
                **again,
                "track": track,
                "adaptations": adaptations,
                "summary": kind.summary(),
                "paper": kind.citation,
                "params": params,
            }
        )

    def about_baseline(self, dataset: str, name: str) -> str:
        """Return what a baseline's metrics.json says about it, as canonical JSON."""
        title, summary = BASELINES[name]
        pools = self.suite.pools
        params = {"k1": pools.bm25_k1, "b": pools.bm25_b} if name == "bm25_search" else {}
        common = self._common(dataset, name, title)
        rest: dict[str, Any] = {"track": "baseline", "adaptations": [], "paper": ""}
        rest |= {"class": None, "tier": None, "start": self.suite.start_text()}
        return canonical({**common, **rest, "summary": summary, "params": params})

    def gate_inputs(self, gate: str) -> dict[str, str]:
        """Return what a gate's baseline is evaluated from, by name: BM25 needs no vectors."""
        settings = self.suite.gates[gate]
        shared = self.shared(settings.dataset)
        return shared if settings.system == "untrained" else {"qrels": shared["qrels"]}

    def about_gate(self, gate: str) -> str:
        """Return what the metrics.json of a gate's baseline says about it, as canonical JSON."""
        settings = self.suite.gates[gate]
        words = {"k1": settings.k1, "b": settings.b} if settings.system == "bm25_search" else {}
        title = f"{BASELINES[settings.system][0]} (gate {gate})"
        return canonical(
            {**self._common(settings.dataset, settings.system, title), "track": "baseline", "params": words}
        )

    def gate_settings(self) -> str:
        """Return the gates of the suite, as canonical JSON."""
        return canonical({name: gate.model_dump() for name, gate in self.suite.gates.items()})

    def gate_tables(self) -> list[str]:
        """Return what is there only once all gates hold; nothing in a suite without gates."""
        return [f"{self.board}/gates.csv", f"{self.board}/gates.md"] if self.suite.gates else []

    def as_given(self) -> dict[str, Any]:
        """Return the config of the suite, what only this machine needs too."""
        told = self.suite.model_dump(mode="json", include={*MACHINE, "tracking"})
        return {**self.written.resolved(), **{key: value for key, value in told.items() if value is not None}}

    def targets(self) -> list[str]:
        """Return what a suite is run for: the board with its audits, or gates and cards where nothing is trained."""
        contents = self.contents()
        if self.untuned:
            return [self.tuned]
        if not self.suite.methods:
            return [*self.gate_tables(), *(f"{self.board}/cards/{name}.md" for name in self.suite.datasets)]
        audits = [f"{self.board}/audit/{name}.csv" for name in contents.trained()]
        sent = [] if self.rebuilds else [self.wandb, self.wandb_board]
        return [f"{self.board}/leaderboard.html", f"{self.board}/claims.md", self.manifest, *audits, *sent]

    @property
    def manifest(self) -> str:
        """What the board says about where it came from."""
        return f"{self.board}/{MANIFEST}"

    def facts(self) -> dict[str, dict[str, str]]:
        """Return the files about each dataset's vectors, by whose they are and by dataset."""
        trained = self.contents().trained()
        asked = any(self.teacher(trained[0], row) for row in self.rows)
        owners = {"encoder": list(self.suite.datasets), **({"teacher": trained} if asked else {})}
        return {
            owner: {name: f"{self.vectors(name, owner == 'teacher')}/embeddings.json" for name in names}
            for owner, names in owners.items()
        }

    def row_sources(self, dataset: str, row: str) -> list[str]:
        """Return every source file behind the values of a row of the board; a baseline has no method's."""
        shared = sources(*self.preparers(dataset), "negmark.encode.embeddings", self.evaluator(dataset))
        if row in BASELINES:
            return shared
        home = self.suite.home(dataset)
        stages = [
            *sources(*self.preparers(home), "negmark.search.candidates"),
            *self.stage_sources("train", row),
            *self.stage_sources("evaluate", row, self.evaluator(dataset)),
        ]
        return sorted({*shared, *stages, *self.method_sources(row)})

    def figure_inputs(self, figure: str, *datasets: str) -> list[str]:
        """Return what a figure of these datasets is drawn from; a manifest lies with the dataset trained on."""
        kind, contents = BY_NAME[figure], self.contents()
        homes = dict.fromkeys(self.suite.home(dataset) for dataset in datasets)
        names = ("manifest.json", *kind.run_files)
        files = [str(run / name) for run in contents.runs(*homes) for name in names]
        tables = [f"{self.board}/{table}/{dataset}.csv" for table in kind.tables for dataset in datasets]
        return [*map(str, contents.files("metrics.json", *datasets)), *files, *tables]

    def board_settings(self) -> str:
        """Return what the board says about the whole suite, as canonical JSON."""
        training = self.suite.training.model_dump()
        encoder = {"encoder": self.suite.encoder.model, **self.suite.encoder.model_dump(exclude={"model"})}
        budgets = {tier: self.suite.budget(tier).model_dump() for tier in set(self.suite.tiers().values())}
        said = {"suite": self.suite.suite, **encoder, **training, "seeds": len(self.suite.seeds)}
        said |= {"budgets": budgets, "trained_on": self.suite.homes(), "reference": self.suite.reference}
        return canonical({**said, "seed_numbers": self.suite.seeds})

    def claims(self) -> str:
        """Return a hash of what all methods' files claim."""
        said = {name: [asdict(claim) for claim in kind.claims] for name, kind in registry.available().items()}
        return short_hash(said)

    def pool_settings(self) -> str:
        """Return the settings of the pools, as canonical JSON."""
        return canonical(self.suite.pools.decides())

    def encoder_settings(self, dataset: str, key: str) -> str:
        """Return the settings of the encoder or teacher that folder names belong to, as canonical JSON."""
        return canonical(self._teacher_settings(key) or self._encoder(dataset))

    def encoder_place(self, name: str) -> tuple[str, str]:
        """Return the folder names of a dataset and of the encoder that its runs start from."""
        return self.suite.dataset_key(name), self.suite.encoder_key()

    def warmup(self, dataset: str, key: str) -> list[str]:
        """Return the weights of the warmed-up encoder that folder names belong to; none where there is none."""
        warm = self.suite.warms_up() and self._teacher_settings(key) is None
        return [f"results/warmups/{dataset}/{key}/model.safetensors"] if warm else []

    def _teacher_settings(self, key: str) -> dict[str, Any] | None:
        is_teacher = self.suite.teacher is not None and key == self.suite.encoder_key(teacher=True)
        return self.suite.teacher.model_dump() if is_teacher and self.suite.teacher else None

    def _encoder(self, dataset: str) -> dict[str, Any]:
        """Return the settings of the encoder from which a dataset's runs start: of the warmed-up one, if any."""
        settings = self.suite.encoder.model_dump()
        if self.suite.warms_up():
            folder = f"results/warmups/{dataset}/{self.suite.encoder_key()}"
            settings |= {"model": folder, "reinit_top": 0, "warmup_steps": 0}
        return settings

    def dataset_settings(self, name: str) -> str:
        """Return the settings of a dataset, as canonical JSON."""
        return canonical(self.suite.dataset(name))

    def named(self, dataset: str) -> str:
        """Return the name of a dataset: a folder is called by its key, a run's by the name itself."""
        if dataset in self.suite.datasets:
            return dataset
        return next(name for name in self.suite.datasets if self.suite.dataset_key(name) == dataset)

    def _common(self, dataset: str, method: str, title: str) -> dict[str, Any]:
        return {"suite": self.suite.suite, "dataset": dataset, "method": method, "title": title}
