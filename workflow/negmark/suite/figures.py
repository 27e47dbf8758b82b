"""Which figures a board has. A new one is a module in `negmark/board/figures` and an entry here, in page order.

Snakemake imports this when it plans, so nothing heavy is imported here.
"""

from dataclasses import dataclass

from negmark.store.contents import Contents


@dataclass(frozen=True)
class Figure:
    """A figure and what it is drawn from, besides the metrics and manifests of runs and baselines."""

    name: str
    """The name of its module, and the end of its files' names."""
    of_suite: bool = False
    """Is there one per suite? Otherwise one per dataset."""
    of_training: bool = False
    """Does it show training? Then a dataset that is only evaluated has none."""
    of_tiers: bool = False
    """Does it compare tiers?"""
    of_curves: bool = False
    """Does it show learning curves? Then a dataset without a dev split, or a suite without curves, has none."""
    of_truth: bool = False
    """Does it show false negatives? Then only a dataset that hides something from training has one."""
    of_texts: bool = False
    """Does it show texts that are made? Then only a dataset for which some are has one."""
    run_files: tuple[str, ...] = ()
    """Files of each run."""
    tables: tuple[str, ...] = ()
    """Folders of the board that hold a table `<dataset>.csv`."""


FIGURES = (
    Figure("quality"),
    Figure("cost"),
    Figure("gain"),
    Figure("tiers", of_tiers=True),
    Figure("curves", of_training=True, of_curves=True, run_files=("dev.parquet",)),
    Figure("scores", of_training=True, run_files=("scores.parquet",)),
    Figure("negatives", of_training=True, tables=("audit",)),
    Figure("truth", of_training=True, of_truth=True, tables=("truth",)),
    Figure("generated", of_training=True, of_texts=True, tables=("generated",)),
    Figure("foresight", of_training=True, tables=("foresight",)),
    Figure("datasets", of_suite=True),
)
BY_NAME = {figure.name: figure for figure in FIGURES}
OF_DATASET = [figure.name for figure in FIGURES if not figure.of_suite]
OF_SUITE = [figure.name for figure in FIGURES if figure.of_suite]


def of_dataset(contents: Contents, dataset: str) -> list[str]:
    """Return the figures of a dataset that a board has, in the order of the page."""
    return [
        figure.name
        for figure in FIGURES
        if not figure.of_suite
        and not (figure.of_training and dataset in contents.homes)
        and not (figure.of_curves and dataset not in contents.curved)
        and not (figure.of_truth and dataset not in contents.hiding)
        and not (figure.of_tiers and not contents.comparisons)
        and not (figure.of_texts and dataset not in contents.generating)
    ]


def planned(contents: Contents) -> list[str]:
    """Return the file stems of a board's figures: `<dataset>-<figure>`, or `<figure>` for one of the suite."""
    per_dataset = [
        f"{dataset}-{name}" for dataset in contents.cards for name in of_dataset(contents, dataset)
    ]
    return [*per_dataset, *(OF_SUITE if len(contents.cards) > 1 else [])]
