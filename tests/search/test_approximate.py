"""Approximate pools: parts make what one job makes, all cells are the exact search, the card tells what is missed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from negmark.board.card_text import counted
from negmark.search import candidates, index
from negmark.search import parts as pool_parts
from negmark.search.approximate import ApproximateSearcher, cells_of
from negmark.search.candidates import recall
from negmark.search.index import DenseSearcher
from negmark.store.pool import CandidatePool, read_pool_facts
from world import World, write_world

IVF = {"kind": "ivf", "cells": 8, "probes": 2}
HNSW = {"kind": "hnsw", "links": 4, "breadth": 12}


def settings(found: dict[str, Any] | None) -> str:
    return json.dumps({"depth": 9, **({"index": found} if found else {})})


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(index, "ROWS_AT_A_TIME", 50)
    monkeypatch.setattr(candidates, "CHUNK", 16)
    return write_world(tmp_path, documents=400, queries=60, dimension=12)


def pool(made: World, found: dict[str, Any] | None, name: str) -> Path:
    path = made.dataset.parent / f"{name}.safetensors"
    candidates.main("dense", made.dataset, settings(found), path, made.vectors)
    return path


def ids(path: Path) -> np.ndarray:
    return CandidatePool(path).candidates(np.arange(60))[0]


@pytest.mark.parametrize(("documents", "queries"), [(1, 3), (2, 1), (3, 2), (8, 4)])
def test_parts_make_the_pool_of_one_ivf(made: World, documents: int, queries: int) -> None:
    whole, gathered = pool(made, IVF, "whole"), made.dataset.parent / "gathered.safetensors"
    parts = [made.dataset.parent / f"{part}.safetensors" for part in range(documents * queries)]
    for part, path in enumerate(parts):
        pool_parts.main(
            made.dataset, settings(IVF), path, documents, queries, part=part, vectors=made.vectors
        )
    pool_parts.main(
        made.dataset, settings(IVF), gathered, documents, queries, parts=parts, vectors=made.vectors
    )
    assert gathered.read_bytes() == whole.read_bytes()


def test_all_cells_are_the_exact_search(made: World) -> None:
    whole = {**IVF, "probes": 8}
    assert (ids(pool(made, whole, "all")) == ids(pool(made, None, "flat"))).all()
    assert read_pool_facts(made.dataset.parent / "all.safetensors")["index"]["recall"] == {"9": 1.0}


@pytest.mark.parametrize("kind", [IVF, HNSW])
def test_what_is_missed_is_measured(made: World, kind: dict[str, Any]) -> None:
    found, exact = ids(pool(made, kind, "some")), ids(pool(made, None, "flat"))
    share = np.mean([len(np.intersect1d(*pair)) / 9 for pair in zip(found, exact, strict=True)])
    told = read_pool_facts(made.dataset.parent / "some.safetensors")
    assert told["index"] == {"settings": kind, "queries": 60, "recall": {"9": pytest.approx(share)}}
    assert 0.3 < share < 1, "some is missed"
    assert read_pool_facts(made.dataset.parent / "flat.safetensors") == {"queries": 60, "without": 0}


@pytest.mark.parametrize("kind", [IVF, HNSW])
def test_an_index_is_the_same_each_time(made: World, kind: dict[str, Any]) -> None:
    assert pool(made, kind, "one").read_bytes() == pool(made, kind, "two").read_bytes()


def test_a_cell_with_too_few_documents_leaves_places_empty() -> None:
    documents = np.eye(4, dtype=np.float32)
    searcher = ApproximateSearcher(documents, documents, 1, (0, 1), {"kind": "ivf", "cells": 4, "probes": 1})
    found, scores = searcher.search(np.arange(4), 3)
    assert found.tolist() == [[row, -1, -1] for row in range(4)]
    assert scores.tolist() == [[1.0, -np.inf, -np.inf]] * 4


def test_ties_are_those_of_the_lowest_rows() -> None:
    documents, queries = np.ones((300, 4), np.float32), np.ones((1, 4), np.float32)
    exact = DenseSearcher(documents, queries, 1).search(np.arange(1), 5)
    for kind in ({**IVF, "cells": 1}, {**IVF, "probes": 8}):
        found = ApproximateSearcher(documents, queries, 1, (0, 1), kind).search(np.arange(1), 5)
        assert found[0].tolist() == exact[0].tolist() == [[0, 1, 2, 3, 4]]


def test_half_precision_is_searched_from_the_disk(made: World) -> None:
    exact = ids(pool(made, None, "whole"))
    for name in ("documents", "queries"):
        stored = np.load(made.vectors / f"{name}.npy")
        np.save(made.vectors / f"{name}.npy", stored.astype(np.float16))
    assert (ids(pool(made, None, "half")) == exact).mean() > 0.95


def test_recall_counts_by_query() -> None:
    told = {"queries": np.array([1, 4, 6]), "documents": np.array([50])}
    pool = {**told, "ids": np.array([[1, 2, 3], [4, 5, -1], [7, 8, 9]])}
    exact = {"queries": np.array([4, 6]), "ids": np.array([[5, 1, -1], [9, 8, 7]])}
    assert recall(pool, exact) == pytest.approx(4 / 5)
    assert recall(pool, exact, depth=2) == pytest.approx(2 / 4)  # 5 and 8: 1 isn't 4's, 9 stands third


def test_the_card_tells_it() -> None:
    facts = {
        "settings": {"kind": "ivf", "cells": 4000, "probes": 32},
        "queries": 1000,
        "recall": {"10": 0.991, "200": 0.9},
    }
    card = {
        "metric": "nDCG@10", "graded": False, "lengths": {}, "labels_a_query": {},
        "pools": {"dense": {"queries": 1000, "without": 0, "index": facts}},
        "copies": {"documents": 0, "queries": {}, "queries_across": {}, "positives_across": 0},
        "self_ids": {"policy": "none", "queries": 0},
    }  # fmt: skip
    assert counted(card)[-1] == (
        "dense pool by IVF (cells 4,000, probes 32)",
        "99.1 % of the top 10, 90.0 % of the top 200 of the exact search, over 1,000 training queries",
    )


def test_cells_follow_the_root() -> None:
    assert [cells_of(count) for count in (1, 10_000, 8_841_823)] == [4, 400, 11_894]
