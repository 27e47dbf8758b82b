"""Rows that take the batches of another, and what a row with batches of its own says of itself."""

from typing import Any

import pytest

from negmark.compare.pairing import unlike
from negmark.core.errors import UserError
from negmark.methods.registry import is_composed
from negmark.methods.types import Composition
from negmark.suite.checks import load
from negmark.suite.layout import Layout
from negmark.suite.row_code import row_sources
from planned import about, layout, spec

TOPICS = {"method": "tas_b", "size": 50}
LENT = {"method": "random", "composer": "topics"}


def test_a_row_takes_the_batches_of_another_with_its_parameters() -> None:
    planned = layout({"topics": TOPICS, "mine": LENT, "random": None})
    found = spec(planned, "mine")
    assert found["method"] == "random"
    assert found["composer"] == {"method": "tas_b", "params": {"size": 50, "balanced": False, "depth": 200}}
    assert {key: value for key, value in found.items() if key not in ("composer", "row")} == {
        key: value for key, value in spec(planned, "random").items() if key != "row"
    }
    assert is_composed(found)
    assert is_composed(spec(planned, "topics"))
    assert not is_composed(spec(planned, "random"))
    assert planned.rows["mine"].composition("scifact") == Composition()
    assert planned.rows["random"].composition("scifact") is None


def test_a_method_may_be_named_without_a_row_of_it() -> None:
    found = spec(layout({"mine": {"method": "random", "composer": "ngame"}}), "mine")
    assert found["composer"]["method"] == "ngame"
    assert found["composer"]["params"]["refresh_steps"] == 100


def test_a_row_says_whose_its_batches_are() -> None:
    planned = layout({"topics": TOPICS, "mine": LENT, "random": None})
    same = "the same queries and positives as in other rows, in other company"
    assert f"its batches are put together by topics: {same}" in about(planned, "mine")["adaptations"]
    assert f"its batches are of its own making: {same}" in about(planned, "topics")["adaptations"]
    assert not any("batches are" in note for note in about(planned, "random")["adaptations"])


MIXED = {"mine": {"mix": {"scifact": None, "nfcorpus": None}}}


@pytest.mark.parametrize("row", [{"method": "one_source"}, {"method": "random", "composer": "one_source"}])
def test_batches_of_one_source_are_for_mixtures_alone(row: dict[str, Any]) -> None:
    planned = layout({"rows": row}, datasets=MIXED)
    assert planned.rows["rows"].needs_sources
    assert not layout({"random": None}).rows["random"].needs_sources
    with pytest.raises(UserError, match="scifact is one alone; name several by `mix:`, or remove the row"):
        layout({"rows": row})


def test_a_row_with_the_batches_of_another_tests_no_claim_against_one_without() -> None:
    planned = layout({"topics": TOPICS, "mine": LENT, "random": None, "bm25": None})
    told = {row: about(planned, row) for row in planned.rows}
    assert unlike(told["bm25"], told["mine"]) == unlike(told["mine"], told["bm25"]) == ["composer"]
    assert unlike(told["topics"], told["inbatch"]) == []
    assert "composer" not in told["random"]["conditions"]


def test_a_config_says_again_what_it_said() -> None:
    planned = layout({"topics": TOPICS, "mine": LENT})
    again = Layout(load({**planned.suite.resolved()}, "again.yaml"))
    assert spec(again, "mine") == spec(planned, "mine")


def test_an_edit_of_the_composer_touches_the_row() -> None:
    planned = layout({"topics": TOPICS, "mine": LENT, "random": None})
    dataset = planned.datasets["scifact"]
    files = {row: row_sources(dataset, dataset, planned.rows[row]) for row in ("mine", "random")}
    assert any(file.endswith("tas_b.py") for file in files["mine"])
    assert any(file.endswith("company.py") for file in files["mine"])
    assert not any(file.endswith("tas_b.py") for file in files["random"])


UNKNOWN = "methods.mine.composer: unknown row 'topcis'; did you mean 'topics'"
SHARED = "leaves batches as they are; name one of b3, cde, ngame, "
USELESS = "methods.mine.composer: who shares a batch matters only where in-batch documents are negatives"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"method": "random", "composer": "topcis"}, UNKNOWN),
        ({"method": "random", "composer": "inbatch"}, f"methods.mine.composer: inbatch {SHARED}"),
        ({"method": "random", "composer": "mine"}, f"methods.mine.composer: mine {SHARED}"),
        ({"method": "cde", "composer": "topics"}, "composer: cde puts its batches together itself; remove"),
        ({"method": "random", "composer": 3}, "methods.mine.composer: "),
        ({"method": "tas_b", "balanced": True}, "methods.mine: this row learns from a teacher alone"),
        ({**LENT, "tier": "rerank"}, USELESS),
    ],
)
def test_batches_that_cannot_be_taken_are_refused_in_one_line(row: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        layout({"topics": TOPICS, "mine": row})
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_without_in_batch_negatives_nobody_cares_who_shares_a_batch() -> None:
    made = {
        "suite": "made",
        "datasets": {"scifact": None},
        "tier": "adapter",
        "training": {"in_batch": False},
    }
    with pytest.raises(UserError, match=USELESS):
        load({**made, "methods": {"random": None, "mine": {**LENT, "composer": "tas_b"}}}, "made.yaml")


def test_a_cross_encoder_that_teaches_has_no_vectors_to_rank_all_pairs_with() -> None:
    with pytest.raises(UserError, match=r"methods\.b3: this row asks the teacher about documents outside"):
        layout({"b3": None}, teacher={"ranker": "a-ranker", "query_length": 8, "document_length": 8})


RANKER = {"ranker": "a-ranker", "query_length": 8, "document_length": 8}


@pytest.mark.parametrize("composer", ["cde", "balanced"])
def test_a_row_that_takes_batches_alone_asks_no_teacher_about_negatives(composer: str) -> None:
    rows = {
        "balanced": {"method": "tas_b", "balanced": True},
        "mine": {"method": "random", "composer": composer},
    }
    planned = layout(rows, teacher=RANKER)
    assert "teacher" not in about(planned, "mine")["conditions"]
    assert planned.rows["balanced"].asks_teacher
    assert not any((planned.rows["mine"].asks_teacher, planned.rows["mine"].needs_teacher))


def test_a_row_whose_batches_a_teacher_put_together_asks_it() -> None:
    rows = {"mine": {"method": "random", "composer": "b3"}}
    planned = layout(rows, teacher={"model": "minilm"})
    assert "teacher" in about(planned, "mine")["conditions"]
    with pytest.raises(UserError, match=r"methods\.mine: this row asks the teacher about documents outside"):
        layout(rows, teacher=RANKER)
