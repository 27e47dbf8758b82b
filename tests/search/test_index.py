"""Search equals the libraries' own and brute force, down to the order of ties."""

import os
import subprocess
import sys

import bm25s
import numpy as np
import pytest
import Stemmer

from builders import ROOT
from negmark.core.errors import UserError
from negmark.search import index
from negmark.search.approximate import ApproximateSearcher
from negmark.search.index import BM25Searcher, DenseSearcher

DOCUMENTS = [
    "Aspirin lowers fever and aspirin thins the blood",
    "The heart pumps blood through the body",
    "Fever is a raised body temperature",
    "Trees turn light into sugar",
    "Sugar raises blood sugar levels in the blood",
    "A running engine turns petrol into motion",
    "Runners ran a run; running makes hearts strong",
    "",
    "the and of",
    "Aspirin",
    "Light light light travels fast",
    "Bodies of water: rivers, lakes",
]
QUERIES = [
    "does aspirin lower a fever",
    "blood blood sugar",  # a word twice counts twice
    "running hearts",
    "quantum chromodynamics",  # no word is known
    "the of and",  # nothing but stop words
    "light",
]


def words(lines):
    stemmer = Stemmer.Stemmer("english")
    return bm25s.tokenize(lines, stopwords="en", stemmer=stemmer, show_progress=False)


def reference_scores(k1, b):
    """Scores [Q, N] by bm25s's own scoring of one query after the other."""
    index = bm25s.BM25(method="lucene", k1=k1, b=b)
    index.index(words(DOCUMENTS), show_progress=False)
    found = []
    for query in QUERIES:
        tokens = bm25s.tokenize([query], stopwords="en", stemmer=Stemmer.Stemmer("english"), return_ids=False,
                                show_progress=False)[0]  # fmt: skip
        known = [token for token in tokens if token in index.vocab_dict]
        found.append(index.get_scores(known) if known else np.zeros(len(DOCUMENTS)))
    return index, np.array(found, dtype=np.float32)


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4)])
def test_bm25_equals_bm25s(k1, b):
    index, wanted = reference_scores(k1, b)
    ids, scores = BM25Searcher(DOCUMENTS, QUERIES, k1, b).search(np.arange(len(QUERIES)), 10)
    for row, query in enumerate(QUERIES):
        found = {
            int(document): score
            for document, score in zip(ids[row], scores[row], strict=True)
            if document >= 0
        }
        matching = {document: score for document, score in enumerate(wanted[row]) if score > 0}
        assert found == pytest.approx(matching, abs=1e-5)
        tokens = bm25s.tokenize([query], stopwords="en", stemmer=Stemmer.Stemmer("english"), return_ids=False,
                                show_progress=False)  # fmt: skip
        if matching:
            documents, values = index.retrieve(tokens, k=10, show_progress=False)
            retrieved = {int(d): v for d, v in zip(documents[0], values[0], strict=True) if v > 0}
            assert retrieved == pytest.approx(found, abs=1e-5)
            assert values[0][: len(found)] == pytest.approx(scores[row][: len(found)], abs=1e-5)


def test_bm25_is_the_same_in_every_process(tmp_path):
    """Python orders sets otherwise in every process, and sums of floats depend on their order."""
    code = f"""
import sys
import numpy as np
from negmark.search.index import BM25Searcher
rng = np.random.default_rng(0)
lines = [" ".join(f"w{{word}}" for word in rng.zipf(1.3, 30) % 500) for _ in range(400)]
searcher = BM25Searcher(lines[:300], lines[300:], 1.2, 0.75)
ids, scores = searcher.search(np.arange(100), 50)
pairs = searcher.score_pairs(np.arange(100), np.arange(100))
np.savez({str(tmp_path)!r} + "/" + sys.argv[1], ids=ids, scores=scores, pairs=pairs)
"""
    found = []
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "workflow")}
        subprocess.run([sys.executable, "-c", code, seed], env=environment, check=True)
        with np.load(tmp_path / f"{seed}.npz") as arrays:
            found.append([arrays[name].tobytes() for name in ("ids", "scores", "pairs")])
    assert found[0] == found[1] == found[2]


