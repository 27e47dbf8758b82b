"""What committed boards let one take, worked out from their letters and seconds by hand, and how it is said."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from builders import ROOT, unit
from negmark.advise.choice import Choice, Verdict, choice, seconds
from negmark.advise.page import page
from negmark.advise.suspects import Suspect, Suspects, above_positives
from negmark.advise.words import (
    Advice,
    false_ones,
    file_words,
    headline,
    price,
    sure,
    table,
    terminal,
    time_words,
)
from negmark.core.errors import UserError
from negmark.core.spreadsheet import read_table
from negmark.data import prepare

BOARDS = ROOT / "results" / "leaderboards"
SECONDS = {
    "star": 2.647, "dense_uniform": 2.76, "percpos": 3.9, "simans": 2.7, "dense_topk": 2.12, "bm25": 2.8,
    "random": 2.6, "inbatch": 1.012,
}  # fmt: skip
"""What a run takes in these tests: a board's own seconds are another machine's every time that it is made."""
OWN_SHARE = 0.14


def of_board(suite: str, dataset: str, **changes: dict) -> Choice:
    """The choice on a committed board, at the seconds of `SECONDS`, with some cells of some rows changed."""
    return choice(frame_of(suite, dataset, **changes), [], ["inbatch"])


def frame_of(suite: str, dataset: str, **changes: dict) -> pd.DataFrame:
    frame = read_table(BOARDS / suite / "leaderboard.csv")
    frame = frame[frame["dataset"] == dataset].reset_index(drop=True)
    frame["cpu_seconds"] = frame["train_seconds"] = frame["row"].map(SECONDS)
    frame["own_seconds"] = OWN_SHARE * frame["train_seconds"]
    for row, cells in changes.items():
        for column, value in cells.items():
            frame[column] = frame[column].astype(object)
            frame.loc[frame["row"] == row, column] = value
    return frame


def test_a_leader_about_as_cheap_as_the_cheapest_leader_is_taken() -> None:
    """Leaders share a or b with STAR (ab); dense top-k takes 2.12 s, so up to 2.65 s count as equal: STAR's 2.647."""
    found = of_board("quickstart", "icd10cm")
    assert (found.verdict, found.taken["row"], found.best["row"]) == (Verdict.BETTER, "star", "star")
    assert [row["row"] for row in found.alike] == ["dense_uniform", "percpos", "simans", "dense_topk", "bm25"]
    assert found.reference is not None
    assert found.reference["row"] == "inbatch"
    assert (found.slice, found.queries, found.metric) == ("unseen", 1766, "nDCG@10")
    assert headline(found) == "On icd10cm: take STAR."
    said = " ".join(sure(found))
    assert (
        "nDCG@10 0.475, +0.081 against In-batch only (95 % interval +0.062 to +0.100, p <0.001; 1,766 unseen"
        in said
    )
    assert "Not told apart from it: Dense uniform, NV-Retriever PercPos, SimANS and 2 more" in said
    # 2.647 s of 1.012 s, 256,000 texts of 51,200
    assert price(found).startswith(
        "2.6 seconds a run here, 2.6 times as long as In-batch only; it encodes 5.0 times"
    )
    assert "14% of the time" in price(found)


def test_a_dear_leader_gives_way_to_a_cheap_one() -> None:
    found = of_board("quickstart", "icd10cm", star={"cpu_seconds": 2.7})
    assert (found.taken["row"], found.best["row"]) == ("dense_topk", "star")


def test_what_is_not_told_apart_is_so_from_the_one_taken_not_from_the_best() -> None:
    """Dense top-k (ab) is cheapest by far; BM25 (b) shares a letter with it, but none with the best (a)."""
    found = of_board("quickstart", "icd10cm", star={"groups": "a"}, dense_topk={"cpu_seconds": 1.0})
    assert (found.taken["row"], found.best["row"]) == ("dense_topk", "star")
    assert [row["row"] for row in found.alike] == ["star", "dense_uniform", "percpos", "simans", "bm25"]
    one = of_board(
        "quickstart", "icd10cm", percpos={"groups": "a"}, bm25={"groups": "c"}, dense_topk={"groups": "bc"}
    )
    assert "bm25" not in {row["row"] for row in one.alike}, "STAR (ab) is taken"
    assert "taken as the cheapest of those that lead" in " ".join(sure(one))


