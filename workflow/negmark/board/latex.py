"""The board for a paper: LaTeX tables with booktabs, to be included by \\input."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from negmark.board.columns import APART, APART_COLUMNS, AUDIT, COST, columns
from negmark.board.findings import RATE
from negmark.board.overview import Overview
from negmark.board.standings import datasets, ranked_by
from negmark.core.names import Row, records
from negmark.core.notation import DID_NOT_ACT, MISSING, STILL_RISING, mean_rank_text, rank_text, titled

HEAD = r"""% Tables of negmark's board {suite}. In the preamble: \usepackage{{booktabs}}
% (and \usepackage[utf8]{{inputenc}} where LaTeX is older than 2018).
"""
SPECIAL = {
    **{letter: f"\\{letter}" for letter in "{}$&#%_"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "±": r"$\pm$", MISSING: "--", STILL_RISING: r"$\uparrow$", DID_NOT_ACT: r"$\emptyset$",
    "<": "$<$", ">": "$>$",
}  # fmt: skip
MINUS = re.compile(r"(?<![\w.])-(?=\d)")
SHOWN = {*(column.mean for column in APART_COLUMNS), RATE, "train_seconds"}
"""Columns that fit a page beside the metric that ranks."""
LONE = {APART, COST, AUDIT}
"""Groups of columns whose headings need no group name."""


def latex(frame: pd.DataFrame, overview: Overview | None, suite: str, captions: Mapping[str, str]) -> str:
    """A `table` environment per dataset, and one of all datasets if there are several.

    `captions` are by dataset name. The best of each column and ranking is bold; a rule separates rankings.
    """
    parts = [HEAD.format(suite=" ".join(suite.split()))]
    if overview:
        heads = [("", column.heading) for column in overview.columns]
        texts = [[(cell["text"], cell["best"]) for cell in overview.cells(row)] for row in overview.rows]
        ranks = [mean_rank_text(row) for row in overview.rows]
        caption = f"All datasets of the suite {suite} by mean rank: {overview.by} of each."
        parts.append(_table(overview.rows, ranks, heads, texts, caption, f"{suite}-all"))
    for name, part in datasets(frame):
        shown = [
            column for column in columns(part) if column.group == ranked_by(part) or column.mean in SHOWN
        ]
        heads = [("" if column.group in LONE else column.group, column.heading) for column in shown]
        rows = records(part)
        texts = [[(column.text(row), column.is_best(row, part)) for column in shown] for row in rows]
        ranks = [rank_text(row) for row in rows]
        parts.append(_table(rows, ranks, heads, texts, captions[name], f"{suite}-{name}"))
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Text that LaTeX shows as it is, on one line, with a minus before a negative number."""
    plain = "".join(SPECIAL.get(letter, letter) for letter in " ".join(text.split()))
    return MINUS.sub("$-$", plain)


def _table(
    rows: Sequence[Row],
    ranks: list[str],
    heads: list[tuple[str, str]],
    texts: list[list[tuple[str, bool]]],
    caption: str,
    label: str,
) -> str:
    several = len({row["tier"] for row in rows if row["tier"]}) > 1
    names = [escaped(titled(row, several)) for row in rows]
    first = [f"\\midrule {rank}" if new else rank for rank, new in zip(ranks, _begins(rows), strict=True)]
    cells = [[escaped(text) for text, _ in row] for row in texts]
    heads = [("", "#"), ("", "method"), *heads]
    table = pd.DataFrame(
        [[place, name, *row] for place, name, row in zip(first, names, cells, strict=True)],
        columns=pd.MultiIndex.from_tuples([(escaped(group), escaped(name)) for group, name in heads]),
    )
    bold = pd.DataFrame(
        [["", "", *("textbf:--rwrap" if best else "" for _, best in row)] for row in texts],
        columns=table.columns,
    )
    text: str = table.style.hide(axis="index").apply(lambda _: bold, axis=None).to_latex(
        hrules=True, position="t", position_float="centering", caption=escaped(caption), multicol_align="c",
        label=f"tab:{re.sub(r'[^A-Za-z0-9]+', '-', label)}", column_format=f"rl{'r' * (len(heads) - 2)}",
    )  # fmt: skip
    return text.replace(r"\centering", r"\centering\footnotesize\setlength{\tabcolsep}{4pt}", 1)


def _begins(rows: Sequence[Row]) -> list[bool]:
    """Whether each row is the first of a ranking other than the topmost; a baseline starts none."""
    begins, last = [], None
    for row in rows:
        ranking = last if row["track"] == "baseline" else (row["tier"], row["track"])
        begins.append(last is not None and ranking != last)
        last = ranking
    return begins
