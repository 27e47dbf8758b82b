"""What jobs ask of a scheduler."""

from collections.abc import Callable
from typing import Any


def memory(least: int) -> Callable[..., int]:
    """Ask for `least` megabytes, and for twice as many each time that a job is tried again (`--retries`)."""

    def asked(wildcards: Any, attempt: int) -> int:
        return least * 2 ** (attempt - 1)

    return asked