def test_where_nothing_differs_the_cheapest_is_taken_and_the_file_is_of_one_that_gives_documents() -> None:
    found = of_board("scifact", "scifact")
    assert (found.verdict, found.taken["row"]) == (Verdict.NOTHING, "inbatch")
    assert found.file_row is not None
    assert found.file_row["row"] == "dense_topk"
    assert headline(found) == (
        "On scifact: no difference between methods is shown; take the cheapest, In-batch only."
    )
    # the quadratic mean of .0582, .0461, .0419, .0354 and .0200, as the board says
    assert f"{found.detectable:.3f}" == "0.042"
    said = " ".join(sure(found))
    assert "A difference of 0.042 nDCG@10 or more would have been shown in four of five" in said
    assert "BM25 without any training reaches 0.666, more than every method here" in said


def test_what_is_better_than_the_reference_is_taken_though_they_share_a_letter() -> None:
    """Letters are of all pairs, so that they need more than the comparison with the reference."""
    found = of_board("quickstart", "wordnet", inbatch={"groups": "ae"})
    assert found.verdict == Verdict.BETTER
    assert found.taken["row"] != "inbatch", "though it takes a third of the seconds"
    assert "inbatch" not in {row["row"] for row in found.alike}
    unsure = {row["row"]: {"p": 0.2} for row in found.ranking}
    found = of_board("quickstart", "wordnet", **{**unsure, "inbatch": {"groups": "ae"}})
    assert (found.verdict, found.taken["row"]) == (Verdict.AMONG, "inbatch")


def test_cheap_is_what_the_cpu_did_not_what_the_clock_said() -> None:
    """Other work on the machine stretches the wall seconds of runs that take a second."""
    row = {"cpu_seconds": 2.0, "train_seconds": 9.0, "hardware": "AMD EPYC, 2 cores, no GPU"}
    assert seconds(row) == 2.0
    assert seconds({**row, "hardware": "AMD EPYC, 2 cores, A100"}) == 9.0
    assert seconds({**row, "cpu_seconds": math.nan}) == 9.0


def test_methods_below_their_start_are_not_advised() -> None:
    by = "nDCG@10/unseen/mean"
    found = of_board("quickstart", "wordnet", untrained={by: 0.9})
    assert found.verdict == Verdict.UNTRAINED
    assert headline(found) == "On wordnet: train on none of these yet."
    assert (
        "No method reaches the encoder that it starts from (nDCG@10 0.900; the best, STAR, has 0.417"
        in sure(found)[0]
    )
    _, lines = table(found)
    assert not any(line[0] for line in lines), "no row is marked to be taken"
    told = file_words(advice(choice=found))
    assert told[0].startswith("The file is no advice to train on it: it has the negatives of")
    assert len(told) == 2


def test_controls_rows_that_did_not_act_and_failed_ones_are_not_taken() -> None:
    frame = frame_of("quickstart", "icd10cm", dense_uniform={"idle": "one epoch"})
    frame.loc[frame["row"] == "percpos", "nDCG@10/unseen/mean"] = math.nan
    found = choice(frame, ["star"], ["inbatch"])
    assert {"star", "dense_uniform", "percpos"}.isdisjoint(row["row"] for row in found.ranking)
    with pytest.raises(UserError, match="icd10cm: no method has a result"):
        choice(frame, list(frame["row"]), [])


def test_the_table_has_every_method_and_the_baselines() -> None:
    heads, lines = table(of_board("quickstart", "icd10cm"))
    assert heads[1:4] == ["method", "nDCG@10", "against In-batch only"]
    assert lines[0] == ["take", "STAR", "0.475 ±0.002", "+0.081 (+0.062 to +0.100)", "<0.001", "ab", "2.6"]
    assert [line[1] for line in lines[-2:]] == [
        "Untrained encoder (not trained)",
        "BM25 search (not trained)",
    ]
    assert sum(line[0] == "take" for line in lines) == 1
    assert lines[7][1:5] == ["In-batch only", "0.394 ±0.006", "—", "—"]


