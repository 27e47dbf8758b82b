"""Stage agreement: does the order of methods in a cheap tier foretell their order in a costly one?

One figure a dataset, `<dataset>-tiers`, with a panel for every two tiers and track that have methods in common,
in the form of the other figures: SVG, PNG, PDF, a tidy CSV and a caption; equal inputs give equal bytes.
"""

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from typer import Option

from workflow import stage
from workflow.comparison import Comparison, from_option
from workflow.contents import Contents
from workflow.figures import STYLE, TRAINED, label, runs_of, save
from workflow.standings import RANKED_BY, ranking_slice, read_run, records, summarise
from workflow.statistics import RESAMPLES, Agreement, agreement

CHANCE = 0.05  # a random order that agrees as well more often than this shows nothing
POINTS_AWAY = (5.0, 11.0, 20.0, 30.0)  # of a label from its point
ACROSS: dict[int, Literal["left", "center", "right"]] = {1: "left", 0: "center", -1: "right"}
ALONG: dict[int, Literal["bottom", "center", "top"]] = {1: "bottom", 0: "center", -1: "top"}
SIDES = [side for side in product((1, -1, 0), (1, -1, 0)) if side != (0, 0)]


def draw_agreement(
    runs: list[dict[str, Any]], comparisons: Sequence[Comparison], dataset: str, folder: Path
) -> None:
    """Draw mean nDCG@10 in one tier against another, a point a method, into `folder`/`dataset`-tiers.*.

    `runs` are the contents of the metrics.json files of all rows compared, on the slice that ranks the dataset.
    """
    frame = summarise(runs_of(dataset, runs))
    ranking = ranking_slice(frame)
    tidy = agreement_table(runs, frame, comparisons)
    found = [_measured(tidy, place) for place in range(len(comparisons))]
    with matplotlib.style.context(STYLE):
        wide = len(comparisons)
        figure = Figure(figsize=(4.9 * wide, 4.6), layout="constrained")
        panels = figure.subplots(1, wide, squeeze=False)[0]
        for place, (axes, part) in enumerate(zip(panels, comparisons, strict=True)):
            _panel(axes, tidy[tidy["comparison"] == place], part, found[place], ranking)
        figure.draw_without_rendering()  # sets the scales that labels are placed by
        for place, axes in enumerate(panels):
            _place_labels(figure, axes, _points(tidy[tidy["comparison"] == place]))
        queries = (
            f"{frame[f'test_queries/{ranking}'].iloc[0]:,} {'test' if ranking == 'all' else ranking} queries"
        )
        caption = _caption(dataset, queries, comparisons, found, tidy)
        save(figure, folder / f"{dataset}-tiers", tidy, caption)


