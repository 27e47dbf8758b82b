"""Suspected false negatives: the three schemes against the official code's numbers, and what a run makes of them."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.core.errors import UserError
from negmark.methods import losses
from negmark.methods.large_loss import LargeLoss, assumed_negative, largest
from negmark.methods.types import NO_DOCUMENT
from negmark.suite.checks import load
from negmark.train.step import _example
from steps import scores_of
from world import take_steps

LOGITS = torch.tensor([[2.0, 1.0, -1.0], [0.5, -0.5, 3.0]])
ALL = torch.ones(2, 2, dtype=torch.bool)
COSINES = [[0.8, 0.5, 0.1], [0.4, 0.7, 0.95], [0.0, 0.3, 0.9]]


def loss_of(scheme, count):
    """The mean over the matrix whose first column is labelled; nothing was flipped before."""
    positive, others = LOGITS[:, 0], LOGITS[:, 1:]
    suspected = largest(others, ALL, count)
    return assumed_negative(positive, others, ALL, ~ALL, suspected, scheme).item()


@pytest.mark.parametrize(
    ("scheme", "count", "expected"),
    [
        ("reject", 0, 0.958365), ("reject", 2, 0.231391), ("reject", 3, 0.152378),
        ("correct", 2, 0.291699), ("correct", 3, 0.375032), ("correct_for_good", 1, 0.458365),
    ],
)  # fmt: skip
def test_the_three_schemes_by_hand(scheme, count, expected):
    assert loss_of(scheme, count) == pytest.approx(expected, abs=1e-6)


def test_the_pairs_of_the_hand_made_matrix():
    found = functional.softplus(torch.cat([-LOGITS[:, :1], LOGITS[:, 1:]], dim=1))
    expected = [0.126928, 1.313262, 0.313262, 0.474077, 0.474077, 3.048587]
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("clean", "count"), [(0.8, 2), (0.6, 3), (0.9, 1)])
def test_the_share_is_of_all_pairs_rounded_up(world, clean, count):
    """Six pairs, the two labelled ones included."""
    params = {"rate": 1 - clean, "period": 1, "cap": 1.0}
    method = world.run("large_loss", params=params).method
    assert math.ceil(method.share(1) * 6) == count


def test_more_than_there_are_leaves_labelled_pairs_alone():
    """The official code changes every pair then, labelled ones too."""
    labelled = functional.softplus(-LOGITS[:, 0]).sum().item() / 6
    assert loss_of("reject", 5) == pytest.approx(labelled, abs=1e-6)


def test_what_ties_with_the_last_goes_too_and_only_among_the_masked():
    values = torch.tensor([[0.9, 0.5, 0.5], [0.95, 0.5, 0.1]])
    mask = torch.tensor([[True, True, True], [False, True, True]])
    assert largest(values, mask, 2).tolist() == [[True, True, True], [False, True, False]]
    assert not largest(values, mask, 0).any()
    assert not largest(values, torch.zeros_like(mask), 3).any()


@pytest.mark.parametrize(("dropped", "expected"), [(0, 0.878238), (1, 0.033547), (2, 0.017366)])
def test_masked_in_info_nce_by_hand(dropped, expected):
    matrix = torch.tensor(COSINES, dtype=torch.float64)
    mask = ~torch.eye(3, dtype=torch.bool)
    mask &= ~largest(matrix, mask, dropped)
    scores = scores_of(matrix.diagonal().tolist(), COSINES, in_batch_mask=mask)
    assert losses.info_nce(scores, 0.1).item() == pytest.approx(expected, abs=1e-6)


def test_the_share_grows_by_the_epoch_up_to_the_cap(world):
    def shares(**params):
        method = world.run("large_loss/faithful", params=params).method
        return [method.share(step) for step in (0, 99, 100, 250, 5000)]

    assert shares() == pytest.approx([0, 0, 0.005, 0.01, 0.05])
    assert shares(scheme="correct") == pytest.approx([0, 0, 0.002, 0.004, 0.05])
    assert shares(scheme="correct_for_good") == pytest.approx([0, 0, 0.001, 0.001, 0.001])
    assert shares(rate=0.02, cap=0.03) == pytest.approx([0, 0, 0.02, 0.03, 0.03])


NOW = {"period": 1, "rate": 0.1, "cap": 0.1}


def test_the_controlled_track_drops_the_best_scored_pairs_of_the_step(world):
    run, plain = world.run("large_loss", params=NOW), world.run("dense_uniform", row="large_loss")
    first, without = _example(run, 1), _example(plain, 1)
    np.testing.assert_array_equal(first.negatives.ids, without.negatives.ids)
    before, after = without.scores, first.scores
    values = torch.cat([before.in_batch, before.negatives], dim=1)
    mask = torch.cat([before.in_batch_mask, before.negatives_mask], dim=1)
    kept = torch.cat([after.in_batch_mask, after.negatives_mask], dim=1)
    count = math.ceil(0.1 * (int(mask.sum()) + 8))
    last = sorted(values[mask].tolist(), reverse=True)[count - 1]  # a document may stand in the batch twice
    assert torch.equal(mask & ~kept, mask & (values >= last))
    assert (~after.in_batch_mask & before.in_batch_mask).any()
    assert (~after.negatives_mask & before.negatives_mask).any()
    assert torch.equal(run.method.loss(first), losses.info_nce(after, 0.05))


def test_what_is_dropped_stands_in_no_ledger(world):
    run = world.run("large_loss", params=NOW)
    given = sum(int((negatives.ids != NO_DOCUMENT).sum()) for _, negatives in take_steps(run, 3))
    assert len(run.ledger) < given


def test_nothing_is_suspected_in_the_first_epoch(world):
    run, plain = world.run("large_loss"), world.run("dense_uniform", row="large_loss")
    take_steps(run, 4)
    take_steps(plain, 4)
    assert [row["loss"] for row in run.history] == [row["loss"] for row in plain.history]
    assert run.method.idle() == f"none of {int(run.method.suspects[0]):,} pairs was suspected"


@pytest.mark.parametrize("scheme", ["reject", "correct", "correct_for_good"])
def test_the_faithful_loss_by_hand(world, scheme):
    """Step by step, with the pairs that were flipped for good kept in a set."""
    run = world.run("large_loss/faithful", params={**NOW, "scheme": scheme})
    flipped, used = set(), 0
    for number in range(5):
        example = _example(run, number)
        loss = run.method.faithful_loss(example).item()
        boundary, scores = run.method.boundary.score.item(), example.scores
        pairs = [
            (query, document, (float(score) - boundary) / 0.05)
            for row, query in enumerate(example.batch.queries.tolist())
            for documents, values, mask in (
                (example.batch.positives, scores.in_batch[row], scores.in_batch_mask[row]),
                (example.negatives.ids[row], scores.negatives[row], scores.negatives_mask[row]),
            )
            for document, score, counts in zip(
                documents.tolist(), values.detach(), mask.tolist(), strict=True
            )
            if counts
        ]
        unlabelled = sorted((z for q, d, z in pairs if (q, d) not in flipped), reverse=True)
        count = math.ceil((0.1 if number else 0) * (len(pairs) + 8))
        threshold = unlabelled[count - 1] if count else math.inf
        total = sum(math.log1p(math.exp(-(float(s) - boundary) / 0.05)) for s in scores.positive.detach())
        suspects = {(q, d) for q, d, z in pairs if z >= threshold - 1e-6 and (q, d) not in flipped}
        for query, document, z in pairs:
            used += (query, document) in flipped
            if (query, document) in flipped or ((query, document) in suspects and scheme != "reject"):
                total += math.log1p(math.exp(-z))
            elif (query, document) not in suspects:
                total += math.log1p(math.exp(z))
        assert loss == pytest.approx(total / (len(pairs) + 8), rel=1e-4), number
        if scheme == "correct_for_good":
            flipped |= suspects
            keys = sorted(query * 60 + document for query, document in flipped)
            assert run.method.flipped.tolist() == keys
    assert bool(used) is (scheme == "correct_for_good")


def test_as_many_are_corrected_for_good_when_many_have_been(world):
    """The share is of all pairs, not of those that are left."""
    run = world.run("large_loss/faithful", params={**NOW, "scheme": "correct_for_good"})
    example = _example(run, 1)
    scores, keys = example.scores, run.method._keys(example)
    mask = torch.cat([scores.in_batch_mask, scores.negatives_mask], dim=1)
    run.method.flipped = keys[:, ::2][mask[:, ::2]].unique()
    left = int((mask & ~torch.isin(keys, run.method.flipped)).sum())
    run.method.faithful_loss(example)
    count = math.ceil(0.1 * (int(mask.sum()) + 8))
    assert math.ceil(0.1 * (left + 8)) + 2 < count
    assert run.method.suspects.tolist() == [left, count]


def test_a_labelled_positive_is_never_suspected(world):
    run = world.run(
        "large_loss/faithful", params={"period": 1, "rate": 0.9, "cap": 1.0, "scheme": "correct_for_good"}
    )
    take_steps(run, 5)
    assert len(run.method.flipped) > 50
    assert not {divmod(key, 60) for key in run.method.flipped.tolist()} & world.positives


def test_correction_is_refused_in_the_controlled_track_in_one_line():
    config = {
        "suite": "x",
        "datasets": {"made": {"source": "scifact"}},
        "methods": {"corrected": {"method": "large_loss", "scheme": "correct"}},
    }
    with pytest.raises(UserError) as error:
        load(config, "x.yaml")
    assert str(error.value) == (
        "x.yaml: methods.corrected: this row of large_loss can't be in the controlled track: a corrected pair is a "
        "positive; set `track: faithful`, or `scheme: reject`"
    )
    assert LargeLoss.refusal(LargeLoss.Params(scheme="correct"), "faithful") == ""
