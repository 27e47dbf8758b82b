"""The one exception for what a user can mend; everything else is a bug and keeps its traceback."""

LONGEST = 1500


class UserError(Exception):
    """A mistake or a lack outside negmark: told in one line, without a traceback.

    The message names the file, key or address, what was expected, and how to mend it. Whatever a file or config put
    into it, the line can be shown: signs that don't print are escaped, and the middle of a long one is left out.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        if len(line) > LONGEST:
            line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
        super().__init__(printable(line))


class UnwritableError(UserError):
    """A disk that is full or a folder that may not be written, which is no fault of the run that met it."""


class DivergedError(UserError):
    """A run whose loss is no number any more; the run says at which step."""


def printable(line: str) -> str:
    """Return a line with every sign that doesn't print (a terminal's commands, a change of direction) escaped."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)
