"""The figure of tiers against coefficients worked by hand."""

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from board_files import write_runs
from negmark.board.figures.orders import verdict
from negmark.board.figures.tiers import draw_tiers
from negmark.compare.statistics import Agreement, agreement
from negmark.core.errors import UserError
from negmark.store.contents import Comparison
from negmark.store.run import read_run

CHEAP = {"a": (0.1, 0.2), "b": (0.3, 0.4), "c": (0.5, 0.6), "d": (0.7, 0.8)}
COSTLY = {"a": (0.2, 0.2), "b": (0.6, 0.6), "c": (0.4, 0.4), "d": (0.8, 0.8)}  # b and c change places
ROWS = [(name, f"{name}_finetune") for name in CHEAP]
PARTS = [Comparison(cheap="adapter", costly="finetune", track="controlled", rows=ROWS)]


def ordered(*means: float) -> list[list[float]]:
    """Two equal seeds a method."""
    return [[mean, mean] for mean in means]


def test_coefficients_of_one_swap() -> None:
    found = agreement(ordered(1, 2, 3, 4), ordered(1, 3, 2, 4))
    assert found.tau == pytest.approx((5 - 1) / 6)
    assert found.rho == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert found.chance == pytest.approx(4 / 24), "of 24 orders, one has no swap and three have one"


def test_seeds_that_agree_leave_a_point() -> None:
    found = agreement(ordered(1, 2, 3, 4), ordered(1, 3, 2, 4))
    assert (found.tau_low, found.tau_high) == pytest.approx((found.tau, found.tau))
    assert (found.rho_low, found.rho_high) == pytest.approx((found.rho, found.rho))


def test_ties_count_as_tau_b_has_them() -> None:
    found = agreement(ordered(1, 2, 2), ordered(1, 2, 3))
    assert found.tau == pytest.approx(2 / math.sqrt(2 * 3)), "two pairs agree, one of three is tied"
    assert found.rho == pytest.approx(1.5 / math.sqrt(1.5 * 2)), "ranks 1, 2.5, 2.5 against 1, 2, 3"


def test_means_of_resampled_seeds_make_the_interval() -> None:
    # the first method is above the second where both of its seeds are 1: in one resample of four
    found = agreement([[0.0, 1.0], [0.6, 0.6]], ordered(1, 2))
    assert (found.tau, found.tau_low, found.tau_high) == pytest.approx((1, -1, 1))
    # with five more zeros only resamples with four ones of seven are above: 0.9 % of them
    found = agreement([[0.0] * 6 + [1.0], [0.5, 0.5]], ordered(1, 2))
    assert (found.tau_low, found.tau_high) == pytest.approx((1, 1)), "one seed in seven is above, no mean is"


def test_one_seed_has_no_interval() -> None:
    found = agreement([[1.0], [2.0, 2.0]], ordered(1, 2))
    assert found.tau == 1
    assert np.isnan([found.tau_low, found.tau_high, found.rho_low, found.rho_high]).all()


def test_equal_means_are_no_order() -> None:
    assert np.isnan(agreement(ordered(1, 1, 1), ordered(1, 2, 3))).all()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Agreement(0.6, 0.2, 0.9, 0.7, 0.3, 0.9, 0.01), "order agrees as well in 1.0 % of cases: the orders agree"),
        (Agreement(1, 1, 1, 1, 1, 1, 1 / 6), "16.7 % of cases: no agreement shown beyond these few methods"),
        (Agreement(0.6, -0.1, 0.9, 0.7, 0.3, 0.9, 0.01), "includes 0: no agreement shown"),
        (Agreement(0.6, 0.0, 0.9, 0.7, 0.3, 0.9, 0.01), "includes 0: no agreement shown"),
        (Agreement(-0.6, -0.9, -0.2, -0.7, -0.9, -0.3, 0.99), "agrees less in 1.0 % of cases: the orders run against"),
        (Agreement(-0.1, -0.2, -0.1, -0.1, -0.2, -0.1, 0.6), "40.0 % of cases: nothing shown beyond these few"),
        (Agreement(1, math.nan, math.nan, 1, math.nan, math.nan, 0.01), "no interval: no agreement shown"),
        (Agreement(*[math.nan] * 7), "no order: no agreement shown"),
    ],
)  # fmt: skip
def test_the_verdict_is_no_better_than_the_numbers(found: Agreement, words: str) -> None:
    assert words in verdict(found)


@pytest.fixture
def runs(tmp_path: Path) -> list[dict[str, Any]]:
    paths = []
    for name in CHEAP:
        cheap = {"unseen": CHEAP[name], "seen": (0.9, 0.9), "title": f"Method {name}"}
        costly = {"unseen": COSTLY[name], "seen": (0.9, 0.9), "title": f"Method {name}"}
        for values, row, tier in ((cheap, name, "adapter"), (costly, f"{name}_finetune", "finetune")):
            title = values.pop("title")
            more = {"tier": tier, "method": name, "title": title}
            paths += write_runs(tmp_path / "made", "scifact", row, values, **more)
    return [read_run(path) for path in paths]


def test_the_figure_is_written_whole(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    draw_tiers(runs, PARTS, "scifact", tmp_path / "figures")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {f"scifact-tiers.{suffix}" for suffix in ("svg", "png", "pdf", "csv", "txt")}
    ElementTree.parse(tmp_path / "figures" / "scifact-tiers.svg")
    caption = " ".join((tmp_path / "figures" / "scifact-tiers.txt").read_text().split())
    assert "on the 10 unseen queries" in caption
    assert "4 methods: Kendall's tau-b 0.67 (0.67 to 0.67), Spearman's rho 0.80 (0.80 to 0.80)" in caption
    assert "16.7 % of cases: no agreement shown beyond these few methods" in caption
    assert "One of the 6 pairs of methods in another order moves tau-b by 0.33" in caption
    assert "With few methods the interval is wide" in caption


def test_the_table_is_tidy(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    draw_tiers(runs, PARTS, "scifact", tmp_path)
    table = pd.read_csv(tmp_path / "scifact-tiers.csv")
    assert len(table) == 4 * 2 * 2, "methods, tiers, seeds"
    one = table.query("title == 'Method b' and axis == 'x'")
    assert one["nDCG@10"].tolist() == pytest.approx([0.3, 0.4]), "of unseen queries"
    assert one["mean"].tolist() == pytest.approx([0.35, 0.35])
    assert one["high"].iloc[0] == pytest.approx(0.35 + 12.7062 * 0.05, abs=1e-4), (
        "t(.975, 1) times s / sqrt(2)"
    )
    assert set(one["tier"]) == {"adapter"}
    other = table.query("title == 'Method b' and axis == 'y'")
    assert set(other["row"]) == {"b_finetune"}
    assert other["mean"].tolist() == pytest.approx([0.6, 0.6])


def test_the_figure_is_the_same_twice(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    draw_tiers(runs, PARTS, "scifact", tmp_path / "a")
    draw_tiers(runs[::-1], PARTS, "scifact", tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_dataset_without_runs_is_a_mistake(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="nowhere: no run to draw"):
        draw_tiers(runs, PARTS, "nowhere", tmp_path)
