"""ClusterNS against numbers from the official class, and what a run of it keeps and gives."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from contract_checks import assert_fit, finite_gradients, same
from negmark.methods import losses
from negmark.methods.clusterns import ClusterNS, far_from_the_last, moved, nearest_two, suspected_gaps
from negmark.methods.types import Batch
from negmark.train import train
from negmark.train.checkpoint import Checkpoint
from negmark.train.run import set_up
from negmark.train.step import _example, train_until
from world import take_steps

CENTROIDS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
FIRST = torch.tensor([[0.9, 0.1], [0.8, 0.3], [0.1, 0.9], [-0.7, 0.2]])
SECOND = torch.tensor([[0.95, 0.05], [0.7, 0.4], [0.2, 0.9], [-0.8, 0.1]])
COSINES = functional.normalize(FIRST, dim=1) @ functional.normalize(SECOND, dim=1).T
SMALL = {"clusters": 4, "start_step": 2}


def run_of(world, track="", seed=0, params=SMALL, **training):
    spec = {**world.spec(f"clusterns/{track}" if track else "clusterns", seed, **training), "params": params}
    return set_up(spec, train.load_materials(world.dataset, world.vectors, {}))


def test_nearest_and_second_nearest_by_hand():
    found = nearest_two(FIRST, CENTROIDS)
    assert found[:, 0].tolist() == [0, 0, 1, 2]
    assert found[:, 1].tolist() == [1, 1, 0, 1]


def test_the_length_of_a_centroid_does_not_draw_members():
    scale = torch.tensor([[0.1], [5.0], [9.0]])
    assert torch.equal(nearest_two(FIRST, scale * CENTROIDS), nearest_two(FIRST, CENTROIDS))


def test_centroids_move_by_the_sum_or_the_mean_of_their_members_by_hand():
    by_sum = torch.tensor([[1.07, 0.04], [0.01, 0.99], [-0.97, 0.02]])
    torch.testing.assert_close(moved(CENTROIDS, FIRST, 0.1, "sum"), by_sum)
    by_mean = torch.tensor([[0.985, 0.02], [0.01, 0.99], [-0.97, 0.02]])
    torch.testing.assert_close(moved(CENTROIDS, FIRST, 0.1, "mean"), by_mean)


@pytest.mark.parametrize("update", ["sum", "mean"])
def test_a_centroid_without_members_stays(update):
    centroids = torch.cat([CENTROIDS, torch.tensor([[0.0, -3.0]])])
    found = moved(centroids, FIRST, 0.1, update)
    assert found[3].tolist() == [0, -3]
    torch.testing.assert_close(found[:3], moved(CENTROIDS, FIRST, 0.1, update))


@pytest.mark.parametrize(
    ("gap", "alpha", "beta", "expected"),
    [
        (0.0, 0.2, 0.5, 0.2), (-0.1, 0.2, 0.5, 0.1), (-0.2, 0.2, 0.5, 0), (-0.35, 0.2, 0.5, 0),
        (-0.5, 0.2, 0.5, 0), (-0.8, 0.2, 0.5, 0.3), (0.3, 0.2, 0.5, 0.5), (-0.5, 0, 0.3, 0.2), (0.1, 0, 0.3, 0.1),
    ],
)  # fmt: skip
def test_bidirectional_margin_by_hand(gap, alpha, beta, expected):
    found = losses.bidirectional_margin(torch.tensor([gap]), alpha, beta).item()
    assert found == pytest.approx(expected, abs=1e-6)


def test_suspects_and_their_margin_by_hand():
    """Both first samples share a cluster; 14 of 16 places give the constant alpha."""
    gaps = suspected_gaps(COSINES, COSINES.diagonal(), FIRST, CENTROIDS)
    assert torch.nonzero(gaps).tolist() == [[0, 1], [1, 0]]
    assert gaps[0, 1].item() == pytest.approx(-0.080592, abs=1e-6)
    assert gaps[1, 0].item() == pytest.approx(-0.033678, abs=1e-6)
    margins = losses.bidirectional_margin(gaps, 0.2, 0.5)
    assert margins.mean().item() == pytest.approx(0.192858, abs=1e-6)
    assert margins[[0, 1], [1, 0]].mean().item() == pytest.approx(0.142865, abs=1e-6)


def test_the_start_goes_far_from_the_last_one_by_hand():
    assert far_from_the_last(COSINES, 0, 3) == [0, 3, 1]
    assert sorted(far_from_the_last(COSINES, 2, 4)) == [0, 1, 2, 3]


def test_the_second_nearest_is_taken_by_the_centroids_after_their_move_by_hand():
    """(.96, -.28) has c nearest and b second, .8 against a's .352, until (-.6, -.8), b's own, has drawn b away.

    With gamma a half b moves to (0, -.8), at cosine .28, so that a is second; c moves to (.98, -.14).
    """
    method = ClusterNS.__new__(ClusterNS)
    method.params = ClusterNS.Params(clusters=3, gamma=0.5)
    method.centroids = torch.tensor([[0.6, 0.8], [0.6, -0.8], [1.0, 0.0]])
    queries = torch.tensor([[0.96, -0.28], [-0.6, -0.8]])
    assert nearest_two(queries, method.centroids).tolist() == [[2, 1], [1, 2]]
    given = method.negatives(Batch(1, np.arange(2), np.arange(2), queries, queries))
    torch.testing.assert_close(
        given.vectors[:, 0], torch.tensor([[0.6, 0.8], [0.989949, -0.141421]]), atol=1e-5, rtol=0
    )


def test_clusters_that_never_start_are_told(world):
    run = run_of(world, params={"clusters": 4, "start_step": 3})
    take_steps(run, 3)
    assert run.method.idle() == "clustering never started: it starts at step 3"
    take_steps(run, 1, 3)
    assert run.method.idle() == ""


@pytest.mark.parametrize("track", ["", "faithful"])
def test_before_and_at_the_start_the_batch_serves_alone(world, track):
    run = run_of(world, track)
    given = take_steps(run, 4)
    assert [negatives.vectors is None for _, negatives in given] == [True, True, True, False]
    plain = world.run("inbatch")
    take_steps(plain, 3)
    assert [row["loss"] for row in run.history[:3]] == [row["loss"] for row in plain.history]


def test_centroids_start_from_queries_of_the_batch_and_follow_them(world):
    run = run_of(world)
    take_steps(run, 2)
    third = _example(run, 2)
    start = run.method.centroids.clone()
    queries = third.batch.query_vectors.detach()
    rows = [next(row for row in range(8) if torch.equal(queries[row], centroid)) for centroid in start]
    cosines = queries @ third.batch.positive_vectors.detach().T
    assert rows == far_from_the_last(cosines, rows[0], 4)
    fourth = _example(run, 3)
    queries = fourth.batch.query_vectors.detach()
    assert torch.equal(run.method.centroids, moved(start, queries, 1e-3, "sum"))
    order = (queries @ functional.normalize(run.method.centroids, dim=1).T).argsort(dim=1, descending=True)
    expected = functional.normalize(run.method.centroids, dim=1)[order[:, 1]]
    assert torch.equal(fourth.negatives.vectors[:, 0], expected)
    assert not fourth.negatives.vectors.requires_grad


def test_the_first_centroid_is_drawn_by_seed(world):
    starts = []
    for seed in (0, 0, 1, 2, 3):
        run = run_of(world, seed=seed)
        run.seed = 0  # the same batches
        take_steps(run, 3)
        starts.append(run.method.centroids[0])
    assert torch.equal(starts[0], starts[1])
    assert not all(torch.equal(starts[0], other) for other in starts[2:])


@pytest.mark.parametrize(("threshold", "started"), [(1.0, True), (-1.0, False)])
def test_the_papers_rule_starts_at_a_low_mean_cosine(world, threshold, started):
    run = run_of(world, params={"clusters": 4, "start_by": "cosine", "start_cosine": threshold})
    take_steps(run, 1)
    assert bool(len(run.method.centroids)) is started


def test_the_papers_rule_counts_the_diagonal(world):
    example = _example(world.run("inbatch"), 0)
    mean = example.scores.in_batch.mean().item()
    assert mean > example.scores.in_batch[example.scores.in_batch_mask].mean().item() + 0.01
    for threshold, started in ((mean - 1e-4, False), (mean + 1e-4, True)):
        run = run_of(world, params={"clusters": 4, "start_by": "cosine", "start_cosine": threshold})
        take_steps(run, 1)
        assert bool(len(run.method.centroids)) is started


def test_a_batch_smaller_than_the_clusters_is_refused(world):
    run = run_of(world, params={"clusters": 9, "start_step": 0})
    with pytest.raises(ValueError, match="9 centroids can't start from a batch of 8; lower `clusters`"):
        take_steps(run, 1)


def test_in_the_controlled_track_each_query_sees_its_own_centroid(world):
    run = run_of(world)
    take_steps(run, 3)
    example = _example(run, 3)
    assert example.scores.negatives.shape == (8, 1)
    assert torch.equal(run.method.loss(example), losses.info_nce(example.scores, 0.05))


@pytest.mark.parametrize("params", [{}, {"bml_weight": 0.5, "alpha": 0.2, "beta": 0.5}])
def test_the_faithful_loss_by_hand(world, params):
    """Every query against every document, labelled ones aside, and every centroid; BML over all places."""
    run = run_of(world, "faithful", params={**SMALL, **params})
    take_steps(run, 3)
    weight, alpha, beta = (params.get(name, value) for name, value in
                           (("bml_weight", 1e-3), ("alpha", 0.0), ("beta", 0.3)))  # fmt: skip
    suspected = 0
    for step in range(3, 9):
        example = _example(run, step)
        queries = example.batch.query_vectors.detach().double().numpy()
        documents = example.batch.positive_vectors.detach().double().numpy()
        centroids = run.method.centroids.double().numpy()
        centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
        second = centroids[np.argsort(-queries @ centroids.T, axis=1)[:, 1]]
        cluster = (documents @ centroids.T).argmax(axis=1)
        cosines, total, margins = queries @ documents.T, 0.0, np.zeros((8, 8))
        for i, query in enumerate(example.batch.queries.tolist()):
            others = [j for j in range(8) if (query, int(example.batch.positives[j])) not in world.positives]
            logits = np.concatenate([[cosines[i, i]], cosines[i, others], queries[i] @ second.T]) / 0.05
            total += np.log(np.exp(logits - logits[0]).sum()) / 8
            for j in range(8):
                x = cosines[i, j] - cosines[i, i] if j in others and cluster[i] == cluster[j] else 0.0
                suspected += x != 0
                margins[i, j] = max(x + alpha, 0) + max(-x - beta, 0)
        expected = total + weight * margins.mean()
        assert run.method.faithful_loss(example).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert suspected > 10


@pytest.mark.parametrize("track", ["", "faithful"])
def test_a_run_with_clusters_holds_the_contract(world, track):
    """The suite of all methods never sees clusters: its batches are smaller than the default number."""
    run, other = run_of(world, track), run_of(world, track)
    given = take_steps(run, 12)
    assert_fit(given, world, granted=4, name="clusterns")
    assert finite_gradients(run)
    assert same(given, take_steps(other, 12))
    assert run.history == other.history
    table = run.ledger.table()
    assert set(table["source"].to_pylist()) == {"centroid"}
    assert len(table["step"]) == 9 * 8
    assert run.services.counters.document_vectors == 12 * 8


@pytest.mark.parametrize("track", ["", "faithful"])
@pytest.mark.parametrize("at", [2, 3, 6])
def test_a_run_with_clusters_survives_a_restart_before_and_after_the_start(world, tmp_path, track, at):
    spec = world.spec("clusterns")
    unbroken, killed, resumed = (run_of(world, track) for _ in range(3))
    train_until(unbroken, 9, Checkpoint(tmp_path / "none", spec, every=100))
    take_steps(killed, at)
    Checkpoint(tmp_path / "state", spec, every=at).save_if_due(killed, at, 9)
    checkpoint = Checkpoint(tmp_path / "state", spec, every=at)
    train_until(resumed, 9, checkpoint)
    assert checkpoint.resumed_at is not None
    assert len(unbroken.method.centroids) == 4
    assert torch.equal(unbroken.method.centroids, resumed.method.centroids)
    assert unbroken.history == resumed.history


def test_defaults_are_the_papers_bert_base_run_but_for_clusters_and_start():
    assert ClusterNS.Params().model_dump() == {
        "clusters": 32, "start_by": "step", "start_step": 20, "start_cosine": 0.4, "update": "sum",
        "gamma": 1e-3, "bml_weight": 1e-3, "alpha": 0.0, "beta": 0.3,
        "suspected_by": "positive",
    }  # fmt: skip
