"""W-MSE against numbers of its sheet; the first two are also the released modules'."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from negmark.methods.w_mse import WMSE, whitened, whitened_distance, whole_chunks
from negmark.train.step import _example
from world import take_steps

X = torch.tensor([[1.0, 2.0], [2.0, 1.0], [3.0, 4.0], [4.0, 3.0]])
Y = torch.tensor([[1.0, 1.0], [2.0, 1.0], [3.0, 3.0], [4.0, 2.0]])


def test_whitened_rows_by_hand():
    expected = [[-1.161895, 0.387298], [-0.387298, -1.161895], [0.387298, 1.161895], [1.161895, -0.387298]]
    torch.testing.assert_close(whitened(X), torch.tensor(expected), atol=1e-5, rtol=0)
    expected = [[-1.161895, 0], [-0.387298, -0.707107], [0.387298, 1.414214], [1.161895, -0.707107]]
    torch.testing.assert_close(whitened(Y), torch.tensor(expected), atol=1e-5, rtol=0)
    for rows in (X, Y):
        torch.testing.assert_close(whitened(rows).T.cov(), torch.eye(2), atol=1e-5, rtol=0)


def test_the_distance_of_whitened_views():
    assert whitened_distance(X, Y).item() == pytest.approx(0.047016, abs=1e-5)
    assert whitened_distance(X, X).item() == pytest.approx(0, abs=1e-5)
    unit = functional.normalize(whitened(X), dim=1), functional.normalize(whitened(Y), dim=1)
    assert (unit[0] - unit[1]).square().sum(dim=1).mean().item() == pytest.approx(0.047016, abs=1e-5)
    assert (whitened(X) - whitened(Y)).square().mean().item() == pytest.approx(0.065347, abs=1e-5), (
        "--no_norm"
    )


def test_centring_alone_is_another_loss():
    centred = [rows - rows.mean(dim=0) for rows in (X, Y)]
    found = 2 - 2 * functional.cosine_similarity(*centred).mean()
    assert found.item() == pytest.approx(0.029625, abs=1e-5)


def test_a_triangular_map_of_one_view_changes_nothing_and_a_turn_everything():
    lower = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    assert whitened_distance(X @ lower.T + 5, Y).item() == pytest.approx(0.047016, abs=1e-5)
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    assert whitened_distance(X @ turn.T, Y).item() == pytest.approx(3.184110, abs=1e-5)


def test_another_whitening_is_another_loss():
    """ZCA: times the inverse square root of the covariance, instead of the factor's inverse."""

    def zca(rows):
        centred = rows - rows.mean(dim=0)
        values, vectors = torch.linalg.eigh(centred.T.cov())
        return centred @ vectors @ torch.diag(values**-0.5) @ vectors.T

    found = 2 - 2 * functional.cosine_similarity(zca(X), zca(Y)).mean()
    assert found.item() == pytest.approx(0.047243, abs=1e-5)


def test_a_share_of_the_identity():
    found = whitened(X, 0.1)
    torch.testing.assert_close(found[0], torch.tensor([-1.185854, 0.328688]), atol=1e-5, rtol=0)
    expected = torch.tensor([[1.041667, 0.047246], [0.047246, 0.977381]])
    torch.testing.assert_close(found.T.cov(), expected, atol=1e-5, rtol=0)


def test_gradients_flow_through_the_whitening():
    rows = X.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda first: whitened_distance(first, Y.double(), 0.1), rows)


@pytest.mark.parametrize(
    ("size", "chunk", "sizes"), [(8, 4, [4, 4]), (9, 4, [4, 4]), (3, 4, [3]), (8, 8, [8])]
)
def test_chunks_are_whole(size, chunk, sizes):
    order = torch.from_numpy(np.random.default_rng(0).permutation(size))
    chunks = whole_chunks(order, chunk)
    assert [len(rows) for rows in chunks] == sizes
    assert len(set(torch.cat(chunks).tolist())) == sum(sizes)


def test_each_view_is_whitened_by_itself(world):
    run = world.run("w_mse/faithful")
    example = _example(run, 0)
    run.method.head.eval()
    queries = run.method.head(example.batch.query_vectors)
    documents = run.method.head(example.batch.positive_vectors)
    expected = whitened_distance(queries, documents, 1e-3)
    torch.testing.assert_close(run.method.faithful_loss(example), expected, atol=1e-4, rtol=1e-4)


def test_the_head_is_trained_and_not_searched(world):
    run = world.run("w_mse/faithful")
    before = {name: value.clone() for name, value in run.method.head.named_parameters()}
    take_steps(run, 3)
    assert all(not torch.equal(before[name], value) for name, value in run.method.head.named_parameters())
    assert set(run.encoder.weights()) == {"query", "document"}


def test_defaults():
    assert WMSE.Params().model_dump() == {
        "dimension": 32, "hidden": 1024, "chunk": 64, "permutations": 1, "shrink": 1e-3,
    }  # fmt: skip


def test_the_footnote_has_the_numbers_of_the_row():
    assert WMSE.own_notes(WMSE.Params(dimension=48), "faithful") == [
        "vectors of 48 numbers are whitened in chunks of 64, instead of 64 in 128"
    ]
    assert not any("numbers" in note.text for note in WMSE.footnotes)
