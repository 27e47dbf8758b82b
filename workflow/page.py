"""The board as one HTML file that needs no network: tables that sort and filter, figures, facts of the data."""

import base64
import importlib.resources
import math
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from workflow.standings import RANKED_BY, Row, datasets, ranking_slice, records
from workflow.views import MISSING, READING, Column, columns, rank_text, seeds_text, sentences, size_sentence

FIGURES = ("quality", "scores")
REPORT = Path(__file__).parent / "report"


def page(
    frame: pd.DataFrame, cards: dict[str, Any], settings: dict[str, Any], suite: str, figures: Path
) -> str:
    """One HTML file that needs no network: tables that sort and filter (DataTables), figures, card facts."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(REPORT),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [_section(part, cards[name], settings, figures) for name, part in datasets(frame)]
    return environment.get_template("leaderboard.html").render(
        suite=suite,
        reading=READING,
        missing=MISSING,
        sections=sections,
        overview=_overview(frame),
        style=(REPORT / "leaderboard.css").read_text(encoding="utf-8"),
        datatables=_datatables(),
    )


def _section(
    frame: pd.DataFrame, card: dict[str, Any], settings: dict[str, Any], figures: Path
) -> dict[str, Any]:
    """What the template needs of one dataset."""
    shown = columns(frame)
    return {
        "name": card["name"],
        "card": card,
        "size": size_sentence(card, settings),
        "sentences": sentences(frame, settings),
        "groups": [(name, len(list(part))) for name, part in groupby(shown, key=lambda column: column.group)],
        "columns": shown,
        "rows": [
            {
                **row,
                "rank": rank_text(row),
                "seeds": seeds_text(row),
                "cells": [_cell(column, row, frame) for column in shown],
            }
            for row in records(frame)
        ],
        "figures": [figure for kind in FIGURES if (figure := _figure(figures, card["name"], kind))],
    }


def _cell(column: Column, row: Row, frame: pd.DataFrame) -> dict[str, Any]:
    """One number: `order` is what it sorts by, `title` its interval for the pointer."""
    mean = row[column.mean]
    bounded = column.low and not math.isnan(row[column.low])
    return {
        "text": column.text(row),
        "order": "" if math.isnan(mean) else repr(float(mean)),
        "title": f"{mean:.4f}, 95 % interval {row[column.low]:.4f} to {row[column.high]:.4f}"
        if bounded
        else "",
        "best": bool(mean == column.best(frame)),
        "ranks": column.ranks,
    }


def _overview(frame: pd.DataFrame) -> dict[str, Any]:
    """Methods by datasets, nDCG@10 on each ranking slice, by mean rank; empty for a single dataset."""
    parts = [
        part.assign(value=part[f"{RANKED_BY}/{ranking_slice(part)}/mean"], rank=part["rank"].astype("float"))
        for _, part in datasets(frame)
    ]
    if len(parts) < 2:
        return {}
    methods = pd.concat(parts).groupby("method")
    table = methods.agg(title=("title", "first"), rank=("rank", "mean")).sort_values(["rank", "method"])
    for part in parts:
        table[part["dataset"].iloc[0]] = part.set_index("method")["value"]
    names = list(table.columns[2:])
    return {"datasets": names, "best": table[names].max().to_dict(), "rows": records(table)}


def _figure(folder: Path, dataset: str, kind: str) -> dict[str, str] | None:
    """A figure as a data address (several SVGs in one page would share ids), with its caption."""
    image, caption = folder / f"{dataset}-{kind}.svg", folder / f"{dataset}-{kind}.txt"
    if not image.exists():
        return None
    text = caption.read_text(encoding="utf-8").strip() if caption.exists() else f"{dataset}: {kind}"
    return {"source": base64.b64encode(image.read_bytes()).decode(), "caption": text}


def _datatables() -> str:
    """DataTables (https://datatables.net, MIT) as the itables package ships it: an ES module, base64."""
    bundle = importlib.resources.files("itables").joinpath("html/dt_bundle.js")
    return base64.b64encode(bundle.read_bytes()).decode()
