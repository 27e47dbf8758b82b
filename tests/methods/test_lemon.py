"""LEMON: near clusters by hand, how often their members are drawn, and its loss against worked numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from negmark.methods import losses
from negmark.methods.lemon import LEMON, Members, clustered, cosines, nearest
from negmark.methods.types import NO_DOCUMENT, Batch
from negmark.train.step import _example
from steps import scores_of, step_of
from world import take_steps

POINTS = np.array([[0, 0], [0, 1], [10, 0], [10, 1], [21, 0], [21, 1]], dtype=np.float32)
CENTROIDS = np.array([[0, 0.5], [10, 0.5], [21, 0.5]], dtype=np.float32)
LABELS = np.array([0, 0, 1, 1, 2, 2])


def union(point, hops):
    near = nearest(np.array([point], dtype=np.float32), CENTROIDS, hops)
    members = Members(LABELS, 3)
    total = members.sizes[near].sum()
    return sorted(members.at(near, np.arange(total)[None])[0].tolist())


@pytest.mark.parametrize(
    ("kept", "hops", "expected"),
    [(0, 1, [0, 1]), (0, 2, [0, 1, 2, 3]), (2, 1, [2, 3]), (2, 2, [0, 1, 2, 3]), (4, 1, [4, 5]), (4, 2, [2, 3, 4, 5])],
)  # fmt: skip
def test_the_members_of_the_nearest_clusters_by_hand(kept, hops, expected):
    assert union(POINTS[kept], hops) == expected


def test_clusters_that_are_equally_far_keep_their_order():
    found = nearest(np.zeros((1, 2), np.float32), np.array([[0, 2], [1, 0], [-1, 0], [0, 1]], np.float32), 4)
    assert found.tolist() == [[1, 2, 3, 0]]


def method(side, hops, negatives=1, **params):
    """LEMON over the six points, with a query at (8, .5) whose positive is 0; nothing is reduced."""
    services = SimpleNamespace(
        negatives=negatives,
        documents=6,
        track="controlled",
        warmup_queries=lambda rows: torch.tensor([[8.0, 0.5]]).repeat(len(rows), 1),
        warmup_documents=lambda rows: torch.from_numpy(POINTS)[torch.from_numpy(np.maximum(rows, 0))],
        is_positive=lambda queries, documents: np.broadcast_to(
            documents == 0, (len(queries), documents.shape[1])
        ),
        rng=lambda step, purpose="": np.random.default_rng([step, len(purpose)]),
    )
    made = LEMON(LEMON.Params(clusters=3, hops=hops, components=0, side=side, **params), services)
    made.labels, made.centroids = torch.from_numpy(LABELS), torch.from_numpy(CENTROIDS)
    made.mean, made.axes = torch.zeros(2), torch.eye(2)
    return made


def given(made, queries=1, step=0):
    rows = np.zeros(queries, np.int64)
    return made.negatives(Batch(step, rows, rows, torch.empty(queries, 2), torch.empty(queries, 2)))


@pytest.mark.parametrize(
    ("side", "hops", "chances"),
    [("kept", 1, {2: 0.5, 3: 0.5}), ("kept", 2, dict.fromkeys([1, 2, 3], 1 / 3)), ("replaced", 1, {1: 1.0})],
)
def test_members_are_drawn_uniformly_and_never_the_positive(side, hops, chances):
    ids = given(method(side, hops), queries=6000).ids[:, 0]
    drawn, often = np.unique(ids, return_counts=True)
    assert drawn.tolist() == list(chances)
    assert (often / 6000).tolist() == pytest.approx(list(chances.values()), abs=0.03)


def test_a_union_that_runs_short_is_filled_at_random_and_marked():
    """Two members within, M = 4: the other two are among the rest, 0 aside."""
    found = given(method("kept", 1, negatives=4), queries=50)
    assert (np.sort(found.ids[:, :2], axis=1) == [2, 3]).all()
    assert set(found.ids[:, 2:].ravel().tolist()) == {1, 4, 5}
    assert found.backfilled.tolist() == [[False, False, True, True]] * 50
    few = given(method("kept", 1, negatives=6))
    assert sorted(few.ids[0].tolist()) == [NO_DOCUMENT, 1, 2, 3, 4, 5]


def test_the_cosine_keeps_those_at_least_as_high():
    others = np.array([[[1, 0], [0.8, 0.6], [0.5, 0.75**0.5], [0, 1], [-1, 0], [0, 0]]], dtype=np.float32)
    found = cosines(np.array([[2.0, 0.0]], dtype=np.float32), others)
    assert found[0].tolist() == pytest.approx([1, 0.8, 0.5, 0, -1, 0], abs=1e-6)
    assert (found >= 0.5).tolist() == [[True, True, True, False, False, False]]


def test_a_least_cosine_narrows_the_union():
    """Of {0, 1, 2, 3} only 2 and 3 lie in the direction of (8, .5)."""
    found = given(method("kept", 2, negatives=2, min_cosine=0.5), queries=50)
    assert (np.sort(found.ids, axis=1) == [2, 3]).all()
    assert not found.backfilled.any()


@pytest.mark.parametrize(
    ("alpha", "weights", "expected"),
    [
        (0.5, [0.401760, 0.328933, 0.269307], 1.019523),
        (1.0, [0.471776, 0.316241, 0.211983], 1.051389),
        (0.0, [1 / 3] * 3, 0.986543),
    ],
)
def test_self_adversarial_weights_by_hand(alpha, weights, expected):
    scores = torch.tensor(
        [[0.9, 0.5, 0.1], [5.0, 0.5, 5.0], [1.0, 1.0, 1.0]], dtype=torch.float64
    ).requires_grad_()
    mask = torch.tensor([[True] * 3, [False, True, False], [False] * 3])
    found = losses.self_adversarial(scores, mask, alpha)
    assert found[0].item() == pytest.approx(expected, abs=1e-6)
    assert found[1:].tolist() == [pytest.approx(0.974077, abs=1e-6), 0]
    found.sum().backward()
    slopes = torch.tensor(weights, dtype=torch.float64) * scores.detach()[0].sigmoid()
    torch.testing.assert_close(scores.grad[0], slopes, atol=1e-6, rtol=0)
    assert scores.grad[2].tolist() == [0, 0, 0]


def test_the_faithful_loss_is_half_of_positives_and_half_of_negatives(world):
    made = world.run("lemon/faithful").method
    with torch.no_grad():
        made.boundary.score.fill_(0.5)
    step = step_of(scores_of([0.6, 0.4], given=[[0.59, 0.55, 0.51]] * 2), 0.1)
    expected = (np.log1p(np.exp([-1, 1])).mean() + 1.019523) / 2
    assert made.faithful_loss(step).item() == pytest.approx(expected, abs=1e-6)


def test_clusters_of_apart_points_are_found_alike_each_time():
    rng = np.random.default_rng(3)
    points = np.concatenate(
        [middle + 0.1 * rng.standard_normal((40, 2)) for middle in ([0, 0], [5, 0], [0, 5])]
    )
    centroids, labels = clustered(points.astype(np.float32), 3)
    assert [len(set(labels[start : start + 40])) for start in (0, 40, 80)] == [1, 1, 1]
    assert sorted(centroids.round(0).tolist()) == [[0, 0], [0, 5], [5, 0]]
    again = clustered(points.astype(np.float32), 3)
    assert all(np.array_equal(one, other) for one, other in zip((centroids, labels), again, strict=True))


def test_no_cluster_is_empty_where_points_are_equal_or_few():
    for points, clusters in ((np.zeros((9, 2)), 4), (np.arange(6).reshape(3, 2), 15)):
        centroids, labels = clustered(points.astype(np.float32), clusters)
        assert np.bincount(labels).min() > 0
        assert len(centroids) == labels.max() + 1 <= len(points)


def test_vectors_are_reduced_to_their_principal_components(world):
    """By a decomposition in numpy, up to the sign of an axis."""
    run = world.run("lemon", params={"clusters": 4})
    run.method.refresh(0)
    documents = run.services.warmup_documents(np.arange(60)).numpy().astype(np.float64)
    centred = documents - documents.mean(axis=0)
    axes = np.linalg.svd(centred)[2][:2].T
    found = run.method._reduced(run.services.warmup_documents(np.arange(60)))
    np.testing.assert_allclose(np.abs(found), np.abs(centred @ axes), atol=1e-5)


def test_in_a_run_negatives_come_from_the_clusters_nearest_to_the_query(world):
    run = world.run("lemon", params={"clusters": 6, "hops": 2})
    seen = 0
    for batch, negatives in take_steps(run, 6):
        points = run.method._reduced(run.services.warmup_queries(batch.queries))
        near = nearest(points, run.method.centroids.numpy(), 2)
        for row, ids in enumerate(negatives.ids):
            own = [
                document
                for document, filled in zip(ids, negatives.backfilled[row], strict=True)
                if not filled
            ]
            assert {run.method.labels[document].item() for document in own} <= set(near[row].tolist())
            seen += len(own)
    assert seen > 100
    assert run.services.counters.refreshes == run.services.counters.searches == 0


def test_the_corpus_is_clustered_once_and_restored(world, monkeypatch):
    run, other = world.run("lemon"), world.run("lemon")
    take_steps(run, 2)
    other.method.load_state_dict(run.method.state_dict())
    monkeypatch.setattr("negmark.methods.lemon.clustered", None)
    take_steps(other, 2)
    take_steps(run, 2, 2)
    assert torch.equal(run.method.labels, other.method.labels)


def test_the_faithful_track_has_given_negatives_alone(world):
    run = world.run("lemon/faithful")
    run.method.refresh(0)
    example = _example(run, 0)
    assert not example.scores.in_batch_mask.any()
    assert example.scores.negatives_mask.any()


def test_clusters_that_hold_everything_are_told(world):
    run = world.run("lemon", params={"clusters": 3, "hops": 3})
    take_steps(run, 1)
    assert run.method.idle() == "its 3 nearest clusters are all there are"
