"""Letters against displays drawn by hand, and against their definition."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from negmark.compare.letters import letters


def apart(methods: int, *pairs: tuple[int, int]) -> np.ndarray:
    table = np.zeros((methods, methods), dtype=bool)
    for one, other in pairs:
        table[one, other] = table[other, one] = True
    return table


def test_the_middle_of_three_shares_with_both() -> None:
    assert letters([3, 2, 1], apart(3, (0, 2))) == [("a",), ("a", "b"), ("b",)]


def test_letters_follow_the_means_not_the_order() -> None:
    assert letters([1, 3, 2], apart(3, (0, 1))) == [("b",), ("a",), ("a", "b")]


def test_all_alike_and_all_apart() -> None:
    assert letters([1, 2, 3], apart(3)) == [("a",)] * 3
    assert letters([1, 2, 3], apart(3, (0, 1), (0, 2), (1, 2))) == [("c",), ("b",), ("a",)]
    assert letters([1.0], apart(1)) == [("a",)]
    assert letters([], apart(0)) == []


def test_a_redundant_group_is_dropped() -> None:
    # the pairs not apart form a triangle 0 1 2 with a triangle on each side: its own group adds no pair
    alike = {(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (1, 4), (2, 4), (0, 5), (2, 5)}
    parted = [(one, other) for one in range(6) for other in range(one) if (other, one) not in alike]
    assigned = letters([6, 5, 4, 3, 2, 1], apart(6, *parted))
    assert len(set().union(*assigned)) == 3


def test_after_z_comes_a1() -> None:
    every = [(one, other) for one in range(28) for other in range(one)]
    assert letters(range(28, 0, -1), apart(28, *every))[25:] == [("z",), ("a1",), ("b1",)]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_two_share_a_letter_exactly_where_they_are_not_apart(data: st.DataObject) -> None:
    methods = data.draw(st.integers(1, 9))
    means = data.draw(st.lists(st.floats(0, 1), min_size=methods, max_size=methods))
    pairs = [(one, other) for one in range(methods) for other in range(one)]
    table = apart(methods, *(data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []))
    assigned = letters(means, table)
    for one, other in pairs:
        assert bool(set(assigned[one]) & set(assigned[other])) != table[one, other]
    assert all(assigned), "every method has a letter"
    assert "a" in assigned[int(np.argmax(means))], "the best is first"
