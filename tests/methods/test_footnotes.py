"""Footnotes: which of them a row has by its track, its tier and the dataset it is trained on."""

import itertools

import pytest

from negmark.methods import registry
from negmark.methods.base import RANKER, Method
from negmark.methods.types import Footnote, Lends, When

METHODS = registry.available()
ALTERNATIVES = (
    (When.CONTROLLED, When.FAITHFUL),
    (When.VECTORS, When.PAIRS),
    (When.RETRIEVAL, When.SENTENCES),
    (When.UNGRADED, When.GRADED),
    (When.ENCODER_TEACHES, When.RANKER_TEACHES),
)
PLAIN = {
    "track": "controlled",
    "scores_pairs": False,
    "sentences": False,
    "graded": False,
    "ranker_teaches": False,
}


def notes(method: type[Method], **changes) -> list[str]:
    return method.notes(**{**PLAIN, **changes})


def with_footnotes(*footnotes: Footnote) -> type[Method]:
    return type("Made", (Method,), {"footnotes": footnotes})


def conditions(track: str, *flags: bool) -> set[When]:
    places = (track == "faithful", *flags)
    return {pair[place] for pair, place in zip(ALTERNATIVES, places, strict=True)}


def test_a_footnote_applies_where_all_its_conditions_hold_and_order_is_kept():
    combinations = [[], *([one] for one in When), *itertools.combinations(When, 2)]
    footnotes = [Footnote(str(number), set(whens)) for number, whens in enumerate(combinations)]
    method = with_footnotes(*footnotes)
    for track, *flags in itertools.product(("controlled", "faithful"), *[(False, True)] * 4):
        holding = conditions(track, *flags)
        expected = [note.text for note in footnotes if all(condition in holding for condition in note.when)]
        told = dict(zip(("scores_pairs", "sentences", "graded", "ranker_teaches"), flags, strict=True))
        assert method.notes(track, **told) == expected


def test_a_method_for_bi_encoders_has_the_shared_footnote_of_a_cross_encoder():
    method = with_footnotes(Footnote("a"))
    assert notes(method) == ["a"]
    assert notes(method, scores_pairs=True) == ["a", RANKER.text]
    assert notes(method, scores_pairs=True, track="faithful") == ["a"]
    own = with_footnotes(Footnote("a"), Footnote("b", {When.PAIRS}))
    assert notes(own, scores_pairs=True) == ["a", "b"]


@pytest.mark.parametrize("name", ["amcl", "buir", "w_mse"])
def test_a_claim_that_no_suite_can_test_says_so(name):
    """They are in the faithful track alone, where no row of the other method has their loss."""
    method = METHODS[name]
    assert method.refusal(method.Params(), "controlled")
    assert method.lends_loss is Lends.NOT
    for claim in method.claims:
        assert not METHODS[claim.worse].faithful
        assert "no suite tests it" in claim.differs


@pytest.mark.parametrize("name", METHODS)
def test_every_footnote_of_a_method_applies_somewhere(name):
    method = METHODS[name]
    for note in method.footnotes:
        assert not any(note.when >= set(pair) for pair in ALTERNATIVES), note.text
        assert method.faithful or When.FAITHFUL not in note.when, note.text


@pytest.mark.parametrize(
    ("name", "changes", "there", "not_there"),
    [
        ("clusterns", {"track": "faithful"}, "supervised:", "MLP head"),
        ("clusterns", {"track": "faithful", "sentences": True}, "MLP head", "supervised:"),
        ("conan", {"track": "faithful"}, "as there are no graded ones", "instead of eq. 3"),
        ("conan", {"track": "faithful", "graded": True}, "the suite's temperature", "as there are no graded ones"),
        ("cet", {}, "weights of InfoNCE", "listwise softmax"),
        ("cet", {"scores_pairs": True}, "weights of the listwise softmax", "bi-encoder"),
        ("simans", {}, "InfoNCE instead of", "the suite's number of negatives"),
        ("simans", {"track": "faithful"}, "the suite's number of negatives", "InfoNCE instead of"),
        ("random", {"scores_pairs": True}, RANKER.text, "bi-encoder"),
    ],
)  # fmt: skip
def test_what_a_board_says_of_a_row_follows_from_its_track_tier_and_dataset(name, changes, there, not_there):
    text = "; ".join(notes(METHODS[name], **changes))
    assert there in text
    assert not_there not in text
