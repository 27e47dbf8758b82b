"""Compiled loops of the static tier: means of rows, their gradient, and Adam on the rows of a step's tokens.

PyTorch needs a gather, an update and a scatter for each of a row and its two moments, and a sort to find the texts that
hold a token. Here each number is read and written once, where it lies (`tests/benchmarks/static_step.py` measures it).

Numba compiles them for the machine at hand, once: the machine code is kept beside this file or, where that can't be
written, in the user's cache. It may add up numbers in another order than written, but always in the same one.
"""
# mypy: disable-error-code="no-untyped-def"

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import float32, int32, void

HOW: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz"}, "nogil": True, "error_model": "numpy"}
TABLE, VECTOR, NUMBERS = float32[:, ::1], float32[::1], int32[::1]


def compiled(*types: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function of these types now, and keep the machine code if a folder takes it."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(void(*types), cache=True, **HOW)(function)
        except (OSError, RuntimeError):
            return numba.njit(void(*types), **HOW)(function)

    return decorate


@compiled(NUMBERS, NUMBERS, TABLE, VECTOR, TABLE, VECTOR)
def fill_means(tokens, starts, rows, weights, vectors, lengths):
    """Fill unit vectors [T, D] of texts, and the lengths [T] of their tokens' summed rows.

    Texts are `tokens` [n] from `starts` [T + 1]; `rows` are [U, D], `weights` [U], or [0] where all tokens count alike.
    The vector of a sum of length 0 is filled with zeros.
    """
    for text in range(len(vectors)):
        vector = vectors[text]
        vector[:] = 0
        for place in range(starts[text], starts[text + 1]):
            row = rows[tokens[place]]
            weight = weights[tokens[place]] if len(weights) else np.float32(1)
            for d in range(len(vector)):
                vector[d] += weight * row[d]
        square = np.float32(0)
        for d in range(len(vector)):
            square += vector[d] * vector[d]
        lengths[text] = np.sqrt(square)
        if square > 0:
            vector /= lengths[text]


@compiled(TABLE, TABLE, VECTOR, TABLE)
def fill_gradients(gradients, vectors, lengths, sums):
    """Fill the gradients [T, D] of texts' sums by those of their unit vectors, and the lengths [T] of the sums."""
    for text in range(len(vectors)):
        gradient, vector, filled = gradients[text], vectors[text], sums[text]
        along = np.float32(0)
        for d in range(len(vector)):
            along += gradient[d] * vector[d]
        for d in range(len(vector)):
            filled[d] = (gradient[d] - along * vector[d]) / lengths[text]


@numba.njit(inline="always", **HOW)
def adam(values, gradients, first, second, settings):
    """Move values [D] by AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), with their moments [D].

    `settings` are the learning rate, what weight decay leaves of a value, 1 - beta1, beta2, 1 - beta2, epsilon, and the
    corrections 1 - beta^step of both moments. (In single precision 1 - .999 would be wrong by 1e-5 of itself.)
    """
    rate, kept, new_first, old_second, new_second, epsilon, of_first, of_second = settings
    step, root = rate / of_first, np.float32(1) / np.sqrt(of_second)
    for d in range(len(values)):
        first[d] += new_first * (gradients[d] - first[d])
        second[d] = old_second * second[d] + new_second * gradients[d] * gradients[d]
        values[d] = kept * values[d] - step * first[d] / (root * np.sqrt(second[d]) + epsilon)


@compiled(NUMBERS, NUMBERS, TABLE, *[TABLE] * 3, *[VECTOR] * 3, numba.types.UniTuple(float32, 8))
def move_rows(
    tokens, starts, sums, rows, first, second, weights, first_of_weights, second_of_weights, settings
):
    """Move the rows of the tokens that texts hold, and their weights if there are any, by `adam`.

    `sums` [T, D] are the gradients of the texts' sums. The places of each token are chained, from its last one back, so
    that all its texts are found without sorting.
    """
    last = np.full(len(rows), -1, np.int32)
    earlier, texts = np.empty(len(tokens), np.int32), np.empty(len(tokens), np.int32)
    for text in range(len(starts) - 1):
        for place in range(starts[text], starts[text + 1]):
            texts[place], earlier[place] = text, last[tokens[place]]
            last[tokens[place]] = place
    gradient, of_weight = np.empty(rows.shape[1], np.float32), np.empty(1, np.float32)
    for token in tokens:
        place = last[token]
        if place < 0:
            continue  # it stands in `tokens` more than once, and was moved at the first
        last[token] = -1
        gradient[:] = 0
        while place >= 0:
            total = sums[texts[place]]
            for d in range(len(gradient)):
                gradient[d] += total[d]
            place = earlier[place]
        row = rows[token]
        if len(weights):
            of_weight[0] = 0
            for d in range(len(gradient)):
                of_weight[0] += gradient[d] * row[d]
                gradient[d] *= weights[token]
            adam(
                weights[token : token + 1], of_weight, first_of_weights[token : token + 1],
                second_of_weights[token : token + 1], settings,
            )  # fmt: skip
        adam(row, gradient, first[token], second[token], settings)
