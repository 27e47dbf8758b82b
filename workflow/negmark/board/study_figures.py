"""The figures of a study: orders of rows against each other, or what each row gains along an axis."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from negmark.board.figures import drawing, orders, points
from negmark.board.figures.drawing import COLUMN, PAGE, QUIET
from negmark.core.names import records
from negmark.suite.study import Study

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
"""Of rows: Okabe and Ito's, which colour-blind readers tell apart, and one more."""
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "p")
SPREAD = 0.5
"""Of a step along the axis: how far the marks of a place lie apart."""


def draw_agreement(
    study: Study, rows: pd.DataFrame, agreements: pd.DataFrame, dataset: str, folder: Path
) -> None:
    """Draw the means of each variant against those of the one they are held against into `dataset`-agreement.*."""
    axis = next(iter(study.axes))
    mine = agreements[agreements["dataset"] == dataset]
    stem, columns = folder / f"{dataset}-agreement", [axis, "row", "title", "x", "y"]
    if mine.empty:
        drawing.save_nothing(stem, columns, f"{dataset} is on one board alone.")
        return
    tables = {label: _points(rows, axis, str(label), str(study.against)) for label in mine[axis]}
    metric = rows["metric"].iloc[0]
    with drawing.styled():
        figure = Figure(figsize=(COLUMN * len(tables), COLUMN * 1.1), layout="constrained")
        panels = figure.subplots(1, len(tables), squeeze=False)[0]
        for axes, (label, table), row in zip(panels, tables.items(), records(mine), strict=True):
            title = f"{row['rows']} rows, tau-b {orders.with_bounds(row['tau'], row['low'], row['high'])}"
            orders.draw_orders(axes, table, (table["x"], table["y"]), title)
            axes.set_xlabel(f"{metric}, {label}")
            axes.set_ylabel(f"{metric}, {study.against}")
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
        "extend beyond the panel. In brackets: 95 % percentile intervals of tau-b over resampled seeds and queries."
    )


def draw_response(study: Study, rows: pd.DataFrame, dataset: str, folder: Path) -> None:
    """Draw each row's difference from the reference along the first axis, a panel a label of the second."""
    axes_names = list(study.axes)
    places = study.axes[axes_names[0]]
    panels = study.axes[axes_names[1]] if len(axes_names) > 1 else [""]
    shown = rows[(rows["track"] != "baseline") & ~rows["control"] & rows["difference"].notna()]
    stem = folder / f"{dataset}-response"
    if shown.empty:
        drawing.save_nothing(
            stem, [*axes_names, "row", "difference"], f"{dataset} has no row beside its reference."
        )
        return
    titles = list(shown["title"].drop_duplicates())
    with drawing.styled():
        figure = Figure(figsize=(max(PAGE, COLUMN * len(panels)), 3.1), layout="constrained")
        for place, (axes, panel) in enumerate(
            zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True)
        ):
            part = shown[shown[axes_names[1]] == panel] if panel else shown
            for number, title in enumerate(titles):
                _line(axes, part[part["title"] == title], axes_names[0], places, number, len(titles))
            axes.axhline(0, color=QUIET, lw=0.9, zorder=0)
            axes.set_xticks(range(len(places)), [drawing.label(name, 10) for name in places])
            axes.set_xlabel(axes_names[0])
            if panel:
                axes.set_title(f"{axes_names[1]}: {panel}")
            if not place:
                axes.set_ylabel(f"{shown['metric'].iloc[0]} minus {shown['reference'].iloc[0]}")
            axes.grid(axis="y")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4)
        drawing.save(figure, stem, shown, _response_caption(study, dataset, shown))


def _line(axes: object, part: pd.DataFrame, axis: str, places: list[str], number: int, many: int) -> None:
    by_place = part.set_index(axis)
    found = [place for place in places if place in by_place.index]
    shift = SPREAD * (number / max(many - 1, 1) - 0.5)
    mine = by_place.loc[found]
    axes.errorbar(  # type: ignore[attr-defined]
        [places.index(place) + shift for place in found],
        mine["difference"],
        yerr=[mine["difference"] - mine["difference_low"], mine["difference_high"] - mine["difference"]],
        color=COLOURS[number % len(COLOURS)], marker=MARKS[number % len(MARKS)], ms=3.5, lw=0.9, elinewidth=0.8,
        label=drawing.label(part["title"].iloc[0] if len(part) else "", 24),
    )  # fmt: skip


def _response_caption(study: Study, dataset: str, shown: pd.DataFrame) -> str:
    return (
        f"What rows gain over {shown['reference'].iloc[0]} in {shown['metric'].iloc[0]} on {dataset}, by "
        f"{' and '.join(study.axes)}. Bars: 95 % intervals over other seeds and other queries. Every place is a board "
        "of its own; marks of a place lie beside each other to be seen."
    )
