"""Partial FC against numbers of its sheet; the filter's are also the released loss's."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.methods.partial_fc import PartialFC, corrected, margin_logits, sampled
from negmark.methods.types import NO_DOCUMENT
from negmark.train import train
from negmark.train.run import set_up
from negmark.train.step import _example, one_step
from world import take_steps

LOGITS = torch.tensor([[5.0, 3, 2, 1, 0, 0, -1, -1, -2, -3]])
FIRST = torch.zeros(1, dtype=torch.long)
COSINES = torch.tensor([[0.6, 0.45, 0.2, -0.1]])


def loss(columns, correct=False):
    logits = LOGITS[:, list(columns)]
    return functional.cross_entropy(corrected(logits, FIRST, 10) if correct else logits, FIRST).item()


def test_a_sample_lowers_the_loss_and_the_correction_does_not_undo_it():
    assert loss(range(10)) == pytest.approx(0.201404, abs=1e-6)
    assert loss([0, 2, 4, 6]) == pytest.approx(0.057329, abs=1e-6)
    assert loss([0, 2, 4, 6], correct=True) == pytest.approx(0.162978, abs=1e-6)


def test_over_all_samples_the_corrected_sum_is_that_of_all_classes():
    samples = [(0, *others) for others in itertools.combinations(range(1, 10), 3)]
    assert len(samples) == 84
    sums = [corrected(LOGITS[:, list(columns)], FIRST, 10).exp().sum().item() for columns in samples]
    assert np.mean(sums) == pytest.approx(181.526915, abs=1e-3) == LOGITS.exp().sum().item()
    assert np.mean([loss(columns, correct=True) for columns in samples]) == pytest.approx(0.190058, abs=1e-6)
    assert np.mean([loss(columns) for columns in samples]) == pytest.approx(0.070069, abs=1e-6)


def test_all_positives_are_sampled_and_the_rest_uniformly():
    rng = np.random.default_rng(0)
    positives = np.array([7, 0, 7])
    found = sampled(positives, 10, 0.4, rng)
    assert len(found) == 4
    assert found.tolist() == sorted(set(found.tolist()))
    assert {0, 7} <= set(found.tolist())
    assert sampled(positives, 10, 0.1, rng).tolist() == [0, 7], "more positives than places: they alone"
    assert sampled(positives, 10, 1.0, rng).tolist() == list(range(10))
    drawn = np.concatenate([sampled(np.array([0]), 10, 0.4, rng) for _ in range(6000)])
    shares = np.bincount(drawn, minlength=10) / 6000
    assert shares[0] == 1
    assert np.abs(shares[1:] - 1 / 3).max() < 4 * math.sqrt(2 / 9 / 6000)


@pytest.mark.parametrize(("threshold", "expected"), [(0.4, 0.781672), (None, 2.655513)])
def test_margin_and_filter(threshold, expected):
    suspects = torch.zeros_like(COSINES, dtype=torch.bool) if threshold is None else threshold < COSINES
    logits = margin_logits(COSINES, FIRST, suspects, margin=0.4, scale=10)
    if threshold:
        torch.testing.assert_close(logits, torch.tensor([[2.0, 0, 2, -1]]))
    assert functional.cross_entropy(logits, FIRST).item() == pytest.approx(expected, abs=1e-6)


def test_what_is_filtered_stays_in_the_sum_without_gradient():
    cosines = COSINES.clone().requires_grad_()
    logits = margin_logits(cosines, FIRST, cosines > 0.4, margin=0.4, scale=10)
    functional.cross_entropy(logits, FIRST).backward()
    assert cosines.grad[0, 1] == 0
    assert (cosines.grad[0, [0, 2, 3]] != 0).all()
    removed = functional.cross_entropy(logits[:, [0, 2, 3]], FIRST).item()
    assert removed == pytest.approx(0.717736, abs=1e-6), "it isn't removed, which would be this"


def run_of(world, track="controlled", **params):
    spec = {**world.spec(f"partial_fc/{track}"), "params": params}
    return set_up(spec, train.load_materials(world.dataset, world.vectors, {}))


def test_in_the_controlled_track_a_batch_shares_its_documents(world):
    for batch, negatives in take_steps(run_of(world), 5):
        used = {document for row in negatives.ids.tolist() for document in row if document != NO_DOCUMENT}
        assert len(used) <= 4
        for query, row in zip(batch.queries.tolist(), negatives.ids.tolist(), strict=True):
            left_out = used - set(row)
            assert all((query, document) in world.positives for document in left_out)


@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_the_faithful_loss_by_hand(world, rate):
    run = run_of(world, "faithful", rate=rate, threshold=None, margin=0.2, scale=5.0)
    example = _example(run, 0)
    batch = example.batch
    classes = sampled(batch.positives, 60, rate, run.services.rng(0, "classes"))
    centres = run.services.warmup_documents(classes)
    total = 0.0
    for side in (batch.query_vectors, batch.positive_vectors):
        for row, (query, own) in enumerate(
            zip(batch.queries.tolist(), batch.positives.tolist(), strict=True)
        ):
            logits = {
                c: 5 * float(side[row].detach() @ centre)
                for c, centre in zip(classes.tolist(), centres, strict=True)
            }
            logits[own] -= 5 * 0.2
            others = [v for c, v in logits.items() if c == own or (query, c) not in world.positives]
            total += (np.log(np.sum(np.exp(others))) - logits[own]) / 16
    assert run.method.faithful_loss(example).item() == pytest.approx(total, rel=1e-4)


def test_centres_start_from_the_documents_and_are_trained(world):
    run = run_of(world, "faithful", rate=1.0)
    start = run.services.warmup_documents(np.arange(60))
    assert torch.equal(run.method.centres.weight, start)
    one_step(run, 0, keep_scores=False)
    assert (run.method.centres.weight != start).any(dim=1).all()
    assert not torch.equal(run.encoder.document, torch.eye(16))
    assert not torch.equal(run.encoder.query, torch.eye(16))
    assert run.history[0]["classes"] == 60


def test_suspects_by_hand_each_side_on_its_own_scale(world):
    """A half of the way from chance to 1 is above .4, three tenths are not, though the cosines are the same."""
    method = run_of(world, "faithful").method
    method.services.chance = lambda: 0.2
    method._chance_of_documents = 0.6
    cosines = torch.tensor([[0.53, 0.51, 0.8], [0.53, 0.75, 0.77]])  # a query, and its positive
    assert method._suspects(cosines).tolist() == [[True, False, True], [False, False, True]]


def test_documents_have_the_chance_of_documents(world):
    vectors = world.run("random").services.warmup_documents(np.arange(60)).double()
    pairs = [float(one @ other) for one, other in itertools.combinations(vectors, 2)]
    assert run_of(world, "faithful").method._chance_of_documents == pytest.approx(np.mean(pairs), abs=1e-5)


def test_the_share_that_is_filtered_is_of_other_classes(world):
    """With a threshold that all cosines pass, it is all of them: a label's own place is none."""
    run = run_of(world, "faithful", rate=0.5, threshold=0.01)
    run.method.services.chance = lambda: -3.0
    run.method._chance_of_documents = -3.0
    take_steps(run, 1)
    assert run.history[0]["filtered"] == 1


