"""GTE's joint softmax against worked numbers and sentence-transformers' loss."""

import math
from types import SimpleNamespace

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.nn import functional

from negmark.methods import losses
from negmark.methods.gte import GTE, SUMS
from negmark.train.run import set_up
from negmark.train.step import _example
from negmark.train.train import load_materials
from steps import step_of_vectors

QUERIES, DOCUMENTS = [[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.6], [0.28, 0.96]]
THEIRS = {
    "all": ("query_to_query", "doc_to_query", "doc_to_doc"),
    "within": ("query_to_query", "doc_to_doc"),
    "queries": ("query_to_query",),
    "documents": ("doc_to_doc",),
    "back": ("doc_to_query",),
    "forth": (),
}


def loss_of(queries, documents, temperature, **params):
    made = GTE(GTE.Params(**params), SimpleNamespace(track="faithful"))
    return made.faithful_loss(step_of_vectors(queries, documents, temperature)).item()


def test_two_pairs_by_hand():
    """Z_1 = 2 e^{1.6} + e^{.56} + e^0 + e^{1.2} + e^{1.6}: 1.441178, and 1.285415 of the second."""
    assert loss_of(QUERIES, DOCUMENTS, 0.5) == pytest.approx(1.363297, abs=1e-6)


@pytest.mark.parametrize("directions", SUMS)
def test_values_are_those_of_sentence_transformers(directions):
    made = torch.Generator().manual_seed(4)
    sides = [
        functional.normalize(torch.randn(7, 5, generator=made, dtype=torch.float64), dim=1) for _ in range(2)
    ]
    theirs = MultipleNegativesRankingLoss(None, scale=20.0, directions=("query_to_doc", *THEIRS[directions]))
    expected = theirs.compute_loss_from_embeddings(sides, None).item()
    found = loss_of(*(each.tolist() for each in sides), 0.05, directions=directions)
    assert found == pytest.approx(expected, rel=1e-12)


def test_pairs_of_labelled_positives_are_left_out(world):
    run = world.run("gte/faithful", batch_size=30)
    example = _example(run, 0)
    batch, vectors = example.batch, (example.batch.query_vectors, example.batch.positive_vectors)
    rows = list(zip(batch.queries.tolist(), batch.positives.tolist(), strict=True))

    def known(i, j):
        return (rows[i][0], rows[j][1]) in world.positives

    left_out, total = 0, 0.0
    for i in range(30):
        own = (vectors[0][i] @ vectors[1][i]).item()
        terms = [own, own]
        for j in range(30):
            if not known(i, j):
                terms.append((vectors[0][i] @ vectors[1][j]).item())
            if not known(j, i):
                terms.append((vectors[0][j] @ vectors[1][i]).item())
            if not (known(i, j) or known(j, i)):
                terms += [(each[i] @ each[j]).item() for each in vectors]
            left_out += i != j and known(i, j)
        total += (math.log(sum(math.exp(each / 0.05) for each in terms)) - own / 0.05) / 30
    assert left_out
    assert run.method.faithful_loss(example).item() == pytest.approx(total, rel=1e-4)


def test_it_may_be_lent_to_a_row_of_given_negatives(world):
    spec = {**world.spec("random/faithful"), "loss": {"method": "gte", "params": {}}}
    run = set_up(spec, load_materials(world.dataset, world.vectors, world.pools))
    example = _example(run, 0)
    assert example.negatives.ids.shape[1] == 4
    batch, scores = example.batch, example.scores
    apart = scores.in_batch_mask & scores.in_batch_mask.T
    for each in (batch.query_vectors, batch.positive_vectors):
        scores = losses.with_more(scores, each @ each.T, apart)
    back = scores.in_batch_mask.T | torch.eye(8, dtype=torch.bool)
    expected = losses.info_nce(losses.with_more(scores, scores.in_batch.T, back), 0.05)
    assert run.objective.faithful_loss(example).item() == pytest.approx(expected.item(), rel=1e-6)


def test_it_is_a_row_of_the_faithful_track_alone_and_says_where_it_is_info_nce():
    assert GTE.refusal(GTE.Params(), "controlled")
    assert not GTE.refusal(GTE.Params(), "faithful")
    services = SimpleNamespace(track="faithful")
    assert GTE(GTE.Params(), services).idle() == ""
    assert GTE(GTE.Params(directions="forth"), services).idle()
