"""Windows of ranks: NV-Retriever's shifted and naive lists, and FlagEmbedding's from 10 to 210."""

import numpy as np
import pytest

from negmark.methods.dense_uniform import DenseUniform
from negmark.methods.shifted_topk import ShiftedTopK
from negmark.methods.types import NO_DOCUMENT, Batch
from taught import IDS, POSITIVE, TAUGHT, Taught


def choose(services, rows=1, **params):
    method = ShiftedTopK(ShiftedTopK.Params(**params), services)
    return method.negatives(Batch(0, np.arange(rows), np.full(rows, 150), None, None)).ids


@pytest.mark.parametrize(
    ("shift", "expected"),
    [(0, [79, 77, 76]), (2, [76, 74, 70]), (4, [70, 50, NO_DOCUMENT]), (10, [NO_DOCUMENT] * 3)],
)
def test_the_first_are_left_out_by_hand(shift, expected):
    assert choose(Taught(IDS, TAUGHT, POSITIVE, 3), shift=shift).tolist() == [expected]


def test_the_teacher_ranks_and_the_positive_is_not_read():
    taught = [0.1, 0.9, 0.5, 0.79, 0.3, 0.2]
    for positive in (0.95, -0.5):
        assert choose(Taught(IDS, taught, positive, 2), shift=1).tolist() == [[74, 76]]


def test_depth_bounds_what_the_teacher_sees_and_sample_draws_behind_the_shift():
    assert choose(Taught(IDS, TAUGHT, POSITIVE, 3), shift=2, depth=4).tolist() == [[76, 74, NO_DOCUMENT]]
    ids = choose(Taught(IDS, TAUGHT, POSITIVE, 1), 20_000, shift=1, sample=3)
    found, counts = np.unique(ids, return_counts=True)
    assert found.tolist() == [74, 76, 77]
    np.testing.assert_allclose(counts / 20_000, 1 / 3, atol=0.02)


def test_without_a_teacher_the_naive_list_is_dense_topk(world):
    naive, plain = world.run("shifted_topk", params={"shift": 0}), world.run("dense_topk")
    queries, positives = naive.labels.batch(0, 0, 8)
    batch = Batch(0, queries, positives, None, None)
    np.testing.assert_array_equal(naive.method.negatives(batch).ids, plain.method.negatives(batch).ids)


def test_flagembeddings_window_is_a_row_of_dense_uniform():
    """`range_for_sampling` 10-210: ranks 0 to 9 never appear, rank 209 can, rank 210 can't; of 15 drawn."""

    class Deep:
        negatives = 15

        def pool(self, name):
            return self

        def candidates(self, queries, depth=None):
            ids = np.tile(np.arange(300), (len(queries), 1))[:, :depth]
            return ids, -ids.astype(np.float32)

        def rng(self, step, purpose=""):
            return np.random.default_rng(step)

    method = DenseUniform(DenseUniform.Params(skip=10), Deep())
    ids = method.negatives(Batch(0, np.arange(3000), np.arange(3000), None, None)).ids
    assert ids.shape == (3000, 15)
    assert np.unique(ids).tolist() == list(range(10, 210))
