"""Hardness weights against worked numbers, the released code's lines and sentence-transformers' loss."""

from types import SimpleNamespace

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.nn import functional

from negmark.methods import losses
from negmark.methods.hardness import Hardness, weights
from negmark.methods.types import Scores
from negmark.train.step import _example
from steps import scores_of, step_of, step_of_vectors
from world import take_steps

SQUARE = [[0.8, 0.5], [0.2, 0.6]]
APART = ~torch.eye(2, dtype=torch.bool)


def method(track="controlled", **params):
    return Hardness(Hardness.Params(**params), SimpleNamespace(track=track))


def loss_of(scores, temperature, track="controlled", **params):
    """The loss of a step whose negatives are weighed, as the loop takes it."""
    made = method(track, **params)
    step = step_of(scores, temperature)
    step = step_of(made.weighed(step), temperature)
    return (made.faithful_loss(step) if track == "faithful" else made.loss(step)).item()


@pytest.mark.parametrize(("alpha", "expected"), [(9.0, 1.704154), (None, 1.704154), (0.5, 0.064649)])
def test_in_batch_weights_by_hand(alpha, expected):
    """e^8 against e^{5 + .5 alpha}, e^{2 + .2 alpha} and e^{-1 - .1 alpha}; .051063 without weights."""
    assert loss_of(scores_of([0.8], [[0.5, 0.2, -0.1]]), 0.1, alpha=alpha) == pytest.approx(
        expected, abs=1e-6
    )


def test_the_given_one_alone_is_weighed_by_hand():
    """e^8 against e^{6 + 5 (.6)}, e^5 and e^2; .171935 without a weight."""
    scores = scores_of([0.8], [[0.5, 0.2]], [[0.6]])
    assert loss_of(scores, 0.1, of="given") == pytest.approx(1.327220, abs=1e-6)
    assert losses.info_nce(scores, 0.1).item() == pytest.approx(0.171935, abs=1e-6)


def test_llaves_loss_has_both_directions_by_hand():
    scores = scores_of([0.8, 0.6], SQUARE, in_batch_mask=APART)
    assert loss_of(scores, 0.02, "faithful") == pytest.approx(0.118526, abs=1e-6)
    assert loss_of(scores, 0.1, "faithful") == pytest.approx(1.337783, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 9.0])
def test_llaves_loss_is_the_released_codes(alpha):
    """WeightedClipLoss.forward on one process: alpha times the cosine on all logits but the labels'."""
    made = torch.Generator().manual_seed(3)
    queries, documents = (
        functional.normalize(torch.randn(6, 4, generator=made, dtype=torch.float64), dim=1) for _ in range(2)
    )
    logits, labels = 50 * queries @ documents.T, torch.arange(6)
    total = 0
    for each in (logits, logits.T):
        extra = (alpha * each / 50).scatter(1, labels[:, None], 0.0)
        total += functional.cross_entropy(each + extra, labels) / 2
    step = step_of_vectors(queries.tolist(), documents.tolist(), 0.02)
    assert loss_of(step.scores, 0.02, "faithful", alpha=alpha) == pytest.approx(total.item(), rel=1e-9)


def vectors(kinds, size=5, dimension=6, seed=1):
    made = torch.Generator().manual_seed(seed)
    return [
        functional.normalize(torch.randn(size, dimension, generator=made, dtype=torch.float64), dim=1)
        for _ in range(kinds)
    ]


