"""The mask by one's own scores, and what else is in the denominator, against worked numbers."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from negmark.methods import losses
from negmark.methods.self_guided import SelfGuided, too_good
from negmark.train.step import _example
from steps import scores_of, step_of, step_of_vectors
from world import take_steps


def method(chance=0.0, track="controlled", **params):
    services = SimpleNamespace(
        track=track,
        chance=lambda: chance,
        is_positive=lambda queries, documents: (
            queries[:, None] == np.broadcast_to(documents, (len(queries), documents.shape[1]))
        ),
    )
    return SelfGuided(SelfGuided.Params(**params), services)


def test_what_is_clearly_better_is_crossed_out_and_what_meets_the_limit_stays():
    """The positive at .25 and a margin of .125: .375 stays, in either kind."""
    found = too_good(torch.tensor([[0.376, 0.375, 0.9, -1.0]]), torch.tensor([0.25]), 0.125)
    assert found.tolist() == [[True, False, True, False]]
    scores = scores_of([0.25], [[0.5, 0.375]], [[0.25, 0.376]])
    made = method(margin=0.125)
    kept = made.weighed(step_of(scores, 0.1))
    assert kept.in_batch_mask.tolist() == [[False, True]]
    assert kept.negatives_mask.tolist() == [[True, False]]
    assert made.masked.tolist() == [4, 2]
    assert made.telemetry() == {"masked_share": 0.5}
    assert made.idle() == ""


def test_the_loss_is_that_without_the_crossed_out_by_hand():
    """e^5 against e^{5.9} and e^2: .61 is more than .1 above .5, .59 is not."""
    made = method()
    step = step_of(scores_of([0.5], [[0.61, 0.2]], [[0.59]]), 0.1)
    loss = made.loss(step_of(made.weighed(step), 0.1)).item()
    assert loss == pytest.approx(math.log(math.e**5 + math.e**5.9 + math.e**2) - 5)


def test_places_out_of_use_stay_so_and_arent_counted():
    made = method()
    scores = scores_of([0.5], [[0.9, 0.2]], in_batch_mask=torch.tensor([[False, True]]))
    assert made.weighed(step_of(scores, 0.1)).in_batch_mask.tolist() == [[False, True]]
    assert made.masked.tolist() == [1, 0]
    assert made.idle() == "its mask crossed out none of 1 places"


@pytest.mark.parametrize(("chance", "better"), [(0.0, 0.61), (0.5, 0.56), (0.8, 0.53)])
def test_the_margin_is_read_on_the_encoders_own_scale(chance, better):
    """Where random pairs have a cosine of .8, .02 is a tenth of what is left."""
    scores = scores_of([0.5], [[better - 0.02, better]])
    assert method(chance).weighed(step_of(scores, 0.1)).in_batch_mask.tolist() == [[True, False]]


QUERIES = [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("documents", "margin", "more"),
    [
        ([[0.8, 0.6], [0.28, 0.96]], 0.1, ([0.0, 0.8], [0.0, 0.8])),
        ([[0.8, 0.6], [0.6, 0.8]], 0.1, ([0.0], [0.0])),
        ([[0.8, 0.6], [0.6, 0.8]], 0.2, ([0.0, 0.96], [0.0, 0.96])),
    ],
)
def test_queries_and_documents_are_compared_and_masked_too_by_hand(documents, margin, more):
    """Two queries at a right angle; the documents are at .8 or .96 of each other, positives at .8 and more."""
    step = step_of_vectors(QUERIES, documents, 0.5)
    made = method(track="faithful", margin=margin)
    loss = made.faithful_loss(
        step_of(made.weighed(step), 0.5, vectors=(step.batch.query_vectors, step.batch.positive_vectors))
    ).item()
    expected = 0.0
    for row, extra in enumerate(more):
        own = documents[row][row]
        terms = [own, documents[1 - row][row], *extra]
        expected += (math.log(sum(math.exp(each / 0.5) for each in terms)) - own / 0.5) / 2
    assert loss == pytest.approx(expected, rel=1e-9)


def test_a_pair_of_a_labelled_positive_is_no_negative_in_any_block(world):
    run = world.run("self_guided/faithful", params={"margin": 9.0}, batch_size=30)
    example = _example(run, 0)
    batch = example.batch
    rows = list(zip(batch.queries.tolist(), batch.positives.tolist(), strict=True))
    apart = torch.tensor(
        [
            [
                i != j and not {(rows[i][0], rows[j][1]), (rows[j][0], rows[i][1])} & world.positives
                for j in range(30)
            ]
            for i in range(30)
        ]
    )
    assert not apart.all(dim=1).any()
    assert (~apart).sum() > 30  # else the labels make no difference
    scores = example.scores
    for each in (batch.query_vectors, batch.positive_vectors):
        scores = losses.with_more(scores, each @ each.T, apart)
    expected = losses.info_nce(scores, 0.05)
    assert run.method.faithful_loss(example).item() == pytest.approx(expected.item(), rel=1e-6)


def test_it_acts_in_a_run_and_what_it_counted_survives_a_restart(world):
    run = world.run("self_guided", params={"margin": 0.0})
    take_steps(run, 4)
    seen, dropped = run.method.masked.tolist()
    assert 0 < dropped < seen
    assert "masked_share" in run.history[-1]
    other = world.run("self_guided")
    other.method.load_state_dict(run.method.state_dict())
    assert other.method.idle() == ""
