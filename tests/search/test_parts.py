"""However a search is shared among jobs, the gathered pool is the single job's, byte for byte."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from negmark.search import candidates, index
from negmark.search import parts as pool_parts
from negmark.store.pool import CandidatePool
from world import World, write_world

SETTINGS = json.dumps({"depth": 9, "bm25_k1": 1.2, "bm25_b": 0.75})


def coarse(documents: np.ndarray, queries: np.ndarray, _: np.ndarray) -> None:
    """Leave so few different numbers that many inner products are equal, and exactly so."""
    for matrix in (documents, queries):
        matrix[:] = np.round(matrix * 2)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Nine blocks of documents and six chunks of queries."""
    monkeypatch.setattr(index, "ROWS_AT_A_TIME", 7)
    monkeypatch.setattr(candidates, "CHUNK", 4)
    return write_world(tmp_path, documents=61, queries=23, dimension=6, change=coarse)


def gathered(made: World, kind: str, documents: int, queries: int) -> bytes:
    """Search all parts, the last first, and gather them."""
    folder = made.dataset.parent / f"{kind}-{documents}-{queries}"
    vectors = made.vectors if kind == "dense" else None
    parts = [folder / f"{part}.safetensors" for part in range(documents * queries)]
    for part, path in reversed([*enumerate(parts)]):
        pool_parts.main(made.dataset, SETTINGS, path, documents, queries, part=part, vectors=vectors)
    pool_parts.main(made.dataset, SETTINGS, folder / f"{kind}.safetensors", documents, queries, parts=parts)
    return (folder / f"{kind}.safetensors").read_bytes()


def test_any_number_of_parts_makes_the_dense_pool(made: World, tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    candidates.main("dense", made.dataset, SETTINGS, whole, made.vectors)
    pool = CandidatePool(whole)
    _, scores = pool.candidates(np.arange(23))
    assert (np.diff(scores, axis=1) == 0).mean() > 0.2, "there are ties"
    for documents, queries in itertools.product((1, 2, 4, 9, 12), (1, 5, 6, 8)):
        assert gathered(made, "dense", documents, queries) == whole.read_bytes(), (documents, queries)


def test_any_number_of_parts_makes_the_bm25_pool(made: World, tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    candidates.main("bm25", made.dataset, SETTINGS, whole)
    for queries in (1, 2, 6, 9):
        assert gathered(made, "bm25", 1, queries) == whole.read_bytes(), queries
