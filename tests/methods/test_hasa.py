"""HaSa against numbers of its sheet, as the paper means it, and what graph and weights do in a run."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.core.errors import UserError
from negmark.methods.hasa import HaSa, less_neighbours, log_hardness
from negmark.methods.types import NO_DOCUMENT
from negmark.suite.checks import load
from negmark.train import train
from negmark.train.run import set_up
from negmark.train.step import _example
from world import take_steps, write_world

NEGATIVES = torch.tensor([[0.5, 0.3, 0.1]])


def loss(prior, near=(0.6,), sharpness=1.0, floor=None, positive=0.8):
    found = torch.tensor([near])
    every = torch.ones(1, 3, dtype=torch.bool), torch.ones_like(found, dtype=torch.bool)
    return less_neighbours(
        torch.tensor([positive]), NEGATIVES, every[0], found, every[1], prior, sharpness, floor
    )


@pytest.mark.parametrize(
    ("prior", "near", "expected"),
    [(0.0, (0.6,), 1.062162), (0.1, (0.6,), 1.040276), (0.5, (0.6,), 0.845458), (0.9, (0.6,), 0.0),
     (0.1, (0.6, 0.2), 1.052955)],
)  # fmt: skip
def test_the_loss_as_the_paper_means_it(prior, near, expected):
    assert loss(prior, near).item() == pytest.approx(expected, abs=1e-5)


def test_the_masses_by_hand():
    weights = NEGATIVES.softmax(dim=1)
    torch.testing.assert_close(weights, torch.tensor([[0.401760, 0.328933, 0.269307]]), atol=1e-6, rtol=0)
    assert (weights * NEGATIVES.exp()).sum().item() == pytest.approx(1.404033, abs=1e-6)
    near = torch.tensor([0.6, 0.2])
    assert near[0].exp().item() == pytest.approx(1.822119, abs=1e-6)
    assert (near.softmax(dim=0) * near.exp()).sum().item() == pytest.approx(1.581044, abs=1e-6)
    torch.testing.assert_close(
        log_hardness(NEGATIVES, torch.ones(1, 3, dtype=torch.bool), 1.0).exp(), 3 * weights
    )


def test_uniform_weights_and_nothing_taken_off_is_info_nce():
    assert loss(0.0, sharpness=0.0).item() == pytest.approx(1.045188, abs=1e-5)
    logits = torch.cat([torch.tensor([[0.8]]), NEGATIVES], dim=1)
    assert functional.cross_entropy(logits, torch.zeros(1, dtype=torch.long)).item() == pytest.approx(
        1.045188, abs=1e-5
    )


SCORES = torch.tensor([[0.8, 0.2, 0.1, 0.0, 0.5, 0.3], [0.7, 0.1, 0.0, 0.3, 0.4, 0.6]])
"""Of two queries: their own tail first, then the other's, both heads, both hard ones."""
NEAR = torch.tensor([[0.6, 0.2], [0.5, 0.1]])


def released(prior, count):
    """The released loss: a margin of 1, weights by scores of unit length with -10 for the tail, no floor but 0.

    The tail takes part in the weights alone.
    """
    weights = functional.normalize(SCORES, dim=1)
    weights[:, 0] = -10
    mass = (weights.softmax(dim=1) * SCORES.exp())[:, 1:].sum(dim=1)
    near = (functional.normalize(NEAR, dim=1).softmax(dim=1) * NEAR.exp()).sum(dim=1)
    rest = count / (1 - prior) * (mass - prior * near).clamp(min=0)
    return (1 + rest / (SCORES[:, 0] - 1).exp()).log().mean().item()


@pytest.mark.parametrize(("count", "expected"), [(3, 1.816754), (5, 2.260082)])
def test_the_released_loss_by_its_numbers(count, expected):
    """3, the dimension of the example, is the code's N; 5, the columns but for the tail, is meant."""
    assert released(0.1, count) == pytest.approx(expected, abs=1e-5)


def test_it_is_ours_but_for_margin_and_weights():
    """With its margin and each row's weights as flat as unit length makes them, and nothing taken off."""
    every, none = torch.ones(1, 5, dtype=torch.bool), torch.zeros(1, 2, dtype=torch.bool)
    rows = [
        less_neighbours(row[:1] - 1, row[None, 1:], every, near[None], none, 0.1, 1 / row.norm().item())
        for row, near in zip(SCORES, NEAR, strict=True)
    ]
    assert torch.cat(rows).mean().item() == pytest.approx(released(0.0, 5), abs=1e-4)


def test_the_floor_holds_what_is_left():
    assert loss(0.9, floor=-1.0).item() == pytest.approx(np.log1p(3 * np.exp(-1) / np.exp(0.8)), abs=1e-6)


def test_without_a_neighbour_nothing_is_taken_off_and_without_a_column_there_is_no_loss():
    none = torch.zeros(1, 1, dtype=torch.bool)
    every, positive, near = torch.ones(1, 3, dtype=torch.bool), torch.tensor([0.8]), torch.tensor([[0.6]])
    assert less_neighbours(positive, NEGATIVES, every, near, none, 0.5).item() == pytest.approx(
        1.062162, abs=1e-5
    )
    assert less_neighbours(positive, NEGATIVES, ~every, near, ~none, 0.5).item() == 0


