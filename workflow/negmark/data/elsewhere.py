"""Sources that other packages know by name: `ir_datasets:antique` and `hub:mteb/scifact`. Read when Snakemake plans."""

import re

IR_DATASETS, HUB = "ir_datasets:", "hub:"
NAME = re.compile(r"[\w.~-]+(/[\w.-]+)*(@[\w.-]+)?", re.ASCII)
"""What may follow: a name, maybe with a folder before it, and of the hub a revision behind it."""
WANTED = {
    IR_DATASETS: "ir_datasets:<name>, as ir_datasets:beir/scifact",
    HUB: "hub:<owner>/<name>, as hub:mteb/scifact, or hub:<folder>",
}


def prefix_of(source: str) -> str | None:
    """Return which package knows a source by its name; None of one that is a path or a name of ours."""
    return next((prefix for prefix in WANTED if source.startswith(prefix)), None)


def is_written_well(source: str) -> bool:
    """Say whether what follows the prefix of a source can be a name."""
    prefix = prefix_of(source)
    rest = source.removeprefix(prefix or "")
    return bool(NAME.fullmatch(rest.removeprefix("./").removeprefix("../").removeprefix("/")))


def short_name(source: str) -> str:
    """Return a source's name without its prefix, as a card shows it."""
    return source.removeprefix(prefix_of(source) or "")