def test_bm25_formula_by_hand():
    """Lucene's formula, written out: idf * tf / (tf + k1 (1 - b + b length / mean length)), equal up to a constant."""
    documents = ["cat cat dog", "dog bird", "bird bird bird fish"]
    searcher = BM25Searcher(documents, ["cat bird"], 1.2, 0.75)
    ids, scores = searcher.search(np.array([0]), 3)
    mean = (3 + 2 + 4) / 3

    def part(tf, df, length):
        idf = np.log(1 + (3 - df + 0.5) / (df + 0.5))
        return idf * tf / (tf + 1.2 * (1 - 0.75 + 0.75 * length / mean))

    wanted = np.array([part(2, 1, 3), part(1, 2, 2), part(3, 2, 4)])
    order = np.argsort(-wanted)
    assert ids[0].tolist() == order.tolist()
    assert scores[0] / scores[0, 0] == pytest.approx(wanted[order] / wanted.max(), rel=1e-5)


def test_bm25_leaves_out_documents_without_a_shared_word():
    ids, scores = BM25Searcher(DOCUMENTS, QUERIES, 1.2, 0.75).search(np.arange(len(QUERIES)), 4)
    assert ids[3].tolist() == ids[4].tolist() == [-1] * 4
    assert np.isneginf(scores[3]).all()
    assert ids[5].tolist() == [10, 3, -1, -1]
    assert np.isneginf(scores[5, 2:]).all()
    assert (scores[5, :2] > 0).all()


def test_bm25_cuts_at_the_depth_and_takes_any_order_of_queries():
    searcher = BM25Searcher(DOCUMENTS, QUERIES, 1.2, 0.75)
    deep = searcher.search(np.arange(len(QUERIES)), 10)
    shallow = searcher.search(np.array([2, 0, 2]), 2)
    assert shallow[0].tolist() == deep[0][[2, 0, 2], :2].tolist()
    assert shallow[1].tolist() == deep[1][[2, 0, 2], :2].tolist()


def test_bm25_ties_stand_in_the_order_of_the_documents():
    ids, scores = BM25Searcher(
        ["sea", "blue sky", "blue sky", "sand", "blue sky"], ["sky"], 1.2, 0.75
    ).search(np.array([0]), 2)
    assert ids[0].tolist() == [1, 2]
    assert len(set(scores[0].tolist())) == 1


@pytest.mark.parametrize("room", [1, 7, 40])
def test_bm25_finds_the_same_a_few_queries_at_a_time(room, monkeypatch):
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(30)]
    documents = [" ".join(rng.choice(words, size=6)) for _ in range(50)]
    queries = [" ".join(rng.choice([*words, "nowhere"], size=size)) for size in rng.integers(1, 6, size=20)]
    searcher = BM25Searcher(documents, queries, 1.2, 0.75)
    whole = searcher.search(np.arange(20), 9)
    monkeypatch.setattr(index, "SCORES_AT_A_TIME", room)
    parts = searcher.search(np.arange(20), 9)
    assert (whole[0] == parts[0]).all()
    assert (whole[1] == parts[1]).all()
    assert searcher.search(np.arange(0), 9)[0].shape == (0, 9)


def test_bm25_pairs_equal_the_search():
    _, wanted = reference_scores(1.2, 0.75)
    searcher = BM25Searcher(DOCUMENTS, QUERIES, 1.2, 0.75)
    queries, documents = (part.ravel() for part in np.indices(wanted.shape))
    found = searcher.score_pairs(queries, documents)
    assert found.dtype == np.float32
    assert found == pytest.approx(wanted.ravel(), abs=1e-5)
    assert searcher.documents == len(DOCUMENTS)


@pytest.mark.parametrize("depth", [1, 5, 50, 101, 300])
@pytest.mark.parametrize("threads", [1, 2])
def test_dense_equals_brute_force_with_ties_by_row(depth, threads):
    """Whole numbers make every inner product exact, so that there are many true ties, also at the cut."""
    rng = np.random.default_rng(depth)
    documents = rng.integers(-1, 2, (300, 6)).astype(np.float32)
    queries = rng.integers(-1, 2, (40, 6)).astype(np.float32)
    asked = rng.permutation(40)[:25]
    ids, scores = DenseSearcher(documents, queries, threads).search(asked, depth)
    products = queries[asked].astype(np.float64) @ documents.T.astype(np.float64)
    wanted = np.argsort(-products, axis=1, kind="stable")[:, :depth]
    assert ids.shape == scores.shape == (25, depth)
    assert ids.tolist() == wanted.tolist()
    assert scores.tolist() == np.take_along_axis(products, wanted, axis=1).tolist()


