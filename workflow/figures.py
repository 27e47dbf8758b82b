"""The two figures of a dataset: how good each method is, and what its training did to the scores.

Each figure is written as SVG, PNG and PDF with a tidy CSV of what it shows (to redraw it in a paper) and a
caption. Equal inputs give equal bytes: no date, no version and no random id goes into a file.
"""

import math
import textwrap
from pathlib import Path
from typing import Annotated, Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from typer import Option

from workflow import stage
from workflow.catalogue import STS
from workflow.contents import Contents
from workflow.errors import UserError
from workflow.files import replacing, write_text
from workflow.notation import marked
from workflow.standings import (
    RANKED_BY,
    ranked_by,
    ranking_slice,
    read_run,
    records,
    shown_slices,
    summarise,
    tiers,
)
from workflow.views import csv

STYLE = Path(__file__).parent / "report" / "negbench.mplstyle"
TRAINED, QUIET = "#0072B2", "#777777"
KINDS = {"positive": "#0072B2", "negative": "#D55E00"}
LINES = (":", "--", "-.", (0, (1, 4)))  # one a baseline
BINS_A_UNIT = 50  # bins of cosine similarity are 0.02 wide on every dataset
PANELS_A_ROW = 4
JUDGED = {RANKED_BY: "queries", STS: "pairs"}
# What each writer would otherwise stamp on a file.
STAMPS: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def draw_quality(metrics: list[Path], dataset: str, folder: Path) -> None:
    """Draw the ranking metric of every method on each slice of `dataset` into `folder`/`dataset`-quality.*.

    A diamond is the mean over seeds, its bar the 95 % Student t interval, the dots below are the seeds; methods
    stand in the order of the board, a rule between two rankings. A baseline is a line across all methods.
    """
    runs = runs_of(dataset, [read_run(path) for path in metrics])
    frame = summarise(runs)
    tidy = quality_table(runs, frame)
    slices, by = shown_slices(frame), ranked_by(frame)
    trained = frame[frame["track"] != "baseline"]
    if trained.empty:
        raise UserError(f"{dataset}: no trained run to draw; add a method to the suite")
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(2.6 + 2.5 * len(slices), 1.3 + 0.3 * len(trained)), layout="constrained")
        panels = figure.subplots(1, len(slices), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, slices, strict=True):
            _quality_panel(axes, tidy[tidy["slice"] == name], name, by, ranking=name == ranking_slice(frame))
            for place in _borders(trained):
                axes.axhline(place - 0.4, color="#c8c8c8", lw=0.6, zorder=0)
        panels[0].set_yticks(range(len(trained)), _names(frame, trained))
        panels[0].set_ylim(len(trained) - 0.4, -0.6)
        figure.legend(
            handles=_quality_legend(frame), loc="outside lower center", ncols=4 if len(slices) > 1 else 2
        )
        save(figure, folder / f"{dataset}-quality", tidy, _quality_caption(frame, dataset))


