"""Candidate pools: no positive in them, as deep as asked for, and the positives' scores beside."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from builders import collection_of
from negmark.core.errors import UserError
from negmark.data import prepare
from negmark.search import candidates
from negmark.search.candidates import build_pool
from negmark.search.index import BM25Searcher, DenseSearcher
from negmark.store.collection import Qrels
from negmark.store.pool import CandidatePool


def qrels(*rows) -> Qrels:
    return Qrels(*np.array(rows, dtype=np.int64).T)


@pytest.fixture
def dense():
    """40 documents and 12 queries; labels in no order, of which one has grade 0 and query 5 has five."""
    rng = np.random.default_rng(4)
    documents, queries = (rng.normal(size=(size, 5)).astype(np.float32) for size in (40, 12))
    labels = qrels(
        (5, 3, 1), (2, 7, 1), (5, 39, 2), (0, 0, 1), (5, 0, 1), (2, 8, 0), (5, 17, 1), (5, 21, 1), (11, 4, 1)
    )
    return (
        DenseSearcher(documents, queries, 1),
        labels,
        queries.astype(np.float64) @ documents.T.astype(np.float64),
    )


def opened(pool, path) -> CandidatePool:
    save_file(pool, path)
    return CandidatePool(path)


POSITIVES = {0: {0}, 2: {7}, 5: {0, 3, 17, 21, 39}, 11: {4}}


@pytest.mark.parametrize("depth", [1, 10, 35, 36, 40, 60])
def test_pool_is_the_ranking_without_positives(dense, depth, tmp_path):
    searcher, labels, products = dense
    pool = opened(build_pool(searcher, labels, 40, depth), tmp_path / "p.safetensors")
    assert pool.depth == depth
    asked = np.array([11, 5, 2, 0])
    ids, scores = pool.candidates(asked)
    assert ids.shape == scores.shape == (4, depth)
    assert (ids.dtype, scores.dtype) == (np.int64, np.float32)
    for row, query in enumerate(asked):
        wanted = [int(d) for d in np.argsort(-products[query]) if d not in POSITIVES[int(query)]][:depth]
        assert ids[row].tolist() == wanted + [-1] * (depth - len(wanted))
        assert scores[row, : len(wanted)] == pytest.approx(products[query, wanted], abs=1e-5)
        assert np.isneginf(scores[row, len(wanted) :]).all()


def test_document_of_grade_zero_may_be_a_candidate(dense, tmp_path):
    searcher, labels, _ = dense
    ids, _ = opened(build_pool(searcher, labels, 40, 39), tmp_path / "p.safetensors").candidates(
        np.array([2])
    )
    assert 8 in ids[0]
    assert 7 not in ids[0]


def test_chunks_make_no_difference(dense, monkeypatch):
    searcher, labels, _ = dense
    whole = build_pool(searcher, labels, 40, 30)
    monkeypatch.setattr(candidates, "CHUNK", 3)
    parts = build_pool(searcher, labels, 40, 30)
    for name, values in whole.items():
        assert parts[name] == pytest.approx(values, abs=1e-6)


def test_positive_scores_are_those_of_the_pairs(dense, tmp_path):
    searcher, labels, products = dense
    pool = opened(build_pool(searcher, labels, 40, 3), tmp_path / "p.safetensors")
    queries, positives = np.array([5, 11, 5, 0, 5, 2]), np.array([39, 4, 0, 0, 3, 7])
    assert pool.positive_scores(queries, positives) == pytest.approx(products[queries, positives], abs=1e-5)


@pytest.mark.parametrize(("query", "document"), [(5, 1), (2, 8), (0, 39), (11, 39), (1, 0), (50, 0)])
def test_pair_without_label_has_no_score(dense, tmp_path, query, document):
    searcher, labels, _ = dense
    pool = opened(build_pool(searcher, labels, 40, 3), tmp_path / "p.safetensors")
    with pytest.raises(KeyError, match="no training label"):
        pool.positive_scores(np.array([5, query]), np.array([3, document]))


def test_query_without_label_has_no_candidates(dense, tmp_path):
    searcher, labels, _ = dense
    pool = opened(build_pool(searcher, labels, 40, 3), tmp_path / "p.safetensors")
    with pytest.raises(KeyError, match="no training label"):
        pool.candidates(np.array([5, 1]))
    with pytest.raises(LookupError):
        pool.candidates(np.array([50]))


def test_depth_cuts_the_rows(dense, tmp_path):
    searcher, labels, _ = dense
    pool = opened(build_pool(searcher, labels, 40, 20), tmp_path / "p.safetensors")
    ids, scores = pool.candidates(np.array([5, 0]), 4)
    whole_ids, whole_scores = pool.candidates(np.array([5, 0]))
    assert ids.tolist() == whole_ids[:, :4].tolist()
    assert scores.tolist() == whole_scores[:, :4].tolist()


def test_bm25_pool_ends_where_no_word_is_shared(tmp_path):
    documents = ["red apple", "green apple", "red wine", "blue sky", "apple pie"]
    searcher = BM25Searcher(documents, ["apple", "sky", "nothing known"], 1.2, 0.75)
    labels = qrels((0, 1, 1), (1, 3, 1), (2, 0, 1))
    pool = opened(build_pool(searcher, labels, 5, 4), tmp_path / "p.safetensors")
    ids, scores = pool.candidates(np.array([0, 1, 2]))
    assert ids.tolist() == [[0, 4, -1, -1], [-1] * 4, [-1] * 4]
    assert np.isfinite(scores).tolist() == (ids >= 0).tolist()
    own = pool.positive_scores(np.array([0, 1, 2]), np.array([1, 3, 0]))
    assert own[0] == pytest.approx(scores[0, 0])  # the three apples are equally long
    assert own[1] > 0
    assert own[2] == 0


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 100])
def test_broken_file_is_named_in_one_line(tmp_path, content):
    (tmp_path / "dense.safetensors").write_bytes(content)
    with pytest.raises(
        UserError, match=r"dense\.safetensors: can't be read .*; delete it and run again"
    ) as caught:
        CandidatePool(tmp_path / "dense.safetensors")
    assert "\n" not in str(caught.value)


def test_truncated_and_missing_files_are_named(dense, tmp_path):
    searcher, labels, _ = dense
    path = tmp_path / "dense.safetensors"
    save_file(build_pool(searcher, labels, 40, 20), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"dense\.safetensors: can't be read"):
        CandidatePool(path)
    with pytest.raises(UserError, match=r"none\.safetensors: can't be read"):
        CandidatePool(tmp_path / "none.safetensors")


@pytest.fixture
def prepared(tmp_path):
    """A prepared dataset with test labels, which no pool may look at, and its vectors."""
    made = collection_of(
        [f"d{row}" for row in range(9)],
        ["q0", "q1", "q2"],
        {"train": [(0, 1, 1), (1, 2, 1)], "test": [(2, 3, 1)]},
    )
    prepare.write(made, tmp_path / "dataset")
    rng = np.random.default_rng(1)
    vectors = [rng.normal(size=(size, 4)).astype(np.float32) for size in (9, 3)]
    (tmp_path / "vectors").mkdir()
    for name, values in zip(("documents", "queries"), vectors, strict=True):
        np.save(tmp_path / "vectors" / f"{name}.npy", values)
    return tmp_path, vectors


SETTINGS = json.dumps({"depth": 6, "bm25_k1": 1.2, "bm25_b": 0.75})


def test_stage_writes_a_pool_of_training_queries_alone(prepared):
    folder, (documents, queries) = prepared
    out = folder / "dense.safetensors"
    candidates.main("dense", folder / "dataset", SETTINGS, out, folder / "vectors")
    assert load_file(out)["queries"].tolist() == [0, 1]
    ids, _ = CandidatePool(out).candidates(np.array([0, 1]))
    for query, positive in ((0, 1), (1, 2)):
        order = np.argsort(-(documents @ queries[query]))
        assert ids[query].tolist() == [int(row) for row in order if row != positive][:6]
    first = out.read_bytes()
    candidates.main("dense", folder / "dataset", SETTINGS, out, folder / "vectors")
    assert out.read_bytes() == first


def test_stage_reads_texts_for_bm25(prepared):
    folder, _ = prepared
    out = folder / "bm25.safetensors"
    candidates.main("bm25", folder / "dataset", SETTINGS, out)
    # every document reads "document dN", every query "query qN": no word is shared
    ids, _ = CandidatePool(out).candidates(np.array([0, 1]))
    assert ids.tolist() == [[-1] * 6] * 2
