"""Randomness that can be resumed at any step: streams keyed by what should matter, counted by step.

The data order's key leaves out the method's name, so every method sees the same queries in the same order;
a method's own stream has it; evaluation draws nothing.
"""

import hashlib

import numpy as np


def stream(*key: str | int, step: int = 0) -> np.random.Generator:
    """Return the generator that belongs to a key and a step.

    Philox is a counter-based generator (Salmon et al. 2011): the SHA-256 of the key gives its 128-bit key and
    the step the highest word of its counter, so no two steps overlap and no state has to be saved to resume.
    """
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return np.random.Generator(
        np.random.Philox(key=np.frombuffer(digest[:16], dtype=np.uint64), counter=[0, 0, 0, step])
    )


def torch_seed(*key: str | int) -> int:
    """Return a 63-bit seed for torch that belongs to a key."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[16:24], "little") >> 1
