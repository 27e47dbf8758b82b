"""Feature Transformation against worked numbers, of which the whole loss is also the official class's."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.methods import losses
from negmark.methods.feature_transformation import FeatureTransformation, extrapolated, interpolated
from negmark.methods.types import NO_DOCUMENT
from negmark.train.step import _example
from steps import scores_of
from world import take_steps

QUERY = torch.tensor([1.0, 0.0], dtype=torch.float64)
KEY = torch.tensor([0.8, 0.6], dtype=torch.float64)
QUEUE = torch.tensor([[0.0, 1.0], [-0.6, 0.8], [0.6, -0.8]], dtype=torch.float64)
ORDER = np.array([1, 2, 0])


def pair_of(cosine):
    return QUERY, torch.tensor([cosine, math.sqrt(1 - cosine**2)], dtype=torch.float64)


@pytest.mark.parametrize(
    ("lam", "cosine", "expected"),
    [(1.3, 0.8, 0.644), (1.5, 0.9, 0.75), (1.5, 0.6, 0), (2, 0.8, 0), (2, 0.9, 0.5), (1, 0.7, 0.7)],
)
def test_the_extrapolated_pair_by_hand(lam, cosine, expected):
    query, key = extrapolated(*pair_of(cosine), lam)
    assert (query @ key).item() == pytest.approx(expected)


@pytest.mark.parametrize(("lam", "length"), [(1.3, 1.075174), (1.5, 1.140175), (2.0, 1.341641)])
def test_its_length_is_left_as_it_is(lam, length):
    query, _ = extrapolated(*pair_of(0.8), lam)
    assert query.norm().item() == pytest.approx(length, abs=1e-6)


def test_the_mean_over_lam_by_hand():
    """lam - 1 ~ Beta(2, 2) has the density 6 x (1 - x)."""
    places = (np.arange(2000) + 0.5) / 2000
    products = [(a @ b).item() for a, b in (extrapolated(*pair_of(0.8), 1 + place) for place in places)]
    assert np.average(products, weights=6 * places * (1 - places)) == pytest.approx(0.48, abs=1e-6)


def scores(pair, queue):
    return scores_of([(pair[0] @ pair[1]).item()], given=[(queue @ pair[0]).tolist()])


def test_the_loss_by_hand():
    query, key = extrapolated(QUERY, KEY, 1.3)
    assert (query.tolist(), key.tolist()) == (pytest.approx([1.06, -0.18]), pytest.approx([0.74, 0.78]))
    mixtures = interpolated(QUEUE, ORDER, 0.3)
    expected = torch.tensor([[-0.42, 0.86], [0.24, -0.32], [0.18, 0.46]], dtype=torch.float64)
    torch.testing.assert_close(mixtures, expected)
    found = scores((query, key), mixtures)
    assert [found.positive.item(), *found.negatives[0].tolist()] == pytest.approx([0.644, -0.6, 0.312, 0.108])
    assert losses.info_nce(found, 0.2).item() == pytest.approx(0.231660, abs=1e-6)
    assert losses.info_nce(scores((QUERY, KEY), QUEUE), 0.2).item() == pytest.approx(0.327220, abs=1e-6)
    unit = [functional.normalize(each, dim=-1) for each in (query, key, mixtures)]
    assert losses.info_nce(scores(unit[:2], unit[2]), 0.2).item() == pytest.approx(1.251206, abs=1e-6)


def test_a_share_of_one_and_the_identity_return_the_queue_and_any_share_keeps_its_sum():
    torch.testing.assert_close(interpolated(QUEUE, ORDER, 1.0), QUEUE)
    torch.testing.assert_close(interpolated(QUEUE, np.arange(3), 0.3), QUEUE)
    for share in (0.0, 0.3, 0.8):
        torch.testing.assert_close(interpolated(QUEUE, ORDER, share).sum(dim=0), QUEUE.sum(dim=0))


def drawn(run, step):
    """lam, mu and the order of a step, by the streams that the method asks for."""
    rng = run.services.rng(step, "mixtures")
    return 1 + rng.beta(2.0, 2.0), rng.beta(1.6, 1.6), rng


@pytest.mark.parametrize("detach", [True, False])
def test_the_faithful_loss_by_hand(world, detach):
    run = world.run(
        "feature_transformation/faithful", params={"queue": 20, "detach": detach}, temperature=0.2
    )
    take_steps(run, 3)
    example = _example(run, 3)
    lam, share, rng = drawn(run, 3)
    order = rng.permutation(20)
    bank, ids = run.method.queue.vectors.double(), run.method.queue.ids.numpy()
    queries, documents = (
        each.detach().double() for each in (example.batch.query_vectors, example.batch.positive_vectors)
    )
    expected, masked, positive, negative = 0.0, 0, [], []
    for row, query in enumerate(example.batch.queries.tolist()):
        q = lam * queries[row] + (1 - lam) * documents[row]
        k = lam * documents[row] + (1 - lam) * queries[row]
        able = [
            j for j in range(20) if not {(query, int(ids[j])), (query, int(ids[order[j]]))} & world.positives
        ]
        masked += 20 - len(able)
        mixtures = share * bank[able] + (1 - share) * bank[order[able]]
        logits = torch.cat([(q @ k)[None], mixtures @ q]) / 0.2
        positive.append(float(q @ k))
        negative += (mixtures @ q).tolist()
        expected += float(logits.logsumexp(dim=0) - logits[0]) / 8
    assert masked
    loss = run.method.faithful_loss(example)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert run.method.telemetry() == {
        "moved_positive": pytest.approx(np.mean(positive), rel=1e-5),
        "moved_negative": pytest.approx(np.mean(negative), rel=1e-4),
        "moved_negative_max": pytest.approx(max(negative), rel=1e-5),
    }
    document = example.batch.positive_vectors
    gradient = torch.autograd.grad(loss, document, allow_unused=True, materialize_grads=True)[0]
    assert bool((gradient == 0).all()) is detach


@pytest.mark.parametrize(("parts", "moves"), [("positives", (True, False)), ("negatives", (False, True))])
def test_either_half_can_be_had_alone(world, parts, moves):
    both = world.run("feature_transformation/faithful", params={"queue": 20})
    half = world.run("feature_transformation/faithful", params={"queue": 20, "parts": parts})
    for run in (both, half):
        run.method.queue.push(run.services.warmup_documents(np.arange(20)), np.arange(20))
    example = _example(half, 3)
    lam, share, rng = drawn(half, 3)
    order = rng.permutation(20)
    queries, documents = example.batch.query_vectors.detach(), example.batch.positive_vectors.detach()
    pair = extrapolated(queries, documents, lam) if moves[0] else (queries, documents)
    bank = half.method.queue.vectors
    allowed = half.method.queue.allowed(example.batch.queries, half.services)
    if moves[1]:
        bank, allowed = interpolated(bank, order, share), allowed & allowed[:, order]
    expected = losses.info_nce(
        scores_of(
            (pair[0] * pair[1]).sum(dim=1).tolist(), given=(pair[0] @ bank.T).tolist(), negatives_mask=allowed
        ),
        0.05,
    )
    assert half.method.faithful_loss(example).item() == pytest.approx(expected.item(), rel=1e-4)
    assert both.method.faithful_loss(_example(both, 3)).item() != pytest.approx(expected.item(), rel=1e-3)


def test_in_the_controlled_track_documents_of_one_list_are_mixed(world):
    run, plain = world.run("feature_transformation"), world.run("dense_uniform", row="feature_transformation")
    example, ids = _example(run, 0), _example(plain, 0).negatives.ids
    rng = run.services.rng(0, "mixtures")
    share, order = rng.beta(1.6, 1.6), rng.permutation(4)
    vectors = run.encoder.documents(ids.ravel()).detach().reshape(*ids.shape, -1)
    expected = functional.normalize(share * vectors + (1 - share) * vectors[:, order], dim=2)
    torch.testing.assert_close(example.negatives.vectors, expected)
    assert not example.negatives.vectors.requires_grad
    assert run.services.counters.extra_vectors == 8 * 4
    assert torch.equal(run.method.loss(example), losses.info_nce(example.scores, 0.05))


def test_an_empty_place_is_mixed_with_nothing(world, shallow_world):
    """Six candidates for eight places: their partners stay as they are, and the place doesn't count."""
    run = shallow_world.run("feature_transformation", negatives=8)
    plain = shallow_world.run("dense_uniform", row="feature_transformation", negatives=8)
    example, ids = _example(run, 0), _example(plain, 0).negatives.ids
    empty = torch.from_numpy(ids == NO_DOCUMENT)
    assert empty.any()
    assert torch.equal(example.scores.negatives_mask, ~empty)
    rng = run.services.rng(0, "mixtures")
    rng.beta(1.6, 1.6)
    order = rng.permutation(8)
    alone = ~empty & empty[:, order]
    assert alone.any()
    vectors = run.encoder.documents(np.maximum(ids, 0).ravel()).detach().reshape(*ids.shape, -1)
    torch.testing.assert_close(example.negatives.vectors[alone], vectors[alone])


