"""Figure scores: what training did to the scores of positives and negatives, a panel per method."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from negmark.board.figures import drawing
from negmark.board.standings import summarise
from negmark.core.errors import UserError
from negmark.store.board import Board

KINDS = {"positive": "#0072B2", "negative": "#D55E00"}
BINS_A_UNIT = 50  # bins of cosine similarity are 0.02 wide on every dataset
PANELS_A_ROW = 4


def draw_scores(runs: list[tuple[dict[str, Any], Path]], dataset: str, folder: Path) -> None:
    """Draw the scores of positives and negatives at the first and last step into `folder`/`dataset`-scores.*.

    `runs` pairs the content of each metrics.json with its scores.parquet (step, kind, score: the cosine
    similarity of a query and a document in a training batch). One panel per method, pooled over its seeds.
    """
    mine = [(run, path) for run, path in runs if run["dataset"] == dataset]
    if not mine:
        raise UserError(f"{dataset}: no scores of a trained run to draw; give its scores.parquet files")
    frame = summarise([run for run, _ in mine])
    tidy = score_table(mine, list(frame["row"]))
    wide = min(PANELS_A_ROW, len(frame))
    tall = math.ceil(len(frame) / wide)
    with drawing.styled():
        size = drawing.width_of(wide, PANELS_A_ROW), 0.7 + 1.05 * tall
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(tall, wide, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, method, name in zip(grid, frame["row"], drawing.names(frame, frame), strict=False):
            _panel(axes, tidy[tidy["row"] == method], drawing.label(name, 26))
        for axes in grid[len(frame) :]:
            axes.remove()
        for axes in grid[max(0, len(frame) - wide) : len(frame)]:
            axes.tick_params(labelbottom=True)
        figure.supxlabel("cosine similarity of query and document", fontsize=7.5, color="#333333")
        figure.legend(handles=_legend(), loc="outside upper center", ncols=4 if wide > 3 else 2)
        drawing.save(figure, folder / f"{dataset}-scores", tidy, _caption(mine, dataset))


def score_table(runs: list[tuple[dict[str, Any], Path]], order: list[str]) -> pd.DataFrame:
    """Histograms over one set of bins: (method, step, kind, low, high, count, density), methods in `order`.

    `density` integrates to 1 over the cosine similarity for each (method, step, kind). Empty bins are kept,
    so the rows of one distribution line up with those of another.
    """
    scores = pd.concat([_read_scores(run, path) for run, path in runs], ignore_index=True)
    edges = _edges(scores["score"])
    titles = {run["row"]: run["title"] for run, _ in runs}
    parts = []
    for method in order:
        for (step, kind), group in scores[scores["row"] == method].groupby(["step", "kind"], sort=True):
            count, _ = np.histogram(group["score"], edges)
            density = count * BINS_A_UNIT / count.sum()
            part = {"low": edges[:-1], "high": edges[1:], "count": count, "density": density}
            parts.append(
                pd.DataFrame({"row": method, "title": titles[method], "step": step, "kind": kind, **part})
            )
    return pd.concat(parts, ignore_index=True)


def _edges(scores: pd.Series) -> np.ndarray:
    """Bin edges at whole multiples of the bin width that hold all `scores`."""
    first, last = math.floor(scores.min() * BINS_A_UNIT), math.ceil(scores.max() * BINS_A_UNIT)
    return np.arange(first, max(last, first + 1) + 1) / BINS_A_UNIT


def _read_scores(run: dict[str, Any], path: Path) -> pd.DataFrame:
    """The scores of one run; a method without given negatives has positives only."""
    try:
        scores = pd.read_parquet(path, columns=["step", "kind", "score"])
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run {run['row']} again to make it") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no readable scores ({error}); delete it and run again") from None
    return scores.dropna(subset="score").astype({"score": np.float64}).assign(row=run["row"])


def _panel(axes: Axes, tidy: pd.DataFrame, name: str) -> None:
    """Both kinds at the first step as thin outlines and at the last step filled."""
    last = tidy["step"].max()
    for kind, colour in KINDS.items():
        for step, part in tidy[tidy["kind"] == kind].groupby("step", sort=True):
            edges = np.append(part["low"], part["high"].iloc[-1])
            if step == last:
                axes.stairs(part["density"], edges, fill=True, color=colour, alpha=0.4, lw=0)
            else:
                axes.stairs(part["density"], edges, color=colour, lw=0.8)
    axes.set_title(name, fontsize=7.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _legend() -> list[Any]:
    first = [
        Line2D([], [], color=colour, lw=1.0, label=f"{kind}s, first step") for kind, colour in KINDS.items()
    ]
    last = [
        Patch(color=colour, alpha=0.4, lw=0, label=f"{kind}s, last step") for kind, colour in KINDS.items()
    ]
    return [first[0], last[0], first[1], last[1]]


def _caption(runs: list[tuple[dict[str, Any], Path]], dataset: str) -> str:
    return (
        f"Cosine similarity of training queries with their positives and with the negatives given to them on "
        f"{dataset}, at the first step (lines) and the last (filled), pooled over the seeds of a method "
        f"({len(runs)} runs). Each area is 1; all panels share their axes. A panel without negatives belongs to "
        "a method that uses only other queries' documents."
    )


def draw(board: Board, dataset: str, folder: Path) -> None:
    """Draw the figure of a board."""
    scores = [run / "scores.parquet" for run in board.run_folders(dataset)]
    runs = zip(board.evaluations(dataset, baselines=False), scores, strict=True)
    draw_scores(list(runs), dataset, folder)


if __name__ == "__main__":
    drawing.command(draw)
