"""SimANS against numbers worked out by hand from the paper's formula and the released kernels."""

import math

import numpy as np
import pytest
import torch

from brute_force import best
from negmark.methods import losses, sampling
from negmark.methods.simans import SimANS, last, log_weights, missing
from negmark.methods.types import NO_DOCUMENT, Batch
from negmark.train import train
from negmark.train.checkpoint import Checkpoint
from negmark.train.run import set_up
from negmark.train.step import _example
from world import take_steps

POSITIVE = 10.0
SCORES = [12.0, 11.0, 10.0, 9.0, 8.0, 5.0]
GAUSSIAN = [0.054489, 0.244201, 0.402619, 0.244201, 0.054489, 0.000002]
BELOW = [0.004708, 0.057349, 0.257022, 0.423757, 0.257022, 0.000142]
ABOVE = [0.257058, 0.423818, 0.257058, 0.057357, 0.004708, 0.000000]
LAPLACE = [0.002244, 0.045075, 0.905361, 0.045075, 0.002244, 0.000000]
INCLUDED_OF_TWO = [0.129564, 0.515835, 0.709200, 0.515835, 0.129564, 0.000004]
"""Chance of being one of two, drawn one after the other without replacement from GAUSSIAN."""


def weights_of(scores, positive=POSITIVE, **params):
    return log_weights(np.array([scores]), np.array([positive]), SimANS.Params(**params))[0]


def probabilities(scores, **params):
    weights = np.exp(weights_of(scores, **params))
    return weights / weights.sum()


def assert_frequencies(columns, expected, rows):
    """Each column's share of the rows lies within 5 standard errors of its chance."""
    shares = np.bincount(columns.ravel(), minlength=len(expected)) / rows
    expected = np.array(expected)
    assert (np.abs(shares - expected) <= 5 * np.sqrt(expected * (1 - expected) / rows) + 1e-5).all()


def test_paper_kernel_by_hand():
    weights = np.exp(weights_of(SCORES))
    np.testing.assert_allclose(weights, [0.135335, 0.606531, 1, 0.606531, 0.135335, 3.7e-06], atol=5e-7)
    np.testing.assert_allclose(probabilities(SCORES), GAUSSIAN, atol=5e-7)


def test_without_shift_equal_gaps_on_both_sides_weigh_the_same():
    weights = weights_of(SCORES)
    assert weights[0] == weights[4]
    assert weights[1] == weights[3]


@pytest.mark.parametrize(("b", "expected", "peak"), [(-1.0, BELOW, 9.0), (1.0, ABOVE, 11.0)])
def test_shift_has_the_papers_sign(b, expected, peak):
    found = probabilities(SCORES, b=b)
    np.testing.assert_allclose(found, expected, atol=5e-7)
    assert SCORES[found.argmax()] == peak


def test_laplace_kernel_of_the_released_run():
    np.testing.assert_allclose(probabilities(SCORES, kernel="laplace"), LAPLACE, atol=5e-7)


def test_laplace_reads_tau_and_neither_a_nor_b():
    assert weights_of([8.0], kernel="laplace", tau=0.25, a=7.0, b=5.0) == [-0.5]


def test_larger_a_is_a_narrower_band():
    np.testing.assert_allclose(weights_of([12.0, 10.0, 9.0], a=2.0), [-8.0, 0.0, -2.0])


def test_defaults_are_the_papers():
    assert SimANS.Params().model_dump() == {
        "a": 0.5, "b": 0.0, "kernel": "gaussian", "tau": None, "depth": 200,
        "refresh_steps": None, "target": "teacher", "missing_positive": "score",
    }  # fmt: skip


def test_each_row_is_compared_with_its_own_positive():
    found = log_weights(np.array([[3.0, 1.0], [3.0, 1.0]]), np.array([3.0, 1.0]), SimANS.Params())
    np.testing.assert_allclose(found, [[0, -2], [-2, 0]])


def test_single_precision_scores_are_compared_in_double():
    """A gap of 1e4 + 1e-3 squared has more digits than float32."""
    scores, positive = np.array([[1e4]], dtype=np.float32), np.array([-1e-3], dtype=np.float32)
    exact = -0.5 * (1e4 - float(positive[0])) ** 2
    assert log_weights(scores, positive, SimANS.Params())[0, 0] == exact


def test_two_draws_include_each_candidate_as_successive_draws_do():
    rows = 200_000
    weights = np.broadcast_to(weights_of(SCORES), (rows, len(SCORES)))
    columns = sampling.top_n_by_gumbel(weights, 2, np.random.default_rng(3))
    assert_frequencies(columns, INCLUDED_OF_TWO, rows)
    assert_frequencies(columns[:, :1], GAUSSIAN, rows)


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "far"])
def test_as_many_draws_as_candidates_take_each_once(kernel):
    weights = np.broadcast_to(weights_of(SCORES, kernel=kernel), (500, len(SCORES)))
    columns = sampling.top_n_by_gumbel(weights, len(SCORES), np.random.default_rng(4))
    np.testing.assert_array_equal(np.sort(columns, axis=1), np.tile(np.arange(6), (500, 1)))


