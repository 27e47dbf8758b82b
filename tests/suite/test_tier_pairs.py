"""Which rows of two tiers are one method: what Snakemake plans the figure of tiers by."""

from collections.abc import Iterable
from typing import Any

import pytest

from negmark.store.contents import Comparison
from negmark.suite.tier_pairs import Entry, comparisons

THREE = ("inbatch", "random", "simans")


def entries(kinds: Iterable[str], tier: str, track: str = "controlled", **params: Any) -> list[Entry]:
    """Rows named after method, track and tier."""
    return [Entry(f"{kind}_{track}_{tier}", kind, track, params, tier) for kind in kinds]


def test_rows_are_paired_by_what_they_are() -> None:
    cheap, costly = entries(THREE, "adapter", depth=20), entries(reversed(THREE), "finetune", depth=20)
    (found,) = comparisons([*costly, *cheap])
    assert (found.cheap, found.costly, found.track) == ("adapter", "finetune", "controlled")
    assert sorted(found.rows) == [
        (f"{kind}_controlled_adapter", f"{kind}_controlled_finetune") for kind in THREE
    ]


@pytest.mark.parametrize(
    "others",
    [
        entries(THREE[:2], "finetune"),
        entries(THREE, "adapter"),
        entries(THREE, "finetune", track="faithful"),
        entries(THREE, "finetune", depth=50),
        [*entries(THREE[:2], "finetune"), *entries(["ance"], "finetune")],
        [],
    ],
    ids=["two in common", "one tier", "other track", "other parameters", "other method", "nothing"],
)
def test_fewer_than_three_in_common_are_no_comparison(others: list[Entry]) -> None:
    assert comparisons([*entries(THREE, "adapter"), *others]) == []


def test_tracks_are_compared_apart() -> None:
    rows = [
        entry
        for tier in ("adapter", "finetune")
        for track, kinds in (("controlled", THREE), ("faithful", THREE), ("own", THREE[:2]))
        for entry in entries(kinds, tier, track)
    ]
    assert [(part.track, len(part.rows)) for part in comparisons(rows)] == [
        ("controlled", 3),
        ("faithful", 3),
    ]


def test_every_two_tiers_are_compared_the_cheaper_first() -> None:
    rows = [entry for tier in ("zeta", "finetune", "adapter") for entry in entries(THREE, tier)]
    assert [(part.cheap, part.costly) for part in comparisons(rows)] == [
        ("adapter", "finetune"),
        ("adapter", "zeta"),
        ("finetune", "zeta"),
    ]


def test_what_a_row_starts_from_is_part_of_it() -> None:
    rows = []
    for tier in ("adapter", "finetune"):
        rows += entries(THREE, tier)
        after = Entry(f"after_{tier}", "simans", "controlled", {}, tier, start=f"random_controlled_{tier}")
        rows += [after, Entry(f"again_{tier}", "simans", "controlled", {}, tier)]
    (found,) = comparisons(rows)
    assert found == Comparison(
        cheap="adapter",
        costly="finetune",
        track="controlled",
        rows=[
            *((f"{kind}_controlled_adapter", f"{kind}_controlled_finetune") for kind in THREE),
            ("after_adapter", "after_finetune"),
        ],
    ), "the same method a second time is left out"
