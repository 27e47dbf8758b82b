"""The queue of past vectors: what it keeps, whom it serves, and that it is saved exactly."""

from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from negmark.methods.queue import Queue


def rows(*numbers):
    return torch.tensor([[float(number), 1.0] for number in numbers]), np.array(numbers)


def test_the_last_vectors_stay_oldest_first():
    queue = Queue(5)
    assert len(queue) == 0
    kept = []
    for pushed in ([0, 1], [2, 3], [4, 5, 6], [7]):
        queue.push(*rows(*pushed))
        kept = [*kept, *pushed][-5:]
        assert queue.ids.tolist() == kept
        assert queue.vectors.tolist() == rows(*kept)[0].tolist()


def test_more_than_fit_leave_their_last():
    queue = Queue(2)
    queue.push(*rows(1, 2, 3))
    assert queue.ids.tolist() == [2, 3]


def test_a_queue_of_no_size_stays_empty():
    queue = Queue(0)
    queue.push(*rows(1, 2))
    assert len(queue) == 0


def test_a_push_before_the_backward_pass_neither_breaks_it_nor_gets_gradient():
    queue, query = Queue(3), torch.ones(2, requires_grad=True)
    queue.push(*rows(1, 2))
    loss = (queue.vectors @ query).sum()
    queue.push(*rows(3, 4))
    vectors = torch.ones(1, 2, requires_grad=True)
    queue.push(vectors, np.array([5]))
    loss.backward()
    assert query.grad.tolist() == [3.0, 2.0]
    assert not queue.vectors.requires_grad


def test_positives_of_a_query_are_not_allowed():
    queue = Queue(4)
    queue.push(*rows(3, 5, 3))
    services = SimpleNamespace(is_positive=lambda queries, documents: queries[:, None] + 2 == documents)
    found = queue.allowed(np.array([1, 2, 3]), services)
    assert found.tolist() == [[False, True, False], [True, True, True], [True, False, True]]


def test_a_saved_queue_goes_on_as_the_other(tmp_path):
    generator = torch.Generator().manual_seed(3)
    one, other = Queue(7), Queue(7)
    for step in range(5):
        if step == 3:
            save_file({"more": torch.ones(1), **one.state_dict()}, tmp_path / "state.safetensors")
            other.load_state_dict(load_file(tmp_path / "state.safetensors"))
        pushed = torch.randn(3, 4, generator=generator), np.arange(3) + 3 * step
        one.push(*pushed)
        if step >= 3:
            other.push(*pushed)
    assert torch.equal(one.vectors, other.vectors)
    assert torch.equal(one.ids, other.ids)


def test_an_empty_queue_can_be_saved(tmp_path):
    save_file(Queue(7).state_dict(), tmp_path / "state.safetensors")
    other = Queue(7)
    other.load_state_dict(load_file(tmp_path / "state.safetensors"))
    other.push(*rows(1))
    assert other.ids.tolist() == [1]
