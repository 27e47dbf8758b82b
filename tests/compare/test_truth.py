"""False negatives against results, on tables worked by hand."""

from pathlib import Path

import pandas as pd
import pytest

from negmark.compare.statistics import agreement
from negmark.compare.truth import COLUMNS, read_truth, truth
from negmark.core.errors import UserError
from negmark.core.files import write_text
from negmark.core.spreadsheet import csv
from negmark.store.query_scores import QueryScores
from score_rows import SLICES, row, scores

RATES = {"a": (0.1, 0.1), "b": (0.2, 0.4), "c": (0.3, 0.1), "dense_topk": (0.5, 0.5), "oracle": (0.0, 0.0)}
RESULTS = {"a": (0.8, 0.8), "b": (0.5, 0.5), "c": (0.6, 0.6), "dense_topk": (0.1, 0.1), "oracle": (0.3, 0.3)}


def audit(rates: dict[str, tuple[float, ...]] = RATES) -> pd.DataFrame:
    """The whole run of each row and seed, and a window with another rate."""
    return pd.DataFrame(
        [
            {"row": name, "seed": seed, "window": window, "false_negative_rate": rate if window < 0 else 0.9}
            for name, values in rates.items()
            for seed, rate in enumerate(values)
            for window in (-1, 0)
        ]
    )


def made(seeds: int = 2) -> QueryScores:
    """Rows whose unseen queries have these scores; in-batch negatives have no ledger, and a row has another track."""
    rows = [row(name, *([1.0, value, value] for value in values[:seeds])) for name, values in RESULTS.items()]
    return scores(
        *rows,
        row("inbatch", *[[1.0, 0.9, 0.9]] * seeds),
        row("faithful", *[[1.0, 0.0, 0.0]] * seeds, track="faithful"),
        slices=SLICES,
    )


def test_tau_and_rates_by_hand() -> None:
    table = truth(audit(RATES | {"faithful": (0.7, 0.7)}), made(), ["oracle"])
    assert table["row"].tolist() == ["a", "c", "b", "oracle", "dense_topk"], (
        "best first, only what has a ledger"
    )
    assert table.columns.tolist() == list(COLUMNS)
    b = table.set_index("row").loc["b"]
    assert (b["rate"], b["mean"], b["seeds"]) == (pytest.approx(0.3), pytest.approx(0.5), 2)
    # t(.975, 1) = 12.7062 times .1, the standard error of .2 and .4
    assert (b["rate_low"], b["rate_high"]) == pytest.approx((0.3 - 1.27062, 0.3 + 1.27062), abs=1e-5)
    assert (b["metric"], b["slice"]) == ("nDCG@10", "unseen")
    # without the control: rates .1 .3 .2 .5 and results .8 .5 .6 .1: all six pairs are in opposite order
    assert (b["methods"], b["tau"]) == (4, pytest.approx(-1))
    assert b["p"] == pytest.approx(2 / 24), "two of the 24 orders are as extreme"
    # b's seeds draw .2, .3 or .4, those of c .1, .2 or .3; c may tie with a or b, or fall below b or not
    assert -1 <= b["tau_low"] < b["tau_high"] <= 0


def test_a_control_is_compared_with_its_twin() -> None:
    table = truth(audit(), made(), ["oracle"]).set_index("row")
    oracle = table.loc["oracle"]
    assert (oracle["twin"], oracle["difference"]) == ("dense_topk", pytest.approx(0.2))
    assert (table["twin"] == "").sum() == 4
    assert table.loc["a", ["difference", "difference_p"]].isna().all()


def test_the_runs_of_a_method_are_drawn_together() -> None:
    """Rate and result of a run rise together, so every draw keeps a's and b's order of both: tau is 1 or none."""
    first = [[1.0, 3.0], [2.0, 4.0], [9.0, 9.0]]
    together, apart = agreement(first, first, same_runs=True), agreement(first, first)
    assert (together.tau_low, together.tau_high) == (1, 1)
    assert apart.tau_low < 1


def test_few_rows_and_single_seeds_have_no_number_that_means_nothing() -> None:
    few = truth(audit({name: RATES[name] for name in ("a", "b")}), made(), [])
    assert few["methods"].tolist() == [2, 2]
    assert few[["tau", "p"]].isna().all(axis=None)
    one = truth(audit({name: rates[:1] for name, rates in RATES.items()}), made(1), ["oracle"])
    assert one["tau"].notna().all()
    assert one[["tau_low", "rate_low", "low"]].isna().all(axis=None)
    assert truth(audit({}).reindex(columns=audit().columns), made(), []).empty


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = truth(audit(), made(), ["oracle"])
    write_text(tmp_path / "d.csv", csv(table))
    pd.testing.assert_frame_equal(read_truth(tmp_path / "d.csv"), table, check_dtype=False)


def test_a_broken_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("row\na\n")
    with pytest.raises(UserError, match=r"d\.csv: can't be read as known truth"):
        read_truth(tmp_path / "d.csv")