def test_far_scores_are_drawn_where_every_weight_underflows():
    """exp(-800) and exp(-1800) are both 0 in double precision; the nearer pair is still the one drawn."""
    far = weights_of([POSITIVE + 60, POSITIVE + 40, POSITIVE - 40, POSITIVE - 60])
    assert (np.exp(far) == 0).all()
    columns = sampling.top_n_by_gumbel(np.broadcast_to(far, (20_000, 4)), 2, np.random.default_rng(5))
    np.testing.assert_array_equal(np.sort(columns, axis=1), np.tile([1, 2], (20_000, 1)))
    assert_frequencies(columns[:, :1], [0, 0.5, 0.5, 0], 20_000)


class OneRowPool:
    """The same candidates for every query; records what it was asked."""

    def __init__(self, ids, cosines, positive):
        self.ids, self.cosines, self.positive = ids, cosines, positive
        self.asked = []

    def candidates(self, queries, depth=None):
        self.asked.append(("candidates", depth))
        ids, cosines = np.array(self.ids), np.array(self.cosines, dtype=np.float32)
        return tuple(np.tile(part[:depth], (len(queries), 1)) for part in (ids, cosines))

    def positive_scores(self, queries, positives):
        self.asked.append(("positives", positives.tolist()))
        return np.full(len(queries), self.positive, dtype=np.float32)


class FixedServices:
    def __init__(self, pool, negatives, temperature):
        self._pool, self.negatives, self.temperature = pool, negatives, temperature

    def pool(self, name):
        assert name == "dense"
        return self._pool

    def rng(self, step, purpose=""):
        return np.random.default_rng([step, *purpose.encode()])


def draw(pool, rows, negatives=1, temperature=0.05, **params):
    method = SimANS(SimANS.Params(**params), FixedServices(pool, negatives, temperature))
    numbers = np.arange(rows)
    return method.negatives(Batch(0, numbers, 1000 + numbers, None, None))


COSINES = [score * 0.05 for score in SCORES]
IDS = [70, 71, 72, 73, 74, 75]


@pytest.mark.parametrize(
    ("params", "expected"), [({}, GAUSSIAN), ({"b": -1.0}, BELOW), ({"kernel": "laplace"}, LAPLACE)]
)
def test_the_scale_is_cosine_over_temperature(params, expected):
    """On raw cosines, gaps of 0.05, the Gaussian draw would be almost uniform."""
    rows = 40_000
    ids = draw(OneRowPool(IDS, COSINES, 0.5), rows, **params).ids
    assert ids.shape == (rows, 1)
    assert_frequencies(ids - 70, expected, rows)


def test_the_temperature_is_the_suites():
    """At temperature 0.5 the same cosines lie 0 to 0.5 from the positive, so the draw is nearly flat."""
    nearly_flat = [0.168046, 0.170586, 0.171441, 0.170586, 0.168046, 0.151296]
    rows = 40_000
    ids = draw(OneRowPool(IDS, COSINES, 0.5), rows, temperature=0.5).ids
    assert_frequencies(ids - 70, nearly_flat, rows)


def test_depth_bounds_the_candidates_and_the_positive_is_the_batchs():
    pool = OneRowPool(IDS, COSINES, 0.5)
    ids = draw(pool, 300, depth=2).ids
    assert set(ids.ravel().tolist()) == {70, 71}
    assert pool.asked == [("candidates", 2), ("positives", list(range(1000, 1300)))]


@pytest.mark.parametrize("kernel", ["gaussian", "laplace", "far"])
def test_empty_places_of_a_short_row_are_never_drawn(kernel):
    pool = OneRowPool([5, 6, NO_DOCUMENT, NO_DOCUMENT], [0.4, 0.3, -np.inf, -np.inf], 0.5)
    ids = draw(pool, 200, negatives=3, kernel=kernel).ids
    np.testing.assert_array_equal(np.sort(ids[:, :2], axis=1), np.tile([5, 6], (200, 1)))
    assert (ids[:, 2] == NO_DOCUMENT).all()


def test_far_kernel_prefers_scores_above_the_lowest():
    """exp(0.5 (s - 5)) over 12, 11, 10, 9, 8, 5."""
    np.testing.assert_allclose(weights_of(SCORES, kernel="far"), [3.5, 3.0, 2.5, 2.0, 1.5, 0.0])
    assert weights_of([8.0, 6.0], kernel="far", tau=2.0, a=7.0, b=5.0, positive=-3.0).tolist() == [4.0, 0.0]


