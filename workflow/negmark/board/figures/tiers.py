"""Figure tiers: does the order of methods in a cheap tier predict their order in a costly one?

A panel for every track and pair of tiers that have methods in common.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from negmark.board.figures import drawing, orders, points
from negmark.board.figures.drawing import COLUMN
from negmark.board.standings import ranked_by, ranking_slice, summarise
from negmark.compare.statistics import Agreement, agreement
from negmark.core.names import records
from negmark.store.board import Board
from negmark.store.contents import Comparison


def draw_tiers(
    runs: list[dict[str, Any]],
    comparisons: Sequence[Comparison],
    dataset: str,
    folder: Path,
    controls: Sequence[str] = (),
) -> None:
    """Draw the mean of the ranking metric in one tier against another into `folder`/`dataset`-tiers.*.

    `runs` are the contents of the metrics.json files of all rows compared, on the slice that ranks the dataset.
    """
    frame = summarise(drawing.runs_of(dataset, runs))
    tidy = tiers_table(runs, frame, comparisons)
    by = ranked_by(frame)
    agreements = [_measured(tidy[tidy["comparison"] == place], by) for place in range(len(comparisons))]
    queries = drawing.queries_shown(frame, by)
    with drawing.styled():
        figure = Figure(figsize=(COLUMN * len(comparisons), COLUMN), layout="constrained")
        panels = figure.subplots(1, len(comparisons), squeeze=False)[0]
        tables = [_points(tidy[tidy["comparison"] == place], controls) for place in range(len(comparisons))]
        for place, (axes, part) in enumerate(zip(panels, comparisons, strict=True)):
            mine = tidy[tidy["comparison"] == place]
            values = [mine.loc[mine["axis"] == axis, by] for axis in "xy"]
            title = f"{part.track} track, {len(part.rows)} methods\n"
            title += orders.coefficients(agreements[place]).replace(", ", "\n")
            orders.draw_orders(axes, tables[place], (values[0], values[1]), title)
            axes.set_xlabel(f"{by}, {part.cheap} tier")
            axes.set_ylabel(f"{by}, {part.costly} tier")
        figure.draw_without_rendering()  # sets the scales that labels are placed by
        for axes, table in zip(panels, tables, strict=True):
            points.place_labels(figure, axes, table)
        drawing.save(
            figure,
            folder / f"{dataset}-tiers",
            tidy,
            _caption(dataset, by, queries, comparisons, agreements, tidy),
        )


def tiers_table(
    runs: list[dict[str, Any]], frame: pd.DataFrame, comparisons: Sequence[Comparison]
) -> pd.DataFrame:
    """One row per (comparison, axis, method, seed): the seed's value, and the row's mean and bounds.

    `axis` is x for the cheap tier and y for the costly one; `title` is the same on both.
    """
    ranking, by = ranking_slice(frame), ranked_by(frame)
    rows = {row["row"]: row for row in records(frame)}
    seeds: dict[str, list[dict[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: str(run["seed"])):
        seeds.setdefault(run["row"], []).append(run)
    return pd.DataFrame(
        [
            {
                "comparison": place,
                "axis": axis,
                "title": rows[pair[0]]["title"],
                **{key: rows[name][key] for key in ("row", "method", "tier", "track")},
                "slice": ranking,
                "seed": run["seed"],
                by: run["slices"][ranking][by],
                **{kind: rows[name][f"{by}/{ranking}/{kind}"] for kind in ("mean", "low", "high")},
            }
            for place, part in enumerate(comparisons)
            for pair in part.rows
            for axis, name in zip("xy", pair, strict=True)
            for run in seeds[name]
        ]
    )


def _measured(part: pd.DataFrame, by: str) -> Agreement:
    sides = [part[part["axis"] == axis].groupby("row", sort=False)[by] for axis in "xy"]
    first, second = ([seeds.tolist() for _, seeds in side] for side in sides)
    return agreement(first, second)


def _points(tidy: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """One row per method in the order of the comparison, in the form of `points`; marked as the costly tier."""
    sides = []
    for axis in "xy":
        rows = tidy[tidy["axis"] == axis].drop_duplicates("row").reset_index(drop=True)
        names = {"mean": axis, "low": f"{axis}_low", "high": f"{axis}_high"}
        sides.append(rows[["title", "row", "tier", "track", *names]].rename(columns=names))
    same = sides[1].drop(columns=["title", "row", "tier", "track"])
    return pd.concat([sides[0], same], axis=1).assign(control=sides[0]["row"].isin(list(controls)))


def _caption(
    dataset: str,
    by: str,
    queries: str,
    comparisons: Sequence[Comparison],
    agreements: list[Agreement],
    tidy: pd.DataFrame,
) -> str:
    seeds = drawing.counted(tidy.groupby(["comparison", "axis", "row"]).size())
    results = " ".join(_result(part, one) for part, one in zip(comparisons, agreements, strict=True))
    return (
        f"Does the order of methods in a cheap tier predict their order in a costly one, on {dataset}? A point is a "
        f"method that is in both with the same parameters, at its mean {by} over seeds ({seeds} per method) on "
        f"the {queries}; bars: 95 % Student t intervals over seeds, which may extend beyond the panel. {results} "
        f"{orders.OF_SEEDS}"
    )


def _result(part: Comparison, one: Agreement) -> str:
    many = len(part.rows)
    pairs = many * (many - 1) // 2
    return (
        f"{part.cheap.capitalize()} and {part.costly} tier, {part.track} track, {many} methods: "
        f"{orders.coefficients(one)}. {orders.verdict(one)} One of the {pairs} pairs of methods in another order "
        f"moves tau-b by {2 / pairs:.2f}."
    )


def draw(board: Board, dataset: str, folder: Path) -> None:
    """Draw the figure of a board."""
    comparisons, controls = board.contents.comparisons, board.contents.controls
    compared = {name for part in comparisons for pair in part.rows for name in pair}
    runs = [run for run in board.evaluations(dataset, baselines=False) if run["row"] in compared]
    draw_tiers(runs, comparisons, dataset, folder, controls)


if __name__ == "__main__":
    drawing.command(draw)
