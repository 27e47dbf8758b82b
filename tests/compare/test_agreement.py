"""Agreement of two boards: tau and pairs worked out by hand, intervals by simulation."""

import numpy as np
import pytest

from negmark.compare.agreement import (
    NEITHER,
    ONLY_HERE,
    ONLY_THERE,
    REVERSED,
    SAME,
    order_agreement,
    pairs,
    verdict,
)  # fmt: skip


def rows(means: dict[str, float], noise: float = 0.01, queries: int = 400, seeds: int = 3, salt: int = 0):
    rng = np.random.default_rng(salt)
    hard = rng.normal(0, 0.2, queries)
    return {
        name: {seed: mean + hard + rng.normal(0, noise, queries) for seed in range(seeds)}
        for name, mean in means.items()
    }


def test_tau_of_four_rows_by_hand() -> None:
    # Pairs of a, b, c, d: here a < b < c < d, there b < a < c < d. One of six pairs is turned: (5 - 1) / 6.
    here = rows({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4})
    there = rows({"a": 0.2, "b": 0.1, "c": 0.3, "d": 0.4}, salt=1)
    found = order_agreement(here, there)
    assert found.rows == 4
    assert found.tau == pytest.approx(4 / 6)
    assert (found.low, found.high) == (pytest.approx(4 / 6), pytest.approx(4 / 6))  # nothing here is in doubt
    assert found.ceiling == 1


def test_rows_that_only_one_board_has_are_left_out() -> None:
    here = rows({"a": 0.1, "b": 0.2, "c": 0.3, "only": 0.4})
    assert order_agreement(here, rows({"c": 0.3, "a": 0.1, "b": 0.2}, salt=1)).rows == 3
    assert [(pair.first, pair.second) for pair in pairs(here, rows({"b": 0.2, "a": 0.1}))] == [("a", "b")]


def test_the_interval_is_wide_where_noise_decides_the_order() -> None:
    close = {"a": 0.3, "b": 0.3001, "c": 0.3002, "d": 0.3003}
    found = order_agreement(rows(close, noise=0.1), rows(close, noise=0.1, salt=1))
    assert found.low < 0 < found.high
    assert found.ceiling < 1, "noise alone lowers tau"


def test_queries_are_resampled_for_both_boards_at_once() -> None:
    # Where the order hangs on which queries are asked, and both boards agree on every query, they agree in any sample.
    queries = np.arange(200)
    here = {
        "a": {0: (queries % 2).astype(float)},
        "b": {0: ((queries + 1) % 2).astype(float)},
        "c": {0: np.full(200, 9.0)},
    }
    found = order_agreement(here, here)
    assert (found.tau, found.low, found.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("here", "here_p", "there", "there_p", "expected"),
    [
        (0.1, 0.01, 0.2, 0.01, SAME),
        (0.1, 0.01, -0.2, 0.01, REVERSED),
        (0.1, 0.01, -0.2, 0.06, ONLY_HERE),
        (0.1, 0.051, -0.2, 0.01, ONLY_THERE),
        (0.1, float("nan"), -0.2, float("nan"), NEITHER),
    ],
)
def test_verdicts(here: float, here_p: float, there: float, there_p: float, expected: str) -> None:
    assert verdict(here, here_p, there, there_p) == expected


def test_a_pair_that_is_called_the_other_way_round() -> None:
    here, there = rows({"a": 0.1, "b": 0.2, "c": 0.3}), rows({"a": 0.3, "b": 0.2, "c": 0.31}, salt=1)
    found = {(pair.first, pair.second): pair.verdict for pair in pairs(here, there)}
    assert found == {("a", "b"): REVERSED, ("a", "c"): SAME, ("b", "c"): SAME}
