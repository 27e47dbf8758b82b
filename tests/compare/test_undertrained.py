"""Tiers whose rows are all below what they began with."""

import pytest

from negmark.compare.undertrained import undertrained_tiers
from score_rows import row, scores


def low(name: str, value: float, **more: str):
    """Two runs of one value on all queries."""
    return row(name, [value] * 3, [value] * 3, **more)


BASELINES = (low("untrained", 0.5, track="baseline"), low("bm25_search", 0.7, track="baseline"))


@pytest.mark.parametrize(("best", "found"), [(0.49, True), (0.5, False), (0.51, False)])
def test_one_row_that_reaches_the_start_is_enough(best: float, found: bool) -> None:
    told = undertrained_tiers(scores(low("a", 0.2), low("b", best), *BASELINES))
    assert told == (
        {"adapter": f"every trained row is below untrained (nDCG@10 0.500); the best, b, has {best:.3f}"}
        if found
        else {}
    )


def test_each_tier_is_held_against_what_it_began_with() -> None:
    ranker = low("ranker", 0.6, tier="rerank", before="bm25_search")
    assert list(undertrained_tiers(scores(low("a", 0.51), ranker, *BASELINES))) == ["rerank"]
    assert list(undertrained_tiers(scores(low("a", 0.4), ranker, *BASELINES))) == ["adapter", "rerank"]


def test_the_slice_that_ranks_decides() -> None:
    hurt = row("a", *[[0.9, 0.4, 0.4]] * 2)
    start = row("untrained", [0.1, 0.5, 0.5], [0.1, 0.5, 0.5], track="baseline")
    assert list(undertrained_tiers(scores(hurt, start))) == ["adapter"]


def test_a_tier_without_its_baseline_is_left_out() -> None:
    assert undertrained_tiers(scores(low("a", 0.1))) == {}


def test_a_control_lifts_no_tier() -> None:
    told = undertrained_tiers(scores(low("a", 0.2), low("oracle", 0.9), *BASELINES), controls=["oracle"])
    assert list(told) == ["adapter"]
