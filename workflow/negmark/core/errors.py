"""The one exception for what a user can fix; everything else is a bug and keeps its traceback."""

LONGEST = 1500


class UserError(Exception):
    """Something wrong or missing outside negmark: reported in one line, without a traceback.

    The message names the file, key or address, what was expected, and how to fix it. It is safe to print whatever a
    file or config put into it: unprintable characters are escaped, and the middle of a long line is left out.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        if len(line) > LONGEST:
            line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
        super().__init__(printable(line))


class UnwritableError(UserError):
    """A full disk or a read-only folder: not the fault of the run that hit it."""


class DivergedError(UserError):
    """A run whose loss is no longer finite; the message says at which step."""


def printable(line: str) -> str:
    """Return a line with unprintable characters (terminal escapes, changes of text direction) escaped."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in line)
