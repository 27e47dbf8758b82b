"""What a board says of false negatives where they are known, and the figure, from a table written by hand."""

import math
from pathlib import Path

import pandas as pd
import pytest

from board_files import collated, write_card, write_runs
from negmark.board.figures.truth import draw_truth
from negmark.board.known_truth import correlation_sentence, truth_sentences
from negmark.board.standings import summarise
from negmark.compare.truth import COLUMNS
from negmark.core.files import write_text
from negmark.core.spreadsheet import csv
from negmark.store.run import read_run

ROWS = {"simans": (0.1, 0.5), "bm25": (0.2, 0.45), "dense_topk": (0.4, 0.3), "oracle": (0.0, 0.32)}
HIDDEN = {
    "how": "related",
    "relation": "ancestor",
    "positives": 9,
    "related_hidden": 3,
    "queries_with_hidden": 2,
}
ANSWER = (
    "Among 3 methods no relation of false negatives to nDCG@10 is shown (Kendall's tau -1.00, -1.00 to -0.33 over "
    "seeds, p 0.333)."
)
OF_ORACLE = (
    "oracle, with 0.0 % false negatives, differs from dense_topk, with 40.0 % and otherwise the same negatives, by "
    "+0.020 (+0.010 to +0.030, p 0.002)."
)


def table(**more: str) -> pd.DataFrame:
    """What the stage writes, a line per row."""
    rows = [
        {
            "tier": "adapter", "row": name, "title": name, "track": "controlled", "control": name == "oracle",
            "seeds": 2, "metric": "nDCG@10", "slice": "unseen", "rate": rate, "rate_low": rate - 0.02,
            "rate_high": rate + 0.02, "mean": mean, "low": mean - 0.01, "high": mean + 0.01,
            "methods": 3, "tau": -1.0, "tau_low": -1.0, "tau_high": -1 / 3, "p": 1 / 3, "twin": "", **more,
        }
        for name, (rate, mean) in ROWS.items()
    ]  # fmt: skip
    twin = {
        "twin": "dense_topk", "difference": 0.02, "difference_low": 0.01, "difference_high": 0.03,
        "difference_p": 0.002,
    }  # fmt: skip
    return pd.DataFrame([*rows[:3], rows[3] | twin], columns=list(COLUMNS))


def write(folder: Path, rows: pd.DataFrame) -> Path:
    write_text(folder / "truth" / "scifact.csv", csv(rows))
    return folder / "truth" / "scifact.csv"


def test_the_answer_in_words(tmp_path: Path) -> None:
    assert truth_sentences(tmp_path / "truth" / "scifact.csv") == []
    assert truth_sentences(write(tmp_path, table())) == [ANSWER, OF_ORACLE]
    both = truth_sentences(write(tmp_path, pd.concat([table(), table(tier="finetune")])))
    assert [text.partition(",")[0] for text in both] == [
        "In the adapter tier",
        "oracle",
        "In the finetune tier",
        "oracle",
    ]


@pytest.mark.parametrize(
    ("tau", "p", "text"),
    [
        (-0.6, 0.01, "Among 8 methods fewer false negatives go with higher P@5 (Kendall's tau -0.60, p 0.010)."),
        (0.6, 0.01, "Among 8 methods more false negatives go with higher P@5 (Kendall's tau +0.60, p 0.010)."),
        (0.6, 0.06, "Among 8 methods no relation of false negatives to P@5 is shown (Kendall's tau +0.60, p 0.060)."),
        (math.nan, math.nan, "Among 8 methods, too few or too equal to rank, false negatives can't be related to P@5."),
    ],
)  # fmt: skip
def test_a_relation_is_claimed_where_chance_is_unlikely(tau: float, p: float, text: str) -> None:
    line = {"methods": 8.0, "metric": "P@5", "tau": tau, "tau_low": math.nan, "tau_high": math.nan, "p": p}
    assert correlation_sentence(line) == text


def test_every_view_of_the_board_has_the_answer(tmp_path: Path) -> None:
    metrics = [
        path
        for name, (_, mean) in ROWS.items()
        for path in write_runs(tmp_path, "scifact", name, {"unseen": (mean,) * 2, "seen": (0.9, 0.9)})
    ]
    board = tmp_path / "board"
    write(board, table())
    write_text(
        board / "audit" / "scifact.csv",
        "row,seed,window,false_negative_rate,false_negative_weight\nsimans,0,-1,0.1,0.1\n",
    )
    collated(metrics, [write_card(tmp_path, "scifact", hidden=HIDDEN)], board)
    words = " ".join((board / "summary.txt").read_text().split())
    assert f"{ANSWER} {OF_ORACLE}" in words
    assert "3 unlabelled documents (ancestor of a positive of 2 training queries) count as hidden" in words
    assert "by +0.020 (+0.010 to +0.030, p 0.002)" in (board / "leaderboard.html").read_text()
    text = (board / "leaderboard.md").read_text()
    assert "Among 3 methods no relation" in text
    assert "near-relevant, and no answers in evaluation" in text


def test_the_figure_shows_what_the_table_holds(tmp_path: Path) -> None:
    frame = summarise(
        [
            read_run(path)
            for name, (_, mean) in [*ROWS.items(), ("inbatch", (0, 0.2))]
            for path in write_runs(tmp_path, "scifact", name, {"unseen": (mean,) * 2, "seen": (0.9, 0.9)})
        ]
    )
    draw_truth(write(tmp_path, table()), frame, "scifact", tmp_path)
    drawn = pd.read_csv(tmp_path / "scifact-truth.csv")
    assert drawn[["row", "rate", "mean"]].to_numpy().tolist() == [
        [name, *values] for name, values in ROWS.items()
    ]
    caption = " ".join((tmp_path / "scifact-truth.txt").read_text().split())
    assert ANSWER in caption
    assert "Without negatives of their own, and not shown: inbatch." in caption
    draw_truth(write(tmp_path, table().iloc[:0]), frame, "scifact", tmp_path)
    assert pd.read_csv(tmp_path / "scifact-truth.csv").empty
