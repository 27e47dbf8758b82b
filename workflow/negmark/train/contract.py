"""Holds a method to its contract at every step: a breach is reported in one line that names the method's file.

Cheap enough for every step, as a method's state may break the contract late. Otherwise a negative row number would be
read from the other end of the corpus, and a weight of NaN would silently spoil the model.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from negmark.core.errors import DivergedError, UserError
from negmark.methods.auxiliary import is_auxiliary, rows_of
from negmark.methods.base import Method
from negmark.methods.registry import place
from negmark.methods.types import NO_DOCUMENT, Batch, Negatives, Scores


def check_negatives(negatives: Any, batch: Batch, method: Method) -> None:
    """Raise `UserError` unless a method's negatives of a batch are as `negmark.methods.types.Negatives` says."""
    if not isinstance(negatives, Negatives):
        raise _breach(method, f"negatives() must return Negatives, found {type(negatives).__name__}")
    size, documents = len(batch.queries), method.services.documents
    count = 0
    if (ids := negatives.ids) is not None:
        if not isinstance(ids, np.ndarray) or ids.ndim != 2 or len(ids) != size or ids.dtype != np.int64:
            raise _breach(method, f"ids must be int64 of shape [{size}, M], found {_shape(ids)}")
        auxiliary = is_auxiliary(ids) & (rows_of(ids) < method.services.auxiliary_documents)
        outside = ids[((ids < NO_DOCUMENT) & ~auxiliary) | (ids >= documents)]
        if len(outside):
            raise _breach(
                method,
                f"ids must be rows from 0 to {documents - 1}, or {NO_DOCUMENT} in empty places, found {outside[0]}",
            )
        count += ids.shape[1]
    _check_backfilled(negatives.backfilled, ids, method)
    if (vectors := negatives.vectors) is not None:
        dimension = batch.query_vectors.shape[1]
        shape = tuple(getattr(vectors, "shape", ()))
        if (
            not isinstance(vectors, torch.Tensor)
            or len(shape) != 3
            or (shape[0], shape[2]) != (size, dimension)
        ):
            raise _breach(method, f"vectors must be [{size}, V, {dimension}], found {_shape(vectors)}")
        if not torch.isfinite(vectors).all():
            raise _breach(method, "vectors must be finite numbers")
        count += shape[1]
    places = 0 if negatives.vectors is None else negatives.vectors.shape[1]
    _check_mask("vectors_mask", negatives.vectors_mask, (size, places), method)
    _check_weights("weights", negatives.weights, (size, count), method)
    _check_mask("in_batch", negatives.in_batch, (size, size), method)


def check_composed(order: Any, pairs: int, method: Method) -> None:
    """Raise `UserError` unless an order has each of so many pairs once."""
    if not isinstance(order, np.ndarray) or order.shape != (pairs,) or order.dtype != np.int64:
        raise _breach(method, f"composed() must return int64 of shape [{pairs}], found {_shape(order)}")
    if not np.array_equal(np.sort(order), np.arange(pairs)):
        raise _breach(method, f"composed() must have each place from 0 to {pairs - 1} once")


def check_examples(
    examples: Any, queries: NDArray[np.int64], method: Method, trained: NDArray[np.int64], documents: int
) -> None:
    """Raise `UserError` unless the queries and positives of a step are as `Method.examples` says.

    `queries` are those of the step for all rows, `trained` all training queries.
    """
    if not isinstance(examples, tuple) or len(examples) != 2:
        raise _breach(method, "examples() must return queries and positives")
    for name, rows in zip(("queries", "positives"), examples, strict=True):
        if not isinstance(rows, np.ndarray) or rows.ndim != 1 or rows.dtype != np.int64:
            raise _breach(
                method, f"examples() must return {name} as int64 of shape [b], found {_shape(rows)}"
            )
    asked, positives = examples
    if not 0 < len(asked) <= len(queries) or len(positives) != len(asked):
        raise _breach(
            method,
            f"examples() must return 1 to {len(queries)} queries and a positive of each, found {len(asked)} and "
            f"{len(positives)}; if it leaves all queries out, there is nothing to train on",
        )
    if not np.isin(asked, trained).all():
        raise _breach(method, "examples() may return training queries alone (services.queries)")
    if ((positives < 0) | (positives >= documents)).any():
        raise _breach(method, f"examples() must return positives from 0 to {documents - 1}")
    if len(np.unique(asked)) < len(asked) - (len(queries) - len(np.unique(queries))):
        raise _breach(method, "examples() may not repeat a query of the batch")


