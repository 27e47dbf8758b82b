"""MoCHi's mixtures against worked numbers, and what is mixed with what in a run."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.methods import losses
from negmark.methods.mochi import MoCHi, hardest, mixed, mixtures_of_pairs, mixtures_with_query
from negmark.train.step import _example
from steps import scores_of
from world import take_steps

QUERY = torch.tensor([1.0, 0.0], dtype=torch.float64)
ONE, TWO = torch.tensor([[0.8, 0.6], [0.6, -0.8]], dtype=torch.float64)
NOW = {"pairs_start": 0.0, "query_start": 0.0}


@pytest.mark.parametrize(("share", "cosine"), [(0.5, 0.989949), (0.3, 0.866622)])
def test_two_on_opposite_sides_mix_to_something_nearer_than_either(share, cosine):
    found = mixed(ONE, TWO, share)
    assert (QUERY @ found).item() == pytest.approx(cosine, abs=1e-6)
    by_formula = (share * 0.8 + (1 - share) * 0.6) / math.sqrt(share**2 + (1 - share) ** 2)
    assert (QUERY @ found).item() == pytest.approx(by_formula)
    if share == 0.5:
        assert found.tolist() == pytest.approx([0.989949, -0.141421], abs=1e-6)


def test_a_mixture_with_the_query_by_hand():
    found = mixed(QUERY, ONE, 0.4)
    assert found.tolist() == pytest.approx([0.925547, 0.378633], abs=1e-6)
    assert (QUERY @ mixed(QUERY, ONE, 0.5)).item() == pytest.approx(0.948683, abs=1e-6)
    torch.testing.assert_close(mixed(QUERY, ONE, 0.0), ONE)


def test_the_loss_with_mixtures_appended_by_hand():
    bank = [0.8, 0.6, -0.2]
    plain = losses.info_nce(scores_of([0.9], given=[bank]), 0.2)
    assert plain.item() == pytest.approx(0.606362, abs=1e-6)
    more = torch.tensor([[0.989949, 0.925547]])
    scores = losses.with_more(scores_of([0.9], given=[bank]), more, torch.ones(1, 2, dtype=torch.bool))
    assert losses.info_nce(scores, 0.2).item() == pytest.approx(1.512468, abs=1e-5)


@pytest.mark.parametrize(("cosine", "mean"), [(0.0, 0.330332), (0.5, 0.689985), (0.8, 0.880623)])
def test_the_query_weighs_less_than_a_half(cosine, mean):
    """b ~ U(0, .5): the mean of q h' over 20,000 even places, against its integral."""
    even = (np.arange(20_000) + 0.5) / 20_000
    uniform = np.stack([np.zeros_like(even), even], axis=1)[None]
    negative = torch.tensor([[[cosine, math.sqrt(1 - cosine**2)]]], dtype=torch.float64)
    found = mixtures_with_query(QUERY[None], negative, torch.tensor([1]), uniform)
    assert (found @ QUERY).mean().item() == pytest.approx(mean, abs=1e-5)


def test_shares_of_pairs_are_uniform():
    """a ~ U(0, 1): the mean of q h over 20,000 even places, against its integral."""
    even = (np.arange(20_000) + 0.5) / 20_000
    uniform = np.stack([np.zeros_like(even), np.zeros_like(even), even], axis=1)[None]
    found = mixtures_of_pairs(torch.stack([ONE, TWO])[None], torch.tensor([2]), uniform)
    assert (found @ QUERY).mean().item() == pytest.approx(0.872515, abs=1e-5)


def test_both_of_a_pair_are_among_the_allowed_and_never_the_same():
    rng = np.random.default_rng(5)
    hard = functional.normalize(torch.eye(6), dim=1)[None].repeat(3, 1, 1)
    counts = torch.tensor([2, 4, 6])
    found = mixtures_of_pairs(hard, counts, rng.random((3, 4000, 3)))
    for row, count in enumerate(counts.tolist()):
        parts = found[row] > 0
        assert not parts[:, count:].any()
        assert (parts.sum(dim=1) == 2).all()
        often = parts[:, :count].double().mean(dim=0)
        assert often.tolist() == pytest.approx([2 / count] * count, abs=0.05)


def test_the_hardest_are_the_best_of_those_allowed():
    bank = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    allowed = torch.tensor([[True, False, True, True], [True, False, False, False]])
    found, counts = hardest(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), bank, allowed, 2)
    assert counts.tolist() == [2, 1]
    torch.testing.assert_close(found[0], bank[[2, 3]])
    torch.testing.assert_close(found[1, 0], bank[0])


def test_equal_scores_keep_the_order_of_the_bank():
    bank = torch.tensor([[0.0, float(place)] for place in range(200)])
    found, _ = hardest(torch.tensor([[1.0, 0.0]]), bank, torch.ones(1, 200, dtype=torch.bool), 50)
    torch.testing.assert_close(found[0], bank[:50])


