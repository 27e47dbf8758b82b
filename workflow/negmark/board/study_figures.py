"""The figures of a study: orders of rows against each other, or what each row gains along an axis."""

from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from negmark.board.figures import drawing, orders, points
from negmark.board.figures.drawing import COLUMN, PAGE, QUIET
from negmark.board.study_sections import Findings, Section
from negmark.core.names import records
from negmark.core.notation import marked
from negmark.suite.study import Study

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
"""Of rows: Okabe and Ito's, which colour-blind readers tell apart, and one more."""
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "p")
FEW, WIDE, NARROW = 4, 14, 7
"""Places that leave room for a wide label, in letters a line."""
SPREAD = 0.5
"""Of a step along the axis: how far the marks of a place lie apart."""


def draw(section: Section, found: Findings, folder: Path) -> None:
    """Draw the figure of a section into a folder."""
    if section.study.against is not None:
        draw_agreement(section, found.of(section.dataset).agreement, folder / section.stem)
    else:
        (draw_response if section.study.base is None else draw_sweep)(section, folder / section.stem)


def draw_agreement(section: Section, mine: pd.DataFrame, stem: Path) -> None:
    """Draw the means of each variant against those of the one they are held against; `mine` says how far they agree."""
    study, rows, dataset = section.study, section.rows, section.dataset
    axis, against = study.columns[0], str(study.against)
    if mine.empty:
        why = f"{against} and another variant have too few rows in common on {dataset}."
        drawing.save_nothing(stem, [axis, "row", "title", "x", "y"], why)
        return
    tables = {label: _points(rows, axis, str(label), against) for label in mine[axis]}
    metric = rows["metric"].iloc[0]
    with drawing.styled():
        figure = Figure(figsize=(COLUMN * len(tables), COLUMN * 1.1), layout="constrained")
        panels = figure.subplots(1, len(tables), squeeze=False)[0]
        for axes, (label, table), row in zip(panels, tables.items(), records(mine), strict=True):
            title = f"{row['rows']} rows, tau-b {orders.with_bounds(row['tau'], row['low'], row['high'])}"
            orders.draw_orders(axes, table, (table["x"], table["y"]), title)
            axes.set_xlabel(f"{metric}, {label}")
            axes.set_ylabel(f"{metric}, {against}")
        figure.draw_without_rendering()  # sets the scales that labels are placed by
        for axes, table in zip(panels, tables.values(), strict=True):
            points.place_labels(figure, axes, table)
        tidy = pd.concat([table.assign(**{axis: label}) for label, table in tables.items()])
        drawing.save(figure, stem, tidy, _agreement_caption(study, dataset, rows))


def _points(rows: pd.DataFrame, axis: str, label: str, against: str) -> pd.DataFrame:
    """Return rows that both variants have, in the form of `points`."""
    trained = rows[(rows["track"] == "controlled") & ~rows["control"]]
    sides = []
    for name, place in (("x", label), ("y", against)):
        part = trained[trained[axis] == place].set_index("row")[["mean", "low", "high"]]
        sides.append(part.rename(columns={"mean": name, "low": f"{name}_low", "high": f"{name}_high"}))
    about = trained[trained[axis] == against].set_index("row")[["title", "tier", "track"]]
    return pd.concat([about, *sides], axis=1, join="inner").reset_index().assign(control=False)


def _agreement_caption(study: Study, dataset: str, rows: pd.DataFrame) -> str:
    return (
        f"Does another {next(iter(study.axes))} put methods in the order of {study.against}, on {dataset}? A point is "
        f"a row at its mean {rows['metric'].iloc[0]} over seeds; bars: 95 % Student t intervals over seeds, which may "
        "extend beyond the panel. In brackets: where tau-b lies in 95 % of the resamples of seeds and queries, which "
        "noise lowers."
    )


def draw_response(section: Section, stem: Path) -> None:
    """Draw each row's difference from the reference along the first axis, a panel a label of the second."""
    study, rows, dataset = section.study, section.rows, section.dataset
    names, columns = list(study.axes), study.columns
    places = study.axes[names[0]]
    shown = rows[(rows["track"] != "baseline") & ~rows["control"] & rows["difference"].notna()]
    if shown.empty:
        why = f"{dataset} has no row beside its reference."
        drawing.save_nothing(stem, [*columns, "row", "difference"], why)
        return
    panels = study.axes[names[1]] if len(names) > 1 else [""]
    lines = shown.drop_duplicates("row").reset_index(drop=True)
    with drawing.styled():
        figure = Figure(figsize=(max(PAGE, COLUMN * len(panels)), 3.1), layout="constrained")
        drawn = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for axes, panel in zip(drawn, panels, strict=True):
            part = shown[shown[columns[1]] == panel] if panel else shown
            for number, row in enumerate(records(lines)):
                _line(axes, part[part["row"] == row["row"]], columns[0], places, number, len(lines))
            axes.axhline(0, color=QUIET, lw=0.9, zorder=0)
            axes.set_xticks(
                range(len(places)),
                [drawing.label(name, WIDE if len(places) <= FEW else NARROW) for name in places],
            )
            axes.set_xlim(-0.6, len(places) - 0.4)
            axes.set_xlabel(names[0])
            axes.set_title(f"{names[1]}: {panel}" if panel else "")
            axes.grid(axis="y")
        drawn[0].set_ylabel(f"{shown['metric'].iloc[0]} minus {_reference(rows, shown)}")
        figure.legend(
            handles=[_handle(number, marked(row)) for number, row in enumerate(records(lines))],
            loc="outside upper center", ncols=4,
        )  # fmt: skip
        drawing.save(figure, stem, shown, _response_caption(study, dataset, rows, shown))


