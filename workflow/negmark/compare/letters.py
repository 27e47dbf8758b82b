"""Groups of methods that don't differ significantly, as letters (a compact letter display)."""

from collections.abc import Sequence
from itertools import combinations
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray


def letters(means: Sequence[float], apart: NDArray[np.bool_]) -> list[tuple[str, ...]]:
    """Return the letters of n methods: two share one exactly where `apart` [n, n], symmetric, is False.

    Insert and absorb (Piepho 2004, https://doi.org/10.1198/1061860043515): starting from one group of all, each pair
    that is apart splits the groups with both, and groups within another are dropped. Then groups whose pairs are all
    in other groups are dropped too. `a` is the group of the best mean; z is followed by a1.
    """
    best_first = sorted(range(len(means)), key=lambda method: -means[method])
    place = {method: rank for rank, method in enumerate(best_first)}
    groups = {frozenset(place)}
    for one, other in combinations(best_first, 2):
        if apart[one, other]:
            with_both = {group for group in groups if {one, other} <= group}
            split = {group - {removed} for group in with_both for removed in (one, other)}
            groups = _maximal(groups - with_both | split)
    ordered = sorted(_needed(groups), key=lambda group: sorted(place[method] for method in group))
    return [
        tuple(_letter(number) for number, group in enumerate(ordered) if method in group)
        for method in range(len(means))
    ]


def _maximal(groups: set[frozenset[int]]) -> set[frozenset[int]]:
    return {group for group in groups if not any(group < other for other in groups)}


def _needed(groups: set[frozenset[int]]) -> set[frozenset[int]]:
    """Drop groups whose pairs, a method with itself included, are all in others; smallest groups first."""
    needed = set(groups)
    for group in sorted(groups, key=lambda group: (len(group), sorted(group))):
        others = needed - {group}
        pairs = [{one, other} for one in group for other in group]
        if all(any(pair <= other for other in others) for pair in pairs):
            needed = others
    return needed


def _letter(number: int) -> str:
    cycle, letter = divmod(number, len(ascii_lowercase))
    return ascii_lowercase[letter] + (str(cycle) if cycle else "")