@pytest.mark.parametrize("in_batch", [True, False])
def test_the_batch_stays_unless_it_is_left_out(world, in_batch):
    example = _example(world.run("feature_transformation", params={"in_batch": in_batch}), 0)
    assert bool(example.scores.in_batch_mask.any()) is in_batch


def test_before_the_start_the_drawn_documents_serve_as_they_are(world):
    run = world.run("feature_transformation", params={"mix_start": 0.5}, steps=6)
    given = take_steps(run, 6)
    assert [negatives.vectors is None for _, negatives in given] == [True] * 3 + [False] * 3
    plain = world.run("dense_uniform", row="feature_transformation", steps=6)
    take_steps(plain, 3)
    assert [row["loss"] for row in run.history[:3]] == [row["loss"] for row in plain.history]
    assert run.method.idle() == ""
    assert world.run("feature_transformation").method.idle() == "no vector was moved"


def test_extrapolated_positives_alone_are_refused_in_the_controlled_track():
    params = FeatureTransformation.Params(parts="positives")
    assert "no choice of negatives" in FeatureTransformation.refusal(params, "controlled")
    assert FeatureTransformation.refusal(params, "faithful") == ""
    assert FeatureTransformation.refusal(FeatureTransformation.Params(), "controlled") == ""


def test_the_history_has_the_scores_of_what_was_moved(world):
    run = world.run("feature_transformation/faithful")
    take_steps(run, 3)
    assert run.history[0]["moved_negative"] is None, "the queue is empty"
    for row in run.history[1:]:
        assert row["moved_positive"] != pytest.approx(row["positive_score"])
        assert row["moved_negative"] < row["moved_negative_max"]


def test_a_trained_document_of_the_pair_is_told():
    params = FeatureTransformation.Params(detach=False)
    assert FeatureTransformation.own_notes(params, "faithful") == [
        "the positive's document has gradient, unlike the code's key"
    ]
    assert FeatureTransformation.own_notes(params, "controlled") == []
    assert FeatureTransformation.own_notes(FeatureTransformation.Params(), "faithful") == []