def check_weighed(weighed: Any, given: Scores, method: Method) -> None:
    """Raise `UserError` unless weighed scores are the given ones with other weights, or narrower masks."""
    if weighed is given:
        return
    if not isinstance(weighed, Scores):
        raise _breach(method, f"weighed() must return Scores, found {type(weighed).__name__}")
    for name in ("positive", "in_batch", "negatives"):
        if getattr(weighed, name) is not getattr(given, name):
            raise _breach(
                method, f"weighed() may set weights and masks, not the scores, and {name} is another"
            )
    for name in ("in_batch_mask", "negatives_mask"):
        mask, own = getattr(weighed, name), getattr(given, name)
        _check_mask(name, mask, tuple(own.shape), method)
        if mask is None or (mask & ~own).any():
            raise _breach(method, f"weighed() may narrow {name} only")
    _check_weights("weights", weighed.weights, tuple(given.negatives.shape), method)
    _check_weights("in_batch_weights", weighed.in_batch_weights, tuple(given.in_batch.shape), method)


def _check_weights(name: str, weights: Any, shape: tuple[int, ...], method: Method) -> None:
    if weights is None:
        return
    if not isinstance(weights, torch.Tensor) or tuple(weights.shape) != shape:
        raise _breach(method, f"{name} must be {list(shape)}, found {_shape(weights)}")
    if not torch.isfinite(weights).all() or (weights < 0).any():
        raise _breach(method, f"{name} must be finite numbers, none below 0")


def _check_backfilled(places: Any, ids: NDArray[np.int64] | None, method: Method) -> None:
    if places is None:
        return
    shape = (0, 0) if ids is None else ids.shape
    if not isinstance(places, np.ndarray) or places.shape != shape or places.dtype != np.bool_:
        raise _breach(method, f"backfilled must be bool {list(shape)}, as ids are, found {_shape(places)}")


def check_loss(loss: Any, step: int, method: Method) -> None:
    """Raise an error unless a step's loss is a finite scalar with gradient: `DivergedError` if it isn't finite."""
    if not isinstance(loss, torch.Tensor) or loss.ndim or not loss.requires_grad:
        raise _breach(method, f"the loss must be a scalar tensor with gradient, found {_shape(loss)}")
    if not torch.isfinite(loss):
        first = (
            "no step was taken yet: raise the temperature, unless the vectors it starts from aren't finite"
        )
        mend = "lower the learning rate" if step else first
        raise DivergedError(f"{method.name}: the loss is {loss.item()} at step {step}; {mend}")


def check_trained(parameters: Iterable[torch.Tensor], method: Method) -> None:
    """Raise `DivergedError` unless all weights of a trained run are finite: its last step has no loss after it."""
    if not all(bool(torch.isfinite(value).all()) for value in parameters):
        raise DivergedError(f"{method.name}: a weight is no finite number; lower the learning rate")


def _check_mask(name: str, mask: Any, shape: tuple[int, ...], method: Method) -> None:
    valid = isinstance(mask, torch.Tensor) and tuple(mask.shape) == shape and mask.dtype == torch.bool
    if mask is not None and not valid:
        raise _breach(method, f"{name} must be bool {list(shape)}, found {_shape(mask)}")


def _breach(method: Method, what: str) -> UserError:
    return UserError(f"{place(type(method))}: {method.name}: {what}; methods/base.py has the contract")


def _shape(value: NDArray | torch.Tensor | Any) -> str:
    if isinstance(value, np.ndarray | torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return type(value).__name__
