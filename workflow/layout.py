"""Where everything of a suite lies. All paths are relative to the folder that snakemake runs in."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from workflow import tiers
from workflow.comparison import Entry, comparisons
from workflow.contents import BASELINES, Contents, run_folder
from workflow.errors import UserError
from workflow.figures.catalogue import BY_NAME
from workflow.files import canonical
from workflow.settings import Suite, export_folders, load
from workflow.sources import ROOT, method_sources, sources

DEFAULT_SUITE = "config/quickstart.yaml"


class Layout:
    """Paths and job settings of a suite, for the rules."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.board = f"results/leaderboards/{suite.suite}"
        self.wandb = f"results/wandb/{suite.suite}.json"

    def dataset(self, name: str) -> str:
        """Return the folder of a prepared dataset."""
        return f"results/datasets/{self.suite.dataset_key(name)}"

    def card(self, name: str) -> str:
        """Return the card of a dataset."""
        return f"{self.dataset(name)}/card.json"

    def vectors(self, name: str, teacher: bool = False) -> str:
        """Return the folder of a dataset's embeddings by the encoder or by the teacher."""
        return f"results/embeddings/{self.suite.dataset_key(name)}/{self.suite.encoder_key(teacher)}"

    def pool(self, name: str, kind: str) -> str:
        """Return the file of a candidate pool. A BM25 pool knows of no encoder."""
        owner = self.suite.encoder_key() if kind == "dense" else "bm25"
        return (
            f"results/pools/{self.suite.dataset_key(name)}/{owner}/{self.suite.pool_key()}/{kind}.safetensors"
        )

    def pools(self, name: str, method: str) -> dict[str, str]:
        """Return the pools that a row's method reads, by kind."""
        return {kind: self.pool(name, kind) for kind in sorted(self.suite.method(method).pools)}

    def pool_options(self, name: str, method: str) -> str:
        """Return a row's pools as options of the training command."""
        return " ".join(f"--pool {kind}={path}" for kind, path in self.pools(name, method).items())

    def batches(self) -> list[list[int]]:
        """Return the seeds of each job: `seeds_per_job` at a time, so that start-up is paid once for all."""
        seeds, size = self.suite.seeds, self.suite.seeds_per_job
        return [seeds[start : start + size] for start in range(0, len(seeds), size)]

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
        budget = self.suite.budget(self.suite.row_tier(method))
        return getattr(budget, "threads", 1) * getattr(budget, "processes", 1)

    def launcher(self, method: str) -> str:
        """Return the command that runs a module: torch's launcher where a run has several processes.

        (`accelerate launch` starts several on GPUs alone; under torch's, accelerate finds them on CPUs as well.)
        """
        processes = self.suite.finetune.processes if self.suite.row_tier(method) == "finetune" else 1
        many = f"python -m torch.distributed.run --standalone --nproc_per_node {processes} -m"
        return many if processes > 1 else "python -m"

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
        return sources(module or f"workflow.{stage}", tiers.STAGES[stage][self.suite.row_tier(method)])

    def preparer(self, name: str) -> str:
        """Return the module that prepares a dataset of this kind."""
        return "workflow.sentences" if name in self.suite.sentences() else "workflow.data"

    def preparers(self, name: str) -> list[str]:
        """Return all modules behind a dataset: what hides labels too, where some are hidden."""
        return [self.preparer(name), *(["workflow.hidden"] if name in self.suite.known_truth() else [])]

    def evaluator(self, name: str) -> str:
        """Return the module that evaluates runs on a dataset of this kind; all take the same options."""
        return "workflow.sts" if name in self.suite.sentences() else "workflow.evaluate"

    def contents(self) -> Contents:
        """Return what stands on the board."""
        return Contents(
            suite=self.suite.suite,
            cards={name: self.card(name) for name in self.suite.datasets},
            methods=list(self.suite.methods),
            seeds=self.suite.seeds,
            tiers=self.suite.tiers(),
            sentences=self.suite.sentences(),
            homes=self.suite.homes(),
            controls=[row for row in self.suite.methods if self._is_told(row)],
            comparisons=comparisons([self._entry(row) for row in self.suite.methods]),
        )

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
                "params": self.suite.parameters(method),
                "training": self.suite.budget(tier).model_dump(exclude={"first_stage", "depth"}),
                **(
                    {"tier": tier, "encoder": self._encoder(self.suite.dataset_key(dataset))}
                    if tier != "adapter"
                    else {}
                ),
                **({"track": "faithful"} if self.suite.track(method) == "faithful" else {}),
            }
        )

    def about(self, dataset: str, method: str) -> str:
        """Return what the metrics.json of a row's runs say about it, as canonical JSON."""
        kind = self.suite.method(method)
        track, tier = self.suite.track(method), self.suite.row_tier(method)
        title = (
            kind.title
            if method in {kind.name, f"{kind.name}_{track}", f"{kind.name}_{tier}"}
            else f"{kind.title} ({method})"
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
        if start := self.suite.start(method):
            adaptations.append(f"starts from the trained model of {start}")
            begins += f", then the model of {start}"
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
                "params": self.suite.parameters(method),
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

    def targets(self) -> list[str]:
        """Return what a suite is run for: the board with its audits, or gates and cards where nothing is trained."""
        contents = self.contents()
        if not self.suite.methods:
            return [*self.gate_tables(), *(f"{self.board}/cards/{name}.md" for name in self.suite.datasets)]
        audits = [f"{self.board}/audit/{name}.csv" for name in contents.trained()]
        return [f"{self.board}/leaderboard.html", *audits, self.wandb]

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
        return canonical({**said, "budgets": budgets, "trained_on": self.suite.homes()})

    def pool_settings(self) -> str:
        """Return the settings of the pools, as canonical JSON."""
        return canonical(self.suite.pools.model_dump())

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

    def by_key(self, key: str) -> str:
        """Return the name of the dataset that a folder name belongs to."""
        return next(name for name in self.suite.datasets if self.suite.dataset_key(name) == key)

    def _common(self, dataset: str, method: str, title: str) -> dict[str, Any]:
        return {"suite": self.suite.suite, "dataset": dataset, "method": method, "title": title}


def open_suite(config: Mapping[str, Any], files: Sequence[str | Path]) -> Layout:
    """Return the layout of the suite that was asked for; a mistake in its config ends the program in one line.

    Without a config file on the command line, the default suite is read and `--config` changes its keys.
    """
    try:
        if files:
            suite = load(config, " + ".join(map(str, files)))
        else:
            default = yaml.safe_load((ROOT / DEFAULT_SUITE).read_text(encoding="utf-8"))
            suite = load(_merged(default, config), DEFAULT_SUITE)
        export_folders(suite)
        return Layout(suite)
    except UserError as error:
        _quit(error)


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        both = isinstance(inner, dict) and isinstance(value, Mapping)
        merged[key] = _merged(inner, value) if both and inner is not None else value
    return merged


def _quit(error: UserError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2)
