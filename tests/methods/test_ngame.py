"""NGAME: halves by hand, sizes by the released schedule, and clusters that follow the encoder."""

import itertools

import numpy as np
import pytest

from negmark.methods.ngame import balanced, halved
from world import take_steps


def unit(points):
    points = np.asarray(points, np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def turned(*degrees):
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def sets(clusters):
    return {tuple(np.flatnonzero(clusters == label).tolist()) for label in set(clusters.tolist())}


@pytest.mark.parametrize("seed", range(5))
def test_four_pairs_of_points_are_found_as_halves_of_halves(seed):
    """Two pairs at 0 and 20 degrees, two at 90 and 110."""
    points = turned(0, 1, 20, 21, 90, 91, 110, 111)
    assert sets(balanced(points, 4, np.random.default_rng(seed))) == {(0, 1, 2, 3), (4, 5, 6, 7)}
    assert sets(balanced(points, 2, np.random.default_rng(seed))) == {(0, 1), (2, 3), (4, 5), (6, 7)}
    assert len(sets(balanced(points, 1, np.random.default_rng(seed)))) == 8


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(11, 3, [2, 3, 3, 3]), (5, 2, [1, 1, 1, 2]), (3, 8, [3])]
)
def test_sizes_differ_by_one_at_most(count, size, sizes):
    points = unit(np.random.default_rng(1).normal(size=(count, 4)))
    found = np.bincount(balanced(points, size, np.random.default_rng(2)))
    assert sorted(found.tolist()) == sizes


def test_halves_are_the_best_of_all_equal_halves():
    """By trying all: of ten points in two directions with noise the sum of both halves' lengths is greatest."""
    rng = np.random.default_rng(8)
    points = unit(np.repeat([[1, 0, 0], [0, 1, 0]], 5, axis=0) + 0.2 * rng.normal(size=(10, 3)))

    def value(members):
        chosen = list(members)
        others = [row for row in range(10) if row not in chosen]
        return np.linalg.norm(points[chosen].sum(axis=0)) + np.linalg.norm(points[others].sum(axis=0))

    best = max(itertools.combinations(range(10), 5), key=value)
    order, bounds = halved(points, np.arange(10), np.array([0, 10]), rng)
    assert bounds.tolist() == [0, 5, 10]
    assert sorted(order[:5].tolist()) in (sorted(best), sorted(set(range(10)) - set(best)))


def test_runs_are_halved_each_for_itself():
    points = turned(0, 90, 1, 91, 180, 270, 181, 271)
    order, bounds = halved(points, np.arange(8), np.array([0, 4, 8]), np.random.default_rng(0))
    assert bounds.tolist() == [0, 2, 4, 6, 8]
    parts = [sorted(part.tolist()) for part in np.split(order, bounds[1:-1])]
    assert sorted(parts[:2]) == [[0, 2], [1, 3]]
    assert sorted(parts[2:]) == [[4, 6], [5, 7]]


def test_equal_points_are_halved_too():
    assert np.bincount(balanced(np.ones((8, 2), np.float32), 2, np.random.default_rng(0))).tolist() == [2] * 4


@pytest.mark.parametrize(
    ("step", "size"),
    [(0, 1), (9, 1), (10, 2), (19, 2), (20, 4), (25, 8), (50, 16), (75, 32), (100, 64), (125, 128), (150, 256),
     (199, 256), (200, 512), (299, 512)],
)  # fmt: skip
def test_sizes_double_as_in_the_released_schedule_of_300_epochs(world, step, size):
    run = world.run("ngame", steps=300)
    assert run.method._size(step) == size
    assert world.run("ngame", params={"grows": False, "size": 6}, steps=300).method._size(step) == 6


PARAMS = {"refresh_steps": 2, "size": 4, "grows": False}


def test_clusters_are_of_the_current_encoder(world, monkeypatch):
    seen = []

    def listening(points, size, rng):
        seen.append(points)
        return balanced(points, size, rng)

    monkeypatch.setattr("negmark.methods.ngame.balanced", listening)
    monkeypatch.setattr("negmark.methods.ngame.BLOCK", 7)
    run = world.run("ngame", params=PARAMS, steps=6)
    take_steps(run, 3)
    assert [len(points) for points in seen] == [30, 30 - 16]
    start = run.services.warmup_queries(run.labels.queries)
    assert not any(np.allclose(vector, other) for vector in seen[1] for other in start.numpy())
    assert run.services.counters.extra_vectors == 30 + 14


def test_clusters_share_batches(world):
    run = world.run("ngame", params=PARAMS, steps=6)
    take_steps(run, 6)
    assert run.method.idle() == ""
    same, chance, _ = run.method.together
    assert same > 2 * chance


def test_clusters_of_one_are_a_random_order(world):
    run = world.run("ngame", params={"grows": False})
    take_steps(run, 2)
    assert run.method.idle() == "its batches hold no more of a group than chance would give"
