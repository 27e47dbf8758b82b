"""How much of a comparison fits into a time: the whole one, and what is left out of it first, second and so on.

What costs much and tells little goes first. A key that the user sets is never touched.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from negmark.advise.asked import TIER, Asked
from negmark.core.notation import counted, listed
from negmark.methods import registry
from negmark.plan.sizes import Size
from negmark.suite.checks import load
from negmark.suite.paths import GIVEN
from negmark.suite.study import merged

ROWS = ("inbatch", "dense_uniform", "simans", "random", "dense_topk", "star", "bm25", "percpos")
"""The methods, the last to be left out first: what every collection should see compared comes first."""
RATES = {4: [0.56, 1.0, 1.8, 3.2], 3: [0.56, 1.0, 1.8]}
TRIAL_SEEDS = [1000, 1001]
FEWEST_DEV = 30
"""Dev queries below which a choice by them is noise."""
ROOM = 1.05
"""Labels of a seeded draw of the training queries, over what their share of all would be."""


@dataclass(frozen=True)
class Found:
    """What is known of a dataset before anything is trained on it."""

    size: Size
    dev: int
    """Queries of its dev split."""
    labels: Mapping[str, int]
    """Labels of each split."""
    set_aside: int = 0
    """Training queries of which the dev split was made."""


@dataclass(frozen=True)
class Design:
    """How much is run."""

    rows: int = len(ROWS)
    steps: int = 400
    seeds: int = 5
    rates: int = 4
    trial_seeds: int = 2
    tuned: bool = True
    train_queries: int = 20_000
    documents: int = 0
    """Documents of a collection that are kept at least; 0 for all."""


LADDER: tuple[dict[str, Any], ...] = (
    {"trial_seeds": 1}, {"rates": 3}, {"rows": 6}, {"documents": 100_000}, {"steps": 200}, {"seeds": 3}, {"rows": 4},
    {"documents": 30_000}, {"train_queries": 5_000}, {"tuned": False}, {"documents": 10_000}, {"steps": 100},
)  # fmt: skip
"""What is changed, one after the other, until the rest fits."""
OWN_KEYS = {
    "rows": "methods", "steps": f"{TIER}.steps", "seeds": "seeds", "rates": "tuning.rates",
    "trial_seeds": "tuning.seeds", "tuned": "tuned",
}  # fmt: skip
"""The key of a suite by which a user decides what a field of a design says."""


@dataclass(frozen=True)
class Plan:
    """A suite that gives advice, and what had to be left out of it."""

    config: dict[str, Any]
    left_out: list[str]


def plans(asked: Asked, found: Mapping[str, Found]) -> Iterator[Plan]:
    """Yield the whole comparison, then ever smaller ones; one that changes nothing is skipped."""
    design = _whole(found)
    yield Plan(_config(design, asked, found), _left_out(design, asked, found))
    last = _config(design, asked, found)
    for changes in LADDER:
        design = replace(design, **changes)
        config = _config(design, asked, found)
        if config != last:
            last = config
            yield Plan(config, _left_out(design, asked, found))


def _whole(found: Mapping[str, Found]) -> Design:
    few = any(one.dev < FEWEST_DEV for one in found.values())
    return Design(tuned=not few)


def with_fewer_seeds(plan: Plan, seeds: int) -> Plan:
    """Return a plan whose board has fewer seeds, and says so."""
    config = {**plan.config, "seeds": plan.config["seeds"][:seeds]}
    said = f"only {seeds} seeds a method, as the trials took longer than planned"
    return Plan({**config, "seeds_per_job": seeds}, [*plan.left_out, said])


def check_whole(asked: Asked) -> None:
    """Raise `UserError` where the whole comparison isn't a suite, so that a mistake is told before anything runs."""
    load(whole_config(asked), asked.file)


def whole_config(asked: Asked) -> dict[str, Any]:
    """Return the suite of the whole comparison before anything is known of the datasets."""
    return _config(Design(train_queries=0), asked, {})


def _config(design: Design, asked: Asked, found: Mapping[str, Found]) -> dict[str, Any]:
    given = any((entry or {}).get("given") for entry in asked.config["datasets"].values())
    tuned = asked.config.get("tuned", "alone" if design.tuned else False)
    names = [*ROWS[: design.rows], *([GIVEN] if given else [])]
    base: dict[str, Any] = {
        "tier": TIER,
        "encoder": {"query_length": 256, "document_length": 256},
        "static": {"steps": design.steps, "batch_size": 64, "negatives": 8, "learning_rate": 2.0e-3},
        "methods": dict.fromkeys(names),
        "seeds": list(range(design.seeds)),
        "tuned": tuned,
        "tracking": {"mode": "disabled"},
    }
    if tuned:
        base["tuning"] = {"rates": RATES[design.rates], "seeds": TRIAL_SEEDS[: design.trial_seeds]}
    own = {key: value for key, value in asked.config.items() if key != "methods"}
    config = merged(base, own)
    if "methods" in asked.config:
        config["methods"] = asked.config["methods"]
    if isinstance(config["seeds"], list):  # another kind is refused when the suite is read
        config.setdefault("seeds_per_job", len(config["seeds"]))
    config["datasets"] = {
        name: _dataset(entry or {}, design, found.get(name))
        for name, entry in asked.config["datasets"].items()
    }
    return config


