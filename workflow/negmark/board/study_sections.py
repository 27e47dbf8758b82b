"""The sections of a study's page: one a dataset, in a sweep one a dataset and key, each with its rows and figure."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from negmark.suite.study import Study, slug

FEWEST_PLACES = 2
"""Boards that must have a row for it to be shown along an axis."""


class Findings(NamedTuple):
    """What comparing a study's boards found, as tables; each is empty where the study doesn't ask for it."""

    agreement: pd.DataFrame
    """How far the other variants' orders agree with that of the one they are held against."""
    pairs: pd.DataFrame
    """The same, pair by pair of rows."""
    effects: pd.DataFrame
    """What each value of a swept key changes."""

    def of(self, dataset: str) -> "Findings":
        """Return what was found on a dataset."""
        return Findings(*(table[table["dataset"] == dataset] if len(table) else table for table in self))


class Section(NamedTuple):
    """A part of the page, with a figure of its own."""

    title: str
    study: Study
    """What is shown: the study, or its line along one axis."""
    dataset: str
    rows: pd.DataFrame
    """Of the study's table."""
    stem: str
    """Name of the figure's files."""


def sections(study: Study, rows: pd.DataFrame) -> Iterator[Section]:
    """Yield the sections of a study in the order of the page."""
    kind = "response" if study.against is None else "agreement"
    for dataset, mine in rows.groupby("dataset", sort=False):
        if study.base is None:
            yield Section(str(dataset), study, str(dataset), mine, f"{dataset}-{kind}")
            continue
        for line in study.lines:
            axis, along = next(iter(line.axes)), _along(line, mine)
            if len(along):  # a key all of whose other boards failed has nothing to show
                yield Section(f"{dataset}: {axis}", line, str(dataset), along, f"{dataset}-{slug(axis)}")


def _along(line: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a line's boards, in its order, without those that have one place alone."""
    order = [variant.suite for variant in line.variants]
    mine = rows[rows["suite"].isin(order)].sort_values(
        "suite", key=lambda names: names.map(order.index), kind="stable"
    )
    return mine[mine.groupby("row")["suite"].transform("nunique") >= FEWEST_PLACES]
