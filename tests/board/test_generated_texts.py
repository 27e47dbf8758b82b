"""What made texts are, by kind, counted by hand; and the figure of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from negmark.board.figures.generated import draw_generated
from negmark.board.generated_texts import COLUMNS, main, shares
from negmark.store.collection import write_table


def write(path: Path, kinds: list[str], scores: list[float], passes: list[bool], equals: list[int]) -> Path:
    size = len(kinds)
    write_table(
        path,
        {
            "query": np.arange(size, dtype=np.int32) // 2,
            "document": np.zeros(size, np.int32),
            "kind": kinds,
            "text": ["a"] * size,
            "score": np.array(scores, np.float32),
            "positive_score": np.full(size, 0.5, np.float32),
            "overlap": np.full(size, 0.75, np.float32),
            "equals": np.array(equals, np.int32),
            "answers": np.array(equals) == 1,
            "passes": np.array(passes),
        },
    )
    return path


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    edits = write(
        tmp_path / "edits.parquet",
        ["drop", "drop", "drop", "negation"],
        [0.6, 0.5, 0.3, 0.1],
        [False, False, True, True],
        [1, -1, -1, 2],
    )
    found = write(tmp_path / "found.parquet", ["bm25", "bm25"], [0.7, 0.2], [False, False], [3, 4])
    return {"edits": edits, "retrieved": found}


def test_the_shares_by_hand(tables: dict[str, Path]) -> None:
    found = shares(tables, "a judge").set_index(["source", "kind"])
    drop = found.loc[("edits", "drop")]
    assert drop["texts"] == 3
    assert drop["queries"] == 2
    assert drop["answers"] == pytest.approx(2 / 3), "as high as the positive counts"
    assert drop["equals_document"] == drop["equals_positive"] == pytest.approx(1 / 3)
    assert drop["passes"] == pytest.approx(1 / 3)
    assert drop["gap"] == pytest.approx(0.0, abs=1e-6)
    assert found.loc[("edits", "negation")]["equals_positive"] == 0
    assert found.loc[("retrieved", "bm25")]["answers"] == 0.5
    assert np.isnan(found.loc[("retrieved", "bm25")]["passes"])


def test_the_figure_has_a_bar_a_kind_and_says_who_judged(tables: dict[str, Path], tmp_path: Path) -> None:
    main([f"{source}={path}" for source, path in tables.items()], "the encoder", tmp_path / "made.csv")
    draw_generated(tmp_path / "made.csv", "birds", tmp_path)
    tidy = pd.read_csv(tmp_path / "birds-generated.csv")
    assert tidy["kind"].tolist() == ["drop", "negation", "bm25"]
    assert (tmp_path / "birds-generated.svg").is_file()
    said = " ".join((tmp_path / "birds-generated.txt").read_text().split())
    assert "birds's training queries: 4" in said
    assert "2 texts are a document of the corpus, 1 of them a positive" in said
    assert "the encoder scores at least as high" in said


def test_nothing_made_is_said(tmp_path: Path) -> None:
    path = tmp_path / "made.csv"
    pd.DataFrame(columns=list(COLUMNS)).to_csv(path, index=False)
    draw_generated(path, "birds", tmp_path)
    assert "No text could be made" in (tmp_path / "birds-generated.txt").read_text()
