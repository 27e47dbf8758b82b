"""Figure quality: how good each method is on each slice of a dataset's test queries, seed by seed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from negmark.board.figures import drawing
from negmark.board.figures.drawing import COLUMN, CONTROLLED, PAGE, QUIET
from negmark.board.standings import ranked_by, ranking_slice, shown_slices, summarise
from negmark.core.names import records
from negmark.store.board import Board

ROW, LEAST = 0.145, 0.6  # inches: of a method, of all
NAME = 34  # letters


def draw_quality(runs: list[dict[str, Any]], dataset: str, folder: Path) -> None:
    """Draw the ranking metric of every method on each slice of `dataset` into `folder`/`dataset`-quality.*.

    A diamond is the mean over seeds, its bar the 95 % Student t interval, the dots are the seeds; methods are in
    the order of the board, with a rule between rankings. A baseline is a line across all methods. One slice takes a
    column of a paper, three take its page.
    """
    runs = drawing.runs_of(dataset, runs)
    frame = summarise(runs)
    tidy = quality_table(runs, frame)
    slices, by = shown_slices(frame), ranked_by(frame)
    trained = drawing.trained_rows(frame, dataset)
    with drawing.styled():
        size = (PAGE if len(slices) > 1 else COLUMN, 0.85 + max(ROW * len(trained), LEAST))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(slices), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, slices, strict=True):
            _panel(axes, tidy[tidy["slice"] == name], name, by, ranking=name == ranking_slice(frame))
            for place in borders(trained):
                axes.axhline(place - 0.5, color="#c8c8c8", lw=0.6, zorder=0)
        titles = [drawing.label(name, NAME, 1) for name in drawing.names(frame, trained)]
        panels[0].set_yticks(range(len(trained)), titles)
        panels[0].set_ylim(len(trained) - 0.4, -0.6)
        legend = _legend(frame)
        figure.legend(handles=legend, loc="outside lower center", ncols=len(legend) if len(slices) > 1 else 2)
        drawing.save(figure, folder / f"{dataset}-quality", tidy, _caption(frame, dataset))


def quality_table(runs: list[dict[str, Any]], frame: pd.DataFrame) -> pd.DataFrame:
    """One row per (method, slice, seed) in the board's order: the seed's value, and the mean and its bounds."""
    by = ranked_by(frame)
    rows = [
        {
            **{key: row[key] for key in ("row", "title", "tier", "track")},
            "slice": name,
            "queries": run["slices"][name]["queries"],
            "seed": run["seed"],
            by: run["slices"][name][by],
            **{kind: row[f"{by}/{name}/{kind}"] for kind in ("mean", "low", "high")},
        }
        for row in records(frame)
        for name in shown_slices(frame)
        for run in sorted(runs, key=lambda run: str(run["seed"]))
        if run["row"] == row["row"]
    ]
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def borders(trained: pd.DataFrame) -> list[int]:
    """Places of the rows that begin another ranking."""
    rankings = list(zip(trained["tier"], trained["track"], strict=True))
    return [place for place in range(1, len(rankings)) if rankings[place] != rankings[place - 1]]


def _panel(axes: Axes, tidy: pd.DataFrame, name: str, by: str, ranking: bool) -> None:
    """Dots, bars and seeds of one slice; the slice that ranks the board has its title in bold."""
    trained = tidy[tidy["track"] != "baseline"]
    for place, (_, seeds) in enumerate(trained.groupby("row", sort=False)):
        first, colour = seeds.iloc[0], drawing.COLOURS.get(seeds["track"].iloc[0], "black")
        below = np.full(len(seeds), place + 0.3)
        axes.plot(seeds[by], below, "o", ms=1.9, color=colour, alpha=0.35, mew=0)
        axes.plot([first["low"], first["high"]], [place, place], color=colour, lw=1.1, solid_capstyle="butt")
        axes.plot(first["mean"], place, "d", ms=3.4, color=colour, mew=0)
    for line, baseline in drawing.baselines(tidy):
        axes.axvline(baseline["mean"], color=QUIET, lw=0.9, ls=line, zorder=0)
    axes.set_title(f"{name}, n = {tidy['queries'].iloc[0]:,}", fontweight="bold" if ranking else "normal")
    axes.set_xlabel(by)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)


def _legend(frame: pd.DataFrame) -> list[Line2D]:
    methods = [
        Line2D([], [], color=CONTROLLED, lw=1.1, marker="d", ms=3.4, mew=0, label="mean and 95 % interval"),
        Line2D([], [], ls="", marker="o", ms=1.9, color=CONTROLLED, alpha=0.35, mew=0, label="one seed"),
    ]
    if (frame["track"] == "faithful").any():
        label, colour = "faithful track", drawing.FAITHFUL
        methods.append(Line2D([], [], color=colour, lw=1.1, marker="d", ms=3.4, mew=0, label=label))
    return [*methods, *drawing.baseline_handles(frame)]


def _caption(frame: pd.DataFrame, dataset: str) -> str:
    trained, ranking, by = frame[frame["track"] != "baseline"], ranking_slice(frame), ranked_by(frame)
    counts = ", ".join(f"{name} {frame[f'test_queries/{name}'].iloc[0]:,}" for name in shown_slices(frame))
    return (
        f"{by} on {dataset} by slice of the test {drawing.judged(by)} ({counts}). Diamonds: means over seeds "
        f"({drawing.counted(trained['seeds'])} per method); bars: 95 % Student t intervals over seeds; dots: single "
        "seeds; lines: systems not trained here. "
        f"Methods are in the order of the {ranking} {drawing.judged(by)}, each ranking by itself. Each panel has its "
        "own scale."
    )


def draw(board: Board, dataset: str, folder: Path) -> None:
    """Draw the figure of a board."""
    draw_quality(board.evaluations(dataset), dataset, folder)


if __name__ == "__main__":
    drawing.command(draw)
