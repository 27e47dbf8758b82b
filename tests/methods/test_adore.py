"""ADORE against numbers that the released loss was run for, and its live search against brute force."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.methods.adore import ADORE
from negmark.methods.losses import adore_lambda
from negmark.methods.types import NO_DOCUMENT
from negmark.train.step import _example, one_step
from world import take_steps

SCORES, LABELS = [3.0, 2.0, 1.0], [0, 1, 0]


def loss_of(scores=SCORES, labels=LABELS, cut=None, used=None):
    relevant = torch.tensor([labels], dtype=torch.bool)
    used = torch.ones_like(relevant) if used is None else torch.tensor([used], dtype=torch.bool)
    return adore_lambda(torch.as_tensor(scores)[None], relevant, used, cut)


def by_loops(scores, labels, cut=None):
    """The formula, pair by pair, in double precision."""
    gain = [1 / (place + 1) if cut is None or place < cut else 0.0 for place in range(len(scores))]
    pairs = [
        abs(gain[a] - gain[b]) * np.logaddexp(0, scores[b] - scores[a])
        for a in range(len(scores))
        for b in range(len(scores))
        if labels[a] and not labels[b]
    ]
    return sum(pairs) / len(pairs) if pairs else 0.0


@pytest.mark.parametrize(
    ("cut", "expected"), [(None, 0.354421), (200, 0.354421), (3, 0.354421), (2, 0.406631), (1, 0.656631)]
)
def test_released_loss(cut, expected):
    assert loss_of(cut=cut).item() == pytest.approx(expected, abs=1e-6)


def test_released_gradient():
    scores = torch.tensor(SCORES, requires_grad=True)
    loss_of(scores).backward()
    np.testing.assert_allclose(scores.grad, [0.182765, -0.205176, 0.022412], atol=1e-6)
    assert scores.grad.sum().item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(("cut", "expected"), [(3, 1.251430), (4, 0.813565), (None, 0.813565)])
def test_released_loss_of_an_appended_positive(cut, expected):
    assert loss_of([*SCORES, 0.5], [0, 0, 0, 1], cut).item() == pytest.approx(expected, abs=1e-6)


def test_a_gap_whose_exponential_has_no_float_stays_finite():
    """The released code is NaN here, by inf * 0."""
    scores = torch.tensor([103.0, 2.0, 1.0], requires_grad=True)
    loss = loss_of(scores)
    loss.backward()
    assert loss.item() == pytest.approx(by_loops([103.0, 2.0, 1.0], LABELS), rel=1e-6)
    assert torch.isfinite(scores.grad).all()


def test_places_not_in_use_change_nothing_whatever_they_hold():
    scores = torch.tensor([*SCORES, torch.inf, torch.nan], requires_grad=True)
    loss = loss_of(scores, [*LABELS, 0, 1], used=[1, 1, 1, 0, 0])
    loss.backward()
    assert loss.item() == pytest.approx(0.354421, abs=1e-6)
    assert (scores.grad[3:] == 0).all()


@pytest.mark.parametrize("cut", [None, 7])
def test_lists_with_many_positives_are_averaged_over_queries(cut):
    generator = np.random.default_rng(1)
    scores, labels = generator.normal(size=(6, 20)) * 3, generator.random((6, 20)) < 0.3
    labels[4], labels[5] = False, True  # no pair at all: they count as queries of loss 0
    found = adore_lambda(
        torch.from_numpy(scores), torch.from_numpy(labels), torch.ones(6, 20, dtype=torch.bool), cut
    )
    expected = np.mean([by_loops(*row, cut) for row in zip(scores, labels, strict=True)])
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_no_label_anywhere_gives_zero():
    scores = torch.tensor(SCORES, requires_grad=True)
    loss = loss_of(scores, [0, 0, 0])
    loss.backward()
    assert loss.item() == 0


def test_negatives_of_equal_rank_gain_may_be_permuted():
    """Behind the cut all gains are 0, so the order of negatives there is of no matter."""
    one, other = [5.0, 4.0, 3.0, 2.0, 1.0], [5.0, 4.0, 1.0, 3.0, 2.0]
    labels = [0, 1, 0, 0, 0]
    assert loss_of(one, labels, 2).item() == pytest.approx(loss_of(other, labels, 2).item(), rel=1e-6)


def test_defaults_are_the_readmes():
    assert ADORE.Params().model_dump() == {"refresh_steps": 100, "depth": 200, "cut": 200}


def brute_force(run, batch, documents, encoder=None):
    """Rows of all documents, best first, by the vectors as they are now, or with the documents of another encoder."""
    vectors = (encoder or run.encoder).documents(np.arange(documents))
    return (-(batch.query_vectors @ vectors.T)).argsort(dim=1, stable=True).numpy()


def refreshing(world, every, **training):
    run = world.run("adore", **training)
    run.method.params = ADORE.Params(refresh_steps=every)
    return run


@pytest.mark.parametrize("name", ["adore", "adore/faithful"])
def test_negatives_are_the_best_unlabelled_of_the_moment(name, world):
    """In the controlled track with the corpus encoded at every step."""
    run = world.run(name, learning_rate=0.1) if "/" in name else refreshing(world, 1, learning_rate=0.1)
    run.method.refresh(0)
    at_first = brute_force(run, _example(run, 2).batch, world.documents)
    for step in range(3):
        run.method.refresh(step)
        example = _example(run, step)
        order = brute_force(run, example.batch, world.documents)
        for query, row, found in zip(example.batch.queries, order, example.negatives.ids, strict=True):
            assert (
                found.tolist()
                == [document for document in row if (query, document) not in world.positives][:4]
            )
        one_step(run, step, keep_scores=False)
    assert (order[:, :4] != at_first[:, :4]).any()  # else a search of the untrained vectors would pass


@pytest.mark.parametrize(("every", "refreshes"), [(1, 3), (2, 2), (100, 1)])
def test_controlled_trains_both_towers_and_encodes_the_corpus_when_it_is_due(world, every, refreshes):
    run = refreshing(world, every)
    take_steps(run, 3)
    assert run.method.trained_towers() == {"query", "document"}
    assert run.services.counters.refreshes == refreshes
    assert run.services.counters.searches == 24


def test_between_refreshes_todays_queries_search_the_documents_of_the_last_one(world):
    run = refreshing(world, 2, learning_rate=0.1)
    differs = 0
    for step in range(4):
        if step % 2 == 0:
            encoded = copy.deepcopy(run.encoder)
        run.encoder.begin(run.seed, step)
        run.method.refresh(step)
        example = _example(run, step)
        today = brute_force(run, example.batch, world.documents)
        then = brute_force(run, example.batch, world.documents, encoded)
        for query, row, found in zip(example.batch.queries, then, example.negatives.ids, strict=True):
            free = [document for document in row if (query, document) not in world.positives]
            assert found.tolist() == free[:4]
        differs += step % 2 and int((today[:, :4] != then[:, :4]).sum())
        one_step(run, step, keep_scores=False)
    assert differs > 0


def test_faithful_leaves_documents_as_they_were_and_encodes_the_corpus_once(world):
    run = world.run("adore/faithful")
    before = {name: value.detach().clone() for name, value in run.encoder.named_parameters()}
    take_steps(run, 4)
    assert run.method.trained_towers() == {"query"}
    assert torch.equal(run.encoder.document, before["document"])
    assert not torch.equal(run.encoder.query, before["query"])
    assert run.services.counters.refreshes == 1
    assert run.services.counters.searches == 32


def loss_by_loops(run, example, world, depth, cut):
    order = brute_force(run, example.batch, world.documents)
    total, appended = 0.0, 0
    for place, query in enumerate(example.batch.queries.tolist()):
        listed = order[place, :depth].tolist()
        if not any((query, document) in world.positives for document in listed):
            listed += sorted(document for asked, document in world.positives if asked == query)
            appended += 1
        logits = (example.batch.query_vectors[place] @ run.encoder.documents(np.array(listed)).T) / 0.05
        labels = [(query, document) in world.positives for document in listed]
        total += by_loops(logits.tolist(), labels, cut)
    return total / len(order), appended


@pytest.mark.parametrize(("depth", "cut"), [(200, 200), (10, 10), (10, None), (3, 3), (1, 1)])
def test_faithful_loss_is_that_of_the_retrieved_list(world, depth, cut):
    run = world.run("adore/faithful", batch_size=30)
    with torch.no_grad():
        run.encoder.query.copy_(run.encoder.query.roll(1, dims=0))  # a poor start
    run.method.params = ADORE.Params(depth=depth, cut=cut)
    example = _example(run, 0)
    expected, appended = loss_by_loops(run, example, world, depth, cut)
    assert (appended > 5) == (depth < 60)
    loss = run.method.faithful_loss(example)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    loss.backward()
    assert run.encoder.query.grad.abs().sum() > 0
    assert run.encoder.document.grad is None


def test_faithful_gradient_goes_through_the_query_alone(world):
    """Against autograd through the whole matrix of scores, with the ranks held."""
    run = world.run("adore/faithful")
    example = _example(run, 0)
    vectors = run.encoder.documents(np.arange(world.documents)).detach()
    logits = example.batch.query_vectors @ vectors.T / 0.05
    order = torch.from_numpy(brute_force(run, example.batch, world.documents))
    labels = torch.from_numpy(run.labels.is_positive(example.batch.queries, order.numpy()))
    ranks = torch.arange(1, world.documents + 1).double()
    y = logits.gather(1, order).double()
    weights = (1 / ranks[:, None] - 1 / ranks[None]).abs() * (labels[:, :, None] & ~labels[:, None])
    each = weights * functional.softplus(y[:, None] - y[:, :, None])
    counts = (labels.sum(1) * (~labels).sum(1)).double()
    expected = torch.autograd.grad((each.sum((1, 2)) / counts).mean(), run.encoder.query, retain_graph=True)[
        0
    ]
    found = torch.autograd.grad(run.method.faithful_loss(example), run.encoder.query)[0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_a_list_of_positives_alone_leaves_places_empty(tiny_world):
    run = tiny_world.run("adore", batch_size=6, negatives=4)
    ((batch, negatives),) = take_steps(run, 1)
    for query, row in zip(batch.queries.tolist(), negatives.ids.tolist(), strict=True):
        labelled = {document for asked, document in tiny_world.positives if asked == query}
        assert [document for document in row if document != NO_DOCUMENT] == row[: 5 - len(labelled)]
        assert set(row) - {NO_DOCUMENT} == set(range(5)) - labelled


def test_faithful_learns_to_rank(world):
    run = world.run("adore/faithful", steps=40, batch_size=30)
    with torch.no_grad():
        run.encoder.query.copy_(run.encoder.query.roll(1, dims=0))  # a poor start
    take_steps(run, 40)
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
