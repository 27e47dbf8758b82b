"""The hardware that encoders run on: device, number format, freed memory."""

from __future__ import annotations

import ctypes
import functools

from negmark.methods.later import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


LARGEST_THRESHOLD = 32 * 2**20  # glibc refuses more


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next operation, on a CPU.

    By default it returns every large tensor to the system and requests it again: a tenth of the time of an encoding.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc only
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD)


def resolve_dtype(dtype: str) -> str:
    """Return the precision that `auto` means here: bfloat16 if the CPU or GPU computes in it."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if device() == "cuda" or _cpu_has_bfloat16() else "float32"


def device() -> str:
    """Return the device to compute on: `cuda` if there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _cpu_has_bfloat16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private: absent means unknown
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
