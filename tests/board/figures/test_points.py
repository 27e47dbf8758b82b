"""Labels of points against each other, and marks against what they tell."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from negmark.board.figures.points import draw_points, limits, place_labels, points_legend


def table(points: list[tuple[float, float]], **more: list) -> pd.DataFrame:
    """Methods at these points, without bars."""
    x, y = np.array(points, dtype=float).T
    bars = {f"{axis}_{end}": np.nan for axis in "xy" for end in ("low", "high")}
    about = {"tier": "adapter", "track": "controlled", "control": False}
    titles = [f"Method {number}" for number in range(len(points))]
    return pd.DataFrame({"title": titles, "x": x, "y": y}).assign(**{**bars, **about, **more})


CROWDS = {
    "near": [(0.5, 0.5), (0.51, 0.5), (0.5, 0.51), (0.52, 0.51), (0.49, 0.49), (0.0, 0.0), (1.0, 1.0)],
    "equal": [(0.5, 0.5)] * 6 + [(0.0, 0.0), (1.0, 1.0)],
    "many": [tuple(point) for point in np.random.default_rng(3).normal(0.5, 0.12, (27, 2))],
}


@pytest.mark.parametrize("crowd", CROWDS)
def test_no_label_covers_another_or_a_mark(crowd: str) -> None:
    figure = Figure(figsize=(7, 4.1))
    axes = figure.subplots()
    points = table(CROWDS[crowd])
    draw_points(axes, points)
    axes.set_xlim(limits(points["x"]))
    axes.set_ylim(limits(points["y"]))
    figure.draw_without_rendering()
    texts = place_labels(figure, axes, points)
    boxes = [text.get_window_extent() for text in texts]
    assert [text.get_text() for text in texts] == list(points["title"])
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)
    assert all(axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1 for box in boxes)
    marks = axes.transData.transform(points[["x", "y"]].to_numpy())
    assert not any(box.contains(*mark) for box in boxes for mark in marks), "no point is covered"


def test_a_label_keeps_off_a_line() -> None:
    figure = Figure(figsize=(4, 4))
    axes = figure.subplots()
    points = table([(0.5, 0.5), (0.0, 0.0), (1.0, 1.0)])
    draw_points(axes, points)
    figure.draw_without_rendering()
    level = ((-1.0, 0.5), (2.0, 0.5))
    free, kept = (place_labels(figure, axes, points, lines)[0].get_window_extent() for lines in ([], [level]))
    line = axes.transData.transform((0.5, 0.5))[1]
    assert free.y0 < line < free.y1, "beside its mark where nothing hinders it"
    assert not kept.y0 < line < kept.y1


def test_the_legend_tells_tiers_tracks_and_controls() -> None:
    tiers, tracks = ["finetune", "adapter", "adapter"], ["controlled", "faithful", "controlled"]
    points = table([(0, 0), (1, 1), (2, 2)], tier=tiers, track=tracks, control=[False, False, True])
    handles = points_legend(points)
    assert [handle.get_label() for handle in handles] == [
        "adapter tier, controlled track",
        "adapter tier, faithful track",
        "finetune tier, controlled track",
        "control",
    ]
    looks = [(handle.get_marker(), handle.get_color()) for handle in handles[:3]]
    assert len(set(looks)) == 3
    one = points_legend(table([(0, 0), (1, 1)]))
    assert [handle.get_label() for handle in one] == ["controlled track"], "one tier need not be named"
