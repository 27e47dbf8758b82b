"""A row whose own rule never acted is marked, said and not ranked; what no rule could fill stands on its row."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from board_files import ANCE, IN_BATCH, SETTINGS, SIMANS, UNTRAINED, write_card, write_differences, write_runs
from negmark.board.leaderboard import collate
from negmark.compare.idle import read_idle
from negmark.store.contents import Contents
from negmark.store.filled import filled, gave_none, words
from negmark.store.query_scores import QueryScores, Row
from negmark.store.run import idle_of

BEST = {"unseen": (0.9, 0.9, 0.9), "seen": (0.9, 0.9, 0.9)}
REASON = "nothing is hidden here"
HALF = {"places_empty": 0.2, "queries_without": 0.279, "backfilled": None}
SPARE = {"places_empty": 0.0, "queries_without": 0.004, "backfilled": 0.54}


def board(folder: Path) -> Path:
    """The idle row would be the best of all."""
    ranked = write_runs(folder, "scifact", "inbatch", IN_BATCH)
    ranked += write_runs(folder, "scifact", "percpos", SIMANS, filled=HALF, adaptations=["no teacher"])
    ranked += write_runs(folder, "scifact", "rocketqa", ANCE, filled=SPARE)
    ranked += write_runs(folder, "scifact", "untrained", UNTRAINED)
    write_differences(ranked, folder / "board")
    ranked += write_runs(folder, "scifact", "oracle", BEST, idle=REASON)
    collate(ranked, [write_card(folder, "scifact")], SETTINGS, folder / "board")
    return folder / "board"


def test_an_idle_row_has_no_rank_and_every_view_says_why(tmp_path: Path) -> None:
    made = board(tmp_path)
    table = pd.read_csv(made / "leaderboard.csv").set_index("row")
    assert table["rank"].fillna(0).to_dict() == {
        "percpos": 1, "inbatch": 2, "untrained": 0, "rocketqa": 3, "oracle": 0,
    }  # fmt: skip
    assert table.index[-1] == "oracle"
    assert table["idle"].fillna("").to_dict()["oracle"] == REASON
    sentence = f"Did not act: oracle ({REASON}). What such a row shows is not its method, so it has no rank."
    for name, sign in (
        ("leaderboard.md", "oracle ∅ "), ("leaderboard.html", ">∅</span>"), ("summary.txt", "oracle ∅"),
        ("leaderboard.tex", r"oracle $\emptyset$"),
    ):  # fmt: skip
        text = " ".join((made / name).read_text().split())
        assert sentence in text, name
        assert sign in text, name
    assert "oracle is first" not in (made / "leaderboard.md").read_text()


def test_a_row_that_is_idle_on_one_dataset_is_the_best_of_that_one_nowhere(tmp_path: Path) -> None:
    """It has a mean rank by the other dataset."""
    ranked, cards = [], []
    for dataset in ("scifact", "wordnet"):
        idle = {"idle": REASON} if dataset == "scifact" else {}
        ranked += write_runs(tmp_path, dataset, "inbatch", IN_BATCH)
        ranked += write_runs(tmp_path, dataset, "ance", ANCE)
        ranked += write_runs(tmp_path, dataset, "untrained", UNTRAINED)
        ranked += write_runs(tmp_path, dataset, "oracle", BEST, **idle)
        cards.append(write_card(tmp_path, dataset))
    write_differences(ranked, tmp_path / "board")
    collate(ranked, cards, SETTINGS, tmp_path / "board")
    text = (tmp_path / "board" / "leaderboard.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|") and "oracle" in line]
    assert lines[0].count("0.900") == 2
    assert lines[0].count("**0.900**") == 1
    assert "untuned" not in text


def test_what_was_not_filled_is_a_footnote_of_its_row(tmp_path: Path) -> None:
    made = board(tmp_path)
    table = pd.read_csv(made / "leaderboard.csv").set_index("row")
    assert table.loc["percpos", "adaptations"] == (
        "no teacher; 28 % of its queries had no negative; 20 % of its places for negatives were empty"
    )
    drawn = "54 % of its negatives were drawn at random to fill places that its rule left empty"
    assert table.loc["rocketqa", "adaptations"] == drawn
    assert table.loc["rocketqa", "backfilled"] == 0.54
    assert drawn in (made / "leaderboard.md").read_text()


def test_a_row_is_idle_only_where_every_seed_was() -> None:
    assert idle_of([{"idle": "a"}, {"idle": "b"}]) == "a"
    assert idle_of([{"idle": "a"}, {"idle": ""}]) == ""
    scores = QueryScores("nDCG@10", [], {"a": Row({"idle": REASON}, {}), "b": Row({"idle": ""}, {})})
    assert list(scores.acting().rows) == ["b"]


def test_idle_rows_are_read_from_the_manifests_of_a_board(tmp_path: Path) -> None:
    contents = Contents(suite="s", cards={"d": "", "e": ""}, rows=["x", "y"], seeds=[0, 1], homes={"e": "d"})
    for folder in contents.runs("d"):
        (tmp_path / folder).mkdir(parents=True)
        idle = REASON if folder.parent.name == "x" or folder.name.endswith("0") else ""
        (tmp_path / folder / "manifest.json").write_text(json.dumps({"idle": idle}))
    assert read_idle(contents, tmp_path) == {("d", "x"): REASON, ("e", "x"): REASON}


@pytest.mark.parametrize(
    ("history", "backfilled", "expected"),
    [
        ([(0.5, 0.25), (0.0, 0.0)], 0.1, {"places_empty": 0.25, "queries_without": 0.125, "backfilled": 0.1}),
        ([(1.0, 1.0)], float("nan"), {"places_empty": 1.0, "queries_without": 1.0, "backfilled": None}),
        ([(None, None)], float("nan"), dict.fromkeys(HALF)),
    ],
)
def test_shares_of_a_run(history: list[Any], backfilled: float, expected: dict[str, Any]) -> None:
    rows = [dict(zip(("places_empty", "queries_without"), row, strict=True)) for row in history]
    found = filled(rows, backfilled)
    assert found == expected
    assert gave_none(found) == (expected["queries_without"] == 1)
    assert words(dict.fromkeys(HALF, float("nan"))) == []
