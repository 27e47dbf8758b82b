"""Conan's rule, windows and losses against numbers worked out by hand, and the state it keeps."""

import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from negmark.methods import losses
from negmark.methods.conan import UNSEEN, Conan, no_longer_hard, window_starts
from negmark.methods.scale import rescaled
from negmark.methods.types import NO_DOCUMENT, Scores
from negmark.store import collection
from negmark.train import train
from negmark.train.checkpoint import Checkpoint
from negmark.train.run import set_up
from negmark.train.step import _example, train_until
from world import take_steps


def run_of(world, track="", params=None, **training):
    spec = {**world.spec(f"conan/{track}" if track else "conan", **training), "params": params or {}}
    return set_up(spec, train.load_materials(world.dataset, world.vectors, {"dense": world.pools["dense"]}))


@pytest.mark.parametrize(
    ("now", "first", "expected"),
    [
        (0.50, 0.60, True), (0.55, 0.60, False), (0.52, 0.60, True), (0.5217, 0.60, True),
        (0.5218, 0.60, False), (0.85, 1.00, False), (-0.9, 0.1, False),
        (-0.2, -0.2, False), (-0.5, -0.2, False), (0.0, 0.0, False), (-0.1, 0.1, True), (0.3, UNSEEN, False),
    ],
)  # fmt: skip
def test_the_rule_by_hand(now, first, expected):
    assert no_longer_hard(torch.tensor([now]), torch.tensor([first]), Conan.Params()).tolist() == [expected]


@pytest.mark.parametrize(
    ("first", "size", "expected"),
    [
        (0, 4, [0, 10, 14, 18]), (0, 1, [0, 10, 11, 12]), (0, 8, [0, 10, 18, 26]), (3, 8, [3, 10, 18, 26]),
        (None, 8, [10, 18, 26, 34]), (10, 4, [10, 14, 18, 22]), (30, 4, [30, 34, 38, 42]),
    ],
)  # fmt: skip
def test_windows_by_hand(first, size, expected):
    assert window_starts(np.arange(4), size, Conan.Params(first=first)).tolist() == expected


def scores_of(positive, negatives):
    positive, negatives = torch.tensor(positive), torch.tensor(negatives)
    size = len(positive)
    return Scores(
        positive=positive,
        in_batch=torch.full((size, size), 0.99),
        in_batch_mask=~torch.eye(size, dtype=torch.bool),
        negatives=negatives,
        negatives_mask=torch.ones_like(negatives, dtype=torch.bool),
        weights=None,
    )


def test_all_devices_negatives_share_one_denominator_by_hand():
    loss = losses.cross_batch_balanced(scores_of([0.9], [[0.7, 0.6, 0.5, 0.4]]), 0.05)
    assert loss.item() == pytest.approx(0.0209542, abs=5e-7)


def test_in_batch_documents_stay_out_of_the_balanced_loss():
    loss = losses.cross_batch_balanced(scores_of([0.9] * 3, [[0.7, 0.6, 0.5, 0.4]] * 3), 0.05)
    assert loss.item() == pytest.approx(0.0209542, abs=5e-7)


@pytest.mark.parametrize(
    ("cosines", "expected"), [([0.9, 0.2, 0.6], 0.0028111), ([0.3, 0.2, 0.6], 6.0028111)]
)
def test_cosent_by_hand(cosines, expected):
    loss = losses.cosent(torch.tensor(cosines), torch.tensor([1.0, 0.0, 0.5]), 0.05)
    assert loss.item() == pytest.approx(expected, abs=5e-6)


def test_the_total_by_hand():
    balanced = losses.cross_batch_balanced(scores_of([0.9], [[0.7, 0.6, 0.5, 0.4]]), 0.05)
    graded = losses.cosent(torch.tensor([0.3, 0.2, 0.6]), torch.tensor([1.0, 0.0, 0.5]), 0.05)
    assert (balanced + Conan.Params().beta * graded).item() == pytest.approx(4.8232030, abs=5e-6)


