"""BUIR against numbers of its sheet, two of which the released class gives too."""

import pytest
import torch
from torch import nn

from negmark.core.errors import UserError
from negmark.methods.buir import BUIR, both_ways, started
from negmark.methods.scale import mean_cosine
from negmark.methods.without_negatives import Cosines
from negmark.suite.checks import load
from negmark.train.step import _example, one_step
from world import take_steps, write_world

HALF = torch.tensor([[0.5**0.5, 0.5**0.5]])
FIRST = torch.tensor([[1.0, 0.0]])


@pytest.mark.parametrize(("documents", "expected"), [(FIRST, 1.171573), (HALF, 0.0)])
def test_the_loss_with_targets_equal_to_the_towers(documents, expected):
    assert both_ways(HALF, documents, HALF, documents).item() == pytest.approx(expected, abs=1e-5)


def predictor():
    made = nn.Linear(2, 2)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
        made.bias.copy_(torch.tensor([0.1, 0.0]))
    return made


def test_the_loss_with_a_predictor_is_that_of_the_released_class():
    made = predictor()
    query, document = made(torch.tensor([[2.0, 0.0]])), made(torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(query, torch.tensor([[2.1, 0.0]]))
    torch.testing.assert_close(document, torch.tensor([[0.6, 1.0]]))
    targets = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 2.0]])
    assert both_ways(query, document, *targets).item() == pytest.approx(1.165288, abs=1e-6)
    first = both_ways(query, targets[0], targets[0], targets[1]).item()
    assert first == pytest.approx(1.105573, abs=1e-6)


def test_the_score_of_the_code_is_an_inner_product_of_twice_the_width():
    made = predictor()
    query, document = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    score = made(query) @ document + query @ made(document)
    assert score.item() == pytest.approx(1.2, abs=1e-6)
    assert (torch.cat([made(query), query]) @ torch.cat([document, made(document)])).item() == pytest.approx(
        1.2
    )


def test_targets_get_no_gradient():
    parts = [
        torch.randn(3, 2, generator=torch.Generator().manual_seed(1), requires_grad=True) for _ in range(4)
    ]
    both_ways(*parts).backward()
    assert all(part.grad is not None for part in parts[:2])
    assert all(part.grad is None for part in parts[2:])


def test_the_first_loss_is_that_of_the_towers_themselves(world):
    """Targets equal the towers and the predictor is the identity: 4 (1 - cos) of each pair."""
    run = world.run("buir/faithful")
    run.method.refresh(0)
    example = _example(run, 0)
    expected = (4 - 4 * example.scores.positive).mean()
    torch.testing.assert_close(run.method.faithful_loss(example), expected)


def test_predictors_start_as_asked():
    assert torch.equal(started(nn.Linear(3, 3), "identity").weight, torch.eye(3))
    torch.manual_seed(0)
    drawn = started(nn.Linear(300, 300), "xavier")
    assert drawn.bias.std().item() == pytest.approx(1, abs=0.1)
    assert drawn.weight.std().item() == pytest.approx((2 / 600) ** 0.5, rel=0.05)


def test_a_collapse_shows():
    assert mean_cosine(FIRST.repeat(5, 1)) == pytest.approx(1)
    assert mean_cosine(torch.eye(4)) == pytest.approx(0)
    assert mean_cosine(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-1)


@pytest.mark.parametrize("name", ["buir", "w_mse"])
def test_a_row_that_collapsed_says_so_also_when_it_was_resumed(name, world, tmp_path):
    fallen = write_world(tmp_path, change=one_vector).run(f"{name}/faithful")
    run = world.run(f"{name}/faithful")
    for each in (fallen, run):
        take_steps(each, 4)
    assert run.method.idle() == ""
    words = "all vectors fell together: queries of its last batches had a mean cosine of 1.000"
    assert fallen.method.idle() == words
    resumed = world.run(f"{name}/faithful")
    assert resumed.method.idle() == ""
    resumed.method.load_state_dict(fallen.method.state_dict())
    assert resumed.method.idle() == words


def one_vector(documents, queries, labels):
    for side in (documents, queries):
        side[:] = side[:1]


def test_a_collapse_is_of_the_last_steps_alone():
    cosines = Cosines()
    for vectors in [torch.eye(4)] * 5 + [FIRST[:1].repeat(5, 1)] * 10:
        cosines.add(vectors)
    assert cosines.collapse()
    cosines.add(torch.eye(4))
    assert not cosines.collapse()


def test_the_history_has_the_mean_cosine_and_no_negative(world):
    run = world.run("buir/faithful")
    take_steps(run, 3)
    assert all(-1 <= row["mean_cosine"] <= 1 for row in run.history)
    assert {row["negative_score"] for row in run.history} == {None}


def test_targets_are_counted_as_cost(world):
    run = world.run("buir/faithful")
    for step in range(3):
        one_step(run, step, keep_scores=False)
    assert run.services.counters.extra_vectors == 3 * 2 * 8
    assert run.services.counters.network_forwards == 3 * 2 * 8


@pytest.mark.parametrize("name", ["buir", "w_mse"])
def test_the_controlled_track_is_refused_with_the_reason(name):
    with pytest.raises(UserError) as told:
        load({"suite": "s", "datasets": {"scifact": None}, "methods": {name: None}}, "s.yaml")
    assert str(told.value) == (
        f"s.yaml: methods.{name}: this row of {name} can't be in the controlled track: it has no negatives, which are "
        "all that rows differ in there; set `track: faithful`"
    )


def test_defaults_are_the_codes_but_for_the_predictor():
    assert BUIR.Params().model_dump() == {"momentum": 0.995, "predictor": "identity"}
