"""What jobs ask for by the size of a corpus, worked out by hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from negmark.suite.checks import load
from negmark.suite.datasets import Dataset
from negmark.suite.layout import Layout
from negmark.suite.memory import Footprint, memory

SUITE: dict[str, Any] = {"suite": "s", "datasets": {"msmarco": None}, "methods": {"inbatch": None}}


def footprint(**changes: Any) -> tuple[Footprint, Dataset]:
    """The footprint of a suite of one dataset, and that dataset."""
    layout = Layout(load({**SUITE, **changes}, "a test"))
    return Footprint(layout), next(iter(layout.datasets.values()))


def test_a_known_corpus_by_its_size() -> None:
    """8,841,823 passages of 56 words: twice (150 + 56 x 6) bytes each; 768 numbers of 4 bytes each."""
    made, dataset = footprint()
    assert made.texts(dataset) == 8595  # 8,841,823 x 972 B
    assert made.vectors(dataset) == 27163  # 8,841,823 x 3,072 B
    assert made.search(dataset, "dense") == 403  # 131,072 x 3,072 B
    assert made.search(dataset, "bm25") == 13864  # 8,841,823 x 56 x 28 B
    assert made.baseline(dataset, "untrained") == 403
    assert made.baseline(dataset, "bm25_search") == 13864


def test_an_index_holds_its_share_of_the_vectors() -> None:
    made, dataset = footprint(pools={"index": {"kind": "ivf"}}, shards={"documents": 4})
    assert made.search(dataset, "dense") == 6791


def test_a_cut_corpus_is_asked_for_as_it_is_cut() -> None:
    cut, dataset = footprint(datasets={"msmarco": {"documents": 10_000}})
    assert (cut.texts(dataset), cut.vectors(dataset)) == (10, 31)


def test_a_card_tells_what_no_table_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    datasets = {"mine": {"source": str(tmp_path)}}
    made, dataset = footprint(datasets=datasets)
    assert made.texts(dataset) == 0
    paths = Layout(load({**SUITE, "datasets": datasets}, "a test")).paths
    card, facts = Path(paths.card(dataset)), Path(paths.vector_facts(dataset))
    for path, content in ((card, {"documents": 1_000_000}), (facts, {"dimension": 64})):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    made, dataset = footprint(datasets=datasets)
    assert made.texts(dataset) == 1020  # 1,000,000 x 2 x (150 + 60 x 6) B
    assert made.vectors(dataset) == 256
    card.write_text("{")
    made, dataset = footprint(datasets=datasets)
    assert made.texts(dataset) == 0


def test_memory_doubles_with_each_try() -> None:
    ask = memory(2000, lambda wildcards: wildcards.more)
    assert [ask(SimpleNamespace(more=500), attempt=attempt) for attempt in (1, 2, 3)] == [2500, 5000, 10000]
    assert memory(100)(SimpleNamespace(), attempt=2) == 200
