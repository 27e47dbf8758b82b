"""Methods as points of a plane: marks that distinguish tracks, tiers and controls, and labels that don't overlap.

The points are a table with a row per method: `title`, `tier`, `track`, `control` (is it one that no user can choose?),
`x` and `y` and their bounds `x_low`, `x_high`, `y_low` and `y_high`, NaN if there is none.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from negmark.board.figures.drawing import COLOURS, INK, MARKS, label
from negmark.core.names import Row, records
from negmark.core.tiers import in_order

SIZE = 4.5  # points
POINTS_AWAY = (4.0, 9.0, 15.0, 22.0, 30.0, 40.0, 52.0, 66.0)  # distances of a label from its mark
LED = 6.0  # points: a label farther away gets a leader line
TOUCH = 40.0  # square pixels
DIRECTIONS = 16
NEAR = 3.0  # points: marks closer than this are hard to distinguish
ROUNDS = 4  # in which every label may move once more
COVERS_A_LABEL, COVERS_A_MARK, COVERS_A_LINE = (
    20.0,
    12.0,
    2.0,
)  # per square pixel, relative to one of distance
Box = NDArray[np.float64]
"""[4]: left, bottom, right, top, in pixels."""
Segment = tuple[tuple[float, float], tuple[float, float]]
"""A vertical or horizontal line between two points, in the units of the axes."""


def draw_points(axes: Axes, points: pd.DataFrame) -> None:
    """Draw marks and bars; a control is hollow."""
    for row in records(points):
        colour, mark = COLOURS.get(row["track"], "black"), MARKS.get(row["tier"], "o")
        bar: dict[str, Any] = {
            "color": colour,
            "lw": 0.8,
            "alpha": 0.45,
            "solid_capstyle": "butt",
            "zorder": 1.5,
        }
        axes.plot([row["x_low"], row["x_high"]], [row["y"]] * 2, scalex=False, scaley=False, **bar)
        axes.plot([row["x"]] * 2, [row["y_low"], row["y_high"]], scalex=False, scaley=False, **bar)
        face = "white" if row["control"] else colour
        axes.plot(row["x"], row["y"], mark, ms=SIZE, mfc=face, mec=colour, mew=0.9 if row["control"] else 0)


def points_legend(points: pd.DataFrame) -> list[Line2D]:
    """A mark per tier and track that occurs, the cheapest tier first, and one for controls."""
    pairs = sorted(set(zip(points["tier"], points["track"], strict=True)))
    place = {tier: number for number, tier in enumerate(in_order(list(points["tier"])))}
    several = len(place) > 1
    handles = []
    for tier, track in sorted(pairs, key=lambda pair: (place[pair[0]], pair[1])):
        text = f"{tier} tier, {track} track" if several else f"{track} track"
        colour = COLOURS.get(track, "black")
        handles.append(
            Line2D([], [], ls="", marker=MARKS.get(tier, "o"), color=colour, ms=SIZE, mew=0, label=text)
        )
    if points["control"].any():
        handles.append(
            Line2D([], [], ls="", marker="o", mfc="white", mec=INK, mew=0.9, ms=SIZE, label="control")
        )
    return handles


def limits(values: pd.Series, room: float = 0.16) -> tuple[float, float]:
    """A scale that holds all values with some room for labels."""
    spare = room * (values.max() - values.min()) or 0.01
    return values.min() - spare, values.max() + spare


def place_labels(
    figure: Figure, axes: Axes, points: pd.DataFrame, lines: Sequence[Segment] = (), size: float = 6.5
) -> list[Annotation]:
    """Label the points, each where it covers the least of labels, marks, bars and `lines`, nearest places first.

    The figure must have been laid out (`draw_without_rendering`). Each label takes the cheapest of its places given
    the others, and may move in a few more rounds, so that earlier labels also make room for later ones.
    """
    pixels = figure.get_dpi() / 72
    texts = [_text(axes, row, size) for row in records(points)]
    anchors = axes.transData.transform(points[["x", "y"]].to_numpy(dtype=float))
    places = [
        _places(anchor, text.get_window_extent(), pixels) for anchor, text in zip(anchors, texts, strict=True)
    ]
    marks, thin = _marks(anchors, pixels), np.concatenate([*_bars(axes, points), _thin(axes, lines)])
    static = [
        _cost_alone(anchor, boxes, (marks, thin), axes, pixels) + _mistaken(anchor, boxes, anchors, pixels)
        for anchor, boxes in zip(anchors, places, strict=True)
    ]
    chosen: list[Box | None] = [None] * len(texts)
    for _ in range(ROUNDS):
        before = [None if box is None else box.tolist() for box in chosen]
        for number, boxes in enumerate(places):
            others = [box for other, box in enumerate(chosen) if other != number and box is not None]
            crowd = np.array(others).reshape(-1, 4)
            leaders = _leaders(anchors[number], boxes)
            cost = static[number] + COVERS_A_LABEL * (
                _hidden(boxes, crowd) + _crossed(leaders, crowd, pixels)
            )
            chosen[number] = boxes[int(np.argmin(cost))]
        if before == [None if box is None else box.tolist() for box in chosen]:
            break
    for text, anchor, box in zip(texts, anchors, chosen, strict=True):
        if box is not None:
            text.set_position(tuple((box[:2] - anchor) / pixels))
            _lead(axes, anchor, box, pixels)
    return texts


def _text(axes: Axes, row: Row, size: float) -> Annotation:
    text = axes.annotate(
        label(row["title"], 22), (row["x"], row["y"]), (0, 0), textcoords="offset points",
        fontsize=size, color=INK, linespacing=1.0, ha="left", va="bottom",
    )  # fmt: skip
    text.set_in_layout(False)
    return text


def _places(anchor: NDArray[np.float64], size: Bbox, pixels: float) -> Box:
    """Boxes [P, 4] that a label may take around its mark, the nearest first."""
    angles = [2 * math.pi * turn / DIRECTIONS for turn in range(DIRECTIONS)]
    boxes = []
    for away in POINTS_AWAY:
        for angle in angles:
            ahead = np.array([math.cos(angle), math.sin(angle)])
            side = ahead / np.abs(ahead).max()  # a corner is as far as an edge
            low = anchor + ahead * away * pixels - np.array([size.width, size.height]) * (1 - side) / 2
            boxes.append([*low, low[0] + size.width, low[1] + size.height])
    return np.array(boxes)


def _cost_alone(
    anchor: NDArray[np.float64], boxes: Box, fixed: tuple[Box, Box], axes: Axes, pixels: float
) -> NDArray[np.float64]:
    """What a place costs whatever the other labels do: square pixels covered or outside, and the distance."""
    inside = np.array([[axes.bbox.x0, axes.bbox.y0, axes.bbox.x1, axes.bbox.y1]])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    outside = area - _shared(boxes, inside)
    way = np.linalg.norm(_nearest(anchor, boxes) - anchor, axis=1) / pixels
    covered = COVERS_A_MARK * _hidden(boxes, fixed[0]) + COVERS_A_LINE * _shared(boxes, fixed[1])
    return covered + COVERS_A_LABEL * outside + 2 * way * pixels**2


def _mistaken(
    anchor: NDArray[np.float64], boxes: Box, anchors: NDArray[np.float64], pixels: float
) -> NDArray[np.float64]:
    """The cost of another mark (nearly) as close to a label as its own, if no leader line shows which."""
    own = np.linalg.norm(_nearest(anchor, boxes) - anchor, axis=1)
    others = anchors[(anchors != anchor).any(axis=1)]
    ways = np.linalg.norm(_nearest(others[:, None], boxes) - others[:, None], axis=2)  # [O, P]
    close = np.maximum(own + NEAR * pixels - ways, 0).sum(axis=0)
    return np.where(own > LED * pixels, 0, close * NEAR * pixels)


def _marks(anchors: NDArray[np.float64], pixels: float) -> Box:
    half = (SIZE / 2 + 1) * pixels
    return np.concatenate([anchors - half, anchors + half], axis=1)


def _bars(axes: Axes, points: pd.DataFrame) -> Iterator[Box]:
    """Boxes of the bars, in pixels."""
    for low, high in ((("x_low", "y"), ("x_high", "y")), (("x", "y_low"), ("x", "y_high"))):
        rows = points.dropna(subset=[*low, *high])
        ends = [axes.transData.transform(rows[list(end)].to_numpy(dtype=float)) for end in (low, high)]
        yield np.concatenate([ends[0] - 1, ends[1] + 1], axis=1)


def _thin(axes: Axes, lines: Sequence[Segment]) -> Box:
    """Boxes in pixels of vertical and horizontal lines, as bad to cover as a bar."""
    ends = axes.transData.transform(np.array(lines, dtype=float).reshape(-1, 2)).reshape(-1, 2, 2)
    return np.concatenate([ends.min(axis=1) - 2, ends.max(axis=1) + 2], axis=1)


def _shared(boxes: Box, others: Box) -> NDArray[np.float64]:
    """Square pixels [P] that each of the boxes [P, 4] shares with all of the others [O, 4]."""
    return _overlaps(boxes, others).sum(axis=1)


def _hidden(boxes: Box, others: Box) -> NDArray[np.float64]:
    """The same, plus `TOUCH` square pixels for any overlap, as these must be seen whole."""
    shared = _overlaps(boxes, others)
    return (shared + TOUCH * (shared > 0)).sum(axis=1)


def _overlaps(boxes: Box, others: Box) -> NDArray[np.float64]:
    wide = np.minimum(boxes[:, None, 2], others[:, 2]) - np.maximum(boxes[:, None, 0], others[:, 0])
    tall = np.minimum(boxes[:, None, 3], others[:, 3]) - np.maximum(boxes[:, None, 1], others[:, 1])
    return np.maximum(wide, 0) * np.maximum(tall, 0)


def _leaders(anchor: NDArray[np.float64], boxes: Box) -> NDArray[np.float64]:
    """Points [P, 8, 2] along the line from a mark to each place of its label."""
    share = np.linspace(0, 1, 8)[None, :, None]
    return anchor + share * (_nearest(anchor, boxes)[:, None] - anchor)


def _crossed(lines: NDArray[np.float64], others: Box, pixels: float) -> NDArray[np.float64]:
    """How many points of each line [P, L, 2] are in other labels, each as bad as a line's width of text."""
    x, y = lines[..., 0, None], lines[..., 1, None]
    inside = (x >= others[:, 0]) & (x <= others[:, 2]) & (y >= others[:, 1]) & (y <= others[:, 3])
    return inside.sum(axis=(1, 2)) * (4 * pixels) ** 2


def _nearest(anchor: NDArray[np.float64], boxes: Box) -> NDArray[np.float64]:
    return np.clip(anchor, boxes[:, :2], boxes[:, 2:])


def _lead(axes: Axes, anchor: NDArray[np.float64], box: Box, pixels: float) -> None:
    """Draw a line to a label that is away from its mark."""
    end = _nearest(anchor, box[None])[0]
    if np.linalg.norm(end - anchor) > LED * pixels:
        line = axes.transData.inverted().transform([anchor, end])
        axes.plot(*line.T, color="#999999", lw=0.4, zorder=1, scalex=False, scaley=False)