def test_cosent_of_equal_labels_is_nothing():
    cosines = torch.tensor([0.1, 0.9], requires_grad=True)
    loss = losses.cosent(cosines, torch.ones(2), 0.05)
    loss.backward()
    assert loss.item() == 0
    assert cosines.grad.tolist() == [0, 0]


def test_the_faithful_loss_ranks_positives_over_all_given_negatives(world):
    run = run_of(world, "faithful")
    example = _example(run, 0)
    positive = example.scores.positive.detach().double().numpy() / 0.05
    negatives = example.scores.negatives.detach().double().numpy() / 0.05
    balanced = np.log1p(np.exp(negatives - positive[:, None]).sum(axis=1)).mean()
    graded = np.log1p(np.exp(negatives.ravel()[None] - positive[:, None]).sum())
    assert run.method.faithful_loss(example).item() == pytest.approx(balanced + 0.8 * graded, rel=1e-4)


def test_empty_places_enter_neither_part(shallow_world):
    run = run_of(shallow_world, "faithful", negatives=8)
    example = _example(run, 0)
    used = example.scores.negatives_mask
    assert not used.all()
    positive = example.scores.positive.detach().double() / 0.05
    negatives = (example.scores.negatives.detach().double() / 0.05)[used]
    graded = torch.cat([torch.zeros(1), (negatives[None] - positive[:, None]).flatten()]).logsumexp(0)
    balanced = losses.info_nce(
        Scores(**{**vars(example.scores), "in_batch_mask": torch.zeros(8, 8, dtype=torch.bool)}), 0.05
    )
    assert run.method.faithful_loss(example).item() == pytest.approx(
        (balanced + 0.8 * graded).item(), rel=1e-5
    )


@pytest.mark.parametrize(("params", "rank"), [({}, 10), ({"first": 0}, 0), ({"first": 3}, 3)])
def test_the_first_negatives_start_at_the_rank_asked_for_and_the_board_says_which(world, params, rank):
    ((batch, given),) = take_steps(run_of(world, params=params), 1)
    ranked = world.pools["dense"].candidates(batch.queries, 20)[0]
    np.testing.assert_array_equal(given.ids, ranked[:, rank : rank + 4])
    assert f"from rank {rank + 1} on" in Conan.own_notes(Conan.Params(**params), "controlled")[0]


def test_a_list_too_short_for_its_first_window_gives_its_last_candidates(shallow_world):
    ((batch, given),) = take_steps(run_of(shallow_world, negatives=2), 1)
    ranked = shallow_world.pools["dense"].candidates(batch.queries, 20)[0]
    for row, found in zip(ranked, given.ids, strict=True):
        assert found.tolist() == row[row != NO_DOCUMENT][-2:].tolist()


def test_scores_are_those_of_the_last_step_and_of_the_first_after_a_replacement(world):
    run = run_of(world)
    seen = {}
    for step in range(8):  # 30 queries, 8 a step: each is seen about twice
        example = _example(run, step)
        run.method.observe(example)
        means = rescaled(example.scores.negatives.detach().mean(dim=1), run.services.chance()).tolist()
        for query, mean in zip(example.batch.queries.tolist(), means, strict=True):
            seen.setdefault(query, []).append(mean)
        with torch.no_grad():
            run.encoder.query.add_(0.05 * torch.randn(16, 16, generator=torch.Generator().manual_seed(step)))
    assert max(map(len, seen.values())) > 1
    for query, means in seen.items():
        assert run.method.first[query].item() == pytest.approx(means[0], abs=1e-6)
        assert run.method.last[query].item() == pytest.approx(means[-1], abs=1e-6)
    assert (
        run.method.first[torch.tensor(sorted(set(range(30)) - set(seen)), dtype=torch.int64)] == UNSEEN
    ).all()


def test_empty_places_are_no_scores(shallow_world):
    run = run_of(shallow_world, negatives=8)
    example = _example(run, 0)
    used = example.scores.negatives_mask.clone()
    assert not used.all()
    used[0] = False
    run.method.observe(replace(example, scores=replace(example.scores, negatives_mask=used)))
    queries = example.batch.queries
    assert run.method.first[queries[0]] == run.method.last[queries[0]] == UNSEEN
    for row in range(1, 8):
        mean = rescaled(example.scores.negatives[row][used[row]].mean(), run.services.chance()).item()
        assert run.method.last[queries[row]].item() == pytest.approx(mean, abs=1e-6)


