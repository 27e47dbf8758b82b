"""Draws that more than one method uses: without replacement, in log space, whole batches at once."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from negmark.methods.base import Services
from negmark.methods.types import NO_DOCUMENT, Batch, Ids


def top_n_by_gumbel(log_weights: NDArray[np.floating], n: int, rng: np.random.Generator) -> Ids:
    """Draw n columns per row without replacement, with chances in proportion to exp(log_weights) at each draw.

    Adding Gumbel noise to log-weights and keeping the n largest equals drawing one after the other without
    replacement (Vieira 2014; Kool et al. 2019), and no weight underflows, as none is exponentiated.

    Takes [B, K], returns [B, n] columns in the order drawn; `NO_DOCUMENT` where fewer than n have weight.
    """
    noise = rng.gumbel(size=log_weights.shape)
    keys = np.where(np.isneginf(log_weights), -np.inf, log_weights + noise)
    return _largest(keys, n)


def take(ids: Ids, columns: Ids) -> Ids:
    """Pick columns [B, n] of ids [B, K]; `NO_DOCUMENT` columns stay so."""
    # so that column -1 is an empty place
    extended = np.pad(ids, ((0, 0), (0, 1)), constant_values=NO_DOCUMENT)
    return np.take_along_axis(extended, columns, axis=1)


def first(ids: Ids, n: int) -> Ids:
    """Take the first n candidates of [B, K]; `NO_DOCUMENT` where the pool is not as deep: [B, n]."""
    return np.pad(ids[:, :n], ((0, 0), (0, max(n - ids.shape[1], 0))), constant_values=NO_DOCUMENT)


def first_without(ids: Ids, labelled: NDArray[np.bool_], n: int) -> Ids:
    """Take the first n of [B, K] that aren't labelled: [B, n]; `NO_DOCUMENT` where fewer are left."""
    order = np.argsort(labelled, axis=1, kind="stable")
    return first(np.take_along_axis(np.where(labelled, NO_DOCUMENT, ids), order, axis=1), n)


def draw_uniform(ids: Ids, n: int, rng: np.random.Generator) -> Ids:
    """Draw n of the candidates [B, K] uniformly without replacement; empty places are never drawn."""
    log_weights = np.where(ids == NO_DOCUMENT, -np.inf, 0.0)
    return take(ids, top_n_by_gumbel(log_weights, n, rng))


def draw_from_pool(batch: Batch, pool: str, depth: int, services: Services) -> Ids:
    """Draw M of a pool's best `depth` for each query of a batch, uniformly and by the step's own stream: [B, M]."""
    ids, _ = services.pool(pool).candidates(batch.queries, depth)
    return draw_uniform(ids, services.negatives, services.rng(batch.step))


def draw_from_sources(
    sources: Sequence[Ids], shares: Sequence[float], n: int, rng: np.random.Generator
) -> Ids:
    """Draw n documents per query without replacement, each from a source [B, K] by its share, uniformly within: [B, n].

    A document that several sources hold has the sum of its chances: the largest of its Gumbel keys is a key of that sum
    (so the first place of each document is kept). Where a source of a query is empty, the others have its share. No
    source holds a document twice; `NO_DOCUMENT` where fewer than n are left.
    """
    with np.errstate(divide="ignore"):
        logs = [
            np.where(
                ids == NO_DOCUMENT, -np.inf, np.log(share) - np.log((ids != NO_DOCUMENT).sum(axis=1))[:, None]
            )
            for ids, share in zip(sources, shares, strict=True)
        ]
    columns = top_n_by_gumbel(np.concatenate(logs, axis=1), n * len(sources), rng)
    drawn = take(np.concatenate(sources, axis=1), columns)
    kept = first_occurrence(drawn) & (drawn != NO_DOCUMENT)
    return first(filled(np.where(kept, drawn, NO_DOCUMENT), drawn[:, :0]), n)


def draw_from_corpus(queries: Ids, n: int, services: Services, rng: np.random.Generator) -> Ids:
    """Draw n documents per query uniformly from the whole corpus, no labelled positive and none twice: [B, n].

    Draws with replacement and drops repeats and positives, which leaves a uniform draw without replacement.
    A row with too few left, as in a tiny corpus, is redrawn from a permutation of all documents.
    """

    def usable(rows: slice, ids: Ids) -> NDArray[np.bool_]:
        return ~services.is_positive(queries[rows], ids)

    ids = rng.integers(services.documents, size=(len(queries), 2 * n + 8))
    return without_repeats(ids, n, usable, lambda row: rng.permutation(services.documents))


def without_repeats(
    ids: Ids,
    n: int,
    usable: Callable[[slice, Ids], NDArray[np.bool_]],
    everyone: Callable[[int], Ids],
) -> Ids:
    """Return the first n different usable documents of each row of [B, S], drawn with replacement: [B, n].

    `usable` marks those of some rows that may be drawn; S is n at least. A row with too few is filled anew from
    `everyone` of the row, all that it draws from in a random order, and ends in `NO_DOCUMENT` if that is not enough.
    """
    spare = ids.shape[1]
    kept = usable(slice(None), ids) & first_occurrence(ids)
    for row in np.flatnonzero(kept.sum(axis=1) < n):
        permutation = everyone(int(row))
        allowed = permutation[usable(slice(row, row + 1), permutation[None])[0]][:spare]
        ids[row], kept[row] = NO_DOCUMENT, False
        ids[row, : len(allowed)], kept[row, : len(allowed)] = allowed, True
    order = np.argsort(~kept, axis=1, kind="stable")[:, :n]
    return take(ids, np.where(np.take_along_axis(kept, order, axis=1), order, NO_DOCUMENT))


def within(ids: Ids, others: Ids) -> NDArray[np.bool_]:
    """Mark the ids [B, K] that are in the same row of others [B, L]."""
    return (ids[:, :, None] == others[:, None, :]).any(axis=2)


def filled(chosen: Ids, spare: Ids) -> Ids:
    """Fill the empty places of [B, M] with the row's spare documents, as far as they go."""
    joined = np.concatenate([chosen, spare], axis=1)
    order = np.argsort(joined == NO_DOCUMENT, axis=1, kind="stable")[:, : chosen.shape[1]]
    return np.take_along_axis(joined, order, axis=1)


def _largest(keys: NDArray[np.floating], n: int) -> Ids:
    """Columns of the n largest keys of each row, largest first; `NO_DOCUMENT` for -inf and beyond the end."""
    order = np.argsort(-keys, axis=1, kind="stable")[:, :n].astype(np.int64)
    order[np.isneginf(np.take_along_axis(keys, order, axis=1))] = NO_DOCUMENT
    missing = n - order.shape[1]
    return np.pad(order, ((0, 0), (0, max(missing, 0))), constant_values=NO_DOCUMENT)


def first_occurrence(ids: Ids) -> NDArray[np.bool_]:
    """Mark in every row the first place of each value."""
    order = np.argsort(ids, axis=1, kind="stable")
    ranked = np.take_along_axis(ids, order, axis=1)
    first = np.ones_like(ranked, dtype=bool)
    first[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    marks = np.empty_like(first)
    np.put_along_axis(marks, order, first, axis=1)
    return marks
