"""Training labels: membership, and the order in which queries and positives come."""

import inspect
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from negmark.store.collection import Qrels
from negmark.store.labels import Labels

DOCUMENTS = 50
QUERIES = [2, 3, 5, 8, 13, 21, 34]
PAIRS = [(query, (7 * query) % DOCUMENTS) for query in QUERIES] + [(5, document) for document in (1, 2, 3, 4)]


def labels_of(pairs, documents=DOCUMENTS, grades=None):
    rows = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    return Labels(
        Qrels(*rows.T, np.ones(len(rows), np.int64) if grades is None else np.array(grades)), documents
    )


def first_steps(labels, steps, size, seed=0):
    batches = [labels.batch(seed, step, size) for step in range(steps)]
    return np.concatenate([queries for queries, _ in batches]), np.concatenate([rows for _, rows in batches])


@pytest.mark.parametrize("size", [1, 3, 5, 7, 16, 40])
def test_each_query_comes_once_an_epoch_across_the_borders_of_steps(size):
    queries, _ = first_steps(labels_of(PAIRS), steps=7 * 6, size=size)
    epochs = queries.reshape(-1, len(QUERIES))
    assert (np.sort(epochs, axis=1) == QUERIES).all()
    assert len({tuple(epoch) for epoch in epochs.tolist()}) > len(epochs) // 2


def test_batches_are_cut_from_one_order_whatever_their_size():
    labels = labels_of(PAIRS)
    np.testing.assert_array_equal(first_steps(labels, 6, 7)[0], first_steps(labels, 14, 3)[0])


def test_positives_are_labelled_and_each_query_has_its_own():
    queries, positives = first_steps(labels_of(PAIRS), 60, 7)
    assert set(zip(queries.tolist(), positives.tolist(), strict=True)) == set(PAIRS)


def test_positives_of_a_query_are_drawn_uniformly():
    queries, positives = first_steps(labels_of(PAIRS), 4000, 7)
    counts = Counter(positives[queries == 5].tolist())
    assert counts.keys() == {35, 1, 2, 3, 4}
    assert sum(counts.values()) == 4000
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_a_query_with_many_labels_comes_no_more_often():
    queries, _ = first_steps(labels_of(PAIRS), 30, 7)
    assert set(Counter(queries.tolist()).values()) == {30}


def test_orders_depend_on_the_seed_alone():
    labels = labels_of(PAIRS)
    assert list(inspect.signature(labels.batch).parameters) == ["seed", "step", "size"]
    one, other = first_steps(labels, 9, 7, seed=0), first_steps(labels_of(reversed(PAIRS)), 9, 7, seed=0)
    np.testing.assert_array_equal(one, other)
    changed = first_steps(labels, 9, 7, seed=1)
    assert not np.array_equal(one[0], changed[0])
    assert not np.array_equal(one[1], changed[1])


def test_a_step_can_be_asked_for_before_the_one_before():
    labels = labels_of(PAIRS)
    late = labels.batch(0, 5, 4)
    labels.batch(0, 3, 4)
    np.testing.assert_array_equal(late, labels_of(PAIRS).batch(0, 5, 4))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_is_positive_as_a_set_says(data):
    documents = data.draw(st.integers(1, 12))
    pair = st.tuples(st.integers(0, 6), st.integers(0, documents - 1))
    pairs = data.draw(st.sets(pair, min_size=1))
    queries = np.array(data.draw(st.lists(st.integers(0, 7), min_size=1, max_size=5)))
    width = data.draw(st.integers(1, 6))
    cell = st.lists(st.integers(-1, documents - 1), min_size=width, max_size=width)
    rows = np.array(data.draw(st.lists(cell, min_size=len(queries), max_size=len(queries))))
    labels = labels_of(pairs, documents)
    expected = [
        [(q, d) in pairs for d in row] for q, row in zip(queries.tolist(), rows.tolist(), strict=True)
    ]
    assert labels.is_positive(queries, rows).tolist() == expected
    for_all = [[(q, d) in pairs for d in rows[0].tolist()] for q in queries.tolist()]
    assert labels.is_positive(queries, rows[0]).tolist() == for_all


def test_an_empty_place_is_no_positive_beside_the_last_document_of_the_query_before():
    """Query 3 and document -1 have the key of query 2 and the last document."""
    labels = labels_of([(2, DOCUMENTS - 1), (3, 0)])
    assert labels.is_positive(np.array([2, 3]), np.array([[DOCUMENTS - 1, -1], [-1, 0]])).tolist() == [
        [True, False],
        [False, True],
    ]


def test_grade_zero_is_no_positive_and_trains_nothing():
    labels = labels_of([(1, 10), (1, 11), (4, 12)], grades=[2, 0, 0])
    assert labels.queries.tolist() == [1]
    assert labels.is_positive(np.array([1]), np.array([[10, 11]])).tolist() == [[True, False]]
    assert {row for step in range(20) for row in labels.batch(0, step, 3)[1].tolist()} == {10}


def test_a_label_that_stands_twice_counts_once():
    labels = labels_of([(1, 10), (1, 10), (1, 11)])
    rows = np.concatenate([labels.batch(0, step, 50)[1] for step in range(40)])
    assert stats.binomtest(int((rows == 10).sum()), len(rows)).pvalue > 1e-4
