"""Figure negatives: how hard each method's negatives are over training, and how many are false if that is known."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from negmark.board.figures import drawing
from negmark.board.figures.drawing import CONTROLLED, FAITHFUL
from negmark.board.findings import OF_AUDIT, RATE
from negmark.board.standings import summarise, tiers
from negmark.core.errors import UserError
from negmark.core.names import records
from negmark.core.spreadsheet import read_table
from negmark.core.tiers import TIERS
from negmark.evaluate.audit import QUANTILES, WHOLE_RUN
from negmark.store.board import Board

LOW, MIDDLE, HIGH = (f"score_q{round(100 * level)}" for level in QUANTILES)
FALSE = OF_AUDIT[RATE]
COLUMNS = (
    "row",
    "title",
    "tier",
    "track",
    "seed",
    "window",
    "first_step",
    "last_step",
    LOW,
    MIDDLE,
    HIGH,
    FALSE,
)
"""What the scores of a tier are, where they are no cosine similarities."""
PANELS_A_ROW = 5
OTHERS = "#d0d0d0"


def draw_negatives(runs: list[dict[str, Any]], audit: Path, dataset: str, folder: Path) -> None:
    """Draw the audit of `dataset` over training steps, a panel per method, into `folder`/`dataset`-negatives.*.

    `audit` is its table, a row per window of a run. Hardness has a block per tier, as tiers score on different scales;
    the false-negative rate has one, if the dataset hides labels. Nothing is drawn if no method gives negatives.
    """
    frame = summarise(drawing.runs_of(dataset, runs))
    tidy = negatives_table(frame, audit)
    stem = folder / f"{dataset}-negatives"
    if tidy.empty:
        drawing.save_nothing(
            stem, COLUMNS, f"No method on {dataset} gives negatives of its own: nothing to audit."
        )
        return
    means = tidy.groupby(["row", "window"], sort=False).mean(numeric_only=True).reset_index()
    means = means.merge(tidy.drop_duplicates("row")[["row", "tier"]])
    titles = dict(zip(frame["row"], drawing.names(frame, frame), strict=True))
    blocks = [("hardness", means[means["tier"] == tier]) for tier in tiers(frame)]
    blocks = [(kind, part) for kind, part in blocks if len(part)]
    if tidy[FALSE].notna().any():
        blocks.append(("false", means[means[FALSE].notna()]))
    counts = [part["row"].nunique() for _, part in blocks]
    wide = min(PANELS_A_ROW, max(counts))
    heights = [0.75 + 0.92 * math.ceil(count / wide) for count in counts]
    with drawing.styled():
        size = drawing.width_of(wide, PANELS_A_ROW), 0.2 + sum(heights)
        figure = Figure(figsize=size, layout="constrained")
        parts = figure.subfigures(len(blocks), 1, height_ratios=heights, squeeze=False)
        for place, (kind, part) in zip(parts[:, 0], blocks, strict=True):
            _block(place, part, titles, kind, wide)
        drawing.save(figure, stem, tidy, _caption(tidy, frame, dataset))


def negatives_table(frame: pd.DataFrame, audit: Path) -> pd.DataFrame:
    """The windows of the audit, a row per (method, seed, window), in the board's order, with title, tier and track."""
    try:
        table = read_table(audit)
    except (OSError, ValueError) as error:
        raise UserError(f"{audit}: no audit can be read ({error}); delete it and run again") from None
    about = frame[["row", "title", "tier", "track"]].reset_index(names="place")
    if table.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    rows = table[table["window"] != WHOLE_RUN].merge(about, on="row")
    return rows.sort_values(["place", "seed", "window"])[list(COLUMNS)].reset_index(drop=True)


def _block(place: SubFigure, means: pd.DataFrame, titles: dict[str, str], kind: str, wide: int) -> None:
    """A panel per method, `wide` per row; the panels of a block share their axes."""
    order = list(means["row"].unique())
    tall = math.ceil(len(order) / wide)
    grid = place.subplots(tall, wide, sharex=True, sharey=True, squeeze=False)
    panels = [axes for row in grid for axes in row]
    for axes, method in zip(panels, order, strict=False):
        mine = means[means["row"] == method]
        (_hardness if kind == "hardness" else _false)(axes, mine, means)
        axes.set_title(drawing.label(titles[method], 21), fontsize=7)
        axes.grid()
        axes.locator_params(nbins=4)
    for axes in panels[len(order) :]:
        axes.remove()
    for axes in panels[max(0, len(order) - wide) : len(order)]:
        axes.tick_params(labelbottom=True)
    tier = means["tier"].iloc[0]
    quantity = (
        (TIERS[tier].score if tier in TIERS else "score") if kind == "hardness" else "false negatives (%)"
    )
    place.supylabel(quantity, fontsize=7.5, color="#333333")
    place.supxlabel("training step", fontsize=7.5, color="#333333")
    place.legend(handles=_legend(kind), loc="outside upper center", ncols=2)


def _hardness(axes: Axes, mine: pd.DataFrame, _: pd.DataFrame) -> None:
    axes.fill_between(_middle(mine), mine[LOW], mine[HIGH], color=CONTROLLED, alpha=0.25, lw=0)
    axes.plot(_middle(mine), mine[MIDDLE], color=CONTROLLED, lw=1.2)


def _false(axes: Axes, mine: pd.DataFrame, means: pd.DataFrame) -> None:
    for _, other in means.groupby("row", sort=False):
        axes.plot(_middle(other), 100 * other[FALSE], color=OTHERS, lw=0.5, zorder=1)
    axes.plot(_middle(mine), 100 * mine[FALSE], color=FAITHFUL, lw=1.4)
    axes.set_ylim(bottom=0)


def _middle(part: pd.DataFrame) -> pd.Series:
    return (part["first_step"] + part["last_step"]) / 2


def _legend(kind: str) -> Sequence[Any]:
    if kind == "hardness":
        return [
            Line2D([], [], color=CONTROLLED, lw=1.2, label="median score of the negatives"),
            Patch(color=CONTROLLED, alpha=0.25, lw=0, label="10 % to 90 %"),
        ]
    return [
        Line2D([], [], color=FAITHFUL, lw=1.4, label="relevant by all labels"),
        Line2D([], [], color=OTHERS, lw=0.8, label="the other methods"),
    ]


def _caption(tidy: pd.DataFrame, frame: pd.DataFrame, dataset: str) -> str:
    seeds = drawing.counted(tidy.groupby("row")["seed"].nunique())
    windows = tidy["window"].nunique()
    without = [row["title"] for row in records(frame) if row["row"] not in set(tidy["row"])]
    none = (
        f" Without negatives of their own, and not shown: {', '.join(dict.fromkeys(without))}."
        if without
        else ""
    )
    known = (
        " Below, the share of the negatives in percent that are relevant by all labels, including those hidden from "
        "training (near-relevant, where related documents are hidden); in grey the other methods."
        if tidy[FALSE].notna().any()
        else ""
    )
    return (
        f"The negatives that each method trained on, on {dataset}, over training: quantiles of their score with the "
        f"query at the step that used them (hardness), in {windows} windows of a run, mean over seeds ({seeds} per "
        f"method).{known} Counted from the ledgers, which hold no in-batch documents.{none}"
    )


def draw(board: Board, dataset: str, folder: Path) -> None:
    """Draw the figure of a board."""
    runs = board.evaluations(dataset, baselines=False)
    draw_negatives(runs, board.folder / "audit" / f"{dataset}.csv", dataset, folder)


if __name__ == "__main__":
    drawing.command(draw)
