"""What the figures have in common: style, sizes, colours, names of rows, and the files that are written.

Each figure is written as SVG, PNG and PDF with a tidy CSV of what it shows (to redraw it in a paper) and a
caption. Equal inputs give equal bytes: no date, no version and no random id goes into a file.
"""

import logging
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from typer import Option

from negmark.board.standings import ranking_slice, tiers
from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import replacing, write_text
from negmark.core.names import STS, records
from negmark.core.notation import marked
from negmark.core.spreadsheet import csv
from negmark.core.tiers import TIERS
from negmark.store.board import Board

STYLE = Path(__file__).with_name("negmark.mplstyle")
COLUMN, PAGE = 3.35, 7.0
"""Inches: the width of a column and of a two-column page of a paper. Figures are drawn at the size of print."""
CONTROLLED, FAITHFUL, QUIET, INK = "#0072B2", "#D55E00", "#777777", "#222222"
COLOURS = {"controlled": CONTROLLED, "faithful": FAITHFUL}
"""By track; any other is black."""
MARKS = {name: tier.mark for name, tier in TIERS.items()}
"""By tier; any other is a dot."""
LINES = (":", "--", "-.", (0, (1, 4)))
"""One per baseline, in the order of their names."""
# What each writer would otherwise stamp on a file.
STAMPS: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def command(draw: Callable[[Board, str, Path], None]) -> None:
    """Run a figure's module as a stage: `draw` gets the board, a dataset and the folder of figures.

    The dataset is empty for a figure of a suite. The folder is inside that of the board.
    """

    def main(
        contents: Annotated[Path, Option(help="contents.json of the board")],
        folder: Annotated[Path, Option(help="where the figure goes: the folder `figures` of the board")],
        dataset: Annotated[str, Option(help="the dataset that is drawn")] = "",
    ) -> None:
        """Draw a figure of a board."""
        logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs every table that it subsets
        draw(Board(contents.parent, Path()), dataset, folder)

    stage.command(main)


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of all figures."""
    with matplotlib.style.context(STYLE):
        yield


def save(figure: Figure, stem: Path, tidy: pd.DataFrame, caption: str) -> None:
    """Write the figure three times, with its table and caption, beside `stem`."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not again for each format
    for suffix, metadata in STAMPS.items():
        with replacing(stem.parent / f"{stem.name}.{suffix}") as partial:
            figure.savefig(partial, format=suffix, metadata=metadata)
    write_text(stem.parent / f"{stem.name}.csv", csv(tidy))
    write_text(stem.parent / f"{stem.name}.txt", textwrap.fill(caption, 100) + "\n")


def width_of(panels: int, a_row: int) -> float:
    """The width in inches of a figure of `panels` side by side, `a_row` of which fill a page; at least a column."""
    return max(COLUMN, PAGE / a_row * panels)


def save_nothing(stem: Path, columns: Sequence[str], why: str) -> None:
    """Write a figure that says why there is nothing to draw; its table has no rows, and the page leaves it out.

    Only the data show whether a dataset has two slices or a method has negatives; rules must name their files earlier.
    """
    with styled():
        figure = Figure(figsize=(COLUMN, 0.7), layout="constrained")
        figure.text(0.5, 0.5, textwrap.fill(why, 52), ha="center", va="center", color=QUIET)
        save(figure, stem, pd.DataFrame(columns=list(columns)), why)


def runs_of(dataset: str, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of one dataset; it is an error if there are none."""
    mine = [run for run in runs if run["dataset"] == dataset]
    if not mine:
        raise UserError(f"{dataset}: no run to draw; give the metrics.json files of this dataset")
    return mine


def trained_rows(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The trained rows of `summarise`; it is an error if there are none."""
    trained = frame[frame["track"] != "baseline"]
    if trained.empty:
        raise UserError(f"{dataset}: no trained run to draw; add a method to the suite")
    return trained


def baselines(table: pd.DataFrame) -> list[tuple[Any, pd.Series]]:
    """The first row of each baseline in a table, by name, with its line, which is the same in every figure."""
    rows = table[table["track"] == "baseline"].drop_duplicates("row").sort_values("row")
    return [(line, row) for line, (_, row) in zip(LINES, rows.iterrows(), strict=False)]


def baseline_handles(table: pd.DataFrame) -> list[Line2D]:
    """The baselines of a table for a legend."""
    return [
        Line2D([], [], color=QUIET, lw=0.9, ls=line, label=label(row["title"]))
        for line, row in baselines(table)
    ]


def queries_shown(frame: pd.DataFrame, by: str) -> str:
    """The queries, or pairs, that rank the rows of one dataset, as `2,119 unseen queries`."""
    ranking = ranking_slice(frame)
    count, which = frame[f"test_queries/{ranking}"].iloc[0], "test" if ranking == "all" else ranking
    return f"{count:,} {which} {judged(by)}"


def judged(by: str) -> str:
    """What a metric is the mean over: queries, or pairs of sentences."""
    return "pairs" if by == STS else "queries"


def names(frame: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """A label per row: its title, with the tier if the board has several."""
    several = len(tiers(frame)) > 1
    return [marked(row, several) for row in records(rows)]


def label(title: str, width: int = 30, lines: int = 2) -> str:
    """A title as matplotlib should draw it: on at most `lines` lines, with `$` escaped."""
    return textwrap.fill(title, width, max_lines=lines, placeholder=" …").replace("$", r"\$")


def counted(counts: pd.Series) -> str:
    """The counts of seeds of several methods, as `5` or `2 to 5`."""
    few, many = int(counts.min()), int(counts.max())
    return f"{many}" if few == many else f"{few} to {many}"
