"""The board against numbers worked by hand, and against names that want to break its files."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from board_files import (
    ANCE,
    QUERIES,
    SETTINGS,
    SIMANS,
    collated,
    write_card,
    write_differences,
    write_run,
    write_runs,
    write_suite,
    write_two_tiers,
)
from negmark.board import tables
from negmark.board.columns import columns
from negmark.board.findings import with_differences, with_orders
from negmark.board.leaderboard import collate
from negmark.board.overview import overview
from negmark.board.prose import reading, sentences, size_sentence, start_sentence, warnings
from negmark.board.standings import ranking_slice, standings
from negmark.board.tables import terminal_table
from negmark.compare.differences import read_differences
from negmark.compare.rising import Rise
from negmark.compare.statistics import interval
from negmark.core.errors import UserError
from negmark.core.notation import MISSING, compact, mean_rank_text, number, plain
from negmark.core.tiers import in_order
from negmark.store.run import read_run

MACHINE = "They were trained on Z80, 2 cores, no GPU."


def rows(metrics: list[Path], cards: list[Path]) -> pd.DataFrame:
    described = [json.loads(path.read_text()) for path in cards]
    return standings([read_run(path) for path in metrics], {card["name"]: card for card in described})


def by_name(cards: list[Path]) -> dict[str, Any]:
    """The cards by the names of their datasets."""
    return {card["name"]: card for card in (json.loads(path.read_text()) for path in cards)}


def rows_compared(metrics: list[Path], cards: list[Path], folder: Path, *controls: str) -> pd.DataFrame:
    """The rows with their differences from in-batch negatives, and ranks only where these tell something."""
    write_differences(metrics, folder)
    apart = read_differences(folder / "differences.csv")
    return with_orders(with_differences(rows(metrics, cards), apart), controls)


def test_interval_is_students_t() -> None:
    mean, low, high = interval([0.1, 0.2, 0.3])  # 4.302653 * 0.1 / sqrt(3)
    assert (mean, low, high) == pytest.approx((0.2, 0.2 - 0.248414, 0.2 + 0.248414), abs=1e-6)


def test_interval_of_equal_seeds_is_a_point() -> None:
    assert interval([0.5, 0.5]) == (0.5, 0.5, 0.5)


def test_one_seed_has_no_interval() -> None:
    mean, low, high = interval([0.4])
    assert mean == 0.4
    assert math.isnan(low)
    assert math.isnan(high)


def test_rows_are_ranked_by_unseen_queries(tmp_path: Path) -> None:
    frame = rows(*write_suite(tmp_path))
    assert ranking_slice(frame) == "unseen"
    assert list(frame["row"]) == ["simans", "inbatch", "untrained"]
    assert list(frame["rank"][:2]) == [1, 2]
    assert pd.isna(frame["rank"][2]), "a baseline has no rank"
    assert pd.isna(frame["seeds"][2])


def test_a_baseline_stands_where_its_value_puts_it(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    metrics += write_runs(tmp_path, "scifact", "bm25_search", {"unseen": (0.18,), "seen": (0.4,)})
    frame = rows(metrics, cards)
    assert list(frame["row"]) == ["simans", "bm25_search", "inbatch", "untrained"]
    assert list(frame["rank"].fillna(0)) == [1, 0, 2, 0]


def test_without_unseen_queries_all_rank(tmp_path: Path) -> None:
    metrics = write_runs(tmp_path, "nfcorpus", "simans", {"all": (0.3, 0.3), "seen": (0.3, 0.3)})
    metrics += write_runs(tmp_path, "nfcorpus", "inbatch", {"all": (0.4, 0.4), "seen": (0.4, 0.4)})
    frame = rows(metrics, [write_card(tmp_path, "nfcorpus", seen_test_queries=30, unseen_test_queries=0)])
    assert list(frame["row"]) == ["inbatch", "simans"]
    assert frame["nDCG@10/unseen/mean"].isna().all()
    assert frame["test_queries/unseen"].tolist() == [0, 0]
    assert "unseen" not in " ".join(sentences(frame, SETTINGS))


def test_csv_holds_the_numbers_in_full(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    collated(metrics, cards, tmp_path / "board")
    table = pd.read_csv(tmp_path / "board" / "leaderboard.csv")
    for metric in ("nDCG@10", "RR@10", "R@100"):
        for name in ("all", "seen", "unseen"):
            assert {f"{metric}/{name}/{kind}" for kind in ("mean", "low", "high")} <= set(table.columns)
    first = table.iloc[0]
    assert first["nDCG@10/unseen/mean"] == pytest.approx(0.2)
    assert first["nDCG@10/unseen/high"] == pytest.approx(0.448414, abs=1e-6)
    assert first["RR@10/seen/mean"] == pytest.approx(0.35)
    assert first["nDCG@10/all/mean"] == pytest.approx((2 * 0.7 + 0.2) / 3)
    assert first["train_seconds"] == pytest.approx((2 + 3 + 4) / 3)
    assert first["own_seconds"] == pytest.approx((2 + 3 + 4) / 3 / 4)
    assert first["vectors"] == pytest.approx(1000 + 8000 + 30)
    assert first["teacher_vectors"] == pytest.approx(12)
    assert first["peak_mebibytes"] == pytest.approx(501)
    assert list(first[["searches", "network_forwards"]]) == [0, 0]
    assert list(first[["tier", "method", "start"]]) == ["adapter", "simans", "the encoder"]
    assert table.iloc[2][["train_seconds", "vectors", "tier", "method"]].isna().all(), (
        "a baseline has no cost"
    )
    assert list(first[["documents", "documents_full", "test_queries/all", "test_queries/seen"]]) == [
        1000,
        5000,
        30,
        20,
    ]
    assert pd.isna(table.iloc[2]["nDCG@10/all/low"])


@pytest.mark.parametrize("title", ["=cmd()", "+1", "-1", "@SUM(A1)", "\tx"])
def test_csv_disarms_formulas(tmp_path: Path, title: str) -> None:
    metrics, cards = write_suite(tmp_path, title=title)
    text = tables.board_csv(rows(metrics, cards))
    assert next(csv.DictReader(io.StringIO(text)))["title"] == f"'{title}"


def test_sentences_come_from_the_numbers(tmp_path: Path) -> None:
    first, second, third = sentences(rows(*write_suite(tmp_path)), SETTINGS)
    assert first == (
        "simans is first on the 10 unseen queries with nDCG@10 0.200 ±0.248: "
        "+0.050 against inbatch (0.150) and +0.080 against untrained (0.120). "
        "Its runs take as long as those of inbatch."
    )
    assert "+0.200 on the 20 seen queries and +0.080 on the unseen ones" in second
    assert third == "Ranked by all queries, inbatch would be first."


def test_sentences_say_what_is_shown_and_what_is_not(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    metrics += write_runs(tmp_path, "scifact", "ance", ANCE)
    frame = rows_compared(metrics, cards, tmp_path)
    first, tally, *_ = sentences(frame, SETTINGS)
    # seeds' differences -.05, .05, .15: Student's t with 2 degrees is .866, p = 1 - .866 / sqrt(2.75) = .478, and
    # ance (t = -6.93, p = .0202) is the surer one of the two, so it is .0404 by Holm
    assert "+0.050 (-0.199 to +0.299, p 0.478: no difference shown) against inbatch (0.150)" in first
    assert "It isn't distinguishable from any other method." in first
    assert tally.startswith(
        "Of 2 methods compared with inbatch, 0 are better and 1 is worse; for 1, no difference is shown. "
    )
    # of two, Holm's first step is t(.9875, 2) = 6.205; with t(.80, 2) = 1.061 that is 7.266 standard errors: simans'
    # .1 / sqrt(3) gives .4195, ance's .01 / sqrt(3) .0420; sqrt((.4195^2 + .0420^2) / 2) = .2981
    assert tally.endswith(" Differences of 0.298 or more would have been shown (80 % power).")
    by_method = frame.set_index("row")
    assert by_method.loc["ance", "detectable"] == pytest.approx(0.042, abs=2e-4)
    assert by_method.loc["ance", ["difference", "p"]].tolist() == pytest.approx([-0.04, 0.0404], abs=2e-4)
    assert by_method.loc["ance", "difference/low"] == pytest.approx(
        -0.04 - 4.3027 * 0.01 / math.sqrt(3), abs=2e-4
    )


NOTHING = (
    "Tells nothing about these methods: none differs from inbatch (smallest p 0.478). A difference below 0.310 would "
    "have been missed more often than one time in five (80 % power)."
)
"""Of `write_suite`: t(.975, 2) = 4.303 and 1.061, 5.364 standard errors of .1 / sqrt(3)."""


def test_a_dataset_without_a_difference_is_not_ranked(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    frame = rows_compared(metrics, cards, tmp_path / "tested")
    assert list(frame["row"]) == ["simans", "inbatch", "untrained"], "by value"
    assert frame["rank"].isna().all()
    assert warnings(frame, SETTINGS) == [NOTHING]
    said = sentences(frame, SETTINGS)
    assert said == [
        "inbatch differs from untrained by +0.400 on the 20 seen queries and +0.030 on the unseen ones; the mean over "
        "all queries (+0.277) mixes the two."
    ]
    text = collated(metrics, cards, tmp_path / "board")
    assert text.startswith("scifact: Tells nothing about these methods: none differs from inbatch")
    assert "nDCG@10, by value, not ranked" in text
    board = (tmp_path / "board" / "leaderboard.md").read_text().split("## scifact")[1]
    assert board.strip().startswith(f"**{NOTHING}**")
    assert "**0.200" not in board
    for name in ("leaderboard.md", "leaderboard.html", "leaderboard.tex", "summary.txt"):
        assert "is first" not in (tmp_path / "board" / name).read_text()
    table = pd.read_csv(tmp_path / "board" / "leaderboard.csv")
    assert table["rank"].isna().all()
    assert not table["tells"].astype(bool).any()


def test_a_control_that_differs_tells_nothing_of_methods(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    metrics += write_runs(tmp_path, "scifact", "oracle", {"unseen": (0.9, 0.9, 0.9), "seen": (0.9, 0.9, 0.9)})
    assert not warnings(rows_compared(metrics, cards, tmp_path / "method"), SETTINGS)
    frame = rows_compared(metrics, cards, tmp_path / "control", "oracle")
    assert warnings(frame, SETTINGS)[0].startswith(NOTHING.split(" (")[0])
    assert frame["rank"].isna().all()


def test_a_tier_that_tells_nothing_leaves_the_others_their_ranks(tmp_path: Path) -> None:
    metrics, cards = write_two_tiers(tmp_path)
    frame = rows_compared(metrics, cards, tmp_path)
    assert list(frame["rank"].fillna(0)) == [0, 0, 0, 1, 2]
    assert [one.split(":")[0] for one in warnings(frame, SETTINGS)] == [
        "Tells nothing about these methods in the adapter tier"
    ]
    said = " ".join(sentences(frame, SETTINGS))
    assert "In the finetune tier, inbatch is first" in said
    assert "simans is first" not in said


def test_one_seed_and_so_no_test_leaves_a_ranking_as_it_is(tmp_path: Path) -> None:
    metrics = [
        *write_runs(tmp_path, "scifact", "inbatch", {"unseen": (0.1,), "seen": (0.2,)}, seed=True),
        *write_runs(tmp_path, "scifact", "simans", {"unseen": (0.2,), "seen": (0.2,)}, seed=True),
    ]
    frame = rows_compared(metrics, [write_card(tmp_path, "scifact")], tmp_path)
    assert frame["rank"].tolist() == [1, 2]
    assert not warnings(frame, SETTINGS)
    assert sentences(frame, SETTINGS)[0].startswith("simans is first")
    assert "power" not in " ".join([*sentences(frame, SETTINGS), reading(frame)])


def test_mean_ranks_leave_out_a_dataset_that_tells_nothing(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)  # ranks simans first, and tells nothing
    metrics += write_runs(
        tmp_path, "wordnet", "inbatch", {"unseen": (0.5, 0.5, 0.5), "seen": (0.5, 0.5, 0.5)}
    )
    metrics += write_runs(tmp_path, "wordnet", "simans", {"unseen": (0.4, 0.4, 0.4), "seen": (0.5, 0.5, 0.5)})
    collated(metrics, [*cards, write_card(tmp_path, "wordnet")], tmp_path / "board")
    whole = (
        (tmp_path / "board" / "leaderboard.md").read_text().split("## All datasets")[1].split("## scifact")[0]
    )
    assert "Mean ranks leave out scifact: no method differs from the reference there" in whole
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in whole.splitlines() if line[:1] == "|"
    ]
    assert cells[2:] == [
        ["1.0", "inbatch", "0.150", "**0.500**"],
        ["2.0", "simans", "0.200", "0.400"],
        ["", "untrained (baseline)", "0.120", "—"],
    ], "of wordnet alone, and nothing is the best on scifact"


def test_a_mean_rank_is_over_all_datasets_that_tell_something_or_is_none(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    metrics += write_runs(tmp_path, "scifact", "ance", ANCE)
    metrics += write_runs(
        tmp_path, "wordnet", "inbatch", {"unseen": (0.5, 0.5, 0.5), "seen": (0.5, 0.5, 0.5)}
    )
    metrics += write_runs(tmp_path, "wordnet", "simans", {"unseen": (0.4, 0.4, 0.4), "seen": (0.5, 0.5, 0.5)})
    cards.append(write_card(tmp_path, "wordnet"))
    frame = rows_compared(metrics, cards, tmp_path)
    found = overview(frame, read_differences(tmp_path / "differences.csv"), by_name(cards))
    assert found
    # scifact: simans, inbatch, ance; wordnet: inbatch, simans, and ance has no run there
    assert {row["row"]: mean_rank_text(row) for row in found.rows} == {
        "inbatch": "1.5", "simans": "1.5", "ance": "", "untrained": "",
    }  # fmt: skip
    assert found.left_out == []


def test_a_mean_rank_counts_two_regimes_of_a_collection_once(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    metrics += write_runs(tmp_path, "scifact", "ance", ANCE)
    for name, values in {"wordnet": (0.5, 0.4, 0.1), "scifact-strict": (0.4, 0.5, 0.1)}.items():
        for row, value in zip(("inbatch", "simans", "ance"), values, strict=True):
            metrics += write_runs(tmp_path, name, row, {"unseen": (value,) * 3, "seen": (value,) * 3})
    cards += [write_card(tmp_path, "wordnet")]
    cards += [write_card(tmp_path, "scifact-strict", dataset="scifact", regime="strict")]
    frame = rows_compared(metrics, cards, tmp_path)
    assert frame["rank"].notna().sum() == 9
    found = overview(frame, read_differences(tmp_path / "differences.csv"), by_name(cards))
    assert found
    # wordnet: inbatch, simans, ance; scifact-strict: simans, inbatch, ance; scifact as the latter, but not counted
    ranks = {row["row"]: mean_rank_text(row) for row in found.rows}
    assert ranks == {"inbatch": "1.5", "simans": "1.5", "ance": "3.0", "untrained": ""}
    assert [column.heading for column in found.columns][:3] == ["scifact", "scifact-strict", "wordnet"], (
        "all shown"
    )


def test_a_row_that_still_rose_is_marked_on_every_view(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    write_differences(metrics, tmp_path)
    rises = {
        ("scifact", "simans"): Rise("nDCG@10", 0.0071, 60, rising=True),
        ("scifact", "inbatch"): Rise("nDCG@10", 0.001, 60, rising=False),
    }
    collate(metrics, cards, SETTINGS, tmp_path, rises=rises)
    table = pd.read_csv(tmp_path / "leaderboard.csv").set_index("row")
    assert table["dev_gain"].tolist() == pytest.approx([0.0071, 0.001, math.nan], nan_ok=True)
    assert table.loc["simans", "dev_gain_steps"] == 60
    assert table["dev_rising"].fillna("").tolist() == [True, False, ""]
    footnote = "Dev still rose: simans +0.007 over the last 60 steps. More steps may change the order."
    for name, arrow in (
        ("leaderboard.md", "simans ↑ "), ("leaderboard.html", ">↑</span>"), ("summary.txt", "simans ↑ "),
        ("leaderboard.tex", r"simans $\uparrow$ "),
    ):  # fmt: skip
        text = (tmp_path / name).read_text()
        assert footnote in " ".join(text.replace("$+$", "+").split()), name
        assert text.count(arrow) == 1, name


def test_numbers_say_what_they_don_t_know() -> None:
    assert number(math.nan) == MISSING
    assert number(0.5) == "0.500"
    assert number(0.5, 0.4999) == "0.500 ±<0.001"


def test_markdown_is_well_formed(tmp_path: Path) -> None:
    metrics, cards = write_suite(
        tmp_path, title="a|b `c` <script>alert(1)</script>", adaptations=["one | two"]
    )
    collated(metrics, cards, tmp_path)
    text = (tmp_path / "leaderboard.md").read_text()
    lines = [line.replace(r"\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {17}, "every row has the same cells"
    assert set(lines[1]) <= set("|-: ")
    assert len(lines) == 2 + 3
    assert "<script>" not in text
    assert "1,000 of 5,000 documents (a sub-collection" in text
    assert "3 seeds" in text
    assert r"one \| two" in text
    assert " tier |" not in text, "a column for one tier says nothing"
    assert "Runs of the adapter tier start from the encoder." in text


def test_a_line_can_t_become_a_list() -> None:
    assert [plain(text) for text in ("- a", "1. a", "12)", "1.5 a", "# a", "+ a")] == [
        r"\- a",
        r"1\. a",
        r"12\)",
        "1.5 a",
        r"\# a",
        r"\+ a",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_table_fits(tmp_path: Path, width: int) -> None:
    metrics, cards = write_suite(
        tmp_path, title="[bold]A method with a name that goes on and on and on and on"
    )
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(terminal_table(rows(metrics, cards)))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "[bold]A" in text, "a title is no markup"
    for value in ("0.533 ±0.083", "0.700 ±<0.001", "0.200 ±0.248", "seconds", " 1 "):
        assert value in text


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    collated(metrics, cards, tmp_path / "a")
    collated(metrics[::-1], cards, tmp_path / "b")
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {
        "leaderboard.tex",
        "differences.csv",
        "leaderboard.csv",
        "leaderboard.md",
        "leaderboard.html",
        "summary.txt",
    }
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    other = write_run(tmp_path, "scifact", "ance", 0, {"all": 0.5})
    broken = write_run(tmp_path, "scifact", "broken", 0, {"all": 0.5}, status="diverged")
    moved = write_run(tmp_path, "scifact", "simans", 3, dict.fromkeys(QUERIES, 0.5), start="another encoder")
    suite = write_run(
        tmp_path, "scifact", "foreign", 0, {"all": 0.5, "seen": 0.5, "unseen": 0.5}, suite="beir"
    )
    for given, described, message in (
        ([*metrics, metrics[0]], cards, "inbatch on scifact with seed 0 is given twice"),
        ([*metrics, other], cards, "ance on scifact .* was evaluated on"),
        (
            [*metrics, moved],
            cards,
            "simans on scifact: seed 3 differs from others in start; run the row again",
        ),
        ([*metrics, broken], cards, "its status is 'diverged'"),
        ([*metrics, suite], cards, "shows one suite, given: beir, quickstart"),
        (metrics, [], "no dataset card for scifact"),
        ([], cards, "no run to show"),
    ):
        with pytest.raises(UserError, match=message):
            collate(given, described, SETTINGS, tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_the_faithful_track_is_ranked_by_itself_below(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    metrics += write_runs(
        tmp_path, "scifact", "star", {"unseen": (0.9, 0.9), "seen": (0.9, 0.9)}, track="faithful"
    )
    frame = rows(metrics, cards)
    assert list(frame["row"]) == ["simans", "inbatch", "untrained", "star"]
    assert [None if pd.isna(rank) else rank for rank in frame["rank"]] == [1, 2, None, 1]
    assert sentences(frame, SETTINGS)[0].startswith("simans is first")
    collated(metrics, cards, tmp_path / "board")
    assert "star (faithful)" in (tmp_path / "board" / "leaderboard.md").read_text()


@pytest.mark.parametrize("lacking", ["tier", "method", "start", "metrics"])
def test_a_run_of_an_older_form_is_named(tmp_path: Path, lacking: str) -> None:
    path = write_run(tmp_path, "scifact", "simans", 0, {"all": 0.5})
    run = json.loads(path.read_text())
    del run[lacking]
    path.write_text(json.dumps(run))
    with pytest.raises(
        UserError, match=rf"simans/0/metrics.json: lacks {lacking}, as files of an older form"
    ):
        read_run(path)


def test_a_manifest_of_an_older_form_is_named(tmp_path: Path) -> None:
    path = write_run(tmp_path, "scifact", "simans", 0, {"all": 0.5})
    training = {"wall_seconds": 1.0, "cpu_seconds": 1.0}
    path.with_name("manifest.json").write_text(json.dumps({"cost": {"training": training}}))
    with pytest.raises(UserError, match=r"simans/0/manifest.json: lacks 'own', as files of an older form"):
        read_run(path)


def judged_by(folder: Path, names: list[str]) -> tuple[list[Path], list[Path]]:
    """The suite of `write_suite`, and ANCE, judged by other metrics: each of half the value of the one before."""
    paths, cards = write_suite(folder)
    paths += write_runs(folder, "scifact", "ance", ANCE)
    for path in paths:
        run = json.loads(path.read_text())
        for part in run["slices"].values():
            first = part["nDCG@10"]
            queries = part.pop("queries")
            part.clear()
            part.update(queries=queries, **{name: first / 2**place for place, name in enumerate(names)})
        path.write_text(json.dumps({**run, "metrics": names}))
    return paths, cards


def test_the_metrics_of_a_suite_are_the_boards_and_its_first_one_ranks(tmp_path: Path) -> None:
    names = ["P@5", "nDCG@10", "Success@5"]
    paths, cards = judged_by(tmp_path, names)
    collated(paths, cards, tmp_path / "board")
    table = next(csv.reader((tmp_path / "board" / "leaderboard.csv").open()))
    means = [name.split("/")[0] for name in table if name.endswith("/unseen/mean")]
    assert means == names
    text = (tmp_path / "board" / "leaderboard.md").read_text()
    assert "Methods are ranked by P@5 on unseen queries" in text
    assert "simans is first on the 10 unseen queries with P@5 0.200" in text
    head = next(line for line in text.splitlines() if line.startswith("|   # |"))
    places = [head.index(f"{name} unseen") for name in names]
    assert places == sorted(places)
    assert "RR@10" not in text + (tmp_path / "board" / "leaderboard.html").read_text()


def test_runs_judged_by_other_metrics_are_refused(tmp_path: Path) -> None:
    paths, cards = write_suite(tmp_path / "one")
    others, _ = judged_by(tmp_path / "two", ["nDCG@10", "P@5"])
    with pytest.raises(
        UserError, match=r"was evaluated by nDCG@10, P@5, others by nDCG@10, RR@10, R@100; evaluate"
    ):
        rows([paths[0], *others[1:]], cards)


def test_tiers_are_ranked_apart(tmp_path: Path) -> None:
    metrics, cards = write_two_tiers(tmp_path)
    metrics += write_runs(
        tmp_path, "scifact", "star", {"unseen": (0.9, 0.9), "seen": (0.9, 0.9)}, track="faithful"
    )
    frame = rows(metrics, cards)
    assert list(frame["row"]) == [
        *("simans", "inbatch", "untrained", "star"),
        *("inbatch_finetune", "simans_finetune"),
    ]
    assert list(frame["rank"].fillna(0)) == [1, 2, 0, 1, 1, 2]
    assert list(frame["tier"]) == ["adapter", "adapter", "", "adapter", "finetune", "finetune"]


def test_a_tier_that_is_not_known_stands_last() -> None:
    assert in_order(["zeta", "finetune", "adapter", "finetune", "beta"]) == [
        *("adapter", "finetune"),
        *("beta", "zeta"),
    ]


def test_each_tier_is_told_against_its_own_reference(tmp_path: Path) -> None:
    said = sentences(rows(*write_two_tiers(tmp_path)), SETTINGS)
    assert [line for line in said if line.startswith("In the")] == [
        "In the adapter tier, simans is first on the 10 unseen queries with nDCG@10 0.200 ±0.248: "
        "+0.050 against inbatch (0.150) and +0.080 against untrained (0.120). "
        "Its runs take as long as those of inbatch.",
        "In the finetune tier, inbatch is first on the 10 unseen queries with nDCG@10 0.500 ±<0.001: "
        "+0.380 against untrained (0.120).",
    ]
    asked = sentences(rows(*write_two_tiers(tmp_path / "other")), {**SETTINGS, "reference": "simans"})
    assert "+0.100 against simans (0.400)" in asked[3]


def test_the_start_is_said_once_where_all_start_alike(tmp_path: Path) -> None:
    frame = rows(*write_two_tiers(tmp_path))
    assert start_sentence(frame) == (
        "Runs of the adapter tier start from the encoder. "
        f"Runs of the finetune tier start from the encoder, warmed up. {MACHINE}"
    )
    assert (
        start_sentence(frame.assign(start="A"))
        == f"Runs of the adapter and the finetune tier start from A. {MACHINE}"
    )
    apart = frame["start"].where(frame["row"] != "inbatch", "the model of another row")
    assert start_sentence(frame[frame["tier"] != "finetune"].assign(start=apart)) == (
        "Runs of the adapter tier start from the encoder, those of inbatch from the model of another row. "
        + MACHINE
    )


def test_each_tier_has_its_budget(tmp_path: Path) -> None:
    card = json.loads(write_card(tmp_path, "scifact").read_text())
    budget = {"steps": 300, "batch_size": 64, "negatives": 8}
    budgets = {"adapter": budget, "finetune": {**budget, "steps": 20}}
    assert size_sentence(card, {**SETTINGS, "budgets": {"adapter": budget}}).endswith(
        "encoder all-MiniLM-L6-v2, 300 steps of 64 queries, 8 negatives per query, 3 seeds."
    )
    assert size_sentence(card, {**SETTINGS, "budgets": budgets}).endswith(
        "encoder all-MiniLM-L6-v2; adapter tier: 300 steps of 64 queries, 8 negatives per query; "
        "finetune tier: 20 steps of 64 queries, 8 negatives per query; 3 seeds."
    )


def test_markdown_names_the_tier_of_every_row(tmp_path: Path) -> None:
    metrics, cards = write_two_tiers(tmp_path)
    collated(metrics, cards, tmp_path)
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (tmp_path / "leaderboard.md").read_text().splitlines()
        if line.startswith("|")
    ]
    assert lines[0][:3] == ["#", "method", "tier"]
    assert [line[2] for line in lines[2:]] == ["adapter", "adapter", "", "finetune", "finetune"]
    unseen = lines[0].index("nDCG@10 unseen")
    assert [line[unseen] for line in lines[2:]] == [
        *("0.200 ±0.248", "0.150 ±<0.001", "0.120"),
        *("**0.500 ±<0.001**", "0.400 ±<0.001"),
    ], "the best of each ranking in which a method differs"
    assert [line[lines[0].index("own")] for line in lines[2:]] == ["25 %", "25 %", "—", "25 %", "25 %"]


def test_a_baseline_that_beats_a_ranking_takes_its_mark(tmp_path: Path) -> None:
    metrics, cards = write_two_tiers(tmp_path)
    metrics += write_runs(tmp_path, "scifact", "bm25_search", {"unseen": (0.45,), "seen": (0.4,)})
    frame = rows(metrics, cards)
    unseen = next(column for column in columns(frame) if column.ranks)
    best = [row["row"] for row in frame.to_dict("records") if unseen.is_best(row, frame)]
    assert best == ["bm25_search", "inbatch_finetune"], "0.45 is more than 0.2, and less than 0.5"


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_heads_each_tier(tmp_path: Path, width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(terminal_table(rows(*write_two_tiers(tmp_path))))
    lines = [" ".join(line.split()) for line in console.export_text().splitlines() if line.strip()]
    heads = [place for place, line in enumerate(lines) if line.endswith(" tier")]
    assert [lines[place] for place in heads] == ["adapter tier", "finetune tier"]
    assert lines[heads[0] + 1].startswith("1 simans")
    assert lines[heads[1] + 1].startswith("1 inbatch")
    assert max(map(len, console.export_text().splitlines() or [""])) <= width


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (12, "12"),
        (999.6, "1k"),
        (9030, "9.03k"),
        (172_800, "173k"),
        (999_999, "1M"),
        (1.234e9, "1.23G"),
    ],
)
def test_counts_have_three_digits(count: float, text: str) -> None:
    assert compact(count) == text


def test_costs_that_no_method_has_take_no_column(tmp_path: Path) -> None:
    frame = rows(*write_suite(tmp_path))
    cost = [column.heading for column in columns(frame) if column.group == "cost"]
    assert cost == ["seconds", "own", "vectors", "teacher", "MiB"], "no searches, no forwards"


def write_audit(folder: Path, rates: dict[str, tuple[float, ...]]) -> None:
    """An audit with the rate of each method and seed, twice as much by weight, and a window that must not count."""
    lines = ["row,seed,window,false_negative_rate,false_negative_weight"]
    for method, series in rates.items():
        for seed, rate in enumerate(series):
            lines += [f"{method},{seed},-1,{rate},{2 * rate}", f"{method},{seed},0,0.9,0.9"]
    (folder / "audit").mkdir(parents=True)
    (folder / "audit" / "scifact.csv").write_text("\n".join(lines) + "\n")


HIDDEN = {
    "how": "pooled",
    "depth": 10,
    "positives_kept": 600,
    "positives_hidden": 9000,
    "queries_left_out": 2,
}


def test_false_negatives_stand_on_every_view_where_they_are_known(tmp_path: Path) -> None:
    metrics, _ = write_suite(tmp_path)
    metrics += write_runs(tmp_path, "wordnet", "simans", SIMANS)
    cards = [write_card(tmp_path, "scifact", hidden=HIDDEN), write_card(tmp_path, "wordnet")]
    write_audit(tmp_path / "board", {"simans": (0.1, 0.2, 0.15)})
    collated(metrics, cards, tmp_path / "board")
    table = pd.read_csv(tmp_path / "board" / "leaderboard.csv").set_index(["dataset", "row"])
    assert table.loc[("scifact", "simans"), "false_negatives"] == pytest.approx(0.15)
    assert table.loc[("scifact", "simans"), "false_negatives_weighted"] == pytest.approx(0.3)
    assert table["false_negatives"].notna().sum() == 1, "no negatives of its own, or nothing hidden"
    text = (tmp_path / "board" / "leaderboard.md").read_text()
    own, other = text.split("## wordnet")
    assert any(
        "unseen" in line and "false negatives" in line for line in own.splitlines() if line.startswith("|")
    )
    assert "15.0 %" in own
    assert "false negatives" not in other
    assert "9,000 are hidden; 2 training queries dropped (no visible positive)" in own
    assert "false negatives are the share of the negatives given in training" in own
    assert "15.0 %" in (tmp_path / "board" / "summary.txt").read_text()
    page = (tmp_path / "board" / "leaderboard.html").read_text()
    assert "15.0 %" in page
    assert "30.0 %" in page


def test_a_board_without_hidden_labels_says_nothing_of_false_negatives(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    collated(metrics, cards, tmp_path / "board")
    for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.html", "summary.txt"):
        text = (tmp_path / "board" / name).read_text()
        assert "false_negatives" not in text
        assert "alse negatives" not in text


def test_an_audit_without_false_negatives_is_named(tmp_path: Path) -> None:
    metrics, _ = write_suite(tmp_path)
    cards = [write_card(tmp_path, "scifact", hidden=HIDDEN)]
    (tmp_path / "board" / "audit").mkdir(parents=True)
    (tmp_path / "board" / "audit" / "scifact.csv").write_text("row,seed,window\nsimans,0,-1\n")
    with pytest.raises(
        UserError, match=r"scifact\.csv: no false negatives can be read .*; delete it and run again"
    ):
        collated(metrics, cards, tmp_path / "board")


def test_relatives_of_positives_stand_on_the_board_where_documents_are_related(tmp_path: Path) -> None:
    metrics, _ = write_suite(tmp_path)
    metrics += write_runs(tmp_path, "wordnet", "simans", SIMANS)
    related = {"ancestor": 100, "sibling": 300}
    cards = [write_card(tmp_path, "scifact", relations=related), write_card(tmp_path, "wordnet")]
    (tmp_path / "board" / "audit").mkdir(parents=True)
    (tmp_path / "board" / "audit" / "scifact.csv").write_text(
        "row,seed,window,ancestor_rate,sibling_rate\nsimans,0,-1,0.02,0.2\nsimans,1,-1,0.04,0.217\nsimans,1,0,1,1\n"
    )
    collated(metrics, cards, tmp_path / "board")
    table = pd.read_csv(tmp_path / "board" / "leaderboard.csv").set_index(["dataset", "row"])
    found = table.loc[("scifact", "simans"), ["ancestors", "siblings"]].astype(float)
    assert found.tolist() == pytest.approx([0.03, 0.2085])
    assert table["siblings"].notna().sum() == 1
    page = (tmp_path / "board" / "leaderboard.html").read_text()
    assert page.count("20.9 %") == 1
    assert page.count("are siblings of a positive") == 1, (
        "a column of the dataset that can tell, and of no other"
    )
