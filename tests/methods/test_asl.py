"""The asymmetric loss against worked numbers, which are also those of the official classes, and weights made of it."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.methods import losses, pairs
from negmark.methods.asl import FLOOR, SUSPECT, focused
from negmark.train.step import _example
from steps import scores_of, step_of
from world import take_steps

LOGITS = torch.tensor([2.0, 1.0, -1.0, -4.0], dtype=torch.float64)


def terms(gamma_neg, gamma_pos, clip, logits=LOGITS):
    """The loss of a first logit that is relevant and others that aren't."""
    return torch.cat(
        [
            losses.asymmetric_positive(logits[:1], gamma_pos, True),
            losses.asymmetric_negative(logits[1:], gamma_neg, clip, True),
        ]
    )


def test_terms_and_sums_by_hand():
    assert terms(4, 0, 0.05).tolist() == pytest.approx([0.126928, 0.245860, 0.000568, 0], abs=1e-6)
    assert terms(4, 0, 0.05).sum().item() == pytest.approx(0.373356, abs=1e-6)
    assert terms(4, 1, 0.05).sum().item() == pytest.approx(0.261558, abs=1e-6)
    assert terms(2, 2, 0).sum().item() == pytest.approx(0.726336, abs=1e-6)


def test_without_focus_and_shift_it_is_binary_cross_entropy():
    plain = functional.binary_cross_entropy_with_logits(
        LOGITS, torch.tensor([1.0, 0, 0, 0], dtype=torch.float64), reduction="none"
    )
    torch.testing.assert_close(terms(0, 0, 0), plain)
    assert plain.sum().item() == pytest.approx(1.771601, abs=1e-6)


def slopes(probabilities, clip=0.05, gamma=4.0, detach=False):
    logits = torch.tensor(probabilities, dtype=torch.float64).logit().requires_grad_()
    losses.asymmetric_negative(logits, gamma, clip, detach).sum().backward()
    return logits.grad


@pytest.mark.parametrize(
    ("detach", "expected"),
    [(False, [0.004870, 0.732628, 0.221359, 0]), (True, [0.001094, 0.313204, 0.128823, 0])],
)
def test_slopes_by_hand(detach, expected):
    assert slopes([0.3, 0.9, 0.99, 0.04], detach=detach).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("detach", "clip", "peak", "slope"),
    [
        (False, 0.05, 0.9001, 0.732629),
        (False, 0.2, 0.8871, None),
        (True, 0.05, 0.9276, 0.325465),
        (True, 0.2, 0.9016, None),
    ],
)
def test_a_negative_counts_most_below_a_probability_and_then_less_again(detach, clip, peak, slope):
    grid = np.arange(1, 10_000) / 10_000
    found = slopes(grid, clip=clip, detach=detach)
    assert grid[int(found.argmax())] == pytest.approx(peak)
    if slope is not None:
        assert found.max().item() == pytest.approx(slope, abs=1e-6)
    if (detach, clip) == (True, 0.05):
        assert pytest.approx(peak) == SUSPECT


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("detach", [False, True])
def test_no_logit_gives_a_slope_that_is_no_number(gamma, detach):
    logits = torch.tensor([-100.0, -5.0, 0.0, 5.0, 100.0], requires_grad=True)
    loss = losses.asymmetric_negative(logits, gamma, 0.05, detach).sum()
    (loss + losses.asymmetric_positive(logits, gamma, detach).sum()).backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_pairs_of_a_query_by_hand(world):
    """Cosines .8 of the positive, .6 and .3, at the boundary .5 and temperature .1: logits 3, 1 and -2."""
    method = world.run("asl/faithful", params={"boundary": 0.5}).method
    step = step_of(scores_of([0.8], given=[[0.6, 0.3]]), 0.1)
    assert method.faithful_loss(step).item() == pytest.approx(0.294449, abs=1e-6)
    expected = [0.048587, 0.245860, 0.000002]
    assert terms(4, 0, 0.05, torch.tensor([3.0, 1.0, -2.0]).double()).tolist() == pytest.approx(
        expected, abs=1e-6
    )
    plain = world.run("asl/faithful", params={"boundary": 0.5, "gamma_neg": 0.0, "clip": 0.0}).method
    assert plain.faithful_loss(step).item() == pytest.approx(1.488777, abs=1e-6)


