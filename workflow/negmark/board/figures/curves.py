"""Stage curves: how good each method is on the dev split during training, over steps and over compute.

One figure per dataset, `<dataset>-curves`, with a row of panels per tier and track, in the form of the other
figures: SVG, PNG, PDF, a tidy CSV and a caption; equal inputs give equal bytes.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from negmark.board.figures import drawing
from negmark.compare.statistics import interval
from negmark.core.errors import UserError
from negmark.core.tiers import TIERS, in_order
from negmark.store.board import Board
from negmark.store.curve import has_points, read_curve
from negmark.store.run import metrics_of

# Okabe and Ito's colours, which colour-blind readers can distinguish; with the dashes they make 28 lines
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")
COMPUTE = "compute"
AXES = {"step": "step", COMPUTE: "vectors encoded + queries searched", "joules": "energy (J)"}
ABOUT = ("row", "title", "tier", "track", "seed")
COST = ("vectors", "searches", "pairs", "teacher_vectors", "network_forwards", "wall_seconds", "joules")

Curves = list[tuple[dict[str, Any], Path]]


def draw_curves(runs: Curves, dataset: str, folder: Path) -> None:
    """Draw the metric that ranks the board on dev queries over steps and over compute into `folder`/`dataset`-curves.*.

    `runs` pairs the content of each metrics.json with its dev.parquet. A line is the mean over the seeds of a method,
    the band around it the 95 % Student t interval over them.
    """
    tidy, metric = curve_table(runs, dataset), metrics_of(runs[0][0])[0]
    groups = [(tier, track) for tier in in_order(list(tidy["tier"])) for track in _tracks(tidy, tier)]
    shown = [axis for axis in AXES if axis != "joules" or tidy["joules"].notna().all()]
    with drawing.styled():
        figure = Figure(figsize=(3.1 * len(shown) + 2.6, 2.9 * len(groups)), layout="constrained")
        grid = figure.subplots(len(groups), len(shown), sharey="row", squeeze=False)
        for panels, (tier, track) in zip(grid, groups, strict=True):
            part = tidy[(tidy["tier"] == tier) & (tidy["track"] == track)]
            for axes, axis in zip(panels, shown, strict=True):
                _panel(axes, part, axis)
            panels[0].set_ylim(*_limits(part[metric]))
            panels[0].set_ylabel(f"dev {metric}")
            panels[0].set_title(f"{tier} tier, {track} track", loc="left")
            panels[-1].legend(
                handles=_legend(part), loc="upper left", bbox_to_anchor=(1.02, 1.02), borderaxespad=0
            )
        drawing.save(figure, folder / f"{dataset}-curves", tidy, _caption(tidy, metric, groups, dataset))


def curve_table(runs: Curves, dataset: str) -> pd.DataFrame:
    """One row per (method, seed, point), the best final method first: value, cost so far, mean and bounds.

    `compute` is the vectors encoded, re-encoded corpora included, plus the queries searched over the corpus, with
    equal weight. `mean`, `low` and `high` are over the seeds at that step, and so are
    `compute_mean` and `joules_mean`.
    """
    mine = [
        (run, path) for run, path in runs if run["dataset"] == dataset and not TIERS[run["tier"]].scores_pairs
    ]
    if not mine:
        raise UserError(f"{dataset}: no run with a learning curve to draw; set `curve_every` of its tier")
    metric = metrics_of(mine[0][0])[0]
    parts = [read_curve(path, metric).assign(**{key: run[key] for key in ABOUT}) for run, path in mine]
    table = pd.concat([part.dropna(axis=1, how="all") for part in parts], ignore_index=True)
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *COST])))
    table[COMPUTE] = table["vectors"] + table["searches"]
    places = ["row", "step"]
    bounds = pd.DataFrame(
        [(*key, *interval(list(values))) for key, values in table.groupby(places)[metric]],
        columns=[*places, "mean", "low", "high"],
    )
    costs = table.groupby(places)[[COMPUTE, "joules"]].mean().add_suffix("_mean").reset_index()
    table = table.merge(bounds, on=places).merge(costs, on=places)
    last = table.sort_values("step").groupby("row")["mean"].last()
    order = {
        method: place for place, method in enumerate(last.sort_values(ascending=False, kind="stable").index)
    }
    table = table.assign(place=table["row"].map(order)).sort_values(["place", "seed", "step"])
    columns = [*ABOUT, "step", "slice", "queries", metric, COMPUTE, *COST, "mean", "low", "high"]
    return table[[*columns, f"{COMPUTE}_mean", "joules_mean"]].reset_index(drop=True)


def at_equal_compute(part: pd.DataFrame) -> tuple[float, pd.DataFrame]:
    """Return the most compute that all methods reach, and the last point of each up to there, the best first."""
    lines = part.drop_duplicates(["row", "step"])
    reached = float(lines.groupby("row")[f"{COMPUTE}_mean"].max().min())
    there = lines[lines[f"{COMPUTE}_mean"] <= reached].sort_values("step")
    last = there.groupby("row", sort=False).tail(1)
    return reached, last.sort_values(["mean", "row"], ascending=[False, True])


def _tracks(tidy: pd.DataFrame, tier: str) -> list[str]:
    return sorted(tidy.loc[tidy["tier"] == tier, "track"].unique())


def _panel(axes: Axes, part: pd.DataFrame, axis: str) -> None:
    across = axis if axis == "step" else f"{axis}_mean"
    for place, (_, line) in enumerate(part.groupby("row", sort=False)):
        points = line.drop_duplicates("step").sort_values("step")
        points = points[points[across] > 0] if axis != "step" else points
        colour, dash = _look(place)
        axes.plot(points[across], points["mean"], color=colour, ls=dash, lw=1.3)
        axes.fill_between(points[across], points["low"], points["high"], color=colour, alpha=0.12, lw=0)
    if axis != "step":
        axes.set_xscale("log")
    axes.set_xlabel(AXES[axis])
    axes.grid()


def _limits(values: "pd.Series[float]") -> tuple[float, float]:
    """A scale that holds all seeds: intervals of two seeds are so wide that they would flatten the lines."""
    low, high = values.min(), values.max()
    room = 0.08 * (high - low) or 0.01
    return low - room, high + room


def _look(place: int) -> tuple[str, Any]:
    return COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]


def _legend(part: pd.DataFrame) -> list[Line2D]:
    titles = part.drop_duplicates("row")["title"]
    return [
        Line2D([], [], color=_look(place)[0], ls=_look(place)[1], lw=1.3, label=drawing.label(title))
        for place, title in enumerate(titles)
    ]


def _caption(tidy: pd.DataFrame, metric: str, groups: list[tuple[str, str]], dataset: str) -> str:
    which = "" if tidy["slice"].iloc[0] == "all" else "unseen "
    queries = f"{tidy['queries'].iloc[0]:,} {which}dev queries"
    counts = tidy.groupby("row")["seed"].nunique()
    seeds = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    energy = (
        "Energy is what the devices measured while a run trained, other work on them included."
        if tidy["joules"].notna().all()
        else "Energy: unknown, as the hardware doesn't report it."
    )
    return (
        f"{metric} on {queries} of {dataset}, the whole corpus searched, while methods train: over steps (left), the "
        "same number for all, and over the compute of each so far: vectors encoded, those of a re-encoded corpus "
        "included, plus queries searched over the corpus. The cost of a search relative to an encoded vector depends "
        "on tier and hardware; the table has both. Lines: means over seeds "
        f"({seeds} per method); bands: 95 % Student t intervals over seeds, which may extend beyond the panel. "
        f"{_equal(tidy, groups)} {energy} The evaluations themselves are not counted."
    )


def _equal(tidy: pd.DataFrame, groups: list[tuple[str, str]]) -> str:
    sentences = []
    for tier, track in groups:
        part = tidy[(tidy["tier"] == tier) & (tidy["track"] == track)]
        if part["row"].nunique() < 2:
            continue
        reached, methods = at_equal_compute(part)
        first = ", ".join(f"{row.title} {row.mean:.3f}" for row in methods.head(3).itertuples())
        sentences.append(
            f"{tier.capitalize()} tier, {track} track: at {reached:,.0f}, which all reach, {first}."
        )
    return " ".join(sentences)


def draw(board: Board, dataset: str, folder: Path) -> None:
    """Draw the figure of a board, from the runs whose tier records a curve."""
    curves = [run / "dev.parquet" for run in board.run_folders(dataset)]
    runs = zip(board.evaluations(dataset, baselines=False), curves, strict=True)
    draw_curves([(run, curve) for run, curve in runs if has_points(curve)], dataset, folder)


if __name__ == "__main__":
    drawing.command(draw)
