"""Advice as one HTML file that needs no network."""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from negmark.advise.words import Advice, headline, sections, table
from negmark.board.page import REPORT, figure_of

HERE = Path(__file__).parent
LONGEST = 600
"""Characters of a text that are shown."""


def page(suite: str, advices: Sequence[Advice], time_words: Sequence[str], board: Path) -> str:
    """Return the page; figures are read from the board's folder, which it links to."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
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
    return environment.get_template("advise.html").render(
        suite=suite,
        parts=parts,
        time_words=time_words,
        board=f"../../../{board}/leaderboard.html",
        style=(REPORT / "leaderboard.css").read_text(encoding="utf-8"),
    )
