"""Figure foresight: does any score of negatives that needs no training predict how good the trained method is?"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from negmark.board.figures import drawing, orders, points
from negmark.board.figures.drawing import CONTROLLED, INK, PAGE, QUIET
from negmark.board.standings import ranked_by, ranking_slice, summarise, tiers
from negmark.compare.inference import holm
from negmark.compare.statistics import Association, association
from negmark.core.errors import UserError
from negmark.core.names import records
from negmark.core.spreadsheet import read_table
from negmark.evaluate.foresight import SHARE
from negmark.store.board import Board
from negmark.suite.tier_pairs import FEWEST

TRACK = "controlled"
SCORES = {
    "balance": "balance of hardness and safety",
    "hardness": "mean hardness",
    "margin": "mean margin",
    "false_negative_rate": "false-negative rate",
}
COLUMNS = (
    *("tier", "score", "methods", "rho", "rho_low", "rho_high", "tau", "p", "p_holm"),
    *("row", "title", "track", "control", "value", "metric", "slice", "mean", "low", "high"),
)
ACROSS, TALL = 2, 2.1  # panels, inches


def draw_foresight(
    runs: list[dict[str, Any]], scores: Path, dataset: str, folder: Path, controls: Sequence[str] = ()
) -> None:
    """Draw each score of `dataset` against the trained result into `folder`/`dataset`-foresight.*.

    `scores` is the table of the stage foresight, a row per run. Only the controlled track is drawn, where nothing but
    the negatives differs; `controls` are hollow and in no coefficient. Nothing is drawn for fewer than three methods.
    """
    frame = summarise(drawing.runs_of(dataset, runs))
    tidy = foresight_table(frame, _read(scores), controls)
    stem, by = folder / f"{dataset}-foresight", ranked_by(frame)
    if tidy.empty:
        why = f"Fewer than {FEWEST} methods of the {TRACK} track on {dataset} give negatives of their own."
        drawing.save_nothing(stem, COLUMNS, why)
        return
    pairs = tidy.drop_duplicates(["tier", "score"])
    panels: list[tuple[str, str]] = list(zip(pairs["tier"], pairs["score"], strict=True))
    names = list(dict.fromkeys(tidy["tier"]))
    cells = [cell for tier in names for cell in [*[pair for pair in panels if pair[0] == tier], (tier, "")]]
    tall = math.ceil(len(cells) / ACROSS)
    with drawing.styled():
        figure = Figure(figsize=(PAGE, 0.35 + TALL * tall), layout="constrained")
        grid = [axes for row in figure.subplots(tall, ACROSS, squeeze=False) for axes in row]
        for axes, (tier, score) in zip(grid, cells, strict=False):
            prefix = f"{tier} tier: " if len(names) > 1 else ""
            if score:
                _panel(axes, _points(tidy, tier, score), f"{prefix}{SCORES[score]}", by)
            else:
                _coefficients(axes, tidy[tidy["tier"] == tier], prefix)
        for axes in grid[len(cells) :]:
            axes.remove()
        legend = points.points_legend(_points(tidy, *panels[0]))
        figure.legend(handles=legend, loc="outside upper center", ncols=4)
        figure.draw_without_rendering()  # sets the scales that labels are placed by
        for axes, (tier, score) in zip(grid, cells, strict=False):
            if score:
                points.place_labels(figure, axes, _points(tidy, tier, score), size=6)
        drawing.save(figure, stem, tidy, _caption(tidy, frame, dataset))


def foresight_table(frame: pd.DataFrame, scores: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """One row per (tier, score, method): the score's mean over seeds, the trained result, and the score's coefficients.

    `p_holm` is adjusted for all scores of a tier. A score that no run of a tier has is left out.
    """
    by, ranking = ranked_by(frame), ranking_slice(frame)
    values = scores.groupby("row")[list(SCORES)].mean()
    rows: list[dict[str, Any]] = []
    for tier in tiers(frame):
        mine = frame[(frame["tier"] == tier) & (frame["track"] == TRACK) & frame["row"].isin(values.index)]
        chosen = mine[~mine["row"].isin(list(controls))]
        shown = [score for score in SCORES if values.loc[chosen["row"], score].notna().sum() >= FEWEST]
        results = chosen.set_index("row")[f"{by}/{ranking}/mean"]
        associations = [_association(values[score], results) for score in shown]
        adjusted = holm([one.p for one in associations])
        for score, one, p in zip(shown, associations, adjusted, strict=True):
            rows += [
                {
                    **{"tier": tier, "score": score, **one._asdict(), "p_holm": p},
                    **{"row": row["row"], "title": row["title"], "track": TRACK},
                    **{"control": row["row"] in controls, "value": values.at[row["row"], score]},
                    **{"metric": by, "slice": ranking},
                    **{kind: row[f"{by}/{ranking}/{kind}"] for kind in ("mean", "low", "high")},
                }
                for row in records(mine)
                if not np.isnan(float(values[score][row["row"]]))
            ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _association(values: pd.Series, results: pd.Series) -> Association:
    known = values.reindex(results.index).dropna()
    return association(known.tolist(), results[known.index].tolist())


def _read(path: Path) -> pd.DataFrame:
    try:
        return read_table(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no scores can be read ({error}); delete it and run again") from None


def _points(tidy: pd.DataFrame, tier: str, score: str) -> pd.DataFrame:
    rows = tidy[(tidy["tier"] == tier) & (tidy["score"] == score)].reset_index(drop=True)
    names = {"value": "x", "mean": "y", "low": "y_low", "high": "y_high"}
    return rows.rename(columns=names).assign(x_low=math.nan, x_high=math.nan)


def _panel(axes: Axes, table: pd.DataFrame, xlabel: str, by: str) -> None:
    points.draw_points(axes, table)
    axes.set_xlim(points.limits(table["x"], room=0.2))
    axes.set_ylim(points.limits(table["y"]))
    one = table.iloc[0]
    p = "" if math.isnan(one["p_holm"]) else f", p {one['p_holm']:.3f}"
    axes.set_title(
        f"tau-b {orders.with_bounds(one['tau'], math.nan, math.nan)}{p} (Holm), n = {one['methods']}"
    )
    axes.set_xlabel(xlabel)
    axes.set_ylabel(by)
    axes.grid()
    axes.locator_params(nbins=5)


def _coefficients(axes: Axes, part: pd.DataFrame, prefix: str) -> None:
    """Spearman's rho of each score with its interval."""
    rows = records(part.drop_duplicates("score"))
    for place, row in enumerate(rows):
        axes.plot([row["rho_low"], row["rho_high"]], [place, place], color=CONTROLLED, lw=1.2)
        axes.plot(row["rho"], place, "d", color=CONTROLLED, ms=4.5, mew=0)
        text = orders.with_bounds(row["rho"], row["rho_low"], row["rho_high"])
        axes.annotate(text, (0, place - 0.22), ha="center", va="bottom", fontsize=6.5, color=INK)
    axes.axvline(0, color=QUIET, lw=0.7, zorder=0)
    axes.set_xlim(-1.05, 1.05)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.set_ylim(len(rows) - 0.5, -0.8)
    axes.set_yticks(range(len(rows)), [SCORES[row["score"]].replace(" (", "\n(") for row in rows])
    axes.set_title(f"{prefix}rank correlation with the result")
    axes.set_xlabel("Spearman's rho, 95 % interval")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _caption(tidy: pd.DataFrame, frame: pd.DataFrame, dataset: str) -> str:
    by = ranked_by(frame)
    rows = frame[frame["track"] == TRACK]
    without = [row["title"] for row in records(rows) if row["row"] not in set(tidy["row"])]
    unscored = f" Without negatives of their own, and so without scores: {', '.join(dict.fromkeys(without))}."
    results = " ".join(_result(str(tier), part) for tier, part in tidy.groupby("tier", sort=False))
    return (
        f"Can the quality of negatives on {dataset} be predicted before training? Each score is computed from the "
        f"negatives of the first {SHARE:.0%} of a run's steps by the encoder before training and plotted against "
        f"the trained mean {by} on the {drawing.queries_shown(frame, by)}; a point is a method of the {TRACK} track, "
        "means over seeds. Balance: log of the number of negatives times the harmonic mean of hardness and safety, "
        "after an idea of arXiv 2603.20990 (ECI), but not its formula. "
        f"Margin: score of the positive minus that of a negative. {results} rho: Spearman's, with the interval of "
        "Bonett and Wright (2000), which treats the methods as a sample of all possible ones; p: Kendall's, two-sided, "
        "adjusted by Holm for the scores of a tier. Methods are few and related, so even a small p is only a hint. "
        f"Hollow: controls, in no coefficient.{unscored if without else ''}"
    )


def _result(tier: str, part: pd.DataFrame) -> str:
    rows = part.drop_duplicates("score")
    shown = [SCORES[row["score"]] for row in records(rows) if row["p_holm"] < 0.05]
    many = f"{rows['methods'].max()} methods"
    if not shown:
        return f"In the {tier} tier ({many}) no score is shown to predict the board."
    return f"In the {tier} tier ({many}) the order of methods correlates with: {', '.join(shown)}."


def draw(board: Board, dataset: str, folder: Path) -> None:
    """Draw the figure of a board."""
    runs = board.evaluations(dataset, baselines=False, untuned=False)
    draw_foresight(
        runs, board.folder / "foresight" / f"{dataset}.csv", dataset, folder, board.contents.controls
    )


if __name__ == "__main__":
    drawing.command(draw)
