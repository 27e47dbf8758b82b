"""The last words of a finished suite on the terminal."""

from pathlib import Path


def closing_words(board: str) -> str:
    """Return the board's summary table and where the page lies."""
    folder = Path(board)
    table = (folder / "summary.txt").read_text(encoding="utf-8")
    return f"\n{table.rstrip()}\n\nThe board: {(folder / 'leaderboard.html').resolve().as_uri()}\n"
