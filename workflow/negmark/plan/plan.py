"""What a suite will take before any of it runs: `snakemake plan --cores 2 --configfile config/mine.yaml`.

The jobs are those of a dry run, so finished work isn't counted. The seconds of each come from the size of its dataset,
its settings (`negmark.plan.durations`) and the speed of this machine, measured first (`negmark.plan.measured`). Every
plan is stored and compared with the times that Snakemake records later.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from pathlib import Path
from typing import Annotated, Any

from tabulate import tabulate
from typer import Option

from negmark.core import stage
from negmark.core.files import read_json, write_json
from negmark.core.names import LEXICAL
from negmark.core.notation import clock
from negmark.methods.types import Work
from negmark.plan import durations
from negmark.plan.disk import Disk
from negmark.plan.durations import Encoding, Machine
from negmark.plan.jobs import Done, Job, done, planned
from negmark.plan.machine import CORES_PER_GPU, STATED, Network, machine_of
from negmark.plan.sizes import Size, size_of
from negmark.suite.checks import load
from negmark.suite.datasets import Dataset
from negmark.suite.layout import Layout
from negmark.suite.rows import Row
from negmark.train.batches import composed_pairs

PLANS = Path("results/plans")
WIDTHS = (1, 2, 4, 8, 16, 64, 256)
COLLATING_RULES = (
    "contents", "rate_grid", "tune", "trained_gate", "gates", "audit", "foresight", "differences", "truth", "claims",
    "card", "figures", "suite_figures", "generated_texts", "leaderboard", "manifest", "track", "track_board", "all",
)  # fmt: skip
"""Rules that read the outputs of runs and write a table, a figure or a page."""
PHASES = (
    ("dataset",), ("warm_up", "encode_part", "embeddings"),
    ("pool_part", "bm25_pool", "dense_pool", "given_pool", "verdicts_pool"),
    ("judgments_part",), ("judgments",), ("row_judgments_part",), ("row_judgments",),
    ("edits", "written"), ("judged_texts",),
    ("try_rates",), ("rate_grid",), ("try_values",),
    ("train", "evaluate", "evaluate_baseline", "gate"),
)  # fmt: skip
"""Rules by the order they run in; all others come last, and the jobs of a phase run in parallel."""
SNAKEMAKE_S, JOB_S = 6.0, 0.35
"""Snakemake's own seconds: until the first job starts, and per job."""


@dataclass(frozen=True)
class Estimate:
    """A job with its expected seconds on `cores` cores and the bytes of its outputs."""

    job: Job
    kind: str
    seconds: float
    cores: int
    disk: float = 0.0


