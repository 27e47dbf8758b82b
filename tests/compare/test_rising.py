"""What still rises at the end of training, against values worked by hand."""

from pathlib import Path

import pandas as pd
import pytest

from negmark.compare.rising import Rise, read_rises, rise
from negmark.core.errors import UserError
from negmark.store.contents import Contents
from score_rows import write_run

METRIC = "nDCG@10"


def curve(**values: float) -> pd.DataFrame:
    """A curve by step, `s80=.3` for one."""
    steps = {int(name[1:]): value for name, value in values.items()}
    return pd.DataFrame({"step": list(steps), METRIC: list(steps.values())})


def of_gains(*gains: float) -> Rise | None:
    return rise([curve(s0=0.1, s80=0.3, s90=0.9, s100=0.3 + gain) for gain in gains], METRIC)


def test_the_gain_is_that_of_the_last_fifth() -> None:
    found = of_gains(0.01, 0.02, 0.03)
    assert found
    assert (found.gain, found.steps) == (pytest.approx(0.02), 20)
    # standard error .01 / sqrt(3) = .00577, t(.95, 2) = 2.920: from .02 - .0169 = .0031 on
    assert found.rising
    assert str(found) == "+0.020 over its last 20 steps"


def test_a_gain_has_to_be_certain_and_large_enough() -> None:
    # means .02 and .006; 2.920 x .02 / sqrt(3) = .0337 is more than .02, 2.920 x .001 / sqrt(3) = .0017 less than .006
    unsure, small, enough = (
        of_gains(0.0, 0.02, 0.04),
        of_gains(0.003, 0.004, 0.005),
        of_gains(0.005, 0.006, 0.007),
    )
    assert unsure
    assert small
    assert enough
    assert (unsure.rising, small.rising, enough.rising) == (False, False, True)
    falling = of_gains(-0.02, -0.02, -0.02)
    assert falling
    assert not falling.rising


def test_a_curve_of_few_points_says_over_how_many_steps() -> None:
    found = rise([curve(s0=0.1, s60=0.2, s100=0.3)] * 3, METRIC)
    assert found == Rise(METRIC, pytest.approx(0.1), 40, True)
    assert rise([curve(s0=0.1, s50=0.2, s100=0.3)] * 3, METRIC) is None, "half of the training is no end"


def test_two_seeds_or_one_point_are_not_judged() -> None:
    assert of_gains(0.1, 0.1) is None
    assert rise([curve(s100=0.3)] * 3, METRIC) is None, "an interval of all steps gives the last point alone"


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    """Three seeds of a row with a curve and of one without, trained on d and also evaluated on far."""
    for seed in range(3):
        for row in ("inbatch", "reranker"):
            write_run(tmp_path, row, seed, [0.1, 0.2, 0.3])
            folder = tmp_path / f"results/runs/s/d/{row}/seed-{seed}"
            made = curve(s0=0.1, s80=0.2, s100=0.23).assign(queries=5, unseen_queries=0)
            empty = pd.DataFrame({"step": []})
            (made if row == "inbatch" else empty).to_parquet(folder / "dev.parquet")
    return Contents(
        suite="s", cards={"d": "x", "far": "y"}, rows=["inbatch", "reranker"], seeds=[0, 1, 2], homes={"far": "d"},
        curved=["d"],
    )  # fmt: skip


def test_runs_are_read_where_there_is_a_curve(contents: Contents, tmp_path: Path) -> None:
    assert len(contents.curves()) == 6
    found = read_rises(contents, tmp_path)
    assert set(found) == {("d", "inbatch"), ("far", "inbatch")}, (
        "the runs that far is evaluated with are those of d"
    )
    assert found["d", "inbatch"] == Rise(METRIC, pytest.approx(0.03), 20, True)


def test_a_suite_without_curves_reads_none(contents: Contents, tmp_path: Path) -> None:
    without = contents.model_copy(update={"curved": []})
    assert without.curves() == []
    assert read_rises(without, tmp_path / "nowhere") == {}


def test_a_broken_curve_is_named(contents: Contents, tmp_path: Path) -> None:
    (tmp_path / "results/runs/s/d/inbatch/seed-1/dev.parquet").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"seed-1/dev.parquet: no readable curve .*; delete it and run again"):
        read_rises(contents, tmp_path)
