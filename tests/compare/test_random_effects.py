"""The mean over datasets by DerSimonian and Laird, against values worked by hand."""

import math

import numpy as np
import pytest

from negmark.compare.inference import compare
from negmark.compare.random_effects import compare_pooled, pooled


@pytest.mark.parametrize(
    ("means", "spread", "wanted"),
    [
        # w 1, 1: Q 2, scale 2 - 2 / 2 = 1, tau^2 1, so w* are 1/2
        ([1.0, 3.0], [1.0, 1.0], (2.0, 1.0)),
        # w 1, 3: mean 3/2, Q 9/4 + 3/4 = 3, scale 4 - 10/4 = 3/2, tau^2 4/3, w* 3/7 and 3/5
        ([0.0, 2.0], [1.0, 1 / 3], (7 / 6, 35 / 36)),
        # w 1, 1/2, 1/2: mean 1, Q 1 + 0 + 2 - no more than chance gives: Q = .25 + .125 + .125 < 2, so tau^2 is 0
        ([0.5, 1.5, 1.5], [1.0, 2.0, 2.0], (1.0, 0.5)),
        ([0.3], [0.2], (0.3, 0.2)),
    ],
)
def test_theta_and_its_variance(means: list[float], spread: list[float], wanted: tuple[float, float]) -> None:
    centre, variance = pooled(np.array(means), np.array(spread))
    assert (float(centre), float(variance)) == pytest.approx(wanted)
    columns = pooled(np.array(means), np.stack([np.array(spread)] * 4, axis=1))
    assert pytest.approx(np.array([wanted] * 4)) == np.stack(columns).T, "draw by draw"


def runs(mean: float, key: int, seeds: int = 5, queries: int = 40) -> dict[int | None, np.ndarray]:
    drawn = mean + 0.05 * np.random.default_rng(key).normal(size=(seeds, queries))
    return dict(enumerate(drawn))


def test_one_dataset_gives_its_own_test() -> None:
    pair = (runs(0.51, 1), runs(0.5, 2))
    assert compare_pooled({"d": pair}, family=3) == compare(*pair, family=3)


def test_datasets_that_agree_are_told_apart_from_chance_and_weighted_by_their_precision() -> None:
    few = (runs(0.53, 1, queries=10), runs(0.5, 2, queries=10))
    many = (runs(0.53, 3, queries=400), runs(0.5, 4, queries=400))
    found = compare_pooled({"d": few, "e": many})
    assert found.p < 0.001
    means = [compare(*pair).difference for pair in (few, many)]
    assert abs(found.difference - means[1]) < abs(found.difference - means[0]) / 3, "many queries weigh more"
    assert found.low < found.difference < found.high
    assert (found.seeds, found.queries) == (5, 410)


def test_datasets_that_disagree_widen_the_interval_to_what_lies_between_them() -> None:
    up, down = (runs(0.6, 1), runs(0.5, 2)), (runs(0.5, 3), runs(0.6, 4))
    found = compare_pooled({"d": up, "e": down})
    assert found.p > 0.5
    # tau^2 is about (.2^2 / 2) and the variance of the mean half of it: 1.96 x .1
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.1, rel=0.1)
    assert found.detectable > 0.2


def test_the_p_value_is_two_sided_and_below_the_level_where_the_interval_excludes_zero() -> None:
    for gap in np.linspace(0.0, 0.02, 9):
        pairs = {name: (runs(0.5 + gap, key), runs(0.5, key + 50)) for name, key in (("d", 1), ("e", 2))}
        found, mirrored = (
            compare_pooled({name: (a, b) if straight else (b, a) for name, (a, b) in pairs.items()})
            for straight in (True, False)
        )
        assert found.p == pytest.approx(mirrored.p, abs=1e-3)
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_rows_that_are_equal_everywhere_differ_by_nothing() -> None:
    same = runs(0.5, 1)
    found = compare_pooled({"d": (same, same), "e": (same, same)})
    assert found.difference == 0
    assert found.p == 1
    assert math.isnan(found.effect)
