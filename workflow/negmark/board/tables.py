"""The views of a board's rows: CSV, Markdown and a table for the terminal."""

import io
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from negmark.board.columns import APART, AUDIT, COST, Column, columns
from negmark.board.findings import RATE, UNADJUSTED, tells_nothing
from negmark.board.overview import Overview
from negmark.board.prose import (
    below_table,
    failed_sentence,
    overview_sentence,
    reading,
    sentences,
    size_sentence,
    start_sentence,
    tiers_told,
    version_sentence,
    warnings,
)
from negmark.board.short_answer import short_answer
from negmark.board.standings import datasets, ranked_by, tiers
from negmark.core.names import Row, records
from negmark.core.notation import MISSING, marked, mean_rank_text, plain, rank_text, titled
from negmark.core.spreadsheet import csv
from negmark.store.failures import OK, FailedRow


def board_csv(frame: pd.DataFrame, failed: Sequence[FailedRow] = ()) -> str:
    """The rows in full precision, failed rows last, with a status and a reason instead of numbers."""
    frame = frame.drop(columns=["before", UNADJUSTED], errors="ignore").assign(status=OK, reason="")
    if failed:
        frame = pd.concat([frame, pd.DataFrame([one.model_dump() for one in failed])], ignore_index=True)
    return csv(frame)


def markdown(
    frame: pd.DataFrame,
    overview: Overview | None,
    cards: dict[str, Any],
    settings: dict[str, Any],
    suite: str,
    failed: Sequence[FailedRow] = (),
) -> str:
    """The board for a repository's page: all datasets, then size, sentences, table and adaptations of each."""
    parts = [
        f"# Leaderboard: {plain(suite)}",
        *(f"**{plain(sentence)}**" for sentence in short_answer(frame, settings)),
        plain(f"{version_sentence(suite, settings)} {tiers_told(frame)}".strip()),
        plain(reading(frame)),
    ]
    if overview:
        parts += ["## All datasets", plain(overview_sentence(overview)), _overview_table(overview)]
    for name, part in datasets(frame):
        size = f"{size_sentence(cards[name], settings)} {start_sentence(part)}"
        warned = [f"**{plain(one)}**" for one in warnings(part, settings)]
        parts += [f"## {plain(name)}", *warned, plain(size), plain(" ".join(sentences(part, settings)))]
        without = [one for one in failed if one.dataset == name]
        parts += [_markdown_table(part, without), *map(plain, below_table(part))]
        parts += [*_failed(without), *_adaptations(part)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _overview_table(overview: Overview) -> str:
    several = len({row["tier"] for row in overview.rows if row["tier"]}) > 1
    rows = [
        [
            mean_rank_text(row),
            plain(marked(row, several)),
            *(f"**{cell['text']}**" if cell["best"] else cell["text"] for cell in overview.cells(row)),
        ]
        for row in overview.rows
    ]
    heads = ["mean rank", "method", *(plain(column.heading) for column in overview.columns)]
    align = ["right", "left", *("right" for _ in overview.columns)]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True, colalign=align)


def _markdown_table(frame: pd.DataFrame, failed: Sequence[FailedRow]) -> str:
    shown = [column for column in columns(frame) if column.brief]
    several = len(tiers(frame)) > 1
    rows = [
        [
            rank_text(row),
            plain(titled(row)),
            *([row["tier"]] if several else []),
            *(_bold(column, row, frame) for column in shown),
        ]
        for row in records(frame)
    ]
    rows += [
        ["", plain(marked(one.model_dump())), *([one.tier] if several else []), *[MISSING] * len(shown)]
        for one in failed
    ]
    heads = [
        column.heading if column.group in (APART, COST, AUDIT) else f"{column.group} {column.heading}"
        for column in shown
    ]
    heads = ["#", "method", *(["tier"] if several else []), *heads]
    align = ["right", "left", *(["left"] if several else []), *("right" for _ in shown)]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True, colalign=align)


def _bold(column: Column, row: Row, frame: pd.DataFrame) -> str:
    text = column.text(row)
    return f"**{text}**" if column.is_best(row, frame) else text


def _failed(failed: Sequence[FailedRow]) -> list[str]:
    """Why rows have no result, one line per row."""
    several = len({one.tier for one in failed}) > 1
    lines = [
        f"- {plain(marked(one.model_dump(), several))}: {plain(f'{one.status}: {one.reason}')}"
        for one in failed
    ]
    return ["Without a result:\n\n" + "\n".join(lines)] if lines else []


def _adaptations(frame: pd.DataFrame) -> list[str]:
    """What differs from the papers' own recipes, one line per method; what several tiers share is listed once."""
    changed, several = frame[frame["adaptations"] != ""], len(tiers(frame)) > 1
    groups = changed.groupby(["title", "track", "adaptations"], sort=False)
    rows = [{**records(part)[0], "tier": ", ".join(part["tier"].unique())} for _, part in groups]
    lines = [f"- {plain(marked(row, several))}: {plain(row['adaptations'])}" for row in rows]
    return ["Adaptations:\n\n" + "\n".join(lines)] if lines else []


def terminal_table(frame: pd.DataFrame) -> Group:
    """A table per dataset for the end of a run, in 80 columns or more: the metric that ranks, and the cost."""
    return Group(*(_terminal_part(str(name), part) for name, part in datasets(frame)))


def summary(
    frame: pd.DataFrame, cards: dict[str, Any], settings: dict[str, Any], failed: Sequence[FailedRow] = ()
) -> str:
    """The terminal tables as plain text of 100 columns, each dataset with its size and sentences."""
    out = io.StringIO()
    console = Console(
        file=out, width=100, color_system=None, force_terminal=False, emoji=False, highlight=False
    )
    for name, part in datasets(frame):
        for warning in warnings(part, settings):
            console.print(Text(f"{name}: {warning}"))
        console.print(terminal_table(part))
        for sentence in below_table(part):
            console.print(Text(sentence), "\n")
        lines = [size_sentence(cards[name], settings), start_sentence(part), *sentences(part, settings)]
        lines.append(failed_sentence([one for one in failed if one.dataset == name]))
        console.print(Text(" ".join(line for line in lines if line)), "\n")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).rstrip() + "\n"


def _terminal_part(name: str, frame: pd.DataFrame) -> Table:
    """The table of one dataset; if it has several tiers, each has a heading instead of a column."""
    by = ranked_by(frame)
    extra = {"groups", "train_seconds", RATE}
    shown = [column for column in columns(frame) if column.group == by or column.mean in extra]
    order = "by value, not ranked" if tells_nothing(frame) else "best first"
    table = Table(title=Text(f"{name}: {by}, {order}"), title_justify="left", box=SIMPLE_HEAD)
    table.add_column("#", justify="right", no_wrap=True, min_width=2)
    table.add_column("method")  # the one column that gives way
    for column in shown:
        width = max(len(column.heading), *(len(column.text(row)) for row in records(frame)))
        table.add_column(column.heading, justify="right", no_wrap=True, min_width=width)
    names = tiers(frame) or [""]
    for tier, rows in groupby(records(frame), key=lambda row: row["tier"] or names[0]):
        if len(names) > 1:
            table.add_section()
            table.add_row("", Text(f"{tier} tier", style="italic"))
        for row in rows:
            style = "dim" if row["track"] == "baseline" else ""
            cells = [_terminal_cell(column, row, frame) for column in shown]
            table.add_row(rank_text(row), Text(titled(row)), *cells, style=style)
    return table


def _terminal_cell(column: Column, row: Row, frame: pd.DataFrame) -> Text:
    return Text(column.text(row), style="bold" if column.is_best(row, frame) else "")