def test_far_kernel_knows_no_empty_places():
    found = log_weights(
        np.array([[3.0, 1.0, -np.inf], [-np.inf] * 3]), np.zeros(2), SimANS.Params(kernel="far")
    )
    np.testing.assert_array_equal(found, [[1.0, 0.0, -np.inf], [-np.inf] * 3])


def test_released_shift_is_the_papers_with_the_other_sign():
    """The code's exp(-(s - s+ + b)^2 a) with its `--b 1` for NQ."""
    code = np.exp(-((np.array(SCORES) - POSITIVE + 1.0) ** 2) * 0.5)
    np.testing.assert_allclose(probabilities(SCORES, b=-1.0), code / code.sum(), atol=1e-12)


def test_a_positive_is_missing_if_a_full_pool_lies_above_it():
    scores = np.array([[3.0, 2.0], [3.0, 2.0], [3.0, 2.0], [3.0, -np.inf], [-np.inf, -np.inf]])
    positive = np.array([1.9, 2.0, 9.0, 1.0, 1.0])
    assert missing(scores, positive).tolist() == [True, False, False, False, False]


def test_last_leaves_the_last_columns_alone():
    nothing = -np.inf
    assert last(np.array([[4.0, 3.0, 2.0, 1.0]]), 2).tolist() == [[nothing, nothing, 0.0, 0.0]]
    assert last(np.array([[4.0, 3.0]]), 5).tolist() == [[0.0, 0.0]]


def test_missing_positives_take_the_last_of_the_pool_if_asked():
    below = OneRowPool(IDS, COSINES, 0.2)
    ids = draw(below, 500, negatives=2, missing_positive="last").ids
    np.testing.assert_array_equal(np.sort(ids, axis=1), np.tile([74, 75], (500, 1)))
    by_score = draw(below, 500, negatives=2, missing_positive="score").ids
    assert len(set(by_score.ravel().tolist())) > 2


def test_retrieved_positives_are_compared_by_score_in_either_case():
    rows, pool = 500, OneRowPool(IDS, COSINES, 0.5)
    found = [draw(pool, rows, negatives=2, missing_positive=case).ids for case in ("last", "score")]
    np.testing.assert_array_equal(*found)


def refreshing(world, **params):
    run = world.run("simans", learning_rate=0.1)
    run.method.params = SimANS.Params(refresh_steps=2, **params)
    return run


