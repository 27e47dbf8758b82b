"""Figure cost: quality against cost, a point per method, and the methods on the Pareto front."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.ticker
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from negmark.board.figures import drawing, points
from negmark.board.figures.drawing import COLOURS, PAGE, QUIET
from negmark.board.figures.points import Segment
from negmark.board.standings import ranked_by, ranking_slice, summarise
from negmark.core.names import records
from negmark.store.board import Board
from negmark.store.run import with_chains

SECONDS = "train_seconds"
FRONT = Line2D([], [], color="#555555", lw=0.8, ls="--", label="Pareto front of a tier and track")


def draw_cost(
    runs: list[dict[str, Any]], dataset: str, folder: Path, controls: Sequence[str] = (), note: str = ""
) -> None:
    """Draw the ranking metric against the wall seconds of a run, on a log scale, into `folder`/`dataset`-cost.*.

    Each tier and track has a front of its own, as they are never mixed in one ranking; `controls` are rows that no
    user can choose, drawn hollow and on no front. A baseline is a horizontal line. `note` ends the caption.
    """
    runs = drawing.runs_of(dataset, runs)
    frame = summarise(runs)
    drawing.trained_rows(frame, dataset)
    by = ranked_by(frame)
    tidy = cost_table(runs, frame, controls)
    table = _points(tidy)
    fronts = [part.sort_values("x") for _, part in table[table["front"]].groupby(["tier", "track"])]
    with drawing.styled():
        figure = Figure(figsize=(PAGE, 4.1), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        points.draw_points(axes, table)
        for part in fronts:
            colour = COLOURS.get(part["track"].iloc[0], "black")
            axes.step(part["x"], part["y"], where="post", color=colour, lw=0.8, ls="--", zorder=0.5)
        for line, row in drawing.baselines(tidy):
            axes.axhline(row["mean"], color=QUIET, lw=0.9, ls=line, zorder=0)
        _scale(axes, table)
        axes.set_xlabel("seconds of a run's training loop and of those it starts from")
        axes.set_ylabel(f"{by}, {drawing.queries_shown(frame, by)}")
        legend = [*points.points_legend(table), FRONT, *drawing.baseline_handles(tidy)]
        figure.legend(handles=legend, loc="outside upper center", ncols=3)
        figure.draw_without_rendering()  # sets the scales that labels are placed by
        points.place_labels(figure, axes, table, _lines(axes, fronts, tidy))
        drawing.save(figure, folder / f"{dataset}-cost", tidy, _caption(frame, dataset) + note)


def cost_table(runs: list[dict[str, Any]], frame: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """One row per (method, seed) in the board's order: its seconds and value, the means, whether it is on the front.

    `seconds` is the run's, with those of its chain, `mean_seconds`, `mean`, `low` and `high` are the method's; `front`
    is whether no other method of its tier and track has an equal or better mean in as few seconds or fewer.
    """
    ranking, by = ranking_slice(frame), ranked_by(frame)
    ahead = front(
        frame[(frame["track"] != "baseline") & ~frame["row"].isin(list(controls))], f"{by}/{ranking}/mean"
    )
    rows = [
        {
            **{key: row[key] for key in ("row", "title", "tier", "track")},
            "control": row["row"] in controls,
            "slice": ranking,
            "seed": run["seed"],
            "seconds": run["cost"].get(SECONDS),
            by: run["slices"][ranking][by],
            "mean_seconds": row[SECONDS],
            **{kind: row[f"{by}/{ranking}/{kind}"] for kind in ("mean", "low", "high")},
            "front": row["row"] in ahead,
        }
        for row in records(frame)
        for run in sorted(with_chains(runs), key=lambda run: str(run["seed"]))
        if run["row"] == row["row"]
    ]
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def front(rows: pd.DataFrame, quality: str) -> set[str]:
    """The methods that no other of their tier and track dominates: as cheap and as good, and better in one."""
    ahead: set[str] = set()
    for _, part in rows.groupby(["tier", "track"]):
        best = -float("inf")
        for row in records(part.sort_values([SECONDS, quality], ascending=[True, False])):
            if row[quality] > best:
                best = row[quality]
                ahead.add(row["row"])
    return ahead


def _points(tidy: pd.DataFrame) -> pd.DataFrame:
    rows = tidy[tidy["track"] != "baseline"].drop_duplicates("row").reset_index(drop=True)
    names = {"mean_seconds": "x", "mean": "y", "low": "y_low", "high": "y_high"}
    return rows.rename(columns=names).assign(x_low=float("nan"), x_high=float("nan"))


def _lines(axes: Axes, fronts: list[pd.DataFrame], tidy: pd.DataFrame) -> list[Segment]:
    """The steps of the fronts and the baselines, which no label should cover."""
    left, right = axes.get_xlim()
    lines: list[Segment] = [((left, row["mean"]), (right, row["mean"])) for _, row in drawing.baselines(tidy)]
    for part in fronts:
        for (x, y), (next_x, next_y) in pairwise(zip(part["x"], part["y"], strict=True)):
            lines += [((x, y), (next_x, y)), ((next_x, y), (next_x, next_y))]
    return lines


def _scale(axes: Axes, table: pd.DataFrame) -> None:
    """Leave room for labels; a log scale of few decades has ticks at 1, 2 and 5."""
    spread = table["x"].max() / table["x"].min()
    room = max(spread**0.12, 1.15)
    axes.set_xlim(table["x"].min() / room, table["x"].max() * room)
    axes.set_ylim(points.limits(table["y"]))
    ticks = (1.0, 2.0, 5.0) if spread > 4 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=ticks))
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axes.grid()


def _caption(frame: pd.DataFrame, dataset: str) -> str:
    trained, by = frame[frame["track"] != "baseline"], ranked_by(frame)
    machines = " and ".join(dict.fromkeys(trained["hardware"]))
    return (
        f"Quality against cost on {dataset}: mean {by} over seeds ({drawing.counted(trained['seeds'])} per method) on "
        f"the {drawing.queries_shown(frame, by)}, and mean wall seconds of the training loop of a run on {machines}, "
        "with those of the rows whose models it starts from (log scale; work that methods share before training, such "
        "as pools and embeddings, is not included). Bars: "
        "95 % Student t intervals over seeds, which may extend beyond the panel. A front joins the methods that no "
        "other of their tier and track matches in fewer seconds; it uses means, so neighbours on it may differ by no "
        "more than seeds do. Hollow: controls, on no front. Horizontal lines: systems not trained here, which may be "
        "outside the panel."
    )


def draw(board: Board, dataset: str, folder: Path) -> None:
    """Draw the figure of a board, without what stands untuned below tuned rows: two points a method hide each other."""
    note = " Rows as they were before tuning are left out." if board.contents.untuned else ""
    draw_cost(board.evaluations(dataset, untuned=False), dataset, folder, board.contents.controls, note)


if __name__ == "__main__":
    drawing.command(draw)