def test_weights_have_no_gradient_and_neighbours_have_one():
    """The neighbour is pulled: to lower its part of the sum would raise the loss."""
    negatives, near = NEGATIVES.clone().requires_grad_(), torch.tensor([[0.6]], requires_grad=True)
    every, has = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool)
    less_neighbours(torch.tensor([0.8]), negatives, every, near, has, 0.1).sum().backward()
    assert near.grad.item() < 0
    weights = 3 * NEGATIVES.softmax(dim=1) * NEGATIVES.exp()
    torch.testing.assert_close(negatives.grad / negatives.grad.sum(), weights / weights.sum())


def run_of(world, track="controlled", **params):
    spec = {**world.spec(f"hasa/{track}"), "params": params}
    return set_up(spec, train.load_materials(world.dataset, world.vectors, {}))


def test_in_the_controlled_track_the_hardest_weigh_by_their_logits(world):
    run = run_of(world, sharpness=0.5)
    run.method.refresh(0)
    scores = _example(run, 0).scores
    used = scores.negatives_mask
    logits = (0.5 * scores.negatives.detach() / 0.05).masked_fill(~used, -torch.inf)
    expected = logits.softmax(dim=1) * used.sum(dim=1, keepdim=True)
    torch.testing.assert_close(scores.weights[used], expected[used], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        (scores.weights * used).sum(dim=1), used.sum(dim=1).float(), atol=1e-3, rtol=1e-4
    )


def test_neighbours_are_within_reach_and_never_positive(world):
    run = run_of(world, "faithful", hops=2, false=2)
    run.method.refresh(0)
    some = 0
    for step in range(4):
        example = _example(run, step)
        near = run.method._near(example.batch, example.negatives.ids)
        assert near.shape == (8, 2)
        for query, positive, row in zip(
            example.batch.queries.tolist(), example.batch.positives.tolist(), near.tolist(), strict=True
        ):
            found = [each for each in row if each != NO_DOCUMENT]
            some += len(found)
            assert set(found) <= {positive + 1, positive + 2}, "each document's synonym is the next one"
            assert not {(query, each) for each in found} & world.positives
    assert some > 20


def test_a_hard_neighbour_is_taken_first(world):
    run = run_of(world, "faithful", hops=2, false=1)
    run.method.refresh(0)
    batch = _example(run, 0).batch
    for shift in (1, 2):
        hard = (batch.positives + shift)[:, None]
        near = run.method._near(batch, hard)
        free = ~run.services.is_positive(batch.queries, hard)[:, 0] & (hard[:, 0] < world.documents)
        assert (near[free, 0] == hard[free, 0]).all()
        assert free.any()


def test_the_faithful_loss_has_everybodys_hard_documents(world):
    run = run_of(world, "faithful")
    given = take_steps(run, 2)
    assert all(negatives.ids.shape == (8, 3) for _, negatives in given)
    assert run.history[0]["with_neighbours"] > 0.5
    assert run.method.idle() == ""


@pytest.mark.parametrize(
    ("track", "params", "words"),
    [
        ("controlled", {"sharpness": 0.0}, "all negatives weighed alike, as `sharpness` is 0"),
        ("controlled", {}, ""),
        ("faithful", {"prior": 0.0}, "nothing was taken off, as `prior` is 0"),
    ],
)
def test_a_row_that_is_not_the_method_says_so_and_no_such_value_is_tried(track, params, words, world):
    run = run_of(world, track, **params)
    take_steps(run, 2)
    assert run.method.idle() == words
    assert run.method.state_dict()["taken_off"] == 0
    for name, value in params.items():
        assert value not in HaSa.space(HaSa.Params(), track)[name].values


def test_a_dataset_without_relations_is_refused_in_one_line(tmp_path):
    world = write_world(tmp_path, related=False)
    with pytest.raises(UserError) as told:
        run_of(world, "faithful")
    assert str(told.value).startswith(
        "methods.hasa: hasa needs relations between documents, and dataset has none"
    )
    assert "\n" not in str(told.value)
    assert run_of(world)


def test_a_known_dataset_without_relations_is_refused_before_anything_runs():
    config = {"suite": "s", "datasets": {"scifact": None}, "methods": {"hasa": {"track": "faithful"}}}
    with pytest.raises(UserError) as told:
        load(config, "s.yaml")
    assert str(told.value) == (
        "s.yaml: methods.hasa: hasa needs relations between documents, and scifact has none; train it on wordnet or "
        "icd10cm, or on your own folder with a graph.tsv, or remove the row"
    )
    assert load({**config, "methods": {"hasa": None}}, "s.yaml")
    suite = load({**config, "datasets": {"icd10cm": None}}, "s.yaml")
    assert suite.rows["hasa"].needs_graph


def test_a_method_that_needs_no_graph_may_not_ask_for_neighbours(world):
    with pytest.raises(PermissionError, match="only a row with `needs_graph` may ask"):
        run_of(world).services.neighbours(np.array([0]))


def test_defaults():
    assert HaSa.Params().model_dump() == {
        "refresh_steps": 100, "sharpness": 1.0, "prior": 0.01, "false": 3, "hops": 2,
    }  # fmt: skip
