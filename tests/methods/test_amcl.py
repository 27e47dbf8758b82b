"""AMCL's table of losses against numbers of its sheet."""

import math

import pytest
import torch

from negmark.core.errors import UserError
from negmark.methods.amcl import AMCL, regulariser, table_loss, within
from negmark.suite.checks import load
from negmark.train import train
from negmark.train.run import set_up
from negmark.train.step import _example
from world import take_steps

HEADS = (
    (0.8, 0.2, [0.5, 0.1], [0.4, 0.1]),
    (0.6, 0.5, [0.2, 0.3], [0.2, 0.5]),
)


def total(beta=0.0, form="hardest"):
    return sum(
        table_loss(
            torch.tensor([positive]), torch.tensor([tau]), torch.tensor([negatives]), torch.tensor([taus]),
            torch.ones(1, 2, dtype=torch.bool), beta, 4, form,
        ).item()
        for positive, tau, negatives, taus in HEADS
    )  # fmt: skip


@pytest.mark.parametrize(("beta", "expected"), [(0, -3.35), (0.1, -3.238629), (1, -2.236294)])
def test_the_loss_of_two_heads(beta, expected):
    assert total(beta) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("form", "expected"), [("negatives", -1.861045), ("all", 0.969554)])
def test_the_sums_that_the_max_stands_for(form, expected):
    assert total(form=form) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("tau", "expected"), [(0.2, 1.781124), (0.4, 0.667419), (0.5, 0.613706)])
def test_the_regulariser(tau, expected):
    assert regulariser(torch.tensor(tau), 4).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("score", "width", "best"), [(0.8, 4, 0.1), (0.8, 128, 0.003125), (0.5, 128, 0.0078125)]
)
def test_the_best_temperature_of_a_positive(score, width, best):
    """At beta = 1: 2 (1 - s) / d, where the gradient is 0 and both sides are worse."""

    def of(tau):
        return -score / tau + regulariser(tau, width)

    tau = torch.tensor(best, dtype=torch.float64, requires_grad=True)
    of(tau).backward()
    assert tau.grad.item() == pytest.approx(0, abs=1e-6)
    assert of(tau) < min(of(tau.detach() * 0.9), of(tau.detach() * 1.1))


def test_with_a_small_beta_it_falls_without_end():
    values = [-0.8 / tau + 0.1 * regulariser(torch.tensor(tau), 128).item() for tau in (0.5, 0.05, 0.001)]
    assert values == pytest.approx([-5.836142, -33.172687, -744.209634], abs=1e-3)


def test_temperatures_stay_within_their_bounds():
    found = within(torch.tensor([0.0, -2, 3]), 1e-5, 2)
    torch.testing.assert_close(found, torch.tensor([1.000005, 0.238415, 1.905149]), atol=1e-6, rtol=0)


def test_what_is_masked_is_never_the_hardest():
    found = table_loss(
        torch.tensor([0.8]), torch.tensor([0.2]), torch.tensor([[0.9, 0.5]]), torch.tensor([[0.1, 0.4]]),
        torch.tensor([[False, True]]), 0.0, 4,
    )  # fmt: skip
    assert found.item() == pytest.approx(0.5 / 0.4 - 0.8 / 0.2)


def run_of(world, **params):
    spec = {**world.spec("amcl/faithful"), "params": params}
    return set_up(spec, train.load_materials(world.dataset, world.vectors, {}))


@pytest.mark.parametrize("form", ["hardest", "negatives", "all"])
def test_the_loss_of_a_batch_by_hand(world, form):
    run = run_of(world, heads=2, dimension=8, beta=0.5, low=0.1, form=form)
    example = _example(run, 0)
    batch, expected = example.batch, 0.0
    with torch.no_grad():
        for head in run.method.heads:
            queries = torch.nn.functional.normalize(head(batch.query_vectors), dim=1)
            documents = torch.nn.functional.normalize(head(batch.positive_vectors), dim=1)
            for i in range(8):
                others = [j for j in range(8) if example.scores.in_batch_mask[i, j]]
                tau = {
                    j: 0.1
                    + 1.9 / (1 + math.exp(-run.method.warmth(torch.cat([queries[i], documents[j]])).item()))
                    for j in [i, *others]
                }
                scaled = {j: float(queries[i] @ documents[j]) / tau[j] for j in [i, *others]}
                worst = max(others, key=lambda j: float(queries[i] @ documents[j]))
                summed = [scaled[j] for j in ([i, *others] if form == "all" else others)]
                push = scaled[worst] if form == "hardest" else math.log(sum(map(math.exp, summed)))
                omega = [1 / tau[j] + 4 * math.log(tau[j]) for j in (i, worst)]
                expected += (push - scaled[i] + 0.5 * (omega[0] - omega[1])) / 8
    assert run.method.faithful_loss(example).item() == pytest.approx(expected, rel=1e-4)


def test_temperatures_are_in_the_history(world):
    run = run_of(world)
    take_steps(run, 3)
    assert all(0.02 <= row[name] <= 2 for row in run.history for name in ("tau_positive", "tau_negative"))


@pytest.mark.parametrize("detach", [True, False])
def test_temperatures_give_the_encoder_a_gradient_only_if_asked(world, detach):
    run = run_of(world, detach=detach, heads=1)
    vectors = _example(run, 0).batch.query_vectors
    found = run.method._temperature(run.method.heads[0](vectors), run.method.heads[0](vectors)).sum()
    found.backward()
    assert (run.encoder.query.grad is None) is detach
    assert all(parameter.grad is not None for parameter in run.method.warmth.parameters())


def test_the_controlled_track_is_refused_with_the_reason():
    with pytest.raises(UserError) as told:
        load({"suite": "s", "datasets": {"scifact": None}, "methods": {"amcl": None}}, "s.yaml")
    assert str(told.value).endswith(
        "amcl can't be in the controlled track: its negatives are those of the batch, and all else is its loss; "
        "set `track: faithful`"
    )


def test_defaults_are_the_papers_but_for_the_temperatures():
    assert AMCL.Params().model_dump() == {
        "heads": 3, "dimension": 128, "beta": 0.1, "low": 0.02, "high": 2.0, "detach": True, "form": "hardest",
    }  # fmt: skip
