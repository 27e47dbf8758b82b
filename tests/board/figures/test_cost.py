"""Quality against cost, and gains, against values worked by hand."""

from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest

from board_files import write_runs, write_suite
from negmark.board.figures.cost import draw, draw_cost, front
from negmark.board.figures.gain import draw_gain
from negmark.board.standings import summarise
from negmark.core.errors import UserError
from negmark.store.board import Board
from negmark.store.contents import Contents
from negmark.store.run import read_run

SUFFIXES = {"svg", "png", "pdf", "csv", "txt"}


def methods(folder: Path) -> list[Path]:
    """Quick and poor, slow and good, dominated, and a faithful one better than all."""
    paths = []
    for name, seconds, value, track in (
        ("quick", 1.0, 0.2, "controlled"),
        ("slow", 50.0, 0.5, "controlled"),
        ("worse", 60.0, 0.4, "controlled"),
        ("as_quick", 1.0, 0.1, "controlled"),
        ("told", 0.5, 0.9, "controlled"),
        ("paper", 70.0, 0.6, "faithful"),
    ):
        values = {"unseen": (value, value + 0.02), "seen": (0.5, 0.7)}
        paths += write_runs(folder, "scifact", name, values, train_seconds=seconds, track=track)
    return [*paths, *write_runs(folder, "scifact", "untrained", {"unseen": (0.12,), "seen": (0.5,)})]


def test_the_front_is_of_a_tier_and_track(tmp_path: Path) -> None:
    frame = summarise([read_run(path) for path in methods(tmp_path)])
    trained = frame[frame["track"] != "baseline"]
    by = "nDCG@10/unseen/mean"
    assert front(trained[trained["row"] != "told"], by) == {"quick", "slow", "paper"}
    assert front(trained, by) == {"told", "paper"}, "the cheapest and best leaves no other of its track"


def test_of_two_that_are_alike_one_is_on_the_front(tmp_path: Path) -> None:
    paths = []
    for name in ("a", "b"):
        paths += write_runs(
            tmp_path, "scifact", name, {"unseen": (0.2, 0.2), "seen": (0.5, 0.5)}, train_seconds=1.0
        )
    frame = summarise([read_run(path) for path in paths])
    assert front(frame, "nDCG@10/unseen/mean") == {"a"}


class TunedBoard:
    """A board whose row `worse` stands untuned below the others."""

    contents = Contents(suite="s", cards={}, rows=[], seeds=[], controls=["told"], untuned=["worse"])

    def __init__(self, folder: Path) -> None:
        self.runs = [read_run(path) for path in methods(folder)]

    def evaluations(self, dataset: str, *, untuned: bool) -> list[dict[str, Any]]:
        assert dataset == "scifact"
        return [run for run in self.runs if untuned or run["row"] != "worse"]


def test_a_row_that_stands_untuned_below_tuned_ones_is_not_drawn(tmp_path: Path) -> None:
    draw(cast("Board", TunedBoard(tmp_path / "made")), "scifact", tmp_path)
    rows = set(pd.read_csv(tmp_path / "scifact-cost.csv")["row"])
    assert rows == {"quick", "slow", "as_quick", "told", "paper", "untrained"}
    caption = (tmp_path / "scifact-cost.txt").read_text()
    assert "as they were before tuning are left out." in " ".join(caption.split())


def test_the_table_of_cost_is_tidy(tmp_path: Path) -> None:
    draw_cost([read_run(path) for path in methods(tmp_path / "made")], "scifact", tmp_path, ["told"])
    assert {path.name for path in tmp_path.glob("scifact-*")} == {
        f"scifact-cost.{suffix}" for suffix in SUFFIXES
    }
    table = pd.read_csv(tmp_path / "scifact-cost.csv").set_index("row")
    assert len(table) == 6 * 2 + 1, "methods and seeds, and a baseline"
    assert set(table.index[table["front"]]) == {"quick", "slow", "paper"}, "a control is on no front"
    assert set(table.index[table["control"]]) == {"told"}
    slow = table.loc["slow"]
    assert slow["seconds"].tolist() == [50.0, 50.0]
    assert slow["nDCG@10"].tolist() == pytest.approx([0.5, 0.52])
    assert slow["mean"].iloc[0] == pytest.approx(0.51)
    caption = " ".join((tmp_path / "scifact-cost.txt").read_text().split())
    assert "10 unseen queries" in caption
    assert "Z80, 2 cores, no GPU" in caption


def test_gains_are_over_the_untrained_encoder(tmp_path: Path) -> None:
    draw_gain([read_run(path) for path in methods(tmp_path / "made")], "scifact", tmp_path, ["told"])
    table = pd.read_csv(tmp_path / "scifact-gain.csv")
    assert len(table) == 6 * 2 * 2, "methods, slices, seeds"
    one = table.query("row == 'slow' and slice == 'unseen'")
    assert one["gain"].tolist() == pytest.approx([0.38, 0.40])
    assert one["mean"].tolist() == pytest.approx([0.39, 0.39])
    assert one["high"].iloc[0] == pytest.approx(0.39 + 12.7062 * 0.01, abs=1e-4), "t(.975, 1) s / sqrt(2)"
    assert table.query("row == 'slow' and slice == 'seen'")["gain"].tolist() == pytest.approx([0.0, 0.2])


@pytest.mark.parametrize(
    ("values", "with_start", "words"),
    [
        ({"all": (0.3, 0.4), "unseen": (0.3, 0.4)}, True, "needs both seen and unseen queries"),
        ({"unseen": (0.3, 0.4), "seen": (0.3, 0.4)}, False, "needs an untrained encoder"),
    ],
)
def test_without_both_slices_or_a_start_there_is_no_gain(
    tmp_path: Path, values: dict, with_start: bool, words: str
) -> None:
    metrics = write_runs(tmp_path, "wordnet", "simans", values)
    if with_start:
        metrics += write_runs(
            tmp_path, "wordnet", "untrained", {name: series[:1] for name, series in values.items()}
        )
    if "all" in values:  # every query is unseen
        for path in metrics:
            path.write_text(path.read_text().replace('"queries": 30', '"queries": 10'))
    draw_gain([read_run(path) for path in metrics], "wordnet", tmp_path)
    assert pd.read_csv(tmp_path / "wordnet-gain.csv").empty
    assert words in (tmp_path / "wordnet-gain.txt").read_text()
    assert (tmp_path / "wordnet-gain.svg").stat().st_size > 500


def test_figures_are_the_same_twice(tmp_path: Path) -> None:
    metrics = methods(tmp_path / "made")
    for folder, order in (("a", metrics), ("b", metrics[::-1])):
        draw_cost([read_run(path) for path in order], "scifact", tmp_path / folder)
        draw_gain([read_run(path) for path in order], "scifact", tmp_path / folder)
    written = sorted((tmp_path / "a").iterdir())
    assert len(written) == 10
    for path in written:
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_board_of_baselines_has_no_cost(tmp_path: Path) -> None:
    metrics, _ = write_suite(tmp_path)
    baselines = [path for path in metrics if "untrained" in path.parts]
    with pytest.raises(UserError, match="no trained run to draw"):
        draw_cost([read_run(path) for path in baselines], "scifact", tmp_path)