def with_scores(run, queries, first, last):
    """Put S0 and S of some queries."""
    run.method._extend(np.array([29]))
    run.method.first[queries], run.method.last[queries] = torch.tensor(first), torch.tensor(last)
    return run.method


def test_examples_that_are_hard_no_longer_move_one_window_on(world):
    method = with_scores(run_of(world), [3, 4, 5, 6], [0.6, 0.6, -0.2, 0.6], [0.5, 0.55, -0.2, 0.1])
    method.refresh(100)
    assert torch.nonzero(method.window)[:, 0].tolist() == [3, 6]
    assert method.first[[3, 6]].tolist() == method.last[[3, 6]].tolist() == [UNSEEN] * 2
    assert method.first[4].item() == pytest.approx(0.6)
    assert method.telemetry() == {"replacement_rate": 0.5, "exhausted_rate": 0.0}


def test_nothing_is_tested_between_the_checks(world):
    method = with_scores(run_of(world), [3], [0.6], [0.1])
    for step in (0, 1, 99, 101, 250):
        method.refresh(step)
        assert method.telemetry() == {}
    assert not method.window.any()
    method.refresh(200)
    assert method.window[3] == 1
    method.refresh(201)
    assert method.telemetry() == {}


def test_replaced_negatives_are_the_papers_windows_and_a_list_at_its_end_keeps_the_last(world):
    """Pools of 20: two whole windows of 4 behind the first 10; queries with many labels have no fewer."""
    run = run_of(world, params={"first": 0})
    queries = np.array([3])
    ranked = world.pools["dense"].candidates(queries, 20)[0]
    assert (ranked != NO_DOCUMENT).all()
    example = _example(run, 0)
    for turn, (start, rates) in enumerate([(10, (1, 0)), (14, (1, 0)), (14, (0, 1))], start=1):
        with_scores(run, [3], [0.6], [0.5])
        run.method.refresh(100 * turn)
        assert tuple(run.method.telemetry().values()) == rates
        batch = type(example.batch)(0, queries, np.zeros(1, dtype=np.int64), None, None)
        np.testing.assert_array_equal(run.method.negatives(batch).ids, ranked[:, start : start + 4])
    assert run.method.first[3].item() == pytest.approx(0.6)  # kept, as nothing was replaced


def test_a_list_shorter_than_a_window_is_never_left(shallow_world):
    method = with_scores(run_of(shallow_world), [3], [0.6], [0.1])
    method.refresh(100)
    assert method.window[3] == 0
    assert method.telemetry()["exhausted_rate"] == 1


@pytest.mark.parametrize("track", ["", "faithful"])
def test_replacements_happen_in_training_and_survive_a_restart(world, tmp_path, track):
    params = {"check_steps": 4, "margin": 1.0001, "skip": 2, "first": 0}
    training = {"steps": 40, "learning_rate": 0.03, "checkpoint_steps": 18}
    spec = world.spec("conan", **training)
    unbroken, killed, resumed = (run_of(world, track, params, **training) for _ in range(3))
    train_until(unbroken, 40, Checkpoint(tmp_path / "none", spec, every=100))
    take_steps(killed, 18)
    Checkpoint(tmp_path / "state", spec, every=18).save_if_due(killed, 18, 40)
    checkpoint = Checkpoint(tmp_path / "state", spec, every=18)
    train_until(resumed, 40, checkpoint)
    assert checkpoint.resumed_at == 18
    assert killed.method.window.any()
    assert unbroken.method.window.max() > 1
    assert unbroken.history == resumed.history
    assert unbroken.method.idle() == resumed.method.idle() == ""
    for name, value in unbroken.method.state_dict().items():
        assert torch.equal(value, resumed.method.state_dict()[name])
    rates = [row["replacement_rate"] for row in unbroken.history]
    assert [rate is None for rate in rates] == [step == 0 or step % 4 != 0 for step in range(40)]
    assert max(filter(None, rates)) <= 1


