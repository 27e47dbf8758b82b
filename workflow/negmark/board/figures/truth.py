"""Figure truth: is a lower share of false negatives better? A point per method, where it is known which are false."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from negmark.board.figures import drawing, points
from negmark.board.figures.drawing import PAGE
from negmark.board.known_truth import truth_sentences
from negmark.board.standings import summarise
from negmark.compare.truth import COLUMNS, read_truth
from negmark.core.names import records
from negmark.store.board import Board

TALL = 3.4  # inches


def draw_truth(table: Path, frame: pd.DataFrame, dataset: str, folder: Path) -> None:
    """Draw the results of `dataset` against false-negative rates into `folder`/`dataset`-truth.*, a panel per tier.

    `table` is that of the stage truth, `frame` has the rows of `summarise`. Nothing is drawn if no method gives
    documents as negatives.
    """
    tidy, stem = read_truth(table), folder / f"{dataset}-truth"
    if tidy.empty:
        why = f"No method on {dataset} gives negatives of its own: none can be false."
        drawing.save_nothing(stem, COLUMNS, why)
        return
    by_tier = [(str(tier), _points(part)) for tier, part in tidy.groupby("tier", sort=False)]
    with drawing.styled():
        figure = Figure(figsize=(PAGE, 0.4 + TALL * len(by_tier)), layout="constrained")
        panels = figure.subplots(len(by_tier), 1, squeeze=False)[:, 0]
        for axes, (tier, part) in zip(panels, by_tier, strict=True):
            _panel(axes, part, f"{tier} tier" if len(by_tier) > 1 else "")
            axes.set_ylabel(
                f"{part['metric'].iloc[0]}, {drawing.queries_shown(frame, part['metric'].iloc[0])}"
            )
        figure.legend(
            handles=points.points_legend(pd.concat([part for _, part in by_tier])),
            loc="outside upper center",
            ncols=4,
        )
        figure.draw_without_rendering()  # sets the scales that labels are placed by
        for axes, (_, part) in zip(panels, by_tier, strict=True):
            points.place_labels(figure, axes, part)
        drawing.save(figure, stem, tidy, _caption(tidy, frame, dataset, truth_sentences(table)))


def _points(part: pd.DataFrame) -> pd.DataFrame:
    """The table of a tier as points, false negatives in percent."""
    rows = part.rename(columns={"mean": "y", "low": "y_low", "high": "y_high"}).reset_index(drop=True)
    shares = {"rate": "x", "rate_low": "x_low", "rate_high": "x_high"}
    return rows.assign(**{place: 100 * rows[name] for name, place in shares.items()})


def _panel(axes: Axes, part: pd.DataFrame, title: str) -> None:
    points.draw_points(axes, part)
    axes.set_xlim(_limits(part, "x"))
    axes.set_ylim(_limits(part, "y"))
    axes.set_title(title)
    axes.set_xlabel("false negatives among the negatives given (%)")
    axes.grid()


def _limits(part: pd.DataFrame, axis: str) -> tuple[float, float]:
    """A scale that holds marks and bars; with few seeds a bar may leave what a share or a metric can be."""
    values = pd.concat([part[name].dropna() for name in (axis, f"{axis}_low", f"{axis}_high")])
    return points.limits(values.clip(0, 100 if axis == "x" else 1), room=0.08)


def _caption(tidy: pd.DataFrame, frame: pd.DataFrame, dataset: str, sentences: Sequence[str]) -> str:
    by = tidy["metric"].iloc[0]
    rows = frame[frame["track"] == tidy["track"].iloc[0]]
    without = [row["title"] for row in records(rows) if row["row"] not in set(tidy["row"])]
    none = (
        f" Without negatives of their own, and not shown: {', '.join(dict.fromkeys(without))}."
        if without
        else ""
    )
    return (
        f"Results against false negatives on {dataset}, where it is known which are false: mean {by} on the "
        f"{drawing.queries_shown(frame, by)}, and the share of the negatives given in training that are relevant by "
        "all labels, hidden ones included (or near-relevant, where documents related to a positive are hidden). Means "
        f"over seeds ({drawing.counted(tidy['seeds'])} per method), bars: 95 % Student t intervals over seeds. "
        f"{' '.join(sentences)} P-values aren't adjusted. Methods differ in more than false negatives, a control from "
        "its twin only in these and in what takes their places. "
        f"Hollow: controls, in no correlation. Counted from the ledgers, which hold no in-batch documents.{none}"
    )


def draw(board: Board, dataset: str, folder: Path) -> None:
    """Draw the figure of a board."""
    frame = summarise(board.evaluations(dataset, baselines=False))
    draw_truth(board.folder / "truth" / f"{dataset}.csv", frame, dataset, folder)


if __name__ == "__main__":
    drawing.command(draw)
