"""One evaluated run, read back: what it is, its metrics, its cost and hardware."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.core.files import read_json

UNTUNED_TITLE = ", untuned"
"""Ends the title of a row that stands below its tuned copy."""
FEWEST_UNSEEN = 10
"""Unseen queries below which they rank nothing: NFCorpus has 2, which would be all noise."""


RUN_KEYS = (
    "suite",
    "dataset",
    "row",
    "title",
    "tier",
    "track",
    "method",
    "start",
    "seed",
    "metrics",
    "adaptations",
    "summary",
    "paper",
    "params",
    "conditions",
    "chain",
    "before",
)


PEAK = "peak_mebibytes"
"""The one cost that a chain of runs has once, as they run one after the other."""
COSTS = {
    "train_seconds": ("cost/training/wall_seconds",),
    "cpu_seconds": ("cost/training/cpu_seconds",),
    "own_seconds": ("cost/own/wall_seconds",),
    "vectors": ("counters/query_vectors", "counters/document_vectors", "counters/extra_vectors"),
    "pairs": ("counters/pairs",),
    "searches": ("counters/searches",),
    "teacher_vectors": ("counters/teacher_vectors",),
    "network_forwards": ("counters/network_forwards",),
    PEAK: ("cost/peak_mebibytes",),
}
"""What a run cost, by column, and the places in its manifest.json that are added up for it."""


def read_run(path: Path) -> dict[str, Any]:
    """Read one metrics.json, with facts from its run's manifest; refuse one that can't stand.

    These are `cost`, the columns `COSTS` by name, `hardware`, `filled` (`store.filled`) and `idle`, why the method's
    own rule never acted; all are empty for a baseline, which has no manifest.
    """
    run = read_json(path)
    missing = [key for key in (*RUN_KEYS, "slices") if key not in run]
    if missing:
        raise UserError(
            f"{path}: lacks {', '.join(missing)}, as files of an older form do; delete it and run again"
        )
    if run.get("status") != "ok":
        raise UserError(
            f"{path}: its status is {run.get('status')!r}, not 'ok'; run it again or drop the method"
        )
    for name, values in run["slices"].items():
        lacking = [key for key in ("queries", *metrics_of(run)) if values.get(key) is None]
        if lacking:
            raise UserError(f"{path}: slice {name!r} lacks {', '.join(lacking)}; delete it and run again")
    return {**run, **_of_training(_manifest(path, run.get("trained_on")))}


def as_placed(run: dict[str, Any], untuned: Collection[str]) -> dict[str, Any]:
    """Return a run as it stands on a board where the rows `untuned` have no rank: marked, where its row is one.

    It isn't the run that says so, as it is the same on a board without tuned rows.
    """
    return {**run, "title": run["title"] + UNTUNED_TITLE, "untuned": True} if run["row"] in untuned else run


def with_chains(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs with what the runs that they start from cost added to their own, peak memory aside: its maximum.

    A run without a cost of its own stays without; where a run of its chain isn't among `runs`, what is known is added.
    """
    costs = {(run["dataset"], run["row"], run["seed"]): run["cost"] for run in runs}

    def whole(run: dict[str, Any]) -> dict[str, float]:
        own: dict[str, float] = run["cost"]
        found = [costs.get((run["dataset"], row, run["seed"]), {}) for row in run["chain"]]
        parts = [part for part in (own, *found) if part]
        if not own or len(parts) == 1:
            return own
        return {name: (max if name == PEAK else sum)([part[name] for part in parts]) for name in own}

    return [{**run, "cost": whole(run)} for run in runs]


def idle_of(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return why a row's rule never acted, from the runs of its seeds; empty if it did in any of them."""
    reasons = [run.get("idle", "") for run in runs]
    return reasons[0] if all(reasons) else ""


def _manifest(path: Path, trained_on: str | None) -> Path:
    """Return the manifest of a run: beside its metrics, or with the dataset that it was trained on."""
    if trained_on is None:
        return path.with_name("manifest.json")
    seed, method, dataset = path.parents[:3]
    return dataset.with_name(trained_on) / method.name / seed.name / "manifest.json"


def _of_training(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"cost": {}, "hardware": "", "filled": {}, "idle": ""}
    manifest = read_json(path)
    try:
        cost = {name: sum(_at(manifest, place) for place in places) for name, places in COSTS.items()}
        return {
            "cost": cost,
            "hardware": _hardware(manifest["hardware"]),
            "filled": manifest["filled"],
            "idle": manifest["idle"],
        }
    except KeyError as error:
        raise UserError(
            f"{path}: lacks {error}, as files of an older form do; delete it and run again"
        ) from None


def _hardware(facts: Mapping[str, Any]) -> str:
    """In a few words what a run was trained on, as `AMD EPYC, 2 cores, no GPU`."""
    return f"{facts['cpu']}, {facts['cores']} cores, {' + '.join(facts.get('gpus', [])) or 'no GPU'}"


def _at(manifest: Mapping[str, Any], place: str) -> float:
    value: Any = manifest
    for key in place.split("/"):
        value = value[key]
    return value


def one_suite(runs: list[dict[str, Any]]) -> str:
    """The suite's name; runs of two suites differ in more than negatives and make no board."""
    names = sorted({run["suite"] for run in runs})
    if len(names) != 1:
        raise UserError(f"a board shows one suite, given: {', '.join(names) or 'no run'}")
    return names[0]


def metrics_of(run: Mapping[str, Any]) -> list[str]:
    """The metrics of one run, in the order of columns: the first one ranks its dataset."""
    return list(run["metrics"])


def ranks_by(unseen: int) -> str:
    """The slice that ranks a dataset with so many unseen queries."""
    return "unseen" if unseen >= FEWEST_UNSEEN else "all"