def test_the_faithful_loss_is_over_all_allowed_pairs_divided_by_the_queries(world):
    run = world.run("asl/faithful", params={"boundary": 0.4})
    example = _example(run, 0)
    scores, expected = example.scores, 0.0
    for row in range(8):
        others = [*scores.in_batch[row][scores.in_batch_mask[row]], *scores.negatives[row]]
        expected += functional.softplus((0.4 - scores.positive[row]) / 0.05).item()
        for each in others:
            shifted = max(torch.sigmoid((each - 0.4) / 0.05).item() - 0.05, 0)
            expected -= shifted**4 * np.log(1 - shifted)
    assert run.method.faithful_loss(example).item() == pytest.approx(expected / 8, rel=1e-4)


def test_weights_by_hand():
    """Shifted .75, .25 and 0; the third floored."""
    found = focused(torch.tensor([[0.8, 0.3, 0.02]]), torch.ones(1, 3, dtype=torch.bool), 2.0, 0.05)
    raw = torch.tensor([0.5625, 0.0625, FLOOR])
    torch.testing.assert_close(found[0], raw / raw.mean())


def test_weights_have_the_mean_one_over_places_in_use_and_a_row_below_the_shift_weighs_alike():
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    found = focused(torch.tensor([[0.8, 0.3, 0.9], [0.01, 0.02, 0.0], [0.5, 0.5, 0.5]]), mask, 4.0, 0.05)
    assert found[0, :2].mean().item() == pytest.approx(1)
    assert found[:, 2].tolist() == [1, 1, 1]
    assert found[1].tolist() == [1, 1, 1]
    assert (focused(torch.tensor([[0.8, 0.3, 0.02]]), mask[1:2], 0.0, 0.05)[0, :2] > 1).all()


def test_the_controlled_track_weighs_in_batch_and_given_negatives(world):
    run = world.run("asl")
    example = _example(run, 0)
    scores = example.scores
    values = torch.cat([scores.in_batch, scores.negatives], dim=1).detach()
    mask = torch.cat([scores.in_batch_mask, scores.negatives_mask], dim=1)
    boundary = (scores.positive.detach().mean() + values[mask].mean()) / 2
    weights = focused(((values - boundary) / 0.05).sigmoid(), mask, 4.0, 0.05)
    torch.testing.assert_close(torch.cat([scores.in_batch_weights, scores.weights], dim=1), weights)
    assert not weights.requires_grad
    assert weights.max() > 2
    assert torch.equal(run.method.loss(example), losses.info_nce(scores, 0.05))
    plain = _example(world.run("dense_uniform", row="asl"), 0)
    np.testing.assert_array_equal(example.negatives.ids, plain.negatives.ids)


def test_the_boundary_is_learned_from_halfway_and_survives_as_a_network(world):
    run = world.run("asl/faithful")
    example = _example(run, 0)
    run.method.faithful_loss(example)
    start = run.method.boundary.score.item()
    assert start == pytest.approx(pairs.halfway(example.scores).item())
    take_steps(run, 4)
    assert run.method.boundary.score.item() != pytest.approx(start, abs=1e-4)
    assert not world.run("asl/faithful", params={"boundary": 0.3}).method.extra_modules()
    assert not world.run("asl").method.extra_modules()


def test_pairs_below_the_shift_are_counted(world):
    run = world.run("asl")
    take_steps(run, 2)
    above, below = run.method.live.tolist()
    assert above
    assert below
    assert run.method.idle() == ""
    assert 0 < run.history[-1]["live_share"] < 1
    far = world.run("asl", params={"boundary": 3.0})
    take_steps(far, 1)
    assert far.method.idle() == f"its shift dropped all of {int(far.method.live[1]):,} pairs"
