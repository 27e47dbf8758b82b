"""CDE's clusters: the filter by hand, reduced vectors by numpy's own decomposition, and pairs against single sides."""

import numpy as np
import pytest
import torch

from negmark.methods.cde import CDE, leading_axes, too_good, unit
from world import take_steps


def test_the_filter_by_hand():
    """At or above the positive's own score, as in the released code's mode of 1; the positive itself stays."""
    scores = torch.tensor([[0.5, 0.6, 0.5], [0.1, 0.2, 0.1], [0.9, 0.29, 0.3]])
    assert too_good(scores).tolist() == [[False, True, True], [False, False, False], [True, False, False]]


def test_the_filter_masks_in_batch_documents_of_a_run(world):
    run = world.run("cde", params={"size": 5})
    for batch, negatives in take_steps(run, 12):
        queries = run.services.warmup_queries(batch.queries).double()
        documents = run.services.warmup_documents(batch.positives).double()
        for row in range(8):
            own = queries[row] @ documents[row]
            for column in range(8):
                likely = row != column and float(queries[row] @ documents[column]) >= float(own)
                assert bool(negatives.in_batch[row, column]) is not likely
    assert run.method.masked.item() > 0
    assert sum(row["filtered"] for row in run.history) == run.method.masked.item()
    assert run.services.counters.teacher_vectors == 12 * 16


def test_what_is_no_negative_anyway_is_not_counted(world):
    run = world.run("cde", params={"size": 5})
    given = take_steps(run, 12)
    expected = sum(
        not bool(negatives.in_batch[row, column]) and (query, document) not in world.positives
        for batch, negatives in given
        for row, query in enumerate(batch.queries.tolist())
        for column, document in enumerate(batch.positives.tolist())
    )
    crossed_out = sum(int((~negatives.in_batch).sum()) for _, negatives in given)
    assert run.method.masked.item() == expected
    assert 0 < expected < crossed_out


def test_a_filter_that_crossed_out_nothing_is_said(world, monkeypatch):
    monkeypatch.setattr(
        "negmark.methods.cde.too_good", lambda scores: torch.zeros_like(scores, dtype=torch.bool)
    )
    run, unfiltered = (
        world.run("cde", params={"size": 5, "filtered": one}, batch_size=5) for one in (True, False)
    )
    for each in (run, unfiltered):
        take_steps(each, 4)
    assert run.method.idle() == "its filter crossed out nothing"
    assert unfiltered.method.idle() == ""


def test_without_the_filter_nobody_is_asked(world):
    run = world.run("cde", params={"size": 5, "filtered": False})
    assert all(negatives.in_batch is None for _, negatives in take_steps(run, 3))
    assert run.services.counters.teacher_vectors == 0
    assert not CDE.asks_teacher(run.method.params, "controlled")


def test_axes_are_the_leading_right_singular_vectors():
    points = np.random.default_rng(2).normal(size=(50, 6)).astype(np.float32)
    expected = np.linalg.svd(points.astype(np.float64))[2][:3].T
    found = leading_axes(points, 3)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-5)


def test_a_point_without_length_stays():
    assert unit(np.array([[3, 4], [0, 0]], np.float32)).tolist() == [
        pytest.approx([0.6, 0.8]), [0, 0]
    ]  # fmt: skip


def test_a_row_that_says_how_many_clusters_tunes_no_size():
    assert CDE.space(CDE.Params(), "controlled").keys() == {"size"}
    assert CDE.space(CDE.Params(clusters=10), "controlled").keys() == {"clusters"}


AXES = np.eye(4, dtype=np.float32)


class Sides:
    """Four queries of two directions, whose documents are of two others, crosswise."""

    def warmup_queries(self, rows):
        return torch.from_numpy(AXES[[0, 0, 1, 1]][rows])

    def warmup_documents(self, rows):
        return torch.from_numpy(AXES[[2, 3, 2, 3]][rows])


@pytest.mark.parametrize(
    ("by", "clusters", "expected"),
    [
        ("query", 2, {(0, 1), (2, 3)}),
        ("document", 2, {(0, 2), (1, 3)}),
        ("pair", 8, {(0,), (1,), (2,), (3,)}),
    ],
)
def test_what_is_clustered(by, clusters, expected):
    rows = np.arange(4)
    pairs = type("Pairs", (), {"queries": rows, "positives": rows, "rng": np.random.default_rng(0)})
    made = CDE(CDE.Params(by=by, clusters=clusters, components=0), Sides())
    labels = made.grouped(pairs)
    found = {tuple(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}
    assert found == expected


def test_vectors_are_reduced_before_they_are_clustered(world, monkeypatch):
    seen = []

    def listening(points, *rest):
        seen.append(points)
        return np.zeros(len(points), np.int64)

    monkeypatch.setattr("negmark.methods.company.clustered", listening)
    run = world.run("cde", params={"components": 3})
    take_steps(run, 1)
    assert seen[0].shape == (60, 6), "30 pairs in either order, of 3 + 3 dimensions"
    np.testing.assert_allclose(np.linalg.norm(seen[0], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(seen[0][:30, :3], seen[0][30:, 3:], atol=1e-6)


def test_clusters_share_batches(world):
    run = world.run("cde", params={"size": 5}, batch_size=5)
    take_steps(run, 6)
    assert run.method.idle() == ""
    same, chance, _ = run.method.together
    assert same > 2 * chance
