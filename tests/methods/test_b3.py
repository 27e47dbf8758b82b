"""B3: ranks, links and communities by hand, and the graph of a run against loops over its pairs."""

import numpy as np
import pytest
from scipy import sparse

from negmark.methods.b3 import communities, graph, ranked
from world import take_steps


@pytest.mark.parametrize(
    ("skip", "window", "expected"),
    [
        (0, 9, [(0, 7), (0, 5), (0, 2), (1, 0)]),
        (0, 2, [(0, 7), (0, 5), (1, 0)]),
        (1, 1, [(0, 5)]),
        (1, 9, [(0, 5), (0, 2)]),
        (3, 9, []),
    ],
)
def test_what_is_on_the_ranks_by_hand(skip, window, expected):
    """The first query may have all three; of the second the best and the last are positives, which have no rank."""
    usable = np.array([[True, True, True], [False, True, False]])
    rows, ids = ranked(np.array([[7, 5, 2], [4, 0, 1]]), usable, skip, window)
    assert list(zip(rows.tolist(), ids.tolist(), strict=True)) == expected


def test_links_go_both_ways_each_once_and_none_to_itself():
    links = graph(np.array([0, 1, 2, 2, 0]), np.array([1, 0, 2, 0, 1]), 4)
    assert [links.indices[links.indptr[row] : links.indptr[row + 1]].tolist() for row in range(4)] == [
        [1, 2], [0], [0], []
    ]  # fmt: skip


def test_two_groups_that_know_each_other_are_two_communities():
    """Two cliques of 8, with one link between."""
    block = np.ones((8, 8)) - np.eye(8)
    dense = np.block([[block, np.zeros((8, 8))], [np.zeros((8, 8)), block]])
    dense[0, 8] = dense[8, 0] = 1
    order = np.random.default_rng(1).permutation(16)
    found = communities(sparse.csr_array(dense[np.ix_(order, order)]), 2, seed=3)
    sides = order < 8
    assert len(set(found[sides].tolist())) == len(set(found[~sides].tolist())) == 1
    assert len(set(found.tolist())) == 2
    assert found.tolist() == communities(sparse.csr_array(dense[np.ix_(order, order)]), 2, seed=3).tolist()


@pytest.mark.parametrize(("skip", "window"), [(0, 4), (2, 3), (5, 100)])
def test_the_graph_of_a_run_is_that_of_ranks_in_loops(world, monkeypatch, skip, window):
    """By their scores, as pairs of one document are tied. In blocks of queries, as where not all scores fit."""
    seen = []

    def listening(first, second, count):
        seen.append((first, second))
        return graph(first, second, count)

    monkeypatch.setattr("negmark.methods.b3.graph", listening)
    monkeypatch.setattr("negmark.methods.b3.SCORES_AT_ONCE", 200)
    run = world.run("b3", params={"skip": skip, "window": window, "size": 4})
    given = []
    composed = run.method.composed
    run.method.composed = lambda pairs: given.append(pairs) or composed(pairs)
    take_steps(run, 1)
    pairs = given[0]
    queries = run.services.warmup_queries(pairs.queries).double()
    documents = run.services.warmup_documents(pairs.positives).double()
    first, second = seen[0]
    for one, query in enumerate(pairs.queries.tolist()):
        scores = (queries[one] @ documents.T).tolist()
        others = [
            score
            for score, document in zip(scores, pairs.positives.tolist(), strict=True)
            if (query, document) not in world.positives
        ]
        linked = [scores[other] for other in second[first == one]]
        wanted = sorted(others, reverse=True)[skip : skip + window]
        assert sorted(linked, reverse=True) == pytest.approx(wanted)
    assert run.services.counters.teacher_vectors == 60


def test_pairs_of_a_community_share_batches(world):
    run = world.run("b3", params={"skip": 0, "window": 4, "size": 4}, batch_size=8)
    take_steps(run, 3)
    assert run.method.idle() == ""
    same, chance, _ = run.method.together
    assert same > 1.5 * chance
    assert np.bincount(run.method.groups).max() <= 6


def test_without_a_link_batches_are_as_they_were(world):
    """30 ranks are left out, and there are no more."""
    run = world.run("b3", params={"size": 4})
    take_steps(run, 2)
    assert run.method.idle() == "its batches hold no more of a group than chance would give"