def _dataset(entry: Mapping[str, Any], design: Design, found: Found | None) -> dict[str, Any]:
    """Return a dataset's entry, cut as the design says where the user doesn't say it."""
    cut: dict[str, Any] = {} if entry.get("kind") == "sentences" else {"dev_queries": 500}
    if found:
        cut |= _cuts(entry, design, found)
    return {**cut, **entry}


def _cuts(entry: Mapping[str, Any], design: Design, found: Found) -> dict[str, int]:
    """Return the cuts of a dataset that a design makes; all labelled documents are kept."""
    cut, train = {}, found.size.train
    if 0 < design.train_queries < train and "train_queries" not in entry:
        cut["train_queries"] = design.train_queries
    kept = entry.get("train_queries") or cut.get("train_queries") or train
    share = min(1.0, ROOM * min(kept, train) / max(train, 1))
    labelled = share * found.labels.get("train", 0) + sum(
        count for split, count in found.labels.items() if split != "train"
    )
    documents = max(design.documents, round(labelled) + 1)
    may_cut = "documents" not in entry and not _file_of_pairs(entry)
    if design.documents and documents < found.size.documents and may_cut:
        cut["documents"] = documents
    return cut


def _file_of_pairs(entry: Mapping[str, Any]) -> str:
    """Return the key of a file that names documents, any of which a cut could drop; empty without one."""
    return next((key for key in ("given", "verdicts") if entry.get(key)), "")


def _left_out(design: Design, asked: Asked, found: Mapping[str, Found]) -> list[str]:
    """Return what a plan lacks of the whole comparison, in words."""
    whole, changed, config = asdict(Design()), asdict(design), _config(design, asked, found)
    told = []
    for field in fields(Design):
        if changed[field.name] != whole[field.name] and not _set(asked.config, OWN_KEYS.get(field.name, "")):
            told += _words(field.name, design, found, tuned=bool(config["tuned"]))
    for name, one in found.items():
        entry = config["datasets"][name]
        own = asked.config["datasets"][name] or {}
        if "documents" in entry and "documents" not in own:
            told.append(
                f"{name}: {one.size.documents - entry['documents']:,} of {one.size.documents:,} documents"
            )
        elif design.documents and "documents" not in own and (key := _file_of_pairs(own)):
            told.append(f"{name}: none of its documents, as `{key}` may name any of them")
        if "train_queries" in entry and "train_queries" not in own:
            left = one.size.train - entry["train_queries"]
            told.append(f"{name}: {left:,} of {one.size.train:,} training queries, which the file lacks too")
        if one.set_aside:
            told.append(
                f"{name}: {counted(one.set_aside, 'training query', 'training queries')}, of which a dev split was made"
            )
    return told


def _words(field: str, design: Design, found: Mapping[str, Found], *, tuned: bool) -> list[str]:
    whole = Design()
    match field:
        case "rows":
            methods = registry.available()
            return [f"the methods {listed([methods[name].title for name in ROWS[design.rows :]])}"]
        case "steps":
            return [f"{whole.steps - design.steps} of {whole.steps} steps of training"]
        case "seeds":
            return [f"{whole.seeds - design.seeds} of {whole.seeds} seeds"]
        case "rates" if tuned:
            return [f"{whole.rates - design.rates} of {whole.rates} learning rates that tuning tries"]
        case "trial_seeds" if tuned:
            return [f"one of {counted(whole.trial_seeds, 'seed')} of each trial of tuning"]
        case "tuned":
            few = [name for name, one in found.items() if one.dev < FEWEST_DEV]
            why = f" ({listed(few)} has fewer than {FEWEST_DEV} dev queries to choose by)" if few else ""
            return [f"tuning: every method has its paper's settings and one learning rate{why}"]
    return []


def _set(config: Mapping[str, Any], key: str) -> bool:
    """Say whether a config has a key, named with dots."""
    head, _, rest = key.partition(".")
    if not key or head not in config:
        return False
    return not rest or (isinstance(config[head], Mapping) and _set(config[head], rest))