def agreement_table(
    runs: list[dict[str, Any]], frame: pd.DataFrame, comparisons: Sequence[Comparison]
) -> pd.DataFrame:
    """One row a (comparison, axis, method, seed): the seed's nDCG@10, and the row's mean and bounds.

    `axis` is x for the cheap tier and y for the costly one; `title` is the same on both.
    """
    ranking = ranking_slice(frame)
    rows = {row["method"]: row for row in records(frame)}
    seeds: dict[str, list[dict[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: str(run["seed"])):
        seeds.setdefault(run["method"], []).append(run)
    return pd.DataFrame(
        [
            {
                "comparison": place,
                "axis": axis,
                "title": rows[pair[0]]["title"],
                **{key: rows[name][key] for key in ("method", "class", "tier", "track")},
                "slice": ranking,
                "seed": run["seed"],
                RANKED_BY: run["slices"][ranking][RANKED_BY],
                **{kind: rows[name][f"{RANKED_BY}/{ranking}/{kind}"] for kind in ("mean", "low", "high")},
            }
            for place, part in enumerate(comparisons)
            for pair in part.rows
            for axis, name in zip("xy", pair, strict=True)
            for run in seeds[name]
        ]
    )


def verdict(found: Agreement) -> str:
    """What two orders say of each other in plain words, and whether that is more than seeds or chance."""
    often = f"an order at random agrees as well in {100 * found.chance:.1f} % of cases"
    if math.isnan(found.tau):
        return "In one tier all means are equal, which is no order: no agreement shown."
    if math.isnan(found.tau_low):
        return "A method with one seed gives no interval: no agreement shown."
    if found.tau_low <= 0 <= found.tau_high:
        return "The interval of tau-b holds 0: no agreement shown."
    if found.tau_high < 0:
        return "The interval of tau-b lies below 0: the orders run against each other."
    if found.chance > CHANCE:
        return (
            f"The interval of tau-b lies above 0, but {often}: no agreement shown beyond these few methods."
        )
    return f"The interval of tau-b lies above 0, and {often}: the orders agree."


def _measured(tidy: pd.DataFrame, place: int) -> Agreement:
    part = tidy[tidy["comparison"] == place]
    sides = [part[part["axis"] == axis].groupby("method", sort=False)[RANKED_BY] for axis in "xy"]
    first, second = ([seeds.tolist() for _, seeds in side] for side in sides)
    return agreement(first, second)


def _points(tidy: pd.DataFrame) -> pd.DataFrame:
    """One row a method in the order of the comparison: `x`, `x_low`, `x_high`, the same of y, and `title`."""
    sides = []
    for axis in "xy":
        rows = tidy[tidy["axis"] == axis].drop_duplicates("method").reset_index(drop=True)
        names = {"mean": axis, "low": f"{axis}_low", "high": f"{axis}_high"}
        sides.append(rows[["title", *names]].rename(columns=names))
    return pd.concat([sides[0], sides[1].drop(columns="title")], axis=1)


def _panel(axes: Axes, tidy: pd.DataFrame, part: Comparison, found: Agreement, ranking: str) -> None:
    points = _points(tidy)
    across, along = (
        [points[axis] - points[f"{axis}_low"], points[f"{axis}_high"] - points[axis]] for axis in "xy"
    )
    axes.errorbar(points["x"], points["y"], along, across, fmt="none", ecolor="#7fb8d8", elinewidth=1.0)
    axes.plot(points["x"], points["y"], "d", color=TRAINED, ms=5, mew=0)
    axes.set_xlim(_limits(tidy, "x"))
    axes.set_ylim(_limits(tidy, "y"))
    axes.set_xlabel(f"{RANKED_BY} in the {part.cheap} tier ({ranking} queries)")
    axes.set_ylabel(f"{RANKED_BY} in the {part.costly} tier ({ranking} queries)")
    tau, rho = _with_bounds(*found[:3]), _with_bounds(*found[3:6])
    axes.set_title(
        f"{part.cheap} and {part.costly} tier, {part.track} track, {len(part.rows)} methods\n"
        f"Kendall's tau-b {tau}\nSpearman's rho {rho}"
    )
    axes.grid()
    axes.locator_params(nbins=6)


def _limits(tidy: pd.DataFrame, axis: str) -> tuple[float, float]:
    """A scale that holds all seeds: the intervals of two seeds are so wide that they would press the points flat."""
    values = tidy.loc[tidy["axis"] == axis, RANKED_BY]
    room = 0.16 * (values.max() - values.min()) or 0.01
    return values.min() - room, values.max() + room


def _with_bounds(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "undefined"
    return f"{value:.2f}" if math.isnan(low) else f"{value:.2f} ({low:.2f} to {high:.2f})"


# --- labels -----------------------------------------------------------------------------------------------


def _place_labels(figure: Figure, axes: Axes, points: pd.DataFrame) -> None:
    """Label the points one by one, each where it covers least of labels, points and bars, near ones first."""
    pixels = figure.get_dpi() / 72
    taken = _drawn(axes, points)
    for row in records(points):
        text = axes.annotate(
            label(row["title"], 22), (row["x"], row["y"]), (0, 0), textcoords="offset points",
            fontsize=7.5, color="#222222", linespacing=1.0,
        )  # fmt: skip
        text.set_in_layout(False)
        anchor, size = axes.transData.transform((row["x"], row["y"])), text.get_window_extent()
        boxes = {
            (away, side): _box(anchor, size, side, away * pixels) for away in POINTS_AWAY for side in SIDES
        }
        cost = {place: _covered(box, taken, axes.bbox) + place[0] * pixels for place, box in boxes.items()}
        away, side = min(cost, key=lambda place: cost[place])
        taken.append(boxes[away, side])
        text.set_position((side[0] * away, side[1] * away))
        text.set_horizontalalignment(ACROSS[side[0]])
        text.set_verticalalignment(ALONG[side[1]])
        if away > POINTS_AWAY[0]:
            end = axes.transData.inverted().transform(_nearest(anchor, boxes[away, side]))
            axes.plot([row["x"], end[0]], [row["y"], end[1]], color="#999999", lw=0.5, zorder=1)


def _drawn(axes: Axes, points: pd.DataFrame) -> list[Bbox]:
    """Boxes in pixels of all points and bars, with a little room around them."""
    boxes = []
    for row in records(points):
        x, y = axes.transData.transform((row["x"], row["y"]))
        boxes.append(Bbox.from_bounds(x - 6, y - 6, 12, 12))
        spans = [
            [(row["x_low"], row["y"]), (row["x_high"], row["y"])],
            [(row["x"], row["y_low"]), (row["x"], row["y_high"])],
        ]
        ends = [axes.transData.transform(span) for span in spans if not np.isnan(span).any()]
        boxes += [Bbox([low - 3, high + 3]) for low, high in ends]
    return boxes


def _box(anchor: NDArray[np.float64], size: Bbox, side: tuple[int, int], away: float) -> Bbox:
    """The box of a text of `size` on one side of a point, `away` pixels off."""
    left = anchor[0] + side[0] * away - size.width * (1 - side[0]) / 2
    bottom = anchor[1] + side[1] * away - size.height * (1 - side[1]) / 2
    return Bbox.from_bounds(left, bottom, size.width, size.height)


def _covered(box: Bbox, taken: list[Bbox], inside: Bbox) -> float:
    """Square pixels that a box covers of others, and four times those outside the panel."""
    shared = [Bbox.intersection(box, other) for other in taken]
    kept = Bbox.intersection(box, inside)
    outside = box.width * box.height - (kept.width * kept.height if kept else 0.0)
    return sum(part.width * part.height for part in shared if part) + 4 * outside


def _nearest(anchor: NDArray[np.float64], box: Bbox) -> NDArray[np.float64]:
    return np.clip(anchor, box.min, box.max)


# --- caption ----------------------------------------------------------------------------------------------


def _caption(
    dataset: str, queries: str, comparisons: Sequence[Comparison], found: list[Agreement], tidy: pd.DataFrame
) -> str:
    counts = tidy.groupby(["comparison", "axis", "method"]).size()
    seeds = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    told = " ".join(_told(part, one) for part, one in zip(comparisons, found, strict=True))
    return (
        f"Does the order of methods in a cheap tier foretell their order in a costly one, on {dataset}? A point is a "
        f"method that stands in both with the same parameters, at its mean nDCG@10 over seeds ({seeds} a method) on "
        f"the {queries}; bars: 95 % Student t intervals over seeds, which may go on beyond the panel. {told} In "
        f"brackets: 95 % percentile intervals over {RESAMPLES:,} resamples of the seeds within each method. They tell "
        "what other seeds would do with these methods and queries, nothing of other methods or queries. With few "
        "methods the interval is wide, and where it is narrow it still speaks of these few alone."
    )


def _told(part: Comparison, found: Agreement) -> str:
    many = len(part.rows)
    pairs = many * (many - 1) // 2
    tau, rho = _with_bounds(*found[:3]), _with_bounds(*found[3:6])
    return (
        f"{part.cheap.capitalize()} and {part.costly} tier, {part.track} track, {many} methods: Kendall's tau-b "
        f"{tau}, Spearman's rho {rho}. {verdict(found)} One of the {pairs} pairs of methods in another order "
        f"moves tau-b by {2 / pairs:.2f}."
    )


def main(
    contents: Annotated[str, Option(help="what stands on the board, as JSON")],
    comparisons: Annotated[str, Option(help="which rows of two tiers are compared, as JSON")],
    dataset: Annotated[str, Option(help="the dataset that is drawn")],
    folder: Annotated[Path, Option(help="where the figure goes")],
) -> None:
    """Draw how far the orders of methods in two tiers agree."""
    listed, asked = Contents.model_validate_json(contents), from_option(comparisons)
    compared = {name for part in asked for pair in part.rows for name in pair}
    paths = [run / "metrics.json" for run in listed.runs(dataset) if run.parent.name in compared]
    draw_agreement([read_run(path) for path in paths], asked, dataset, folder)


if __name__ == "__main__":
    stage.command(main)