def test_the_corrected_loss_by_hand(world):
    run = run_of(world, "faithful", rate=0.5, threshold=None, margin=0.0, scale=5.0, corrected=True)
    example = _example(run, 0)
    batch = example.batch
    classes = sampled(batch.positives, 60, 0.5, run.services.rng(0, "classes"))
    assert len(classes) == 30
    centres = run.services.warmup_documents(classes)
    total = 0.0
    for side in (batch.query_vectors, batch.positive_vectors):
        for vector, query, own in zip(side.detach(), batch.queries, batch.positives, strict=True):
            terms = {
                c: math.exp(5 * float(vector @ centre)) for c, centre in zip(classes, centres, strict=True)
            }
            others = [v for c, v in terms.items() if c != own and (query, c) not in world.positives]
            total += math.log(1 + 59 / 29 * sum(others) / terms[own]) / 16
    assert run.method.faithful_loss(example).item() == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"rate": 1.0}, "every document was a class of every step, which is the full softmax"),
        ({"rate": 0.01}, "no class was sampled beside those of the batch's positives"),
        ({"rate": 0.5, "threshold": 0.999}, "no cosine was above the filter's threshold"),
        ({"rate": 0.5, "threshold": None}, ""),
        ({"rate": 0.5}, ""),
    ],
)
def test_what_never_acted_is_told(params, words, world):
    run = run_of(world, "faithful", **params)
    take_steps(run, 3)
    assert run.method.idle() == words
    resumed = run_of(world, "faithful", **params)
    resumed.method.load_state_dict(run.method.state_dict())
    assert resumed.method.idle() == words


def test_no_rate_that_is_tried_is_the_full_softmax():
    assert 1.0 not in PartialFC.space(PartialFC.Params(), "faithful")["rate"].values


def test_the_controlled_row_claims_no_thresholds():
    told = PartialFC.notes("controlled", scores_pairs=False, sentences=False, graded=False)
    assert not any("threshold" in note for note in told)
    told = PartialFC.notes("faithful", scores_pairs=False, sentences=False, graded=False)
    assert any("thresholds" in note for note in told)


def test_the_controlled_track_has_no_table(world):
    assert not list(run_of(world).method.extra_modules().parameters())


def test_defaults_are_those_of_the_settings_for_noisy_data():
    assert PartialFC.Params().model_dump() == {
        "rate": 0.1, "threshold": 0.4, "margin": 0.4, "scale": 64.0, "corrected": False,
    }  # fmt: skip