def draw_scores(runs: list[tuple[dict[str, Any], Path]], dataset: str, folder: Path) -> None:
    """Draw the scores of positives and negatives at the first and last step into `folder`/`dataset`-scores.*.

    `runs` pairs the content of each metrics.json with its scores.parquet (step, kind, score: the cosine
    similarity of a query and a document in a training batch). One panel a method, pooled over its seeds.
    """
    mine = [(run, path) for run, path in runs if run["dataset"] == dataset]
    if not mine:
        raise UserError(f"{dataset}: no scores of a trained run to draw; give its scores.parquet files")
    frame = summarise([run for run, _ in mine])
    tidy = score_table(mine, list(frame["method"]))
    wide = min(PANELS_A_ROW, len(frame))
    tall = math.ceil(len(frame) / wide)
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(max(4.2, 2.35 * wide), 0.9 + 1.6 * tall), layout="constrained")
        grid = figure.subplots(tall, wide, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, method, name in zip(grid, frame["method"], _names(frame, frame), strict=False):
            _score_panel(axes, tidy[tidy["method"] == method], name)
        for axes in grid[len(frame) :]:
            axes.remove()
        for axes in grid[max(0, len(frame) - wide) : len(frame)]:
            axes.tick_params(labelbottom=True)
        figure.supxlabel("cosine similarity of query and document", fontsize=8.5, color="#333333")
        figure.legend(handles=_score_legend(), loc="outside upper center", ncols=4)
        save(figure, folder / f"{dataset}-scores", tidy, _score_caption(mine, dataset))


# --- what is drawn, as tables -----------------------------------------------------------------------------


def _names(frame: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """A label a row: its title, with the tier where the board has several."""
    several = len(tiers(frame)) > 1
    return [label(marked(row, several)) for row in records(rows)]


def _borders(trained: pd.DataFrame) -> list[int]:
    """Places of the rows that begin another ranking."""
    rankings = list(zip(trained["tier"], trained["track"], strict=True))
    return [place for place in range(1, len(rankings)) if rankings[place] != rankings[place - 1]]


def quality_table(runs: list[dict[str, Any]], frame: pd.DataFrame) -> pd.DataFrame:
    """One row a (method, slice, seed) in the board's order: the seed's value, and the mean and its bounds."""
    by = ranked_by(frame)
    rows = [
        {
            **{key: row[key] for key in ("method", "title", "tier", "track")},
            "slice": name,
            "queries": run["slices"][name]["queries"],
            "seed": run["seed"],
            by: run["slices"][name][by],
            **{kind: row[f"{by}/{name}/{kind}"] for kind in ("mean", "low", "high")},
        }
        for row in records(frame)
        for name in shown_slices(frame)
        for run in sorted(runs, key=lambda run: str(run["seed"]))
        if run["method"] == row["method"]
    ]
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def score_table(runs: list[tuple[dict[str, Any], Path]], order: list[str]) -> pd.DataFrame:
    """Histograms over one set of bins: (method, step, kind, low, high, count, density), methods in `order`.

    `density` integrates to 1 over the cosine similarity for each (method, step, kind). Empty bins are kept,
    so the rows of one distribution line up with those of another.
    """
    scores = pd.concat([_read_scores(run, path) for run, path in runs], ignore_index=True)
    edges = _edges(scores["score"])
    titles = {run["method"]: run["title"] for run, _ in runs}
    parts = []
    for method in order:
        for (step, kind), group in scores[scores["method"] == method].groupby(["step", "kind"], sort=True):
            count, _ = np.histogram(group["score"], edges)
            density = count * BINS_A_UNIT / count.sum()
            part = {"low": edges[:-1], "high": edges[1:], "count": count, "density": density}
            parts.append(
                pd.DataFrame({"method": method, "title": titles[method], "step": step, "kind": kind, **part})
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
        raise UserError(f"{path}: there is no such file; run {run['method']} again to make it") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no readable scores ({error}); delete it and run again") from None
    return scores.dropna(subset="score").astype({"score": np.float64}).assign(method=run["method"])


def runs_of(dataset: str, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of one dataset; none of them is a mistake."""
    mine = [run for run in runs if run["dataset"] == dataset]
    if not mine:
        raise UserError(f"{dataset}: no run to draw; give the metrics.json files of this dataset")
    return mine


# --- quality ----------------------------------------------------------------------------------------------


def _quality_panel(axes: Axes, tidy: pd.DataFrame, name: str, by: str, ranking: bool) -> None:
    """Dots, bars and seeds of one slice; the slice that ranks the board has its title in bold."""
    trained = tidy[tidy["track"] != "baseline"]
    for place, (_, seeds) in enumerate(trained.groupby("method", sort=False)):
        first = seeds.iloc[0]
        below = np.full(len(seeds), place + 0.27)
        axes.plot(seeds[by], below, "o", ms=2.6, color=TRAINED, alpha=0.35, mew=0)
        axes.plot([first["low"], first["high"]], [place, place], color=TRAINED, lw=1.3, solid_capstyle="butt")
        axes.plot(first["mean"], place, "d", ms=4, color=TRAINED, mew=0)
    for line, (_, baseline) in zip(LINES, _baselines(tidy), strict=False):
        axes.axvline(baseline["mean"].iloc[0], color=QUIET, lw=1.1, ls=line, zorder=0)
    axes.set_title(f"{name}, n = {tidy['queries'].iloc[0]:,}", fontweight="bold" if ranking else "normal")
    axes.set_xlabel(by)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)


def _baselines(tidy: pd.DataFrame) -> Any:
    """Baselines by name, so that each keeps its line style in every panel."""
    return tidy[tidy["track"] == "baseline"].groupby("method", sort=True)


def _quality_legend(frame: pd.DataFrame) -> list[Line2D]:
    methods = [
        Line2D([], [], color=TRAINED, lw=1.3, marker="d", ms=4, mew=0, label="mean and 95 % interval"),
        Line2D([], [], ls="", marker="o", ms=2.6, color=TRAINED, alpha=0.35, mew=0, label="one seed"),
    ]
    lines = zip(LINES, _baselines(frame), strict=False)
    return methods + [
        Line2D([], [], color=QUIET, lw=1.1, ls=line, label=label(rows["title"].iloc[0]))
        for line, (_, rows) in lines
    ]


def _quality_caption(frame: pd.DataFrame, dataset: str) -> str:
    trained, ranking, by = frame[frame["track"] != "baseline"], ranking_slice(frame), ranked_by(frame)
    few, many = trained["seeds"].min(), trained["seeds"].max()
    seeds = f"{many}" if few == many else f"{few} to {many}"
    counts = ", ".join(f"{name} {frame[f'test_queries/{name}'].iloc[0]:,}" for name in shown_slices(frame))
    return (
        f"{by} on {dataset} by slice of the test {JUDGED[by]} ({counts}). Diamonds: means over seeds ({seeds} a "
        "method); bars: 95 % Student t intervals over seeds; dots: single seeds; lines: systems not trained here. "
        f"Methods stand in the order of the {ranking} {JUDGED[by]}, each ranking by itself. Each panel has its "
        "own scale."
    )


# --- scores -----------------------------------------------------------------------------------------------


def _score_panel(axes: Axes, tidy: pd.DataFrame, name: str) -> None:
    """Both kinds at the first step as thin outlines and at the last step filled."""
    last = tidy["step"].max()
    for kind, colour in KINDS.items():
        for step, part in tidy[tidy["kind"] == kind].groupby("step", sort=True):
            edges = np.append(part["low"], part["high"].iloc[-1])
            if step == last:
                axes.stairs(part["density"], edges, fill=True, color=colour, alpha=0.4, lw=0)
            else:
                axes.stairs(part["density"], edges, color=colour, lw=1.0)
    axes.set_title(name, fontsize=8.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _score_legend() -> list[Any]:
    first = [
        Line2D([], [], color=colour, lw=1.0, label=f"{kind}s, first step") for kind, colour in KINDS.items()
    ]
    last = [
        Patch(color=colour, alpha=0.4, lw=0, label=f"{kind}s, last step") for kind, colour in KINDS.items()
    ]
    return [first[0], last[0], first[1], last[1]]


def _score_caption(runs: list[tuple[dict[str, Any], Path]], dataset: str) -> str:
    return (
        f"Cosine similarity of training queries with their positives and with the negatives given to them on "
        f"{dataset}, at the first step (lines) and the last (filled), pooled over the seeds of a method "
        f"({len(runs)} runs). Each area is 1; all panels share their axes. A panel without negatives belongs to "
        "a method that uses other queries' documents only."
    )


# --- files ------------------------------------------------------------------------------------------------


def save(figure: Figure, stem: Path, tidy: pd.DataFrame, caption: str) -> None:
    """Write the figure three times, with its table and caption, beside `stem`."""
    for suffix, metadata in STAMPS.items():
        with replacing(stem.parent / f"{stem.name}.{suffix}") as partial:
            figure.savefig(partial, format=suffix, metadata=metadata)
    write_text(stem.parent / f"{stem.name}.csv", csv(tidy))
    write_text(stem.parent / f"{stem.name}.txt", textwrap.fill(caption, 100) + "\n")


def label(title: str, width: int = 30) -> str:
    """A title as matplotlib should draw it: on two lines at most, and with `$` no start of a formula."""
    return textwrap.fill(title, width, max_lines=2, placeholder=" …").replace("$", r"\$")


def main(
    contents: Annotated[str, Option(help="what stands on the board, as JSON")],
    dataset: Annotated[str, Option(help="the dataset that is drawn")],
    figure: Annotated[str, Option(help="quality or scores")],
    folder: Annotated[Path, Option(help="where the figure goes")],
) -> None:
    """Draw a figure of one dataset of a suite."""
    listed = Contents.model_validate_json(contents)
    if figure == "quality":
        draw_quality(listed.files("metrics.json", dataset), dataset, folder)
    else:
        runs = listed.runs(dataset)
        draw_scores(
            [(read_run(run / "metrics.json"), run / "scores.parquet") for run in runs], dataset, folder
        )


if __name__ == "__main__":
    stage.command(main)
