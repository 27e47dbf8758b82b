"""The figure of learning curves against numbers worked by hand, and its place on the page."""

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from board_files import SETTINGS, write_card, write_differences, write_runs
from negmark.board.figures.curves import at_equal_compute, curve_table, draw_curves
from negmark.board.leaderboard import collate
from negmark.core.errors import UserError
from negmark.store.curve import has_points
from negmark.store.run import read_run

STEPS = (0, 10, 20)


def write_curve(
    run: Path, values: tuple[float, ...], a_step: int, searched: int, joules: float | None
) -> Path:
    """Points with so many vectors and searches a step."""
    rows = [
        {
            "step": step, "queries": 40, "nDCG@10": value, "unseen_queries": 0, "nDCG@10/unseen": None,
            "vectors": step * a_step, "searches": step * searched, "pairs": 0, "teacher_vectors": 0,
            "network_forwards": 0, "wall_seconds": 0.1 * step, "joules": None if joules is None else joules * step,
        }
        for step, value in zip(STEPS, values, strict=True)
    ]  # fmt: skip
    path = run.with_name("dev.parquet")
    pd.DataFrame(rows).to_parquet(path)
    return path


def write_two(folder: Path, joules: float | None = None) -> tuple[list[Path], list[Any]]:
    """A cheap method that is worse at the end, and a dear one; two seeds each."""
    quality = {"unseen": (0.3, 0.4), "seen": (0.5, 0.6)}
    cheap, dear = (write_runs(folder, "wordnet", name, quality) for name in ("cheap", "dear"))
    curves = [write_curve(cheap[0], (0.2, 0.30, 0.40), 100, 0, joules)]
    curves += [write_curve(cheap[1], (0.2, 0.34, 0.44), 100, 0, joules)]
    curves += [write_curve(run, (0.2, 0.5, 0.6), 300, 50, joules) for run in dear]
    runs = [(read_run(path), curve) for path, curve in zip([*cheap, *dear], curves, strict=True)]
    return [*cheap, *dear], runs


def test_a_run_without_a_curve_has_no_points(tmp_path: Path) -> None:
    """Of a tier without one, in a suite where another tier has one."""
    pd.DataFrame({"step": []}).to_parquet(tmp_path / "dev.parquet")
    assert not has_points(tmp_path / "dev.parquet")
    _, [(_, path), *_] = write_two(tmp_path)
    assert has_points(path)


def test_the_table_has_each_point_with_mean_bounds_and_compute(tmp_path: Path) -> None:
    table = curve_table(write_two(tmp_path)[1], "wordnet")
    assert len(table) == 2 * 2 * 3
    assert table["row"].unique().tolist() == ["dear", "cheap"], "the best at the end first"
    last = table.query("row == 'cheap' and step == 20")
    assert last["nDCG@10"].tolist() == [0.40, 0.44]
    assert last["mean"].tolist() == pytest.approx([0.42] * 2)
    half = (
        12.7062047 * (0.04 / math.sqrt(2)) / math.sqrt(2)
    )  # t of one degree of freedom, SD of two values, n = 2
    assert last["low"].tolist() == pytest.approx([0.42 - half] * 2)
    assert table.query("row == 'dear'")["compute"].tolist() == [0, 3500, 7000] * 2


def test_at_equal_compute_the_cheap_method_may_be_ahead(tmp_path: Path) -> None:
    reached, found = at_equal_compute(curve_table(write_two(tmp_path)[1], "wordnet"))
    assert reached == 2000, "the whole run of the cheap one"
    assert list(zip(found["row"], found["mean"], strict=True)) == [
        ("cheap", pytest.approx(0.42)),
        ("dear", pytest.approx(0.2)),
    ]


@pytest.mark.parametrize(
    ("joules", "words"),
    [(None, "Energy: unknown"), (1.5, "Energy is what the devices measured")],
)
def test_the_figure_is_written_whole_and_the_same_twice(tmp_path: Path, joules: Any, words: str) -> None:
    runs = write_two(tmp_path, joules)[1]
    for folder in ("a", "b"):
        draw_curves(runs, "wordnet", tmp_path / folder)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {f"wordnet-curves.{suffix}" for suffix in ("svg", "png", "pdf", "csv", "txt")}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    ElementTree.parse(tmp_path / "a" / "wordnet-curves.svg")
    caption = " ".join((tmp_path / "a" / "wordnet-curves.txt").read_text().split())
    assert words in caption
    assert "at 2,000, which all reach, cheap 0.420, dear 0.200" in caption
    assert "nDCG@10 on 40 dev queries of wordnet" in caption


def test_runs_without_points_are_told_in_one_line(tmp_path: Path) -> None:
    runs = write_two(tmp_path)[1]
    with pytest.raises(UserError, match="nowhere: no run with a learning curve"):
        draw_curves(runs, "nowhere", tmp_path)


@pytest.mark.parametrize("shown", [True, False])
def test_the_page_shows_curves_where_the_suite_has_them(tmp_path: Path, shown: bool) -> None:
    metrics, runs = write_two(tmp_path)
    board = tmp_path / "board"
    draw_curves(runs, "wordnet", board / "figures")
    write_differences(metrics, board)
    collate(
        metrics,
        [write_card(tmp_path, "wordnet")],
        {**SETTINGS, "figures": {"wordnet": ["curves"] if shown else []}},
        board,
    )
    assert ("while methods train" in (board / "leaderboard.html").read_text()) is shown
