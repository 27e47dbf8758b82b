"""negmark: which negatives should I train my retriever on?

The half that every method shares, the methods, and for scripts `open_board`, which reads a board and its runs back.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from negmark.store.board import Board, open_board

__all__ = ["Board", "open_board"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what scripts use when they ask for it: `import negmark` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'negmark' has no attribute {name!r}")
    from negmark.store import board

    return getattr(board, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