def test_defaults_are_the_papers():
    params = Conan.Params()
    assert (params.margin, params.ceiling, params.check_steps, params.skip, params.beta) == (
        1.15, 0.8, 100, 10, 0.8,
    )  # fmt: skip


def graded_run(world, tmp_path, track="faithful", **params):
    """A run on a copy of the world whose queries' table ends with three graded pairs of its own queries."""
    dataset = tmp_path / "dataset"
    shutil.copytree(world.dataset, dataset)
    table = pq.read_table(dataset / collection.QUERIES)
    count = len(table)
    scores = [None] * (count - 6) + [5.0, 5.0, 1.0, 1.0, 2.5, 2.5]
    pq.write_table(table.append_column("score", [scores]), dataset / collection.QUERIES)
    spec = {**world.spec(f"conan/{track}" if track else "conan"), "params": params}
    materials = train.load_materials(dataset, world.vectors, {"dense": world.pools["dense"]})
    return set_up(spec, materials), np.arange(count - 6, count).reshape(3, 2)


def test_cosent_runs_over_graded_pairs_where_there_are_any(world, tmp_path):
    run, rows = graded_run(world, tmp_path)
    example = _example(run, 0)
    vectors = run.encoder.queries(rows.ravel()).detach().double().numpy().reshape(3, 2, -1)
    cosines = (vectors[:, 0] * vectors[:, 1]).sum(axis=1)
    gaps = [cosines[low] - cosines[high] for high, low in ((0, 1), (0, 2), (2, 1))]  # 5 > 2.5 > 1
    cosent = np.log1p(np.exp(np.array(gaps) / 0.05).sum())
    balanced = losses.cross_batch_balanced(example.scores, 0.05).item()
    before = run.services.counters.extra_vectors
    loss = run.method.faithful_loss(example)
    assert loss.item() == pytest.approx(balanced + 0.8 * cosent, rel=1e-4)
    assert run.services.counters.extra_vectors == before + 6
    loss.backward()
    assert run.encoder.query.grad.abs().max() > 0


def test_a_draw_of_graded_pairs_follows_from_the_step(world, tmp_path):
    run, _ = graded_run(world, tmp_path, graded_pairs=2)
    draws = [run.services.graded(step, 2).scores.tolist() for step in range(12)]
    assert draws == [run.services.graded(step, 2).scores.tolist() for step in range(12)]
    assert all(len(set(draw)) == 2 for draw in draws)
    assert len({tuple(draw) for draw in draws}) > 1


def test_without_graded_pairs_there_is_nothing_to_draw(world):
    assert run_of(world).services.graded(0, 32) is None


def test_the_controlled_track_leaves_graded_pairs_alone(world, tmp_path):
    with_pairs, _ = graded_run(world, tmp_path, track="")
    without = run_of(world)
    ours, theirs = (run.method.loss(_example(run, 0)).item() for run in (with_pairs, without))
    assert ours == theirs
    assert with_pairs.services.counters == without.services.counters


def test_what_never_acted_is_told_and_survives_a_restart(world):
    """30 queries, 8 a step: none returns within 3 steps. One comes twice in a batch, where epochs meet."""
    fresh = run_of(world, params={"check_steps": 2})
    take_steps(fresh, 1)
    assert fresh.method.idle() == "no test came: the first is after 2 steps"
    take_steps(fresh, 2, 1)
    assert fresh.method.idle() == "no query came back in 24 draws"
    hard = run_of(world, params={"check_steps": 2, "margin": 100.0})
    take_steps(hard, 12)
    assert (
        hard.method.idle()
        == "no query came back to a replaced list: 65 of 96 draws were of a query seen before"
    )
    resumed = run_of(world, params={"check_steps": 2})
    resumed.method.load_state_dict(hard.method.state_dict())
    assert resumed.method.idle() == hard.method.idle()