def test_refreshed_pools_are_those_of_the_weights_at_the_refresh(world):
    run = refreshing(world, depth=4)
    maps, given = [], []
    for step in range(4):
        maps.append(run.encoder.moment().state_dict())
        given += take_steps(run, 1, step)
    changed = 0
    for batch, negatives in given:
        for query, row in zip(batch.queries.tolist(), negatives.ids.tolist(), strict=True):
            assert set(row) == set(best(world, maps[batch.step // 2 * 2], query, 4))
            changed += set(row) != set(best(world, maps[0], query, 4))
    assert changed > 0
    assert run.services.counters.refreshes == 2


def test_candidates_and_positive_are_scored_by_the_same_weights(world):
    run = refreshing(world)
    take_steps(run, 3)
    maps = run.method.state_dict()
    queries, positives = run.labels.batch(0, 3, 8)
    ids, scores, positive = run.method._candidates(Batch(3, queries, positives, None, None))
    moment = run.encoder.moment(maps)
    documents, asked = moment.documents, moment.queries(queries)
    expected = torch.einsum("bd,bkd->bk", asked, documents[torch.from_numpy(np.maximum(ids, 0))]).numpy()
    used = ids != NO_DOCUMENT
    np.testing.assert_allclose(scores[used], expected[used], atol=1e-6)
    np.testing.assert_allclose(positive, (asked * documents[positives]).sum(1).numpy(), atol=1e-6)
    assert not np.allclose(positive, world.pools["dense"].positive_scores(queries, positives), atol=1e-3)


def test_a_resumed_run_draws_from_the_refreshed_pool_it_had(world, tmp_path):
    spec = world.spec("simans", learning_rate=0.1)
    expected = take_steps(refreshing(world, depth=8), 6)
    killed = refreshing(world, depth=8)
    take_steps(killed, 3)
    Checkpoint(tmp_path, spec, every=3).save_if_due(killed, 3, 6)
    resumed = refreshing(world, depth=8)
    assert Checkpoint(tmp_path, spec, every=3).restore(resumed) == 3
    for (_, one), (_, other) in zip(take_steps(resumed, 3, 3), expected[3:], strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)


def test_a_static_run_keeps_no_state_and_counts_no_refresh(world):
    run = world.run("simans")
    take_steps(run, 3)
    assert run.method.state_dict() == {}
    assert run.services.counters.refreshes == 0


def test_distillation_by_hand():
    """KL((2/3, 1/3) || (1/2, 1/2)); the masked place takes no part, whatever it holds."""
    student = torch.tensor([[1.0, 1.0, math.inf]], requires_grad=True)
    teacher = torch.tensor([[math.log(2), 0.0, math.nan]])
    loss = losses.kl_from_teacher(student, teacher, torch.tensor([[True, True, False]]))
    loss.backward()
    assert loss.item() == pytest.approx(2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3), rel=1e-5)
    np.testing.assert_allclose(student.grad, [[1 / 2 - 2 / 3, 1 / 2 - 1 / 3, 0]], atol=1e-6)


def test_distillation_equals_torchs_own():
    generator = torch.Generator().manual_seed(2)
    student, teacher = torch.randn(5, 7, generator=generator), 9 * torch.randn(5, 7, generator=generator)
    expected = torch.nn.functional.kl_div(
        student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True
    )
    torch.testing.assert_close(losses.kl_from_teacher(student, teacher, torch.ones(5, 7).bool()), expected)
    assert losses.kl_from_teacher(teacher, teacher, torch.ones(5, 7).bool()).item() == 0


def with_teacher(world, folder, turned):
    """A faithful run whose teacher has another dimension; `turned` negates its documents."""
    folder.mkdir()
    generator = np.random.default_rng(9)
    for name, sign in (("documents", -1 if turned else 1), ("queries", 1)):
        vectors = generator.normal(size=(len(np.load(world.vectors / f"{name}.npy")), 6)).astype(np.float32)
        np.save(folder / f"{name}.npy", sign * vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    pools = {"dense": world.pools["dense"]}
    spec = world.spec("simans/faithful", steps=60, batch_size=30, learning_rate=0.05)
    return set_up(spec, train.load_materials(world.dataset, world.vectors, pools, teacher=folder))


def test_faithful_loss_is_that_of_positive_and_negatives_against_the_teacher(world, tmp_path):
    run = with_teacher(world, tmp_path / "teacher", turned=False)
    example = _example(run, 0)
    documents, queries = (np.load(tmp_path / "teacher" / f"{name}.npy") for name in ("documents", "queries"))
    total = 0.0
    for place, query in enumerate(example.batch.queries):
        rows = [example.batch.positives[place], *example.negatives.ids[place]]
        own = run.encoder.documents(np.array(rows)) @ example.batch.query_vectors[place] / 0.05
        aim = torch.from_numpy(documents[rows] @ queries[query] / 0.05)
        total += (aim.softmax(0) * (aim.log_softmax(0) - own.log_softmax(0))).sum().item()
    assert run.method.faithful_loss(example).item() == pytest.approx(total / 30, rel=1e-4)


@pytest.mark.parametrize("turned", [False, True])
def test_faithful_comes_nearer_to_its_teacher_whatever_the_labels_say(world, tmp_path, turned):
    run = with_teacher(world, tmp_path / "teacher", turned)
    take_steps(run, 60)
    assert np.mean([row["loss"] for row in run.history[-5:]]) < 0.8 * run.history[0]["loss"]


def test_labels_as_target_are_the_cross_entropy_over_one_positive_and_the_negatives(world):
    spec = {**world.spec("simans/faithful"), "params": {"target": "labels"}}
    run = set_up(spec, train.load_materials(world.dataset, world.vectors, {"dense": world.pools["dense"]}))
    example = _example(run, 0)
    positive = example.scores.positive.detach().double().numpy() / 0.05
    negatives = example.scores.negatives.detach().double().numpy() / 0.05
    expected = np.log1p(np.exp(negatives - positive[:, None]).sum(axis=1)).mean()
    assert run.method.faithful_loss(example).item() == pytest.approx(expected, rel=1e-4)
    assert run.services.counters.teacher_vectors == 0


def test_who_teaches_is_asked_of_the_faithful_track_with_a_teacher_alone():
    for track, target, asks in (
        ("controlled", "teacher", False), ("faithful", "teacher", True), ("faithful", "labels", False),
    ):  # fmt: skip
        params = SimANS.Params(target=target)
        assert SimANS.asks_teacher(params, track) is SimANS.needs_teacher(params, track) is asks


def test_a_refresh_that_never_comes_is_told(world, tmp_path):
    run = world.run("simans")
    take_steps(run, 3)
    assert run.method.idle() == ""
    late = world.run("simans")
    late.method.params = SimANS.Params(refresh_steps=4)
    take_steps(late, 4)
    assert late.method.idle() == "no refresh: the first is after 4 steps"
    take_steps(late, 1, 4)
    assert late.method.idle() == ""
