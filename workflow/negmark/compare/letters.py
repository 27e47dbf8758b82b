"""Groups of methods that can't be told apart, as letters (a compact letter display)."""

from collections.abc import Sequence
from itertools import combinations
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray


def letters(means: Sequence[float], apart: NDArray[np.bool_]) -> list[tuple[str, ...]]:
    """The letters of n methods such that two share one just where `apart` [n, n], symmetric, does not part them.

    Insert and absorb (Piepho 2004, https://doi.org/10.1198/1061860043515): from one group of all, each two methods
    that are apart split the groups that hold both; a group within another goes. Then goes every group all of whose
    pairs other groups hold as well. `a` is the group of the best mean; after z comes a1.
    """
    best_first = sorted(range(len(means)), key=lambda method: -means[method])
    place = {method: rank for rank, method in enumerate(best_first)}
    groups = {frozenset(place)}
    for one, other in combinations(best_first, 2):
        if apart[one, other]:
            holding = {group for group in groups if {one, other} <= group}
            split = {group - {left} for group in holding for left in (one, other)}
            groups = _widest(groups - holding | split)
    ordered = sorted(_needed(groups), key=lambda group: sorted(place[method] for method in group))
    return [
        tuple(_letter(number) for number, group in enumerate(ordered) if method in group)
        for method in range(len(means))
    ]


def _widest(groups: set[frozenset[int]]) -> set[frozenset[int]]:
    return {group for group in groups if not any(group < other for other in groups)}


def _needed(groups: set[frozenset[int]]) -> set[frozenset[int]]:
    """The groups without those all of whose pairs, a method with itself too, stand in others; narrow ones go first."""
    kept = set(groups)
    for group in sorted(groups, key=lambda group: (len(group), sorted(group))):
        others = kept - {group}
        pairs = [{one, other} for one in group for other in group]
        if all(any(pair <= other for other in others) for pair in pairs):
            kept = others
    return kept


def _letter(number: int) -> str:
    again, letter = divmod(number, len(ascii_lowercase))
    return ascii_lowercase[letter] + (str(again) if again else "")
