"""Streams: one a key and step, whoever asks and whenever."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negmark.core.seeds import stream, torch_seed
from negmark.train.services import TrainingServices

KEYS = [
    (0, "data order"),
    (1, "data order"),
    (0, "positives"),
    (0, "method", "simans", ""),
    (0, "method", "random", ""),
    (0, "method", "simans", "centroids"),
    (0, "method", "ab", "c"),
    (0, "method", "a", "bc"),
]


def numbers(*key, step=0):
    return stream(*key, step=step).integers(2**63, size=8).tolist()


def test_a_key_and_step_give_the_same_stream_again():
    for key, step in itertools.product(KEYS, (0, 1, 999)):
        assert numbers(*key, step=step) == numbers(*key, step=step)


def test_other_keys_and_other_steps_give_other_streams():
    seen = [tuple(numbers(*key, step=step)) for key in KEYS for step in (0, 1, 2, 2**40)]
    assert len({number for numbers in seen for number in numbers}) == 8 * len(KEYS) * 4


def test_the_order_of_asking_makes_no_difference():
    forwards = {step: numbers(0, "positives", step=step) for step in range(6)}
    assert {step: numbers(0, "positives", step=step) for step in (5, 3, 0, 4, 1, 2)} == forwards


FIRST = [5210956735694355647, 7627346213686438293, 1836016311848230425, 15678125478616336838]
LATER = [4413312806733342947, 1243945532015865649, 9256089899015535091, 15953612683138342053]


@pytest.mark.parametrize(
    ("key", "step", "raw"), [((0, "data order"), 0, FIRST), ((7, "method", "simans", ""), 3, LATER)]
)
def test_streams_are_philox_keyed_by_sha256(key, step, raw):
    """Worked out by a Philox4x64-10 in integers, checked on the known answers of Random123.

    The first block has the counter 1, 0, 0, step. A change here changes every published number.
    """
    assert stream(*key, step=step).bit_generator.random_raw(4).tolist() == raw


@given(st.integers(0, 2**62))
def test_a_step_lies_beyond_all_draws_of_the_one_before(step):
    """The step is the counter's highest word: 2^192 blocks lie between two steps."""
    far = stream(3, "x", step=step)
    far.bit_generator.advance(2**192)
    assert far.random() == stream(3, "x", step=step + 1).random()


def test_a_methods_stream_has_its_row_seed_step_and_purpose():
    def drawn(row="simans", seed=0, step=0, purpose=""):
        services = TrainingServices(None, None, {}, row, seed, negatives=4, temperature=0.05)
        return services.rng(step, purpose).random()

    others = [drawn(row="random"), drawn(seed=1), drawn(step=1), drawn(purpose="queue")]
    assert len({drawn(), *others}) == 5
    assert drawn() == drawn()


def test_torch_seeds_fit_torch_and_differ_by_key():
    seeds = [torch_seed(seed, "weights") for seed in range(200)] + [torch_seed(0, "other")]
    assert len(set(seeds)) == 201
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert torch_seed(3, "weights") == 223141483446702210


def test_draws_across_steps_are_uniform_and_uncorrelated():
    """The first draw of 20,000 neighbouring steps, where a poorly keyed generator shows."""
    values = np.array([stream(0, "positives", step=step).random() for step in range(20_000)])
    assert abs(values.mean() - 0.5) < 5 / np.sqrt(12 * len(values))
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 5 / np.sqrt(len(values))
