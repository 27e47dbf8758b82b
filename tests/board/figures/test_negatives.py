"""The figures of audits and of datasets, against tables made by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from board_files import write_runs
from negmark.board.figures.datasets import draw_datasets
from negmark.board.figures.negatives import draw_negatives
from negmark.core.errors import UserError
from negmark.store.run import read_run

VALUES = {"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.7}
OTHER = {"a": 0.2, "b": 0.6, "c": 0.4, "d": 0.8}  # b and c change places


def runs(folder: Path, dataset: str, values: dict[str, float], **more: Any) -> list[dict[str, Any]]:
    paths = []
    for name, value in values.items():
        paths += write_runs(folder, dataset, name, {"unseen": (value, value), "seen": (0.9, 0.9)}, **more)
    return [read_run(path) for path in paths]


def audit(path: Path, rate: float) -> Path:
    """Two windows and the whole of two seeds of two methods; the others give no negatives."""
    rows = [
        {
            "row": method, "seed": seed, "window": window, "first_step": 10 * window, "last_step": 10 * window + 9,
            "score_q10": 0.1, "score_q50": 0.2 + seed / 10, "score_q90": 0.4, "false_negative_rate": rate,
        }
        for method in ("d", "b") for seed in (0, 1) for window in (-1, 0, 1)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_windows_are_kept_in_the_order_of_the_board(tmp_path: Path) -> None:
    draw_negatives(
        runs(tmp_path / "made", "scifact", VALUES), audit(tmp_path / "a.csv", 0.25), "scifact", tmp_path
    )
    table = pd.read_csv(tmp_path / "scifact-negatives.csv")
    assert table["row"].unique().tolist() == ["d", "b"], "d is first on the board"
    assert len(table) == 2 * 2 * 2, "methods, seeds, windows; the whole run is no window"
    assert table["false_negative_rate"].unique().tolist() == [0.25]
    caption = " ".join((tmp_path / "scifact-negatives.txt").read_text().split())
    assert "Without negatives of their own, and not shown: c, a." in caption
    assert "hidden from training" in caption


def test_false_negatives_are_drawn_where_they_are_known(tmp_path: Path) -> None:
    made = runs(tmp_path / "made", "scifact", VALUES)
    for folder, rate in (("known", 0.25), ("unknown", np.nan)):
        draw_negatives(made, audit(tmp_path / f"{folder}.csv", rate), "scifact", tmp_path / folder)
    sizes = [(tmp_path / folder / "scifact-negatives.svg").read_text() for folder in ("known", "unknown")]
    heights = [float(text.split('height="')[1].split("pt")[0]) for text in sizes]
    assert heights[0] > 1.5 * heights[1], "a block more"
    assert "hidden from training" not in (tmp_path / "unknown" / "scifact-negatives.txt").read_text()


def test_without_negatives_nothing_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("row,seed,window\n")
    draw_negatives(runs(tmp_path / "made", "scifact", VALUES), tmp_path / "empty.csv", "scifact", tmp_path)
    assert pd.read_csv(tmp_path / "scifact-negatives.csv").empty
    with pytest.raises(UserError, match="no audit can be read"):
        draw_negatives(runs(tmp_path / "two", "scifact", VALUES), tmp_path / "none.csv", "scifact", tmp_path)


def test_two_datasets_agree_by_hand(tmp_path: Path) -> None:
    made = [*runs(tmp_path / "made", "one", VALUES), *runs(tmp_path / "made", "two", OTHER)]
    draw_datasets(made, tmp_path)
    table = pd.read_csv(tmp_path / "datasets.csv")
    assert len(table) == 4 * 2 * 2, "methods, datasets, seeds"
    assert table["tau"].unique() == pytest.approx([4 / 6]), "five pairs agree, one does not"
    assert table["rho"].unique() == pytest.approx([0.8])
    assert table["chance"].unique() == pytest.approx([4 / 24])
    assert table.query("row == 'b' and axis == 'y'")["value"].tolist() == pytest.approx([0.6, 0.6])
    caption = " ".join((tmp_path / "datasets.txt").read_text().split())
    assert "16.7 % of cases: no agreement shown beyond these few methods" in caption


def test_more_datasets_make_a_square(tmp_path: Path) -> None:
    made = [run for name in ("one", "two", "three") for run in runs(tmp_path / "made", name, VALUES)]
    made += runs(tmp_path / "made", "four", {"a": 0.1, "b": 0.2})  # two methods are no order
    draw_datasets(made, tmp_path)
    table = pd.read_csv(tmp_path / "datasets.csv")
    pairs = table.drop_duplicates(["dataset", "other"])[["dataset", "other"]].to_numpy().tolist()
    assert pairs == [["one", "three"], ["one", "two"], ["three", "two"]]
    assert table["tau"].unique() == pytest.approx([1.0])


def test_tracks_are_never_mixed(tmp_path: Path) -> None:
    made = [
        *runs(tmp_path / "made", "one", {"a": 0.1, "b": 0.3}),
        *runs(tmp_path / "made", "one", {"c": 0.5, "d": 0.7}, track="faithful"),
        *runs(tmp_path / "made", "two", {"a": 0.2, "b": 0.6}),
        *runs(tmp_path / "made", "two", {"c": 0.4, "d": 0.8}, track="faithful"),
    ]
    draw_datasets(made, tmp_path)
    assert pd.read_csv(tmp_path / "datasets.csv").empty, "no ranking has three methods"
    assert "No two datasets have 3 methods" in (tmp_path / "datasets.txt").read_text()
