"""What a plan takes, by the estimates of `snakemake plan`; without a dry run, as many plans are asked in turn."""

from collections.abc import Iterable, Mapping, Sequence

from negmark.advise.designs import Found, Plan
from negmark.core.errors import UserError
from negmark.core.names import BASELINES
from negmark.plan.durations import Machine
from negmark.plan.jobs import Job
from negmark.plan.machine import Network
from negmark.plan.plan import Planner, wall_seconds
from negmark.plan.sizes import Size
from negmark.suite.checks import load
from negmark.suite.datasets import Dataset
from negmark.suite.figures import planned
from negmark.suite.layout import Layout

COLLATED = ("contents", "claims", "leaderboard", "manifest", "track", "track_board")
PER_DATASET = ("differences", "audit", "foresight", "card")
SPARE = 0.85
"""Share of the time that a plan may take: the grid of learning rates may grow, which no plan foresees."""


class Sized(Planner):
    """A planner that knows the sizes of the datasets before they are cut."""

    def __init__(
        self, layout: Layout, machine: Machine, network: Network, found: Mapping[str, Found]
    ) -> None:
        super().__init__(layout, machine, network)
        self._found = found

    def size(self, dataset: Dataset) -> Size:
        """Return the size of a dataset as the suite cuts it."""
        return self._found[dataset.name].size.cut(dataset.decides)


def preparing(layout: Layout) -> list[Job]:
    """Return the jobs that come before trials and runs."""
    jobs = []
    for dataset in layout.datasets.values():
        place = {"collection": dataset.collection}
        kinds = {kind for row in layout.suite.rows.values() for kind in row.method.pools}
        jobs += [
            Job(rule, place)
            for rule in ("dataset", "embeddings", *(f"{kind}_pool" for kind in sorted(kinds)))
        ]
    return jobs


def tuning(layout: Layout) -> list[Job]:
    """Return the trials, and what decides by them; none where nothing is tuned."""
    if not layout.suite.tuned:
        return []
    jobs = [
        Job(rule, {"dataset": dataset.name, "row": row.name}, row.threads)
        for dataset in layout.suite.with_dev
        for row in layout.suite.tuned_rows()
        for rule in ("try_rates", "try_values")
    ]
    return [
        *jobs,
        *(Job("rate_grid", {"dataset": dataset.name}) for dataset in layout.suite.with_dev),
        Job("tune", {}),
    ]


def boarding(layout: Layout) -> list[Job]:
    """Return the runs, their evaluation and all that makes a board of them."""
    jobs = [Job(rule, {}) for rule in COLLATED]
    for name in layout.datasets:
        jobs += [Job(rule, {"dataset": name}) for rule in PER_DATASET]
        jobs += [Job("evaluate_baseline", {"dataset": name, "baseline": baseline}) for baseline in BASELINES]
        for row in layout.rows.values():
            place = {"dataset": name, "row": row.name}
            for seeds in layout.batches():
                named = "_".join(map(str, seeds))
                jobs += [Job(f"{rule}_{named}", place, row.threads) for rule in ("train", "evaluate")]
    return [*jobs, *(Job("figures", {}) for _ in planned(layout.contents))]


class Clock:
    """Says how long the parts of a plan take on so many cores of this machine."""

    def __init__(self, machine: Machine, network: Network, found: Mapping[str, Found], cores: int) -> None:
        self._machine, self._network, self._found, self._cores = machine, network, found, cores

    def seconds(self, plan: Plan, *parts: str) -> float:
        """Return the wall seconds of these parts of a plan: `preparing`, `tuning`, `boarding`; or of all."""
        layout = Layout(load(plan.config, "advice"))
        planner = Sized(layout, self._machine, self._network, self._found)
        kinds = {"preparing": preparing, "tuning": tuning, "boarding": boarding}
        jobs = [job for name in parts or kinds for job in kinds[name](layout)]
        return wall_seconds([planner.estimate(job) for job in jobs], self._cores)


def fitting(choices: Iterable[Plan], clock: Clock, left: float) -> tuple[Plan, float]:
    """Return the first plan that fits into the seconds left, and its seconds; the smallest one if none does."""
    chosen: tuple[Plan, float] | None = None
    for plan in choices:
        chosen = plan, clock.seconds(plan)
        if chosen[1] <= SPARE * left:
            break
    if chosen is None:
        raise UserError("advice: there is no plan to choose from")
    return chosen


def seeds_that_fit(plan: Plan, clock: Clock, pace: float, left: float, fewest: int = 3) -> int:
    """Return for how many seeds of a plan the seconds left suffice, at a pace of so many seconds a planned one."""
    seeds: Sequence[int] = plan.config["seeds"]
    for count in range(len(seeds), fewest, -1):
        part = Plan({**plan.config, "seeds": list(seeds[:count]), "seeds_per_job": count}, [])
        if pace * clock.seconds(part, "boarding") <= left:
            return count
    return min(fewest, len(seeds))
