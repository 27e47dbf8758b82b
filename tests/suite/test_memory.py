"""What jobs ask for by the size of a corpus, worked out by hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from negmark.suite.checks import load
from negmark.suite.layout import Layout
from negmark.suite.memory import Footprint, memory

SUITE: dict[str, Any] = {"suite": "s", "datasets": {"msmarco": None}, "methods": {"inbatch": None}}


def footprint(**changes: Any) -> Footprint:
    return Footprint(Layout(load({**SUITE, **changes}, "a test")))


def test_a_known_corpus_by_its_size() -> None:
    """8,841,823 passages of 56 words: twice (150 + 56 x 6) bytes each; 768 numbers of 4 bytes each."""
    made = footprint()
    assert made.texts("msmarco") == 8595  # 8,841,823 x 972 B
    assert made.vectors("msmarco") == 27163  # 8,841,823 x 3,072 B
    assert made.search("msmarco", "dense") == 403  # 131,072 x 3,072 B
    assert made.search("msmarco", "bm25") == 13864  # 8,841,823 x 56 x 28 B
    assert made.baseline("msmarco", "untrained") == 403
    assert made.baseline("msmarco", "bm25_search") == 13864


def test_an_index_holds_its_share_of_the_vectors() -> None:
    made = footprint(pools={"index": {"kind": "ivf"}}, shards={"documents": 4})
    assert made.search("msmarco", "dense") == 6791


def test_a_cut_corpus_is_asked_for_as_it_is_cut() -> None:
    cut = footprint(datasets={"msmarco": {"documents": 10_000}})
    assert (cut.texts("msmarco"), cut.vectors("msmarco")) == (10, 31)


def test_names_and_keys_are_the_same() -> None:
    made = footprint()
    key = load(SUITE, "a test").dataset_key("msmarco")
    assert made.texts(key) == made.texts("msmarco")


def test_a_card_tells_what_no_table_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    datasets = {"mine": {"source": str(tmp_path)}}
    assert footprint(datasets=datasets).texts("mine") == 0
    layout = Layout(load({**SUITE, "datasets": datasets}, "a test"))
    card, facts = Path(layout.card("mine")), Path(layout.vectors("mine"), "embeddings.json")
    for path, told in ((card, {"documents": 1_000_000}), (facts, {"dimension": 64})):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(told))
    found = footprint(datasets=datasets)
    assert found.texts("mine") == 1020  # 1,000,000 x 2 x (150 + 60 x 6) B
    assert found.vectors("mine") == 256
    card.write_text("{")
    assert footprint(datasets=datasets).texts("mine") == 0


def test_memory_doubles_with_each_try() -> None:
    asked = memory(2000, lambda wildcards: wildcards.more)
    assert [asked(SimpleNamespace(more=500), attempt=attempt) for attempt in (1, 2, 3)] == [2500, 5000, 10000]
    assert memory(100)(SimpleNamespace(), attempt=2) == 200
