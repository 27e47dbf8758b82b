"""Figure gain: the gain of training on unseen queries against that on seen ones, a point per method."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from negmark.board.figures import drawing, points
from negmark.board.figures.drawing import PAGE, QUIET
from negmark.board.standings import ranked_by, shown_slices, summarise
from negmark.core.names import UNTRAINED, records
from negmark.store.board import Board

PARTS = ("seen", "unseen")
COLUMNS = (
    "row",
    "title",
    "tier",
    "track",
    "control",
    "slice",
    "queries",
    "seed",
    "gain",
    "mean",
    "low",
    "high",
)


def draw_gain(runs: list[dict[str, Any]], dataset: str, folder: Path, controls: Sequence[str] = ()) -> None:
    """Draw the gain over the untrained encoder on unseen against seen queries into `folder`/`dataset`-gain.*.

    Nothing is drawn for a dataset that lacks one of the two slices.
    """
    runs = drawing.runs_of(dataset, runs)
    frame, stem = summarise(runs), folder / f"{dataset}-gain"
    one_slice = len(shown_slices(frame)) == 1
    if one_slice or UNTRAINED not in set(frame["row"]):
        needs = "both seen and unseen queries" if one_slice else "an untrained encoder"
        drawing.save_nothing(stem, COLUMNS, f"A gain needs {needs}, which {dataset} doesn't have.")
        return
    drawing.trained_rows(frame, dataset)
    tidy = gain_table(runs, frame, controls)
    table = _points(tidy)
    with drawing.styled():
        figure = Figure(figsize=(PAGE, 4.1), layout="constrained")
        axes = figure.subplots()
        points.draw_points(axes, table)
        _scale(axes, table, tidy)
        for name, part in zip(("x", "y"), PARTS, strict=True):
            count = tidy.loc[tidy["slice"] == part, "queries"].iloc[0]
            getattr(axes, f"set_{name}label")(f"gain in {ranked_by(frame)}, {count:,} {part} queries")
        figure.legend(handles=points.points_legend(table), loc="outside upper center", ncols=4)
        figure.draw_without_rendering()  # sets the scales that labels are placed by
        points.place_labels(figure, axes, table)
        drawing.save(figure, stem, tidy, _caption(frame, dataset))


def gain_table(runs: list[dict[str, Any]], frame: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """One row per (method, slice, seed): the seed's value minus the untrained encoder's, the row's mean and bounds."""
    by = ranked_by(frame)
    start = frame.set_index("row").loc[UNTRAINED]
    return pd.DataFrame(
        [
            {
                **{key: row[key] for key in ("row", "title", "tier", "track")},
                "control": row["row"] in controls,
                "slice": part,
                "queries": run["slices"][part]["queries"],
                "seed": run["seed"],
                "gain": run["slices"][part][by] - start[f"{by}/{part}/mean"],
                **{
                    kind: row[f"{by}/{part}/{kind}"] - start[f"{by}/{part}/mean"]
                    for kind in ("mean", "low", "high")
                },
            }
            for row in records(frame[frame["track"] != "baseline"])
            for part in PARTS
            for run in sorted(runs, key=lambda run: str(run["seed"]))
            if run["row"] == row["row"]
        ],
        columns=list(COLUMNS),
    )


def _points(tidy: pd.DataFrame) -> pd.DataFrame:
    sides = []
    for axis, part in zip("xy", PARTS, strict=True):
        rows = tidy[tidy["slice"] == part].drop_duplicates("row").set_index("row")
        names = {"mean": axis, "low": f"{axis}_low", "high": f"{axis}_high"}
        sides.append(rows.rename(columns=names)[list(names.values())])
    about = tidy.drop_duplicates("row").set_index("row")[["title", "tier", "track", "control"]]
    return pd.concat([about, *sides], axis=1).reset_index()


def _scale(axes: Axes, table: pd.DataFrame, tidy: pd.DataFrame) -> None:
    """Scales that hold all seeds and zero; below the dotted line, the seen queries gain more than the unseen."""
    for name, part in zip(("x", "y"), PARTS, strict=True):
        gains = pd.concat([tidy.loc[tidy["slice"] == part, "gain"], pd.Series([0.0])])
        getattr(axes, f"set_{name}lim")(points.limits(gains))
    axes.axhline(0, color=QUIET, lw=0.7, zorder=0)
    axes.axvline(0, color=QUIET, lw=0.7, zorder=0)
    axes.axline((0, 0), slope=1, color=QUIET, lw=0.9, ls=":", zorder=0)
    axes.grid()


def _caption(frame: pd.DataFrame, dataset: str) -> str:
    trained = frame[frame["track"] != "baseline"]
    return (
        f"Gain in {ranked_by(frame)} over the untrained encoder on {dataset}, on test queries that share a relevant "
        "document with a training query (seen) and on the rest (unseen): means over seeds "
        f"({drawing.counted(trained['seeds'])} per method), bars: 95 % Student t intervals over seeds, which may "
        "extend beyond the panel. On the dotted line both gain equally; methods far to its right have learnt documents "
        "rather than the task. The axes have different scales. Hollow: controls."
    )


def draw(board: Board, dataset: str, folder: Path) -> None:
    """Draw the figure of a board."""
    draw_gain(board.evaluations(dataset), dataset, folder, board.contents.controls)


if __name__ == "__main__":
    drawing.command(draw)