@pytest.mark.parametrize("rows", [1, 7, 64, 299])
def test_blocks_of_any_size_find_the_same(monkeypatch, rows):
    rng = np.random.default_rng(1)
    documents = rng.integers(-1, 2, (300, 6)).astype(np.float16)
    queries = rng.integers(-1, 2, (40, 6)).astype(np.float16)
    whole = DenseSearcher(documents, queries, 1).search(np.arange(40), 20)
    monkeypatch.setattr(index, "ROWS_AT_A_TIME", rows)
    parts = DenseSearcher(documents, queries, 1).search(np.arange(40), 20)
    assert [part.tolist() for part in parts] == [part.tolist() for part in whole]


def test_dense_tie_over_the_whole_corpus():
    documents = np.ones((500, 4), dtype=np.float32)
    ids, _ = DenseSearcher(documents, documents[:3], 1).search(np.array([2, 0]), 7)
    assert ids.tolist() == [list(range(7))] * 2


def test_dense_equals_brute_force_on_real_numbers():
    rng = np.random.default_rng(0)
    documents, queries = (rng.normal(size=(size, 32)).astype(np.float32) for size in (700, 30))
    searcher = DenseSearcher(documents, queries, 2)
    ids, scores = searcher.search(np.arange(30), 100)
    products = queries.astype(np.float64) @ documents.T.astype(np.float64)
    wanted = np.argsort(-products, axis=1)[:, :100]
    assert ids.tolist() == wanted.tolist()
    assert scores == pytest.approx(np.take_along_axis(products, wanted, axis=1), abs=1e-4)
    pairs = searcher.score_pairs(np.repeat(np.arange(30), 5), ids[:, :5].ravel())
    assert pairs.dtype == np.float32
    assert pairs == pytest.approx(scores[:, :5].ravel(), abs=1e-5)
    assert searcher.documents == 700


@pytest.mark.parametrize("documents", [["the and of", "", "a"], ["", ""]])
def test_corpus_in_which_no_word_is_left_finds_nothing(documents):
    """bm25s can't index it."""
    searcher = BM25Searcher(documents, QUERIES, 1.2, 0.75)
    ids, scores = searcher.search(np.arange(len(QUERIES)), 2)
    assert searcher.documents == len(documents)
    assert (ids == -1).all()
    assert np.isneginf(scores).all()
    assert searcher.score_pairs(np.array([0, 1]), np.array([1, 0])).tolist() == [0, 0]


def test_queries_in_which_no_word_is_left_find_nothing():
    ids, _ = BM25Searcher(DOCUMENTS, ["the", "", "of and"], 1.2, 0.75).search(np.arange(3), 4)
    assert (ids == -1).all()


FLAT, IVF, HNSW = {}, {"kind": "ivf", "cells": 2, "probes": 2}, {"kind": "hnsw", "links": 4, "breadth": 8}


@pytest.mark.parametrize("kind", [FLAT, IVF, HNSW])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["document", "query"])
def test_a_vector_that_is_not_finite_is_named(kind, value, side, monkeypatch):
    """FAISS finds no such document, and nothing for such a query, and says nothing."""
    monkeypatch.setattr(index, "ROWS_AT_A_TIME", 16)
    vectors = np.random.default_rng(5).normal(size=(40, 4)).astype(np.float32)
    queries = vectors[:4].copy()
    {"document": vectors, "query": queries}[side][{"document": 37, "query": 3}[side], 2] = value
    wanted = {"document": "document 37 |a sampled document", "query": "query 3 "}[side]
    with pytest.raises(UserError, match=f"the vector of ({wanted}).*is not finite"):
        found_by(kind, vectors, queries)


def found_by(kind, vectors, queries):
    if not kind:
        return DenseSearcher(vectors, queries, 1).search(np.arange(4), 10)
    return ApproximateSearcher(vectors, queries, 1, (0, 1), kind).search(np.arange(4), 10)