@pytest.mark.parametrize("alpha", [0.5, 5.0, 9.0])
@pytest.mark.parametrize(
    ("of", "mode", "given"),
    [
        ("in_batch", "in_batch_negatives", 0),
        ("given", "hard_negatives", 1),
        ("given", "hard_negatives", 3),
        ("all", "all_negatives", 0),
        ("all", "all_negatives", 2),
    ],
)
def test_values_and_gradients_are_those_of_sentence_transformers(of, mode, given, alpha):
    """There other queries' hard negatives are in the denominator too: weighed in `all_negatives`, else not."""
    embeddings = [each.requires_grad_() for each in vectors(2 + given)]
    loss = MultipleNegativesRankingLoss(None, scale=20.0, hardness_mode=mode, hardness_strength=alpha)
    theirs = loss.compute_loss_from_embeddings(embeddings, None)
    wanted = torch.autograd.grad(theirs, embeddings)

    queries, documents, *others = (functional.normalize(each, dim=1) for each in embeddings)  # as theirs does
    matrix = queries @ documents.T
    apart = ~torch.eye(5, dtype=torch.bool)
    own = torch.stack([(queries * each).sum(dim=1) for each in others], dim=1) if given else matrix[:, :0]
    shared = torch.cat([queries @ each.T for each in others], dim=1) if given else matrix[:, :0]
    usable = apart.repeat(1, given)
    weighed_alike = of == "all"
    columns = torch.cat([own, shared], dim=1) if weighed_alike else own
    mask = torch.cat([torch.ones_like(own, dtype=torch.bool), usable], dim=1)[:, : columns.shape[1]]
    scores = Scores(matrix.diagonal(), matrix, apart, columns, mask, None)
    scores = method(of=of, alpha=alpha).weighed(step_of(scores, 0.05))
    if given and not weighed_alike:
        scores = losses.with_more(scores, shared, usable)
    ours = losses.info_nce(scores, 0.05)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    for one, other in zip(torch.autograd.grad(ours, embeddings), wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_a_weight_has_no_gradient_of_its_own():
    """The hardest negative has p / t, p its share of the softmax: 8.153366 at t = .1."""
    scores = scores_of([0.8], [[0.5, 0.2, -0.1]], grad=True)
    made = method()
    made.loss(step_of(made.weighed(step_of(scores, 0.1)), 0.1)).backward()
    assert scores.in_batch.grad[0, 0].item() == pytest.approx(8.153366, abs=1e-5)


def test_embeddinggemmas_recipe_has_one_hard_negative_and_the_spread_of_both_sides(world):
    run = world.run("hardness/faithful", params={"of": "given"})
    example = _example(run, 0)
    assert example.negatives.ids.shape[1] == 1
    scores, sides = example.scores, (example.batch.query_vectors, example.batch.positive_vectors)
    torch.testing.assert_close(scores.weights, (5 * scores.negatives).exp().detach())
    assert scores.in_batch_weights is None
    apart = ~torch.eye(8, dtype=torch.bool)
    spread = sum((each @ each.T)[apart].square().mean() for each in sides)
    expected = losses.info_nce(scores, 0.05) + spread
    assert run.method.faithful_loss(example).item() == pytest.approx(expected.item(), rel=1e-5)


def test_defaults_are_the_papers_and_each_kind_has_its_own():
    cosines = torch.tensor([[0.5]])
    for of, alpha in (("in_batch", 9), ("given", 5), ("all", 5)):
        made = method(of=of)
        weighed = made.weighed(step_of(scores_of([0.8], [[0.5]], [[0.5]]), 0.1))
        for name, used in (("in_batch_weights", of != "given"), ("weights", of != "in_batch")):
            found = getattr(weighed, name)
            assert (found is not None) == used
            assert found is None or found.item() == pytest.approx(weights(cosines, alpha).item())


def test_rows_differ_from_the_baselines_in_the_weight_alone(world):
    for name, params, other in (
        ("hardness", {}, "inbatch"),
        ("hardness", {"of": "given"}, "dense_uniform"),
        ("hardness", {"of": "all"}, "dense_uniform"),
    ):
        pairs = zip(
            take_steps(world.run(name, row="same", params=params), 1),
            take_steps(world.run(other, row="same"), 1),
            strict=True,
        )
        for (_, mine), (_, theirs) in pairs:
            assert (mine.ids is None) == (theirs.ids is None)
            assert mine.ids is None or (mine.ids == theirs.ids).all()


def test_no_paper_weighs_both():
    assert Hardness.refusal(Hardness.Params(of="all"), "faithful")
    assert not Hardness.refusal(Hardness.Params(of="all"), "controlled")
    assert Hardness.drawn_from(Hardness.Params(), "controlled") is None
    assert Hardness.drawn_from(Hardness.Params(of="given"), "controlled") == 200
