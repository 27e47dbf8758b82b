"""The source files behind a row: its method's, and those of its tier at each stage."""

from negmark.core.names import BASELINES
from negmark.core.source_files import method_sources, sources
from negmark.core.tier_modules import tier_module_name, training_modules
from negmark.suite.datasets import Dataset
from negmark.suite.rows import Row
from negmark.suite.specs import Specs


def training_sources(specs: Specs, dataset: Dataset, row: Row) -> list[str]:
    """Return the source files behind a row's training, except its method's."""
    return sources("negmark.train.train", *training_modules(specs.run(dataset, row)))


def evaluation_sources(dataset: Dataset, row: Row) -> list[str]:
    """Return the source files behind a row's evaluation on a dataset: the stage's and those of the row's tier."""
    return sources(dataset.evaluator, tier_module_name("evaluate", row.tier.name))


def row_sources(dataset: Dataset, home: Dataset, row: Row | str) -> list[str]:
    """Return every source file behind the values of a row of the board; a baseline, given by name, has no method's."""
    shared = sources(*dataset.preparers, "negmark.encode.embeddings", dataset.evaluator)
    if not isinstance(row, Row):
        assert row in BASELINES
        return shared
    stages = [
        *sources(*home.preparers, "negmark.search.candidates"),
        *sources("negmark.train.train", tier_module_name("train", row.tier.name)),
        *evaluation_sources(dataset, row),
    ]
    return sorted({*shared, *stages, *method_sources(*row.methods)})
