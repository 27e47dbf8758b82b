"""The figures' tables against counts worked by hand; the files against themselves."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from board_files import write_runs, write_suite, write_two_tiers
from negmark.board.figures.drawing import names
from negmark.board.figures.quality import borders, draw_quality
from negmark.board.figures.scores import draw_scores, score_table
from negmark.board.standings import summarise
from negmark.core.errors import UserError
from negmark.store.run import read_run

SUFFIXES = {"svg", "png", "pdf", "csv", "txt"}


def write_scores(path: Path, kinds: tuple[str, ...]) -> Path:
    """Scores of two steps; at the last, positives are at 0.8 and negatives at 0.1."""
    rows = [
        {"step": step, "kind": kind, "score": np.float32({"positive": 0.5, "negative": 0.3}[kind] + shift)}
        for kind in kinds
        for step, shift in ((0, 0.0), (0, 0.05), (299, 0.3 if kind == "positive" else -0.2))
    ]
    pd.DataFrame(rows).to_parquet(path)
    return path


@pytest.fixture
def scored(tmp_path: Path) -> list:
    metrics, _ = write_suite(tmp_path)
    trained = [path for path in metrics if read_run(path)["track"] != "baseline"]
    kinds = {"inbatch": ("positive",), "simans": ("positive", "negative")}
    return [
        (run, write_scores(path.parent / "scores.parquet", kinds[run["row"]]))
        for path in trained
        for run in [read_run(path)]
    ]


def test_quality_is_written_whole(tmp_path: Path) -> None:
    metrics, _ = write_suite(tmp_path, title="costs $5 and $6")
    draw_quality([read_run(path) for path in metrics], "scifact", tmp_path / "figures")
    written = {path.name for path in (tmp_path / "figures").iterdir()}
    assert written == {f"scifact-quality.{suffix}" for suffix in SUFFIXES}
    ElementTree.parse(tmp_path / "figures" / "scifact-quality.svg")
    pixels = imread(tmp_path / "figures" / "scifact-quality.png")
    assert pixels.shape[1] > 1500, "three panels wide"
    assert 0.8 < pixels.mean() < 1, "ink on a white ground"
    caption = (tmp_path / "figures" / "scifact-quality.txt").read_text()
    assert "all 30, seen 20, unseen 10" in caption


def test_quality_table_is_tidy(tmp_path: Path) -> None:
    metrics, _ = write_suite(tmp_path)
    draw_quality([read_run(path) for path in metrics], "scifact", tmp_path)
    table = pd.read_csv(tmp_path / "scifact-quality.csv")
    assert len(table) == 2 * 3 * 3 + 3, "two methods, three slices, three seeds; one baseline"
    unseen = table.query("row == 'simans' and slice == 'unseen'")
    assert unseen["nDCG@10"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert unseen["mean"].unique() == pytest.approx([0.2])
    assert unseen["low"].iloc[0] == pytest.approx(0.2 - 0.248414, abs=1e-6)


def test_one_slice_gives_one_panel(tmp_path: Path) -> None:
    metrics = write_runs(tmp_path, "wordnet", "simans", {"all": (0.3, 0.4), "unseen": (0.3, 0.4)})
    for path in metrics:  # every query is unseen
        path.write_text(path.read_text().replace('"queries": 30', '"queries": 10'))
    draw_quality([read_run(path) for path in metrics], "wordnet", tmp_path)
    assert pd.read_csv(tmp_path / "wordnet-quality.csv")["slice"].unique().tolist() == ["unseen"]


def test_rankings_are_drawn_apart_and_named(tmp_path: Path) -> None:
    metrics, _ = write_two_tiers(tmp_path)
    frame = summarise([read_run(path) for path in metrics])
    trained = frame[frame["track"] != "baseline"]
    assert names(frame, trained) == [
        *("simans (adapter)", "inbatch (adapter)"),
        *("inbatch (finetune)", "simans (finetune)"),
    ]
    assert borders(trained) == [2], "a rule above the third row"
    one = trained[trained["tier"] == "adapter"]
    assert names(one, one) == ["simans", "inbatch"]
    assert borders(one) == []


def test_score_table_counts_pairs(scored: list) -> None:
    table = score_table(scored, ["simans", "inbatch"])
    assert table["row"].unique().tolist() == ["simans", "inbatch"]
    sums = table.groupby(["row", "step", "kind"])["count"].sum()
    assert sums["simans", 0, "negative"] == 2 * 3, "two scores, pooled over three seeds"
    assert sums["simans", 299, "positive"] == 3
    assert ("inbatch", 0, "negative") not in sums.index
    area = (table["density"] * (table["high"] - table["low"])).groupby(
        [table["row"], table["step"], table["kind"]]
    )
    assert area.sum().tolist() == pytest.approx([1.0] * len(sums))
    last = table.query("row == 'simans' and step == 299 and kind == 'negative' and count > 0")
    assert (last["low"] <= 0.1 + 1e-6).all()
    assert (last["high"] >= 0.1 - 1e-6).all()


def test_figures_are_the_same_twice(tmp_path: Path, scored: list) -> None:
    metrics = [path.parent / "metrics.json" for _, path in scored]
    for folder in ("a", "b"):
        draw_quality([read_run(path) for path in metrics], "scifact", tmp_path / folder)
        draw_scores(scored, "scifact", tmp_path / folder)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {f"scifact-{kind}.{suffix}" for kind in ("quality", "scores") for suffix in SUFFIXES}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_mistakes_are_told_in_one_line(tmp_path: Path, scored: list) -> None:
    metrics = [path.parent / "metrics.json" for _, path in scored]
    with pytest.raises(UserError, match="nowhere: no run to draw"):
        draw_quality([read_run(path) for path in metrics], "nowhere", tmp_path)
    with pytest.raises(UserError, match="nowhere: no scores"):
        draw_scores(scored, "nowhere", tmp_path)
    with pytest.raises(UserError, match="no such file"):
        draw_scores([(scored[0][0], tmp_path / "none.parquet")], "scifact", tmp_path)
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="no readable scores"):
        draw_scores([(scored[0][0], torn)], "scifact", tmp_path)