def draw_sweep(section: Section, stem: Path) -> None:
    """Draw each row's metric along the swept key, and beside it what rows gain over the reference."""
    line, rows = section.study, section.rows
    axis, column = next(iter(line.axes)), line.columns[0]
    trained = rows[(rows["track"] != "baseline") & ~rows["control"]]
    if trained.empty:
        drawing.save_nothing(stem, [column, "row", "mean"], f"No row has two values of {axis}.")
        return
    lines = trained.drop_duplicates("row").reset_index(drop=True)
    gains = trained[trained["difference"].notna()]
    bounds = {"difference": "mean", "difference_low": "low", "difference_high": "high"}
    values = trained.drop(columns=list(bounds)).rename(columns={own: name for name, own in bounds.items()})
    with drawing.styled():
        figure = Figure(figsize=(PAGE, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes, part in ((left, values), (right, gains)):
            for number, row in enumerate(records(lines)):
                _line(axes, part[part["row"] == row["row"]], column, line.axes[axis], number, len(lines))
            axes.set_xticks(range(len(line.axes[axis])), line.axes[axis])
            axes.set_xlabel(axis)
            axes.grid(axis="y")
        left.set_ylabel(rows["metric"].iloc[0])
        right.set_ylabel(f"minus {_reference(rows, gains)}" if len(gains) else "")
        right.axhline(0, color=QUIET, lw=0.9, zorder=0)
        figure.legend(
            handles=[_handle(number, marked(row)) for number, row in enumerate(records(lines))],
            loc="outside upper center", ncols=4,
        )  # fmt: skip
        drawing.save(figure, stem, trained, _sweep_caption(section))


def _sweep_caption(section: Section) -> str:
    line, rows = section.study, section.rows
    assert line.base is not None
    return (
        f"{rows['metric'].iloc[0]} on {section.dataset} by {next(iter(line.axes))}; the suite's own value is "
        f"{line.base[0]}, and all else is as it is there. Left: means over seeds with 95 % Student t intervals. Right: "
        "what rows gain over the reference at the same value, with 95 % intervals over other seeds and other queries. "
        "Every place is a board of its own; marks of a place lie beside each other to be seen."
    )


def _line(axes: Axes, part: pd.DataFrame, column: str, places: list[str], number: int, many: int) -> None:
    """Draw a row's differences, each beside those of the other rows at its place; a line joins amounts of one kind."""
    by_place = part.set_index(column)
    shift = SPREAD * (number / max(many - 1, 1) - 0.5)
    for _, joined in groupby((place for place in places if place in by_place.index), key=_kind):
        found = list(joined)
        mine = by_place.loc[found]
        axes.errorbar(
            [places.index(place) + shift for place in found],
            mine["difference"],
            yerr=[mine["difference"] - mine["difference_low"], mine["difference_high"] - mine["difference"]],
            elinewidth=0.8,
            **_look(number),
        )


def _kind(place: str) -> str:
    """Return a place's name without its amount: between `random 512` and `glove 50` nothing lies."""
    return place.rstrip("0123456789.")


def _look(number: int) -> dict[str, Any]:
    colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
    return {"color": colour, "marker": mark, "ms": 3.5, "lw": 0.9}


def _handle(number: int, title: str) -> Line2D:
    return Line2D([], [], label=drawing.label(title, 24), **_look(number))


def _reference(rows: pd.DataFrame, shown: pd.DataFrame) -> str:
    """Return the title of the row that these are compared with; `the reference` where there are several."""
    titles = rows.loc[rows["row"].isin(shown["reference"]), "title"].unique()
    return str(titles[0]) if len(titles) == 1 else "the reference"


def _response_caption(study: Study, dataset: str, rows: pd.DataFrame, shown: pd.DataFrame) -> str:
    return (
        f"What rows gain over {_reference(rows, shown)} in {shown['metric'].iloc[0]} on {dataset}, by "
        f"{' and '.join(study.axes)}. Bars: 95 % intervals over other seeds and other queries. Every place is a board "
        "of its own; marks of a place lie beside each other to be seen."
    )
