"""What holds for the negatives of every method, whatever it does."""

import numpy as np
import torch

from negmark.methods import registry
from negmark.methods.auxiliary import is_auxiliary, rows_of
from negmark.methods.types import NO_DOCUMENT, Gives
from world import World

METHODS = {
    name + ending: method
    for ending, track in (("", "controlled"), ("/faithful", "faithful"))
    for name, method in registry.available().items()
    if (method.faithful or not ending) and not method.refusal(method.Params(), track)
}
"""By name, and by `name/faithful`, in the tracks where each may be."""


def what_the_loss_sees(negatives):
    parts = (
        negatives.ids, negatives.vectors, negatives.vectors_mask, negatives.weights, negatives.in_batch,
    )  # fmt: skip
    return [part.detach().numpy() if torch.is_tensor(part) else part for part in parts]


def same(one, other):
    """Say if two lists of (batch, negatives) are equal in all that the loss sees."""
    pairs = zip(one, other, strict=True)
    return all(
        np.array_equal(left, right) if left is not None and right is not None else left is right
        for (_, first), (_, second) in pairs
        for left, right in zip(what_the_loss_sees(first), what_the_loss_sees(second), strict=True)
    )


def what_was_given(given):
    """What the negatives of a run were: a document that fills a place which the rule left empty is none of its own."""
    kinds = set()
    for negatives in given:
        ids = np.empty((0, 0), np.int64) if negatives.ids is None else negatives.ids
        own = ids >= 0 if negatives.backfilled is None else (ids >= 0) & ~negatives.backfilled
        kinds |= {Gives.DOCUMENTS} if own.any() else set()
        kinds |= {Gives.BESIDE} if is_auxiliary(ids).any() or negatives.vectors is not None else set()
    return next((kind for kind in (Gives.DOCUMENTS, Gives.BESIDE) if kind in kinds), Gives.NOTHING)


def assert_fit(given, world: World, granted: int, name: str):
    """Ids in range, none labelled, none twice in a row, no more than granted or than the paper's recipe takes."""
    recipe = METHODS[name].recipe_negatives if "/" in name else None
    granted = granted if recipe is None else recipe
    for batch, negatives in given:
        vectors = 0 if negatives.vectors is None else negatives.vectors.shape[1]
        if negatives.vectors is not None:
            assert negatives.vectors.dtype == torch.float32
            lengths = negatives.vectors.detach().norm(dim=2)
            torch.testing.assert_close(lengths, torch.ones_like(lengths))
        ids = np.empty((len(batch.queries), 0), dtype=np.int64) if negatives.ids is None else negatives.ids
        assert ids.dtype == np.int64
        assert ids.shape[0] == len(batch.queries)
        assert ids.shape[1] + vectors <= granted
        beside = is_auxiliary(ids) & (rows_of(ids) < world.texts)
        assert ((ids >= 0) & (ids < world.documents) | (ids == NO_DOCUMENT) | beside).all()
        for query, row in zip(batch.queries.tolist(), ids.tolist(), strict=True):
            real = [document for document in row if document != NO_DOCUMENT]
            assert len(set(real)) == len(real)
            if not METHODS[name].gives_positives:
                assert not {(query, document) for document in real} & world.positives
        if negatives.weights is not None:
            assert (negatives.weights > 0).all()
            assert torch.isfinite(negatives.weights).all()


def finite_gradients(run):
    parameters = [*run.encoder.parameters(), *run.method.extra_modules().parameters()]
    return all(torch.isfinite(each.grad).all() for each in parameters if each.grad is not None)
