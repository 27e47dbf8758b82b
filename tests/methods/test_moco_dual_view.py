"""The reconstruction of dual-view MoCo against numbers of its sheet, and what its bank keeps and gives."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.methods import losses
from negmark.methods.moco_dual_view import MoCoDualView, hardest, over_kept
from negmark.methods.queue import KEYS, Queue
from negmark.train import train
from negmark.train.run import set_up
from negmark.train.step import _example, one_step
from steps import scores_of, step_of
from world import take_steps

TO_QUERY = torch.tensor([[0.9, 0.5, 0.4, -0.2]])
TO_KEY = torch.tensor([[0.7, 0.6, 0.1, 0.0]])
POSITIVE = torch.tensor([0.8])
BATCH = torch.tensor([[0.8, 0.5, 0.1], [0.4, 0.7, 0.6], [0.0, 0.3, 0.9]])


def loss(positive, candidates, top, allowed=None):
    allowed = torch.ones_like(candidates, dtype=torch.bool) if allowed is None else allowed
    return over_kept(positive, candidates, hardest(candidates, allowed, top), 0.1)


@pytest.mark.parametrize(("top", "expected"), [(1, 1.313262), (2, 1.326563), (4, 1.331424), (9, 1.331424)])
def test_the_hardest_of_a_bank(top, expected):
    assert loss(POSITIVE, TO_QUERY, top).item() == pytest.approx(expected, abs=1e-5)


def test_both_directions():
    forward, back = loss(POSITIVE, TO_QUERY, 2), loss(POSITIVE, TO_KEY, 2)
    assert back.item() == pytest.approx(0.407606, abs=1e-5)
    assert (forward + back).item() == pytest.approx(1.734169, abs=1e-5)
    assert ((forward + back) / 2).item() == pytest.approx(0.867084, abs=1e-5)


def test_the_hardest_of_the_batch():
    others = ~torch.eye(3, dtype=torch.bool)
    forward = loss(BATCH.diagonal(), BATCH, 1, others)
    back = loss(BATCH.diagonal(), BATCH.T, 1, others)
    torch.testing.assert_close(forward, torch.tensor([0.048587, 0.313262, 0.002476]), atol=1e-5, rtol=0)
    torch.testing.assert_close(back, torch.tensor([0.018150, 0.126928, 0.048587]), atol=1e-5, rtol=0)
    assert (forward.mean() + back.mean()).item() == pytest.approx(0.185997, abs=1e-5)
    both = loss(BATCH.diagonal(), BATCH, 2, others).mean() + loss(BATCH.diagonal(), BATCH.T, 2, others).mean()
    assert both.item() == pytest.approx(0.203795, abs=1e-5)


def test_what_is_not_allowed_is_never_kept():
    allowed = torch.tensor([[False, True, False, True]])
    assert hardest(TO_QUERY, allowed, 1).tolist() == [[False, True, False, False]]
    assert hardest(TO_QUERY, allowed, 3).tolist() == allowed.tolist()


def run_of(world, track="controlled", **params):
    spec = {**world.spec(f"moco_dual_view/{track}"), "params": params}
    return set_up(spec, train.load_materials(world.dataset, world.vectors, {}))


def test_with_all_candidates_and_no_bank_yet_it_is_info_nce(world):
    run = run_of(world, "faithful", kept=1000, key_weight=0.0)
    run.method.refresh(0)
    example = _example(run, 0)
    torch.testing.assert_close(run.method.faithful_loss(example), losses.info_nce(example.scores, 0.05))


def test_the_faithful_loss_by_hand(world):
    run = run_of(world, "faithful", kept=3, key_weight=0.5)
    take_steps(run, 4)
    run.method.refresh(4)
    example = _example(run, 4)
    bank = run.method.documents, run.method.queries
    assert len(bank[0]) == len(bank[1]) == 4 * 8
    batch, positives = example.batch, world.positives
    queries, documents = batch.query_vectors.detach(), batch.positive_vectors.detach()
    total = 0.0
    for i, (query, document) in enumerate(zip(batch.queries.tolist(), batch.positives.tolist(), strict=True)):
        own = queries[i] @ documents[i] / 0.05
        away = [
            queries[i] @ documents[j] for j in range(8) if (query, int(batch.positives[j])) not in positives
        ]
        away += [queries[i] @ v for v, d in zip(*kept(bank[0]), strict=True) if (query, d) not in positives]
        back = [
            documents[i] @ queries[j] for j in range(8) if (int(batch.queries[j]), document) not in positives
        ]
        back += [
            documents[i] @ v for v, q in zip(*kept(bank[1]), strict=True) if (q, document) not in positives
        ]
        for weight, found in ((1.0, away), (0.5, back)):
            logits = torch.stack([own, *[c / 0.05 for c in sorted(found, reverse=True)[:3]]])
            total += weight * (logits.logsumexp(dim=0) - own) / 8
    assert run.method.faithful_loss(example).item() == pytest.approx(total.item(), rel=1e-4)


def test_swapped_sides_with_their_banks_have_the_same_loss(world):
    """Nobody is labelled here, as labels know which side is which."""
    method = run_of(world, "faithful", kept=3).method
    method.services = SimpleNamespace(is_positive=lambda queries, documents: np.zeros_like(documents, bool))
    rng = torch.Generator().manual_seed(5)
    queries, documents, keys, others = (
        functional.normalize(torch.randn(size, 16, generator=rng), dim=1) for size in (6, 6, 9, 20)
    )
    losses_of = []
    for sides, banks in (((queries, documents), (keys, others)), ((documents, queries), (others, keys))):
        method.documents, method.queries = Queue(20), Queue(20)
        for bank, vectors in zip((method.documents, method.queries), banks, strict=True):
            bank.push(vectors, np.arange(len(vectors)))
        cosines = sides[0] @ sides[1].T
        scores = scores_of(cosines.diagonal().tolist(), cosines.tolist())
        step = step_of(scores, 0.1, vectors=sides)
        losses_of.append(method.faithful_loss(step).item())
    assert losses_of[0] == pytest.approx(losses_of[1], rel=1e-5)
    method.params = method.params.model_copy(update={"key_weight": 0.0})
    assert method.faithful_loss(step).item() != pytest.approx(losses_of[0], rel=0.1)


def kept(bank):
    return bank.vectors, bank.ids.tolist()


def test_the_bank_holds_what_the_copy_saw_first_in_first_out(world):
    run = run_of(world, bank=20, momentum=0.5)
    seen = []
    for step in range(4):
        _, positives = run.labels.batch(0, step, 8)
        one_step(run, step, keep_scores=False)
        seen += positives.tolist()
    assert run.method.documents.ids.tolist() == seen[-20:]
    start = run_of(world).services.warmup_documents(np.array(seen[-20:]))
    assert not torch.allclose(run.method.documents.vectors, start, atol=1e-4)
    assert not torch.allclose(
        run.method.documents.vectors[-8:], run.services.encode_documents(np.array(seen[-8:])), atol=1e-4
    )


def test_in_the_controlled_track_the_hardest_of_the_bank_stand_beside_the_batch(world):
    run = run_of(world, kept=2)
    given = take_steps(run, 5)
    assert given[0][1].vectors is None
    for batch, negatives in given[1:]:
        assert negatives.vectors.shape == (8, 4, 16)
        assert (negatives.in_batch.sum(dim=1) <= 2).all()
        scores = torch.einsum("bd,bvd->bv", batch.query_vectors.detach(), negatives.vectors)
        used = scores.masked_fill(~negatives.vectors_mask, -torch.inf)
        assert (used.diff(dim=1).nan_to_num(0) <= 1e-6).all(), "the hardest first"
    assert run.method.idle() == ""


def test_a_filter_that_kept_all_is_told(world):
    run = run_of(world, "faithful", kept=4160)
    take_steps(run, 3)
    assert run.method.idle() == "no row had more than its 4,160 candidates to choose from"


@pytest.mark.parametrize("track", ["controlled", "faithful"])
def test_each_value_that_is_tried_keeps_another_number_of_the_candidates(track):
    """Of a batch of 64 in the controlled track, of a full bank and a batch in the faithful one."""
    candidates = 64 if track == "controlled" else KEYS + 63
    tried = MoCoDualView.space(MoCoDualView.Params(), track)["kept"].values
    assert len({min(kept, candidates) for kept in tried}) == 5
    assert track == "controlled" or max(tried) < candidates


def test_the_copy_is_no_longer_the_start_at_the_end_of_a_short_run():
    assert MoCoDualView.Params().momentum ** 400 < 0.02


def test_what_is_reconstructed_is_said_on_the_row():
    notes = MoCoDualView.notes("faithful", scores_pairs=False, sentences=False, graded=False)
    assert any("reconstruction" in note for note in notes)
    assert "reconstruction" in MoCoDualView.title
    assert "reconstruction" in MoCoDualView.summary()