def test_mixing_starts_where_it_is_set(world):
    run = world.run("mochi", steps=10)
    given = take_steps(run, 10)
    widths = [0 if each.vectors is None else each.vectors.shape[1] for _, each in given]
    assert widths == [0, 0, 2, 2, 4, 4, 4, 4, 4, 4]
    assert world.run("mochi").method.idle() == "no mixture was made: mixing starts after 20 % of the steps"
    none = world.run("mochi", params={"pairs": 0, "with_query": 0}).method
    assert none.idle() == "no mixture was asked for: `pairs` and `with_query` are 0"
    assert run.method.idle() == ""


@pytest.mark.parametrize("kind", ["pairs", "with_query"])
def test_a_mixture_is_one_of_the_batchs_documents_that_are_no_positives(world, kind):
    """Each is in the span of two of them, or of one and the query, by least squares."""
    other = {"pairs": "with_query", "with_query": "pairs"}[kind]
    run = world.run("mochi", params={**NOW, "hardest": 3, other: 0, kind: 4})
    for batch, negatives in take_steps(run, 6):
        queries, documents = batch.query_vectors.detach(), batch.positive_vectors.detach()
        assert not negatives.vectors.requires_grad
        for row, query in enumerate(batch.queries.tolist()):
            able = [j for j in range(8) if (query, int(batch.positives[j])) not in world.positives]
            best = sorted(able, key=lambda j: -float(queries[row] @ documents[j]))[:3]
            bases = (
                [documents[[i, j]] for i in best for j in best if i < j]
                if kind == "pairs"
                else [torch.stack([queries[row], documents[i]]) for i in best]
            )
            for mixture in negatives.vectors[row][negatives.vectors_mask[row]]:
                gaps = [
                    float((mixture - torch.linalg.lstsq(base.T, mixture).solution @ base).norm())
                    for base in bases
                ]
                assert min(gaps) < 1e-4


def test_half_of_the_granted_places_are_of_either_kind(world):
    for granted, pairs in ((4, 2), (5, 3), (1, 1)):
        method = world.run("mochi", negatives=granted).method
        assert (method._pairs, method._with_query) == (pairs, granted - pairs)


def test_the_faithful_loss_has_the_whole_queue_and_no_document_of_the_batch(world):
    run = world.run(
        "mochi/faithful",
        params={**NOW, "queue": 20, "pairs": 3, "with_query": 2, "momentum": 0.0},  # the copy is the towers
        temperature=0.2,
    )
    pushed = [(batch.positives, batch.positive_vectors.detach()) for batch, _ in take_steps(run, 4)]
    ids = np.concatenate([each for each, _ in pushed])[-20:]
    bank = torch.cat([each for _, each in pushed])[-20:]
    assert torch.equal(run.method.queue.ids, torch.from_numpy(ids))
    torch.testing.assert_close(run.method.queue.vectors, bank)
    example = _example(run, 4)
    queries, expected, masked = example.batch.query_vectors.detach(), 0.0, 0
    for row, query in enumerate(example.batch.queries.tolist()):
        able = [j for j in range(20) if (query, int(ids[j])) not in world.positives]
        masked += 20 - len(able)
        synthetic = example.negatives.vectors[row] @ queries[row]
        own = example.scores.positive.detach()[row] / 0.2
        logits = torch.cat([own[None], bank[able] @ queries[row] / 0.2, synthetic / 0.2])
        assert len(logits) == 1 + len(able) + 3 + 2
        expected += float(logits.logsumexp(dim=0) - own) / 8
    assert masked
    assert run.method.faithful_loss(example).item() == pytest.approx(expected, rel=1e-5)


def test_keys_are_those_of_a_copy_that_follows_slowly(world):
    run = world.run("mochi/faithful", params={**NOW, "queue": 8, "momentum": 0.5})
    last, _ = take_steps(run, 4)[-1]
    start = run.services.warmup_documents(last.positives)
    for other in (start, last.positive_vectors.detach()):
        assert not torch.allclose(run.method.queue.vectors, other, atol=1e-4)
    still = world.run("mochi/faithful", params={**NOW, "queue": 8, "momentum": 1.0})
    last, _ = take_steps(still, 4)[-1]
    torch.testing.assert_close(still.method.queue.vectors, still.services.warmup_documents(last.positives))


def test_a_queue_lets_the_controlled_track_mix_past_documents(world):
    run = world.run("mochi", params={**NOW, "queue": 16})
    take_steps(run, 3)
    bank, allowed = run.method._bank(_example(run, 3).batch)
    assert bank.shape == (8 + 16, 16)
    assert allowed.shape == (8, 8 + 16)


@pytest.mark.parametrize("track", ["controlled", "faithful"])
def test_no_two_values_that_are_tried_are_one_setting(track, world):
    tried = MoCHi.space(MoCHi.Params(), track)["hardest"].values
    made = [world.run(f"mochi/{track}", params={"hardest": value}).method._hardest for value in tried]
    assert len(set(made)) == 5
