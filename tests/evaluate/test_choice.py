"""The two stages of tuning on a made-up table, worked by hand: rate first, then value; ties, edges, failures."""

import math

import pytest

from negmark.core.errors import UserError
from negmark.evaluate.choice import Setting, best_rate, best_setting, grown, is_at_edge, mean_of
from negmark.store.trials import Trial


def trials(factor: float, *by_seed: list[float], **params: float) -> list[Trial]:
    """The trials of a setting, one a seed; no values are a trial that diverged."""
    return [
        Trial(factor=factor, params=params, seed=seed, values=values, failure="" if values else "diverged")
        for seed, values in enumerate(by_seed)
    ]


# means over two seeds of two queries: 0.3, 0.4, 0.5
RATES = [
    *trials(0.5, [0.2, 0.4], [0.2, 0.4]),
    *trials(1.0, [0.3, 0.5], [0.4, 0.4]),
    *trials(2.0, [0.9, 0.1], [0.6, 0.4]),
]


def test_the_rate_is_chosen_first_and_the_value_at_that_rate() -> None:
    assert mean_of(RATES, Setting(2.0, {})) == pytest.approx(0.5)
    assert best_rate(RATES, "row") == 2.0
    values = [*trials(2.0, [0.5, 0.6], [0.5, 0.6], a=1.0), *trials(2.0, [0.4, 0.4], [0.4, 0.4], a=4.0)]
    assert best_setting([*RATES, *values], "row") == (2.0, {"a": 1.0})
    # a better value at another rate was never asked for, and does not count
    assert best_setting([*RATES, *trials(1.0, [0.9, 0.9], [0.9, 0.9], a=1.0)], "row") == (2.0, {})


def test_ties_go_to_the_row_as_it_is_then_to_the_first() -> None:
    tied = [*trials(0.5, [0.4, 0.4]), *trials(1.0, [0.3, 0.5]), *trials(2.0, [0.5, 0.3])]
    assert best_rate(tied, "row") == 1.0
    assert best_rate([*tied[:1], *tied[2:]], "row") == 0.5
    assert best_setting([*tied, *trials(1.0, [0.4, 0.4], a=1.0)], "row") == (1.0, {})


def test_what_diverges_with_one_seed_is_worst() -> None:
    wild = [*RATES, *trials(4.0, [0.99, 0.99], [])]
    assert mean_of(wild, Setting(4.0, {})) == -math.inf
    assert best_rate(wild, "row") == 2.0
    with pytest.raises(UserError, match="wild: every trial of its tuning failed, the first one so: diverged"):
        best_rate(trials(1.0, [], []), "wild")


def test_the_grid_grows_where_any_best_rate_is_at_its_edge() -> None:
    rates = [0.5, 1.0, 2.0]
    assert grown(rates, [1.0, 1.0]) == rates
    assert grown(rates, [1.0, 2.0]) == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert grown(rates, [0.5, 1.0]) == [0.125, 0.25, 0.5, 1.0, 2.0]
    assert grown([1.0, 0.1, 3.0], [0.1, 3.0]) == [0.001, 0.01, 0.1, 1.0, 3.0, 9.0, 27.0]
    assert is_at_edge([2.0, 0.5, 1.0], 0.5)
    assert not is_at_edge([2.0, 0.5, 1.0], 1.0)
