"""The one exception for what a user can mend; everything else is a bug and keeps its traceback."""


class UserError(Exception):
    """A mistake or a lack outside negbench: told in one line, without a traceback.

    The message names the file, key or address, what was expected, and how to mend it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class UnwritableError(UserError):
    """A disk that is full or a folder that may not be written, which is no fault of the run that met it."""


class DivergedError(UserError):
    """A run whose loss is no number any more; the run says at which step."""
