"""Unified negative pairs: the filter and the loss against worked numbers, which are also the official functions'."""

import itertools

import pytest
import torch
from torch.nn import functional

from negmark.methods import losses
from negmark.methods.unpg import within_whiskers
from negmark.train.step import _example
from steps import scores_of
from world import take_steps

PAIRS = torch.tensor([0.9, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, -0.8], dtype=torch.float64)
KEPT = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3]


@pytest.mark.parametrize("whisker", [1.5, 1.0, 0.5])
def test_both_tails_go_by_hand(whisker):
    assert sorted(PAIRS[within_whiskers(PAIRS, whisker)].tolist()) == pytest.approx(KEPT)


@pytest.mark.parametrize(
    ("whisker", "low", "high"), [(1.5, -0.20, 0.60), (1.0, -0.10, 0.50), (0.5, 0.00, 0.40)]
)
def test_the_bounds_by_hand(whisker, low, high):
    """Quartiles .10 and .30; one more value at a time, which moves neither."""
    for value, kept in (
        (low + 0.001, True),
        (low - 0.001, False),
        (high - 0.001, True),
        (high + 0.001, False),
    ):
        values = PAIRS.clone()
        values[values == (0.9 if value > 0.2 else -0.8)] = value
        assert within_whiskers(values, whisker)[values == value].item() is kept


def test_endless_whiskers_keep_all_and_none_is_kept_of_none():
    assert within_whiskers(PAIRS, None).all()
    assert within_whiskers(PAIRS, 1e9).all()
    assert within_whiskers(PAIRS[:0], 1.5).tolist() == []


@pytest.mark.parametrize(("shared", "expected"), [([], 0.003385), ([0.3, 0.25], 0.032288), (KEPT, 0.046523)])
def test_shared_pairs_in_a_row_by_hand(shared, expected):
    """Class cosines .7 of the label, .1 and 0 at scale 10."""
    more = torch.tensor([shared], dtype=torch.float64)
    scores = losses.with_more(scores_of([0.7], [[0.1, 0.0]]), more, torch.ones_like(more, dtype=torch.bool))
    assert losses.info_nce(scores, 0.1).item() == pytest.approx(expected, abs=1e-6)


def test_every_row_sees_the_shared_pairs_and_gives_them_gradient_by_hand():
    mask = ~torch.eye(2, dtype=torch.bool)
    scores = scores_of([0.8, 0.7], [[0.8, 0.5], [0.4, 0.7]], in_batch_mask=mask)
    assert losses.info_nce(scores, 0.1).item() == pytest.approx(0.048587, abs=1e-6)
    shared = torch.tensor([0.3, 0.35], dtype=torch.float64, requires_grad=True)
    more = shared.expand(2, -1)
    loss = losses.info_nce(losses.with_more(scores, more, torch.ones_like(more, dtype=torch.bool)), 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(0.079604, abs=1e-6)
    assert shared.grad.tolist() == pytest.approx([0.114937, 0.189500], abs=1e-6)


def by_hand(example, world, sides, whisker, margin, temperature):
    """The loss in plain loops: pairs apart by the labels, filtered side by side, in every row."""
    batch = example.batch
    vectors = {"queries": batch.query_vectors.detach(), "documents": batch.positive_vectors.detach()}
    rows = list(zip(batch.queries.tolist(), batch.positives.tolist(), strict=True))
    apart = [
        (i, j)
        for i, j in itertools.combinations(range(8), 2)
        if not {(rows[i][0], rows[j][1]), (rows[j][0], rows[i][1])} & world.positives
    ]
    shared = []
    for side in sides:
        values = torch.stack([vectors[side][i] @ vectors[side][j] for i, j in apart])
        shared.append(values[within_whiskers(values, whisker)])
    total = 0.0
    for i in range(8):
        cosines = vectors["documents"] @ vectors["queries"][i]
        able = [j for j in range(8) if (rows[i][0], rows[j][1]) not in world.positives]
        own = cosines[i] - margin
        logits = torch.cat([own[None], cosines[able], *shared]) / temperature
        total += (logits.logsumexp(dim=0) - logits[0]).item() / 8
    return total, len(torch.cat(shared)), len(apart)


@pytest.mark.parametrize(
    ("params", "sides"),
    [
        ({}, ("queries", "documents")),
        ({"sides": "queries"}, ("queries",)),
        ({"sides": "documents", "whisker": 0.5, "margin": 0.1}, ("documents",)),
    ],
)
def test_the_faithful_loss_by_hand(world, params, sides):
    run = world.run("unpg/faithful", params=params)
    missing = 0
    for number in range(4):
        example = _example(run, number)
        expected, kept, apart = by_hand(
            example, world, sides, params.get("whisker", 1.5), params.get("margin", 0.0), 0.05
        )
        assert run.method.faithful_loss(example).item() == pytest.approx(expected, rel=1e-4)
        assert run.method.telemetry()["kept_share"] == pytest.approx(kept / (apart * len(sides)))
        missing += 28 - apart
    assert missing


def test_gradient_flows_into_both_of_a_shared_pair():
    vectors = functional.normalize(torch.randn(4, 3, generator=torch.Generator().manual_seed(2)), dim=1)
    vectors.requires_grad_()
    scores = scores_of([0.9], [[0.0]])
    more = (vectors @ vectors.T)[0, 1].double().expand(1, 1)
    losses.info_nce(losses.with_more(scores, more, torch.ones(1, 1, dtype=torch.bool)), 0.1).backward()
    assert (vectors.grad[:2].abs().sum(dim=1) > 0).all()


def test_the_controlled_track_masks_outliers_of_the_batch(world):
    run, plain = world.run("unpg", params={"whisker": 0.5}), world.run("inbatch")
    example, without = _example(run, 0), _example(plain, 0)
    among = without.scores.in_batch.detach()[without.scores.in_batch_mask]
    ordered = among.sort().values
    low, high = ordered[int(len(among) / 4)], ordered[int(3 * len(among) / 4)]
    reach = 0.5 * (high - low)
    values = without.scores.in_batch.detach()
    expected = without.scores.in_batch_mask & (values >= low - reach) & (values <= high + reach)
    assert torch.equal(example.scores.in_batch_mask, expected)
    assert 0 < expected.sum() < len(among)
    assert torch.equal(run.method.loss(example), losses.info_nce(example.scores, 0.05))


def test_whiskers_that_cut_off_nothing_are_told(world):
    run = world.run("unpg", params={"whisker": 50.0})
    take_steps(run, 2)
    assert run.method.idle() == f"its whiskers cut off none of {int(run.method.pairs[0])} pairs"
    cutting = world.run("unpg", params={"whisker": 0.5})
    take_steps(cutting, 2)
    assert cutting.method.idle() == ""
    assert set(cutting.history[-1]) >= {"kept_share", "kept_highest"}
