"""On a board of tuned rows the untuned ones stand below, without a rank, and are compared with none."""

from pathlib import Path

import pandas as pd

from board_files import ANCE, IN_BATCH, SETTINGS, SIMANS, UNTRAINED, write_card, write_differences, write_runs
from negmark.board.leaderboard import collate
from negmark.store.query_scores import QueryScores, Row
from negmark.store.run import as_placed

BEST = {"unseen": (0.9, 0.9, 0.9), "seen": (0.9, 0.9, 0.9)}


def board(folder: Path) -> Path:
    """Two datasets; the untuned row is better on test than both tuned ones."""
    metrics, ranked, cards = [], [], []
    for dataset in ("scifact", "wordnet"):
        ranked += write_runs(folder, dataset, "inbatch_tuned", IN_BATCH, method="inbatch")
        ranked += write_runs(folder, dataset, "simans_tuned", SIMANS, method="simans")
        ranked += write_runs(folder, dataset, "ance_tuned", ANCE, method="ance")  # which differs for certain
        ranked += write_runs(folder, dataset, "untrained", UNTRAINED)
        metrics += write_runs(folder, dataset, "simans", BEST, method="simans")
        cards.append(write_card(folder, dataset))
    write_differences(ranked, folder / "board", "inbatch_tuned")
    settings = {**SETTINGS, "reference": "inbatch_tuned"}
    collate([*metrics, *ranked], cards, settings, folder / "board", untuned=["simans"])
    return folder / "board"


def test_untuned_rows_are_last_and_have_no_rank(tmp_path: Path) -> None:
    table = pd.read_csv(board(tmp_path) / "leaderboard.csv")
    part = table[table["dataset"] == "scifact"]
    assert part["row"].tolist() == ["simans_tuned", "inbatch_tuned", "untrained", "ance_tuned", "simans"]
    assert part["rank"].fillna(0).tolist() == [1, 2, 0, 3, 0]
    assert part["title"].tolist()[-1] == "simans, untuned"
    last = part.iloc[-1]
    assert last[["reference", "difference", "p", "groups"]].isna().all()
    assert part["reference"].tolist()[0] == "inbatch_tuned"


def test_every_view_shows_them_without_a_rank(tmp_path: Path) -> None:
    made = board(tmp_path)
    page, text = (made / "leaderboard.html").read_text(), (made / "leaderboard.md").read_text()
    assert "nan" not in text
    assert ">nan<" not in page
    rows = [line for line in text.splitlines() if "simans, untuned" in line]
    assert rows
    assert all(line.split("|")[1].strip() == "" for line in rows), "no rank, no mean rank"
    assert all("**" not in line for line in rows), "it is best of no ranking"
    assert "untuned ones stand below" in text
    assert "simans tuned is first on the 10 unseen queries" in text
    assert "nan" not in (made / "leaderboard.tex").read_text()


def test_comparisons_leave_them_out() -> None:
    run = {"row": "simans", "title": "SimANS", "method": "simans"}
    placed = as_placed(run, ["simans"])
    assert placed == {**run, "title": "SimANS, untuned", "untuned": True}
    assert as_placed(run, ["other"]) == run
    scores = QueryScores(
        "nDCG@10",
        [],
        {
            "simans": Row(placed, {}),
            "tuned": Row({"row": "tuned", "method": "simans", "chain": ["simans"]}, {}),
        },
    )
    assert list(scores.ranked().rows) == ["tuned"]
    assert scores.ranked().started("tuned") == {"simans"}
