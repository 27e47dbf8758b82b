"""Footnotes: which of them a row has by its track, its tier and the dataset it is trained on."""

import itertools

import pytest

from negmark.methods import registry
from negmark.methods.base import RANKER, Method
from negmark.methods.types import Footnote, Lends, When
from planned import about, layout

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


@pytest.mark.parametrize(
    ("row", "paper"),
    [
        ({"method": "gte"}, "0.01"),
        ({"method": "hardness"}, "0.02"),
        ({"method": "dcl"}, "0.1"),
        ({"method": "debiased"}, "0.5"),
        ({"method": "hcl"}, "0.5"),
    ],
)
def test_a_recipe_at_another_temperature_than_the_papers_says_so(row, paper):
    rows = {
        "mine": {**row, "track": "faithful"},
        "theirs": {**row, "track": "faithful", "budget": {"temperature": float(paper)}},
    }
    planned = layout(rows)
    note = f"a temperature of 0.05 instead of the paper's {paper}"
    assert note in about(planned, "mine")["adaptations"]
    assert not any(one.startswith("a temperature of") for one in about(planned, "theirs")["adaptations"])


def test_a_row_without_a_temperature_of_its_own_says_nothing_of_it():
    rows = {
        "hcl": None, "given": {"method": "hardness", "of": "given", "track": "faithful"},
        "gte": {"track": "faithful"}, "lent": {"method": "random", "loss": "gte"},
    }  # fmt: skip
    planned = layout(rows)
    for name in ("hcl", "given", "lent"):
        assert not any(note.startswith("a temperature of") for note in about(planned, name)["adaptations"]), (
            name
        )


@pytest.mark.parametrize(
    ("row", "there", "not_there"),
    [
        ({}, ["LLaVE's images", "from documents to queries"], ["EmbeddingGemma", "no paper"]),
        ({"of": "given"}, ["instead of EmbeddingGemma's one"], ["LLaVE", "no paper", "from documents"]),
        ({"of": "all"}, ["instead of EmbeddingGemma's one", "no paper weighs"], ["LLaVE", "from documents"]),
        ({"track": "faithful"}, ["LLaVE's images"], ["from documents", "EmbeddingGemma"]),
        ({"of": "given", "track": "faithful"}, ["nested dimensions"], ["LLaVE", "instead of EmbeddingGemma's"]),
    ],
)  # fmt: skip
def test_a_weight_by_hardness_differs_from_the_paper_that_weighs_these_negatives(row, there, not_there):
    text = "; ".join(about(layout({"hardness": row}), "hardness")["adaptations"])
    assert all(words in text for words in there)
    assert not any(words in text for words in not_there)


def test_relabelling_says_where_it_leaves_no_query_out():
    for name in ("rlhn", "rlhn_truth"):
        assert any("`most` acts in the faithful track" in note for note in notes(METHODS[name]))
        assert not any("`most`" in note for note in notes(METHODS[name], track="faithful"))
