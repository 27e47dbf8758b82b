"""What a board says so that nobody compares unlike rows: costs of chains, undertrained tiers, verdicts, bounds of p."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from board_files import SETTINGS, collated, write_card, write_differences, write_run, write_runs, write_suite
from negmark.board.columns import APART_COLUMNS, columns
from negmark.board.figures.cost import cost_table
from negmark.board.findings import UNADJUSTED, with_differences, with_orders
from negmark.board.overview import AVERAGE_COLUMNS
from negmark.board.prose import sentences, warnings
from negmark.board.standings import standings, summarise
from negmark.compare.claims import RULE, judge
from negmark.compare.differences import read_differences
from negmark.core.notation import chance
from negmark.core.spreadsheet import csv
from negmark.methods.types import Claim
from negmark.store.run import read_run, with_chains
from score_rows import row as score_row
from score_rows import scores

SPREAD = {"unseen": (0.1, 0.2, 0.3), "seen": (0.5, 0.6, 0.7)}


def chained(folder: Path) -> list[Path]:
    """A row of 10 seconds, one of 20 that starts from it, one of 40 that starts from that."""
    return [
        *write_runs(folder, "scifact", "first", SPREAD, train_seconds=10.0),
        *write_runs(folder, "scifact", "second", SPREAD, train_seconds=20.0, chain=["first"]),
        *write_runs(folder, "scifact", "third", SPREAD, train_seconds=40.0, chain=["second", "first"]),
        *write_runs(folder, "scifact", "bm25_search", {"unseen": (0.2,), "seen": (0.2,)}),
    ]


def test_the_cost_of_a_chain_counts_its_start(tmp_path: Path) -> None:
    runs = [read_run(path) for path in chained(tmp_path)]
    table = summarise(runs).set_index("row")
    assert table["train_seconds"].fillna(0).to_dict() == {
        "first": 10, "second": 30, "third": 70, "bm25_search": 0
    }  # fmt: skip
    assert table["own_seconds"]["third"] == pytest.approx(70 / 4)
    assert table["vectors"]["third"] == pytest.approx(3 * table["vectors"]["first"])
    assert table["peak_mebibytes"]["third"] == 501, "one after the other, so the largest counts"
    figure = cost_table(runs, summarise(runs), [])
    assert figure.drop_duplicates("row").set_index("row")["seconds"]["third"] == 70


def test_a_run_costs_what_the_run_of_its_own_seed_and_dataset_began_with(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path, dataset, row, seed, {"all": 0.5}, train_seconds=seconds, chain=chain)
        for dataset, row, seed, seconds, chain in (
            ("a", "start", 0, 1.0, []), ("a", "start", 1, 2.0, []), ("b", "start", 0, 4.0, []),
            ("a", "end", 0, 16.0, ["start"]), ("a", "end", 1, 16.0, ["start"]), ("b", "end", 0, 16.0, ["start"]),
            ("b", "end", 1, 16.0, ["start"]),
        )
    ]  # fmt: skip
    whole = with_chains([read_run(path) for path in paths])
    assert [run["cost"]["train_seconds"] for run in whole] == [1, 2, 4, 17, 18, 20, 16]


def test_the_columns_say_that_the_start_counts(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    described = [json.loads(path.read_text()) for path in cards]
    frame = standings([read_run(path) for path in metrics], {card["name"]: card for card in described})
    (seconds,) = (column for column in columns(frame) if column.heading == "seconds")
    assert "with those of the rows whose models it starts from" in seconds.about


def test_runs_of_a_row_under_other_conditions_are_refused(tmp_path: Path) -> None:
    runs = [
        read_run(write_run(tmp_path, "scifact", "inbatch", seed, {"all": 0.5}, conditions={"steps": steps}))
        for seed, steps in enumerate((300, 600))
    ]
    with pytest.raises(Exception, match="seed 1 differs from others in conditions"):
        summarise(runs)


@pytest.mark.parametrize(("best", "warned"), [((0.28, 0.29, 0.3), True), ((0.48, 0.49, 0.5), False)])
def test_an_undertrained_dataset_says_so_at_its_top(
    tmp_path: Path, best: tuple[float, ...], warned: bool
) -> None:
    metrics = [
        *write_runs(tmp_path, "scifact", "inbatch", SPREAD),
        *write_runs(tmp_path, "scifact", "simans", {"unseen": best, "seen": (0.5, 0.6, 0.7)}),
        *write_runs(tmp_path, "scifact", "untrained", {"unseen": (0.4,), "seen": (0.2,)}),
    ]
    collated(metrics, [write_card(tmp_path, "scifact")], tmp_path / "board")
    text = (
        "Undertrained: every trained row is below untrained (nDCG@10 0.400); the best, simans, has 0.290. Their order "
        "says nothing about methods, and no claim is judged here."
    )
    page = (tmp_path / "board" / "leaderboard.html").read_text()
    assert (f'<p class="warning">{text}</p>' in page) is warned
    assert ("**Undertrained" in (tmp_path / "board" / "leaderboard.md").read_text()) is warned
    assert ("Undertrained" in (tmp_path / "board" / "leaderboard.tex").read_text()) is warned


def test_the_table_keeps_its_columns(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    collated(metrics, cards, tmp_path / "board")
    found = set(pd.read_csv(tmp_path / "board" / "leaderboard.csv").columns)
    assert not {"before", "conditions", UNADJUSTED} & found


def test_the_page_shows_each_verdict_once_and_prints_its_rule(tmp_path: Path) -> None:
    metrics, cards = write_suite(tmp_path)
    table = scores(*(score_row(name, *[[value] * 3] * 2) for name, value in (("a", 0.6), ("b", 0.4))))
    claims = (Claim("a", "b", "nDCG@10", "there", "much"), Claim("a", "z", "nDCG@10", "there", "much"))
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "claims.csv").write_text(csv(judge({"a": claims}, {"d": table})))
    collated(metrics, cards, tmp_path / "board")
    page = (tmp_path / "board" / "leaderboard.html").read_text()
    assert RULE.replace("'", "&#39;") in page
    assert page.count("<td><b>reproduced</b></td>") == 1
    assert page.count("<td><b>not testable here</b></td>") == 1
    assert "<p>Not testable here: this suite has no row of z.</p>" in page
    assert page.count("a \u2212 b") == 1


@pytest.mark.parametrize(
    ("p", "bound", "text"),
    [
        (0.00174, True, "<0.002"), (0.002, True, "<0.002"), (0.0021, True, "<0.003"), (0.0001, True, "<0.001"),
        (0.00174, False, "0.002"), (0.0001, False, "<0.001"), (math.nan, True, "—"),
    ],
)  # fmt: skip
def test_a_bound_of_p_is_rounded_up(p: float, bound: bool, text: str) -> None:
    assert chance(p, bound) == text


def test_an_adjusted_p_is_a_bound_where_the_draws_give_no_less() -> None:
    for column, name in ((APART_COLUMNS[1], UNADJUSTED), (AVERAGE_COLUMNS[2], "p")):
        told = [
            column.text({column.mean: 0.00174, name: raw, "rank": 1, "track": "controlled"})
            for raw in (5e-5, 2e-4, math.nan)
        ]
        assert told == ["<0.002", "0.002", "0.002"]


def test_sentences_say_a_bound_too(tmp_path: Path) -> None:
    series = {
        name: {"unseen": (value,) * 3, "seen": (value,) * 3}
        for name, value in (("inbatch", 0.1), ("simans", 0.5))
    }
    metrics = [
        path for name, values in series.items() for path in write_runs(tmp_path, "scifact", name, values)
    ]
    write_differences(metrics, tmp_path)
    apart = read_differences(tmp_path / "differences.csv").assign(adjusted=0.0041, p=5e-5)
    card = json.loads(write_card(tmp_path, "scifact").read_text())
    frame = with_orders(
        with_differences(standings([read_run(path) for path in metrics], {"scifact": card}), apart), []
    )
    assert "p <0.005)" in " ".join(sentences(frame, SETTINGS))
    assert not warnings(frame, SETTINGS)