def advice(**more: object) -> Advice:
    record = {
        "queries": {"seen": 90, "labelled": 100, "too_few_for_the_format": 3}, "lines": 87, "most_a_query": 8,
    }  # fmt: skip
    audit = {"labelled_positive_rate": 0.0, "text_duplicate_rate": 0.0125, "false_negative_rate": math.nan}
    found = Suspects(200, 30, 90, [Suspect("ask <b>", "right", "wrong", 0.25, 0.75)])
    given: dict = {
        "choice": of_board("scifact", "scifact"), "audit": audit, "hidden": False, "suspects": found,
        "files": [Path("results/negatives/s/d/dense_topk/seed-0/tuples.jsonl")], "record": record,
    }  # fmt: skip
    return Advice(**{**given, **more})


def test_what_may_be_false_is_counted_and_not_called_more_than_it_is() -> None:
    said = " ".join(false_ones(advice()))
    assert "0.0% are labelled positives of their query and 1.2% have the text of one" in said
    assert "30 of the 200 in the file (15.0%) are still above the query's own positive" in said
    assert "How many are false is not known" in said
    hidden = advice(hidden=True, audit={"false_negative_rate": 0.25})
    assert (
        "25.0% of the negatives of Dense top-k are relevant by the labels that were hidden"
        in false_ones(hidden)[0]
    )


def test_the_file_says_whose_it_is_and_what_it_lacks() -> None:
    told = file_words(advice())
    assert told[0].startswith("In-batch only needs no file")
    assert "87 lines, 90 of 100 training queries (3 of them left out, with too few negatives" in told[1]
    without = of_board("scifact", "scifact")
    assert "no file of negatives" in file_words(advice(choice=without, files=[]))[0]


def test_the_time_says_what_was_left_out_and_how_to_have_it() -> None:
    assert time_words(61, 20, 90, []) == ["Took 1:01 of 20:00 (planned: 1:30). Nothing was left out."]
    (said,) = time_words(2000, 20, 1500, ["2 of 5 seeds", "tuning"])
    assert said == (
        "Took 33:20 of 20:00 (planned: 25:00). The smallest comparison takes longer than it was given. Left out: 2 of "
        "5 seeds; tuning. More time: `advise: {minutes: 40}`."
    )


def test_the_page_and_the_terminal_say_the_same_and_show_the_worst(tmp_path: Path) -> None:
    both = [advice(), advice(choice=of_board("quickstart", "icd10cm"))]
    board = BOARDS / "quickstart"
    html = page("mine", both, ["Took 1:00."], board)
    said = terminal(both, ["Took 1:00."], tmp_path / "advice.html")
    for one in both:
        assert headline(one.choice) in said
        assert headline(one.choice) in html
    assert "ask &lt;b&gt;" in html
    assert "0.25 &lt; 0.75" in html
    assert "http" not in html.replace("http://www.w3.org", ""), "it opens without a network"
    assert "../../../results/negatives/s/d/dense_topk/seed-0/tuples.jsonl" in html
    assert said.rstrip().endswith((tmp_path / "advice.html").as_uri())


def test_suspects_are_negatives_above_the_best_positive_of_their_query(tmp_path: Path) -> None:
    """By hand, in two dimensions: query 0 lies on document 0, its positives are 1 (cos .8) and 2 (cos .6)."""
    documents = unit(np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1], [0.9, 0.4359]]))
    queries = unit(np.array([[1.0, 0.0], [0.0, 1.0]]))
    made = prepare.Collection(
        [f"d{row}" for row in range(5)], ["T", "", "", "", ""], [f"text {row}" for row in range(5)],
        ["q0", "q1"], ["first", "second"],
        {"train": np.array([[0, 1, 1], [0, 2, 1], [1, 3, 1]]), "test": np.array([[1, 0, 1]])},
    )  # fmt: skip
    prepare.write(made, tmp_path)
    negatives = pd.DataFrame({"query": [0, 0, 0, 1, 1], "document": [0, 4, 3, 2, 1]})
    positives = pd.DataFrame({"query": [0, 0, 1], "document": [1, 2, 3]})
    found = above_positives(negatives, positives, (documents, queries), tmp_path)
    assert (found.negatives, found.above, found.queries) == (5, 2, 2)
    assert found.share == 0.4
    (worst,) = found.worst
    assert (worst.query, worst.positive, worst.negative) == ("first", "text 1", "T text 0")
    assert (worst.positive_score, worst.negative_score) == pytest.approx((0.8, 1.0))
