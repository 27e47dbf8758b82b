"""Advice as one HTML file that needs no network."""

from collections.abc import Sequence
from pathlib import Path

from negmark.advise.words import Advice, headline, sections, table
from negmark.board.page import figure_of, rendered

TEMPLATE = Path(__file__).with_name("advise.html")
LONGEST = 600
"""Characters of a text that are shown."""


def page(suite: str, advices: Sequence[Advice], time_words: Sequence[str], board: Path) -> str:
    """Return the page; figures are read from the board's folder, which it links to."""
    parts = []
    for advice in advices:
        heads, lines = table(advice.choice)
        found = advice.suspects
        parts.append({
            "headline": headline(advice.choice),
            "taken": advice.choice.taken["title"],
            "sections": {name: told for name, told in sections(advice).items() if told},
            "heads": heads,
            "lines": lines,
            "files": [f"../../../{file}" for file in advice.files],
            "suspects": found.worst if found else [],
            "longest": LONGEST,
            "figure": figure_of(board / "figures", f"{advice.name}-quality"),
        })  # fmt: skip
    return rendered(
        TEMPLATE,
        suite=suite,
        parts=parts,
        time_words=time_words,
        board=f"../../../{board}/leaderboard.html",
    )
