"""The board as one HTML file that needs no network: tables that sort and filter, figures, facts of the data."""

import base64
import importlib.resources
import math
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from negmark.board.card_text import counted
from negmark.board.columns import Column, columns
from negmark.board.overview import Overview
from negmark.board.prose import (
    below_table,
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
from negmark.board.standings import datasets, tiers
from negmark.compare.claims import RULE, chance_text, difference_text, read_claims, sentence
from negmark.core.names import Row, records
from negmark.core.notation import (
    MISSING,
    marked,
    mean_rank_text,
    number,
    rank_text,
    seeds_text,
    signs,
)
from negmark.core.run_folders import run_folder
from negmark.core.spreadsheet import read_table
from negmark.store.failures import FailedRow
from negmark.suite.figures import OF_DATASET, OF_SUITE

POINTS = re.compile(r'<svg[^>]* width="([\d.]+)pt"')
SCREEN = 1.75  # pixels per point: figures have the size of print, which is small on a screen
FORESIGHT = {
    "balance": "balance",
    "efficiency": "its efficiency E",
    "hardness": "hardness",
    "margin": "margin",
    "false_negative_rate": "false negatives",
}
"""Columns of the foresight table and their headings on the page."""
REPORT = Path(__file__).parent


def page(
    frame: pd.DataFrame,
    overview: Overview | None,
    cards: dict[str, Any],
    settings: dict[str, Any],
    suite: str,
    folder: Path,
    failed: Sequence[FailedRow] = (),
) -> str:
    """One HTML file that needs no network: tables that sort and filter (DataTables), figures, card facts.

    `frame` are the board's rows, `overview` the table of all datasets if there are several, `failed` the rows without
    a result. `folder` may hold claims.csv and, in figures/, the figures of each dataset.
    """
    names = tiers(frame)
    sections = [
        {
            **_section(part, cards[name], settings, suite, folder / "figures"),
            "failed": [
                {**one.model_dump(), "place": _place(names, one.tier)}
                for one in failed
                if one.dataset == name
            ],
        }
        for name, part in datasets(frame)
    ]
    return rendered(
        REPORT / "leaderboard.html",
        suite=suite,
        version=version_sentence(suite, settings),
        answer=short_answer(frame, settings),
        told=tiers_told(frame),
        reading=reading(frame),
        tiers=names if len(names) > 1 else [],
        tracks=_several(frame.loc[frame["track"] != "baseline", "track"]),
        slices=_several(
            [column.slice for _, part in datasets(frame) for column in columns(part) if column.slice]
        ),
        missing=MISSING,
        sections=sections,
        claims=_claims(folder / "claims.csv"),
        overview=overview,
        mean_rank=mean_rank_text,
        overview_sentence=overview_sentence(overview) if overview else "",
        figures=[figure for name in OF_SUITE if (figure := figure_of(folder / "figures", name))],
        datatables=_datatables(),
    )


def rendered(template: Path, **facts: Any) -> str:
    """Return a template, which may include those of boards, filled with facts and with the style of boards."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, REPORT]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (REPORT / "leaderboard.css").read_text(encoding="utf-8")
    return environment.get_template(template.name).render(**facts, style=style)


def _section(
    frame: pd.DataFrame, card: dict[str, Any], settings: dict[str, Any], suite: str, figures: Path
) -> dict[str, Any]:
    """The values of one dataset for the template."""
    shown, names = columns(frame), tiers(frame)
    kinds = settings.get("figures", {}).get(card["name"], OF_DATASET)
    return {
        "name": card["name"],
        "card": card,
        "facts": counted(card),
        "size": f"{size_sentence(card, settings)} {start_sentence(frame)}",
        "warnings": warnings(frame, settings),
        "sentences": sentences(frame, settings),
        "below": below_table(frame),
        "groups": [(name, len(list(part))) for name, part in groupby(shown, key=lambda column: column.group)],
        "columns": shown,
        "rows": [
            {
                **row,
                "place": _place(names, row["tier"]),
                "rank": rank_text(row),
                "signs": signs(row),
                "seeds": seeds_text(row),
                "runs": _runs(card["name"], row, suite, settings),
                "cells": [_cell(column, row, frame) for column in shown],
            }
            for row in records(frame)
        ],
        "figures": [figure for kind in kinds if (figure := figure_of(figures, f"{card['name']}-{kind}"))],
        "foresight": _foresight(figures.parent / "foresight" / f"{card['name']}.csv", frame),
    }


def _place(tiers_shown: list[str], tier: str) -> int:
    """The place of a tier in a table: a baseline, which has none, is with the first; one without a result is last."""
    return tiers_shown.index(tier) if tier in tiers_shown else len(tiers_shown) * bool(tier)


def _cell(column: Column, row: Row, frame: pd.DataFrame) -> dict[str, Any]:
    """One number: `order` is what it sorts by, `title` its interval or full count, shown on hover."""
    value = column.value(row)
    return {
        "text": column.text(row),
        "order": "" if math.isnan(value) else repr(float(value)),
        "title": _in_full(column, row),
        "best": column.is_best(row, frame),
        "ranks": column.ranks,
    }


def _in_full(column: Column, row: Row) -> str:
    value = column.value(row)
    if math.isnan(value) or (column.low and math.isnan(row[column.low])):
        return ""
    if column.low:
        return f"{value:.4f}, 95 % interval {row[column.low]:.4f} to {row[column.high]:.4f}"
    return "" if column.form else f"{value:,.0f}"


def _claims(path: Path) -> dict[str, Any]:
    """The verdicts of the stage `claims`, if it ran, each claim's before its comparisons, as text and as sort keys."""
    if not path.is_file():
        return {}
    judged = read_claims(path)
    rows = [
        {
            **row,
            "difference_text": difference_text(row),
            "chance": chance_text(row),
            "order": "" if math.isnan(row["difference"]) else repr(row["difference"]),
            "p_order": "" if math.isnan(p := row["p" if row["dataset"] else "adjusted"]) else repr(p),
        }
        for row in records(judged)
    ]
    return {"sentence": sentence(judged), "rule": RULE, "rows": rows}


def _several(names: Iterable[str]) -> list[str]:
    """The options of a filter: each name once, and none if there is no choice."""
    options = list(dict.fromkeys(names))
    return options if len(options) > 1 else []


def _runs(dataset: str, row: Row, suite: str, settings: dict[str, Any]) -> list[dict[str, str]]:
    """Links from the board to the manifest of each run, which work until the results are deleted."""
    if row["track"] == "baseline":
        return []
    home = settings.get("trained_on", {}).get(dataset, dataset)
    return [
        {
            "name": f"seed {seed}",
            "href": f"../../runs/{suite}/{home}/{row['row']}/{run_folder(seed)}/manifest.json",
        }
        for seed in settings.get("seed_numbers", [])
    ]


def figure_of(folder: Path, stem: str) -> dict[str, Any] | None:
    """A figure as a data URL (several SVGs in one page would share ids), with its caption and width in pixels.

    None if there is none, or if its table has no rows: such a figure only says why it is empty.
    """
    image, caption, table = (folder / f"{stem}.{suffix}" for suffix in ("svg", "txt", "csv"))
    if not image.exists() or (table.exists() and len(table.read_text(encoding="utf-8").splitlines()) < 2):
        return None
    content = image.read_bytes()
    width = POINTS.search(content[:2000].decode("utf-8", "replace"))
    return {
        "source": base64.b64encode(content).decode(),
        "caption": caption.read_text(encoding="utf-8").strip() if caption.exists() else stem,
        "width": round(SCREEN * float(width[1])) if width else None,
    }


def _foresight(path: Path, frame: pd.DataFrame) -> list[dict[str, str]]:
    """The scores of each method's first negatives: means over seeds, in the board's order; empty without a table."""
    if not path.exists():
        return []
    means = read_table(path).groupby("row").mean(numeric_only=True)
    shown = [name for name in FORESIGHT if name in means and means[name].notna().any()]
    return [
        {
            "method": marked(row, len(tiers(frame)) > 1),
            **{FORESIGHT[name]: number(float(means[name][row["row"]])) for name in shown},
        }
        for row in records(frame)
        if row["row"] in means.index
    ]


def _datatables() -> str:
    """DataTables (https://datatables.net, MIT) as the itables package ships it: an ES module, base64."""
    bundle = importlib.resources.files("itables").joinpath("html/dt_bundle.js")
    return base64.b64encode(bundle.read_bytes()).decode()
