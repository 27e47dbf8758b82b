"""Edits of positives: the sheet's numbers, each kind by hand, and the stage over a prepared dataset."""

import json

import pytest

from negmark.data.edited import main as make_edits
from negmark.data.edits import (
    Pair,
    Stock,
    drop,
    entity,
    jaccard,
    negation,
    numeral,
    seed_of,
    sentences,
    splice,
    versions,
)
from negmark.store import collection
from negmark.store.copies import normalised
from world import write_world

ASPIRIN = "aspirin lowers fever in adults within 2 hours"


@pytest.mark.parametrize(
    ("other", "share"),
    [
        ("ibuprofen lowers fever in adults within 2 hours", 0.777778),
        ("aspirin lowers fever in adults within 6 hours", 0.777778),
        ("aspirin does not lower fever in adults within 2 hours", 0.636364),
        (ASPIRIN.upper(), 1.0),
        ("", 0.0),
    ],
)
def test_the_words_that_an_edit_leaves(other, share):
    assert jaccard(ASPIRIN, other) == pytest.approx(share, abs=1e-6)


def test_what_decides_a_draw():
    assert seed_of("q1", "d1", "entity", 0) % 5 == 2
    assert seed_of("q2", "d1", "entity", 0) % 5 == 1


def pair(title, text, query="what does Marie Curie say"):
    return Pair("q1", "d1", query, title, text)


STOCK = Stock.of([
    "Marie Curie met Lise Meitner in Paris. The radium was sold for 12.5 francs in 1911.",
    "Niels Bohr left the town in 1943. the end",
    "Rome and the river",
])  # fmt: skip


def test_names_are_words_that_the_corpus_has_nowhere_in_lower_case():
    assert STOCK.names == {1: ["Paris", "Rome"], 2: ["Lise Meitner", "Marie Curie", "Niels Bohr"]}
    assert STOCK.numerals == ["12.5", "1911", "1943"]
    assert STOCK.spans("The Rome of Marie Curie, Paris") == ["Rome", "Marie Curie", "Paris"]


def test_a_name_that_the_query_has_is_replaced_by_another_of_its_length():
    found = entity(pair("", "Paris is where Marie Curie lived"), STOCK, 0)
    assert found in {f"Paris is where {other} lived" for other in ("Lise Meitner", "Niels Bohr")}
    assert found == entity(pair("", "Paris is where Marie Curie lived"), STOCK, 0)
    assert entity(pair("", "nothing but words"), STOCK, 0) is None
    assert entity(pair("", "Rome"), Stock.of(["Rome"]), 0) is None


def test_a_name_is_replaced_where_it_is_a_word():
    stock = Stock.of(["Rome and Romeo", "Paris"])
    found = {entity(pair("", "Romeo saw Rome", query="where is Rome"), stock, number) for number in range(4)}
    assert found == {"Romeo saw Paris"}


def test_without_a_name_of_the_query_any_is_taken():
    found = entity(pair("", "a street in Rome", query="where is it"), STOCK, 0)
    assert found == "a street in Paris"


def test_a_numeral_is_replaced_whole_and_never_by_itself():
    texts = {numeral(pair("", "sold for 12.5 francs"), STOCK, number) for number in range(8)}
    assert texts == {"sold for 1911 francs", "sold for 1943 francs"}
    assert numeral(pair("", "B12 and no number"), STOCK, 0) is None
    assert numeral(pair("", "in 1911"), Stock(numerals=["1911"]), 0) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is not warm", "it is warm"),
        ("Not a bird", "a bird"),
        ("it can swim and is warm", "it can not swim and is warm"),
        ("a large bird", "Not a large bird"),
        ("a notable can", "a notable can not"),
    ],
)
def test_a_text_is_negated_or_its_negation_taken_out(text, expected):
    assert negation(pair("", text)) == expected


def test_sentences_are_a_title_and_what_ends_like_one():
    assert sentences("yawn", "an intake of breath; usually by boredom. It is 2.5 s long") == [
        "yawn", "an intake of breath;", "usually by boredom.", "It is 2.5 s long",
    ]  # fmt: skip
    assert sentences("", "") == []


def test_the_sentence_nearest_to_the_query_is_dropped():
    text = "Radium glows. Marie Curie says so. It is rare."
    assert drop(pair("radium", text)) == "radium Radium glows. It is rare."
    assert drop(pair("", "Marie Curie says so.")) is None, "nothing would be left"
    assert drop(pair("radium", "It glows. It is rare.")) is None, "nothing shares a word with the query"


def test_the_sentence_nearest_to_the_query_is_replaced():
    text = "Radium glows. Marie Curie says so."
    assert splice(pair("", text), "Bohr says so.") == "Radium glows. Bohr says so."
    assert splice(pair("", text), None) is None
    assert splice(pair("", "It glows."), "Bohr says so.") is None


def test_versions_leave_out_what_changes_nothing_or_repeats():
    kinds = ("entity", "number", "negation", "drop", "splice")
    one = pair("", "Marie Curie says so. It was 1911.")
    found = versions(one, STOCK, kinds, 2, ["Marie Curie says so.", "She says 3."])
    texts = [normalised(text) for *_, text in found]
    assert len(set(texts)) == len(texts)
    assert normalised(one.whole) not in texts
    made = {(kind, number) for kind, number, _ in found}
    assert {("number", 0), ("negation", 0), ("drop", 0), ("splice", 1)} <= made
    assert ("splice", 0) not in made, "it is the sentence itself"
    assert ("negation", 1) not in made


def test_the_stage_gives_the_same_bytes_again_and_no_sentence_of_a_positive(tmp_path):
    world = write_world(tmp_path / "world")
    settings = json.dumps({"versions": 2, "bm25_k1": 1.2, "bm25_b": 0.75, "bm25_analyzer": "auto"})
    files = [tmp_path / name for name in ("one.jsonl", "two.jsonl")]
    for file in files:
        make_edits(world.dataset, settings, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    lines = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"negation", "drop", "splice"}, (
        "words have no names or numbers"
    )
    asked = {(int(line["query"][1:]), int(line["positive"][1:])) for line in lines}
    assert asked <= world.positives
    titles, texts = (collection.column(world.dataset, collection.DOCUMENTS, key) for key in ("title", "text"))
    parts = [sentences(*both) for both in zip(titles, texts, strict=True)]
    spliced = [line for line in lines if line["kind"] == "splice"]
    assert len(spliced) > 20
    for line in spliced:
        query, positive = int(line["query"][1:]), int(line["positive"][1:])
        others = {
            part for row, own in enumerate(parts) if (query, row) not in world.positives for part in own
        }
        own = parts[positive]
        assert any(
            " ".join([*own[:place], other, *own[place + 1 :]]) == line["text"]
            for place in range(len(own))
            for other in others
        )
