"""Figure datasets: does the order of methods on one dataset of a suite predict their order on another?

With two datasets, a panel per ranking shows the methods; with more, a matrix of coefficients.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from negmark.board.figures import drawing, orders, points
from negmark.board.figures.drawing import COLUMN
from negmark.board.standings import datasets, ranked_by, ranking_slice, summarise
from negmark.compare.statistics import Agreement, agreement
from negmark.store.board import Board
from negmark.suite.tier_pairs import FEWEST

STEM = "datasets"
COLUMNS = (
    *("tier", "track", "dataset", "other", "methods", "tau", "tau_low", "tau_high"),
    *("rho", "rho_low", "rho_high", "chance", "row", "title", "axis", "metric", "slice", "seed", "value"),
)


def draw_datasets(runs: list[dict[str, Any]], folder: Path, controls: Sequence[str] = ()) -> None:
    """Draw how far the orders on any two datasets agree, within each tier and track, into `folder`/datasets.*.

    `runs` are the contents of the metrics.json of all runs of a suite. Each dataset is taken by the metric and slice
    that rank it. Nothing is drawn if no two datasets have three methods of a ranking in common.
    """
    frame = summarise(runs)
    tidy, agreements = datasets_table(runs, frame)
    if tidy.empty:
        why = f"No two datasets have {FEWEST} methods of one ranking in common: no orders to compare."
        drawing.save_nothing(folder / STEM, COLUMNS, why)
        return
    rankings = list(dict.fromkeys((tier, track) for tier, track, _, _ in agreements))
    names = [name for name, _ in datasets(frame)]
    with drawing.styled():
        figure = Figure(
            figsize=(COLUMN * len(rankings), COLUMN if len(names) == 2 else 2.6), layout="constrained"
        )
        panels = figure.subplots(1, len(rankings), squeeze=False)[0]
        if len(names) == 2:
            _scatters(figure, panels, rankings, tidy, agreements, controls)
        else:
            for axes, ranking in zip(panels, rankings, strict=True):
                _square(axes, ranking, names, agreements)
        drawing.save(figure, folder / STEM, tidy, _caption(frame, agreements, tidy))


Agreements = dict[tuple[str, str, str, str], tuple[Agreement, list[str]]]
"""By tier, track and two datasets: how far the orders agree, and the rows that both have."""


def datasets_table(runs: list[dict[str, Any]], frame: pd.DataFrame) -> tuple[pd.DataFrame, Agreements]:
    """One row per (tier, track, two datasets, method, axis, seed), x for the first of the two and y for the other.

    `value` is the seed's value of `metric` on `slice`; the coefficients of two orders are repeated in all their rows.
    """
    about = {name: (ranked_by(part), ranking_slice(part)) for name, part in datasets(frame)}
    titles = dict(zip(frame["row"], frame["title"], strict=True))
    values: dict[tuple[str, str], dict[int, float]] = {}
    for run in sorted(runs, key=lambda run: str(run["seed"])):
        metric, part = about[run["dataset"]]
        values.setdefault((run["dataset"], run["row"]), {})[run["seed"]] = run["slices"][part][metric]
    rows, agreements = [], {}
    trained = frame[frame["track"] != "baseline"]
    for (tier, track), ranking in trained.groupby(["tier", "track"], sort=False):
        for pair in combinations(about, 2):
            sides = [list(ranking.loc[ranking["dataset"] == name, "row"]) for name in pair]
            shared = [method for method in sides[0] if method in sides[1]]
            if len(shared) < FEWEST:
                continue
            one = agreement(*([list(values[name, method].values()) for method in shared] for name in pair))
            agreements[str(tier), str(track), *pair] = (one, shared)
            rows += [
                {
                    **{
                        "tier": tier,
                        "track": track,
                        "dataset": pair[0],
                        "other": pair[1],
                        "methods": len(shared),
                    },
                    **one._asdict(),
                    **{"row": method, "title": titles[method], "axis": axis},
                    **dict(zip(("metric", "slice"), about[name], strict=True)),
                    **{"seed": seed, "value": value},
                }
                for method in shared
                for axis, name in zip("xy", pair, strict=True)
                for seed, value in values[name, method].items()
            ]
    return pd.DataFrame(rows, columns=list(COLUMNS)), agreements


def _scatters(
    figure: Figure,
    panels: Sequence[Axes],
    rankings: list[tuple[str, str]],
    tidy: pd.DataFrame,
    agreements: Agreements,
    controls: Sequence[str],
) -> None:
    """One dataset against the other, a panel per ranking."""
    tables = []
    for axes, (tier, track) in zip(panels, rankings, strict=True):
        mine = tidy[(tidy["tier"] == tier) & (tidy["track"] == track)]
        values = [mine[mine["axis"] == axis] for axis in "xy"]
        means = [part.groupby("row", sort=False)["value"].mean() for part in values]
        table = mine.drop_duplicates("row")[["row", "title", "tier", "track"]].reset_index(drop=True)
        table = table.assign(
            x=means[0].to_numpy(), y=means[1].to_numpy(), control=table["row"].isin(list(controls))
        )
        table = table.assign(**{f"{axis}_{end}": float("nan") for axis in "xy" for end in ("low", "high")})
        one, shared = next(value for key, value in agreements.items() if key[:2] == (tier, track))
        title = f"{tier} tier, {track} track, {len(shared)} methods\n"
        title += orders.coefficients(one).replace(", ", "\n")
        orders.draw_orders(axes, table, (means[0], means[1]), title)
        for name, part in zip(("x", "y"), values, strict=True):
            first = part.iloc[0]
            dataset = first["dataset"] if name == "x" else first["other"]
            getattr(axes, f"set_{name}label")(f"{first['metric']} on {dataset} ({first['slice']})")
        tables.append(table)
    figure.draw_without_rendering()  # sets the scales that labels are placed by
    for axes, table in zip(panels, tables, strict=True):
        points.place_labels(figure, axes, table)


def _square(axes: Axes, ranking: tuple[str, str], names: list[str], agreements: Agreements) -> None:
    """Tau-b of each pair of datasets as colour and number, the interval below if there is room."""
    size = len(names) - 1
    shades, cells = np.full((size, size), np.nan), {}
    for (tier, track, first, second), (one, _) in agreements.items():
        if (tier, track) == ranking:
            place = names.index(second) - 1, names.index(first)
            shades[place], cells[place] = one.tau, one
    axes.imshow(shades, cmap="PuOr", vmin=-1, vmax=1)
    for (row, column), one in cells.items():
        text = orders.with_bounds(*one[:3]) if size <= 4 else f"{one.tau:z.2f}"
        axes.text(
            column,
            row,
            text.replace(" (", "\n("),
            ha="center",
            va="center",
            fontsize=7 if size <= 8 else 5,
            color="white" if abs(one.tau) > 0.7 else drawing.INK,
        )
    axes.set_xticks(
        range(size), [drawing.label(name, 14) for name in names[:-1]], rotation=0 if size <= 4 else 90
    )
    axes.set_yticks(range(size), [drawing.label(name, 14) for name in names[1:]])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    tier, track = ranking
    axes.set_title(f"{tier} tier, {track} track: Kendall's tau-b")


def _caption(frame: pd.DataFrame, agreements: Agreements, tidy: pd.DataFrame) -> str:
    by = "; ".join(
        f"{name} by {ranked_by(part)} on its {drawing.queries_shown(part, ranked_by(part))}"
        for name, part in datasets(frame)
    )
    results = " ".join(_result(key, one, len(shared)) for key, (one, shared) in agreements.items())
    if len(agreements) > FEWEST:
        words = Counter(
            orders.verdict(one, "dataset").rpartition(": ")[2].rstrip(".") for one, _ in agreements.values()
        )
        times = {1: "once", 2: "twice"}
        summed = "; ".join(
            f"{times.get(words[word], f'{words[word]} times')} {word}" for word in sorted(words)
        )
        results = f"Of {len(agreements)} comparisons, all listed in the table: {summed}."
    seeds = drawing.counted(tidy.groupby(["tier", "track", "dataset", "other", "row", "axis"]).size())
    return (
        "Does the order of methods on one dataset predict their order on another? Means over seeds "
        f"({seeds} per method); {by}. {results} {orders.OF_SEEDS}"
    )


def _result(key: tuple[str, str, str, str], one: Agreement, methods: int) -> str:
    tier, track, first, second = key
    return (
        f"{first} and {second}, {tier} tier, {track} track, {methods} methods: {orders.coefficients(one)}. "
        f"{orders.verdict(one, 'dataset')}"
    )


def draw(board: Board, dataset: str, folder: Path) -> None:
    """Draw the figure of a board; it has no single dataset."""
    draw_datasets(board.evaluations(baselines=False, untuned=False), folder, board.contents.controls)


if __name__ == "__main__":
    drawing.command(draw)