class Planner:
    """Estimates the seconds and bytes of every job of a suite."""

    def __init__(self, layout: Layout, machine: Machine, network: Network) -> None:
        self._layout, self._machine = layout, machine
        settings = layout.suite.encoder
        self._how = Encoding(settings.query_length, settings.document_length, network.dimension)
        self._disk = Disk(layout, self._size_of, self._how, network.parameters)
        self._sizes: dict[str, Size] = {}
        self._seconds_of: dict[str, Callable[[Job], float]] = {
            "dataset": self._dataset,
            "warm_up": self._warm_up,
            "encode_part": self._encode_part,
            "embeddings": self._embeddings,
            "pool_part": self._pool_part,
            "bm25_pool": self._bm25_pool,
            "dense_pool": self._dense_pool,
            "given_pool": self._dataset,  # reads all texts once
            "judgments": self._judgments,
            "judgments_part": self._judgments,
            "row_judgments": self._judgments,
            "row_judgments_part": self._judgments,
            "edits": self._collating,
            "written": self._written,
            "judged_texts": self._judged_texts,
            "try_rates": self._try,
            "try_values": self._try,
            "train": self._train,
            "evaluate": self._evaluate,
            "evaluate_baseline": self._evaluate_baseline,
            "gate": self._evaluate_baseline,
            "verdicts_pool": self._collating,
            **dict.fromkeys(COLLATING_RULES, self._collating),
        }

    def estimate(self, job: Job) -> Estimate:
        """Return the estimate of a job."""
        kind = kind_of(job.rule)
        seconds = self._seconds_of[kind](job)
        seeds = self._seeds(job) if kind in ("train", "evaluate") else 1
        return Estimate(job, kind, seconds + JOB_S, max(job.threads, 1), self._disk.left(kind, job, seeds))

    def size(self, dataset: Dataset) -> Size:
        """Return the size of a dataset of the suite."""
        if dataset.name not in self._sizes:
            card = Path(self._layout.paths.card(dataset))
            self._sizes[dataset.name] = size_of(dataset.name, dataset.decides, card)
        return self._sizes[dataset.name]

    def _size_of(self, job: Job) -> Size:
        """Return the size of a job's dataset, which its wildcards name directly or by its collection."""
        if collection := job.wildcards.get("collection"):
            return self.size(self._layout.collections[collection])
        gate = job.wildcards.get("gate")
        name = self._layout.suite.gates[gate].dataset if gate else job.wildcards["dataset"]
        return self.size(self._layout.datasets[name])

    def _dataset(self, job: Job) -> float:
        return durations.dataset_seconds(self._size_of(job), self._machine)

    def _embeddings(self, job: Job) -> float:
        if self._layout.suite.shards.encode > 1 or "table" in self._layout.suite.start():
            return self._collating(job)  # gathers shares, or averages rows
        return durations.embeddings_seconds(self._size_of(job), self._how, self._machine)

    def _encode_part(self, job: Job) -> float:
        whole = durations.embeddings_seconds(self._size_of(job), self._how, self._machine)
        start = self._machine.start["torch"]
        return start + (whole - start) / int(job.wildcards["parts"])

    def _warm_up(self, job: Job) -> float:
        suite = self._layout.suite
        budget = {**suite.warmup_budget().model_dump(), "steps": suite.encoder.warmup_steps}
        tier = "static" if "table" in suite.start() else "finetune"
        size = self._size_of(job)
        start = self._machine.start["torch"]
        return start + durations.train_seconds(size, self._how, self._machine, "", budget, Work(), tier)

    def _dense_pool(self, job: Job) -> float:
        gathers = self._layout.paths.pool_shares("dense") != (1, 1)
        return self._collating(job) if gathers else self._searched(job, "dense")

    def _judgments(self, job: Job) -> float:
        suite, parts = self._layout.suite, job.wildcards.get("parts")
        if suite.shards.judgments > 1 and not parts:
            return self._collating(job)
        ranker = suite.teacher_ranker or suite.encoder  # one that is trained here reads as the encoder does
        lengths = {"query_length": ranker.query_length, "document_length": ranker.document_length}
        how, depth = replace(self._how, **lengths), suite.pools.depth
        whole = durations.judgments_seconds(self._size_of(job), how, self._machine, depth)
        start = self._machine.start["torch"]
        return start + (whole - start) / int(parts or 1)

    def _written(self, job: Job) -> float:
        tokens = self._layout.suite.generator.tokens
        return durations.written_seconds(self._size_of(job), self._how, self._machine, tokens)

    def _judged_texts(self, job: Job) -> float:
        a_query = 4 * self._layout.suite.generator.versions  # entity, number, splice and the others together
        return durations.judged_seconds(self._size_of(job), self._how, self._machine, a_query)

    def _bm25_pool(self, job: Job) -> float:
        gathers = self._layout.paths.pool_shares("bm25") != (1, 1)
        return self._collating(job) if gathers else self._searched(job, "bm25")

    def _pool_part(self, job: Job) -> float:
        documents, queries = int(job.wildcards["documents"]), int(job.wildcards["queries"])
        size = self._size_of(job)
        part = replace(size, train=size.train // queries, documents=size.documents // documents)
        return self._searched(job, job.wildcards["kind"], part)

    def _searched(self, job: Job, kind: str, size: Size | None = None) -> float:
        size = size or self._size_of(job)
        if kind == "dense":
            return durations.dense_pool_seconds(size, self._how, self._machine)
        return durations.bm25_pool_seconds(size, self._machine)

    def _train(self, job: Job) -> float:
        row, dataset = (
            self._layout.rows[job.wildcards["row"]],
            self._layout.datasets[job.wildcards["dataset"]],
        )
        training = self._layout.specs.training(dataset, row)
        every = training.get("curve_every")
        points = training["steps"] // every + 1 if every else 0
        run = self._run(job, row, training, points)
        return self._machine.start["torch"] + run * self._seeds(job)

    def _try(self, job: Job) -> float:
        suite, dataset = self._layout.suite, self._layout.datasets[job.wildcards["dataset"]]
        row = suite.rows[job.wildcards["row"]]
        run = self._run(job, row, self._layout.specs.trials(dataset, row)["training"], points=1)
        return self._machine.start["torch"] + run * self.trials(job)

    def trials(self, job: Job) -> int:
        """Return how many runs a stage of tuning trains in a job; that the grid of rates may grow isn't foreseen."""
        suite = self._layout.suite
        match job.rule:
            case "try_rates":
                return len(suite.tuning.rates) * len(suite.trial_seeds())
            case "try_values":
                return len(suite.rows[job.wildcards["row"]].values()) * len(suite.trial_seeds())
        return 0

    def _run(self, job: Job, row: Row, training: Mapping[str, Any], points: int) -> float:
        """Return the seconds of a run with so many searches of its dev queries."""
        tier, size = row.tier.name, self._size_of(job)
        params = row.method.Params.model_validate(row.parameters(job.wildcards["dataset"]))
        steps, batch = training["steps"], training["batch_size"]
        work = row.method.work(params, row.track, steps, batch)
        if composition := row.composition(job.wildcards["dataset"]):
            pairs = composed_pairs(composition, steps, batch, size.train)
            work = replace(work, queries=composition.encodings * pairs)
        run = durations.train_seconds(size, self._how, self._machine, row.original, training, work, tier)
        searched = replace(size, test=training.get("curve_queries") or size.test)
        return run + points * durations.evaluate_seconds(searched, self._how, self._machine, tier)

    def _evaluate(self, job: Job) -> float:
        tier = self._layout.rows[job.wildcards["row"]].tier.name
        size = self._size_of(job)
        run = durations.evaluate_seconds(size, self._how, self._machine, tier)
        return self._machine.start["torch"] + run * self._seeds(job)

    def _evaluate_baseline(self, job: Job) -> float:
        size = self._size_of(job)
        gate = job.wildcards.get("gate")
        baseline = self._layout.suite.gates[gate].system if gate else job.wildcards["baseline"]
        if baseline == LEXICAL:
            return durations.bm25_pool_seconds(replace(size, train=size.test), self._machine)
        return durations.dense_pool_seconds(replace(size, train=size.test), self._how, self._machine)

    def _collating(self, job: Job) -> float:
        start = self._machine.start["figures" if "figures" in job.rule else "light"]
        return start + durations.COLLATING

    def _seeds(self, job: Job) -> int:
        return len(job.rule.split("_")) - 1


def kind_of(rule: str) -> str:
    """Return the stage of a rule; the rules of runs have the seeds of their batch in their names."""
    stem, _, rest = rule.partition("_")
    return stem if rest.replace("_", "").isdigit() else rule


def wall_seconds(estimates: Sequence[Estimate], width: int, gpus: int = 0) -> float:
    """Return how long the jobs take on `width` cores and `gpus` GPUs, phase by phase, each free one taking the next.

    Jobs that request GPUs wait only for those, the others only for cores.
    """
    total, left = SNAKEMAKE_S, list(estimates)
    for phase in (*PHASES, None):
        now = [one for one in left if phase is None or one.kind in phase]
        left = [one for one in left if one not in now]
        on_gpus = [replace(one, cores=one.job.gpus) for one in now if one.job.gpus]
        on_cores = [one for one in now if not one.job.gpus]
        total += max(_side_by_side(on_gpus, max(gpus, 1)), _side_by_side(on_cores, width))
    return total


def _side_by_side(jobs: Sequence[Estimate], width: int) -> float:
    free: list[float] = [0.0] * width
    for one in sorted(jobs, key=lambda job: -job.seconds):
        taken = sorted(heappop(free) for _ in range(min(one.cores, width)))
        for _ in taken:
            heappush(free, taken[-1] + one.seconds)
    return max(free)


def measured(plan: Mapping[str, Any], jobs: Sequence[Done]) -> tuple[int, float] | None:
    """Return how many jobs of a plan were finished since it was made, and the seconds from first to last.

    None unless all of them are finished.
    """
    since = [job for job in jobs if job.began >= plan["made"] and _is_of(job, plan["suite"])]
    if len(since) < plan["jobs"]:
        return None
    return len(since), max(job.ended for job in since) - min(job.began for job in since)


def _is_of(job: Done, suite: str) -> bool:
    shared = ("results/datasets/", "results/embeddings/", "results/pools/", "results/warmups/")
    return f"/{suite}/" in job.output or f"/{suite}." in job.output or job.output.startswith(shared)


def table(estimates: Sequence[Estimate], gpu: bool) -> str:
    """Return the plan as a table, one line per stage."""
    by_kind: dict[str, list[Estimate]] = defaultdict(list)
    for one in estimates:
        by_kind[one.kind].append(one)
    rows = [_row(kind, group, gpu) for kind, group in by_kind.items()]
    rows.append({**_row("total", estimates, gpu), "longest job": "", "memory asked": ""})
    align = ["left", *["right"] * (len(rows[0]) - 1)]
    return tabulate(rows, "keys", tablefmt="simple", disable_numparse=True, colalign=align)


def _row(stage_name: str, estimates: Sequence[Estimate], gpu: bool) -> dict[str, Any]:
    return {
        "stage": stage_name,
        "jobs": len(estimates),
        "core hours": _hours(sum(one.seconds * one.cores for one in estimates)),
        **({"GPU hours": _hours(sum(one.seconds * one.job.gpus for one in estimates))} if gpu else {}),
        "longest job": clock(max(one.seconds for one in estimates)),
        "memory asked": f"{max(one.job.memory for one in estimates):,} MB",
        "disk": _gigabytes(estimates),
    }


def main(
    suite: Annotated[str, Option(help="the whole config of the suite, as JSON")],
    cores: Annotated[int, Option(help="cores of this machine that the suite will get")],
) -> None:
    """Print what a suite will take."""
    began, config = time.time(), json.loads(suite)
    layout = Layout(load(config, "suite"))
    jobs = planned(config, cores)
    if not jobs:
        print(f"{layout.suite.suite}: nothing is left to do", file=sys.stderr)
        return
    machine, network = machine_of(layout, cores)
    planner = Planner(layout, machine, network)
    estimates = [planner.estimate(job) for job in jobs]
    if layout.suite.gpu:
        walls = {width: wall_seconds(estimates, width * CORES_PER_GPU, width) for width in WIDTHS}
    else:
        walls = {width: wall_seconds(estimates, width) for width in sorted({*WIDTHS, cores})}
    print(
        _report(layout, planner, estimates, walls, network, time.time() - began), file=sys.stderr, flush=True
    )
    name, made = layout.suite.suite, time.time()
    if not layout.suite.gpu:  # measurements here say nothing about GPUs elsewhere
        plan = {
            "suite": name,
            "made": made,
            "jobs": len(estimates),
            "cores": cores,
            "wall_seconds": walls[cores],
        }
        write_json(PLANS / f"{name}-{made:.0f}.json", plan)


def _report(
    layout: Layout,
    planner: Planner,
    estimates: Sequence[Estimate],
    walls: Mapping[int, float],
    network: Network,
    seconds: float,
) -> str:
    gpu, encoder = layout.suite.gpu, layout.suite.encoder
    sizes = [
        f"  {name}: {(size := planner.size(dataset)).documents:,} documents, {size.train:,} training and "
        f"{size.test:,} test queries ({size.source})"
        for name, dataset in layout.datasets.items()
    ]
    unit = f"GPUs with {CORES_PER_GPU} cores each" if gpu else "cores"
    tried = sum(planner.trials(one.job) for one in estimates)
    told = f"  {tried:,} runs are trials of tuning, more if a best rate is at the edge of the grid"
    trials = [told] if tried else []
    widths = ", ".join(f"{width:,}: {clock(wall)}" for width, wall in walls.items())
    return "\n".join([
        f"\n{layout.suite.suite}, planned in {seconds:.0f} s:", *sizes, f"  {encoder.model}: {network.description()}",
        *([f"  {STATED}"] if gpu else []), *trials, "", table(estimates, gpu), "",
        f"Wall time by the number of {unit}: {widths}.",
        *_errors(),
    ])  # fmt: skip


def _errors() -> list[str]:
    """Return how far earlier plans in this folder were from the measured times."""
    jobs, lines = done(), []
    for path in sorted(PLANS.glob("*.json")):
        plan = read_json(path)
        if (actual := measured(plan, jobs)) is not None:
            error = plan["wall_seconds"] / actual[1] - 1
            lines.append(
                f"  {plan['suite']}: planned {clock(plan['wall_seconds'])} on {plan['cores']} cores, "
                f"measured {clock(actual[1])}: {error:+.0%}"
            )
    return ["", "Earlier plans, and what was measured:", *lines] if lines else []


def _gigabytes(estimates: Sequence[Estimate]) -> str:
    total = sum(one.disk for one in estimates) / 1e9
    return f"{total:,.{2 if total < 10 else 0}f} GB" if total >= 0.005 else ""


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f}" if seconds < 36_000 else f"{seconds / 3600:,.0f}"


if __name__ == "__main__":
    stage.command(main)
