"""Stage differences: how far each row of a board is from its reference, how surely, and what can't be told apart.

A family of comparisons holds the methods of one dataset, slice, tier and track, each against the reference: p-values
are adjusted within it (Holm). Rows of another tier or track are no part of it, as no ranking mixes them.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from typer import Option

from negmark.compare.inference import Difference, Table, compare_family, groups, mean_of
from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import read_json, write_text
from negmark.core.spreadsheet import csv
from negmark.core.tiers import TRACKS, in_order
from negmark.store.contents import Contents, read_contents
from negmark.store.query_scores import QueryScores, read_query_scores

MACRO = "all datasets"
"""The name under which the average over datasets stands; no dataset can have it."""
RANKING = "ranking"
"""The slice of that average: of each dataset the one that ranks it."""
COLUMNS = (
    "dataset", "slice", "metric", "tier", "track", "row", "title", "mean", "reference", *Difference._fields,
    "groups",
)  # fmt: skip


def differences(scores: Mapping[str, QueryScores], averaged: list[str], reference: str) -> pd.DataFrame:
    """A row a dataset, slice and method (`COLUMNS`), with the average over the datasets `averaged`, if several, last.

    `reference` names a row, or the method of one, in each tier: what the others are compared with. Where a tier has
    none, and of the reference itself, nothing but mean and groups stands. `groups` are letters within a tier and
    track, empty for a baseline and where seeds or queries are too few to part anything. A baseline is compared in
    every tier.
    """
    parts = [
        part
        for dataset, found in scores.items()
        for name in found.shown()
        for part in _rankings({dataset: found}, found.metric, {dataset: name}, dataset, name, reference)
    ]
    if len(averaged) > 1:
        chosen = {dataset: scores[dataset] for dataset in averaged}
        slices = {dataset: found.ranking() for dataset, found in chosen.items()}
        parts += _rankings(chosen, scores[averaged[0]].metric, slices, MACRO, RANKING, reference)
    return pd.concat([part for part in parts if len(part)], ignore_index=True)[list(COLUMNS)]


def to_average(cards: Mapping[str, Mapping[str, Any]], contents: Contents) -> list[str]:
    """The datasets whose average says most: searched, trained on, and each collection once.

    Two regimes of a collection are judged on the same queries, so their errors are not independent, as an average
    takes them to be. Of those the strict one counts.
    """
    chosen: dict[str, str] = {}
    for name in sorted(contents.trained(), key=lambda name: cards[name]["regime"] != "strict"):
        if name not in contents.sentences:
            chosen.setdefault(cards[name]["dataset"], name)
    return [name for name in contents.cards if name in chosen.values()]


def main(
    contents: Annotated[Path, Option(help="contents.json of the board")],
    reference: Annotated[str, Option(help="the row, or its method, that others are compared with")],
    output: Annotated[Path, Option(help="the CSV file that is written, in the board's folder")],
) -> None:
    """Compare every row of a board with its reference."""
    listed = read_contents(contents)
    cards = {name: read_json(output.parent / "cards" / f"{name}.json") for name in listed.cards}
    scores = {
        name: read_query_scores(listed, name) for name in stage.progress(list(listed.cards), "differences")
    }
    table = differences(scores, to_average(cards, listed), reference)
    write_text(output, csv(table))


def read_differences(path: Path) -> pd.DataFrame:
    """Read what `main` wrote; a missing or broken file is a `UserError` that names it."""
    try:
        table = pd.read_csv(
            path, keep_default_na=False, na_values={name: [""] for name in Difference._fields}
        )
        return table[list(COLUMNS)]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: no differences can be read ({error}); delete it and run again") from None


def _rankings(
    scores: Mapping[str, QueryScores],
    metric: str,
    slices: Mapping[str, str],
    dataset: str,
    name: str,
    reference: str,
) -> Iterator[pd.DataFrame]:
    """The rows of each tier and track, those of baselines with each tier.

    A row that failed on one of the datasets is in no average over them.
    """
    everywhere = set.intersection(*(set(found.rows) for found in scores.values()))
    rows = {
        method: row.about for method, row in next(iter(scores.values())).rows.items() if method in everywhere
    }
    for tier in in_order([row["tier"] for row in rows.values() if row["tier"]]) or [""]:
        mine = {method: row for method, row in rows.items() if row["tier"] in {tier, None}}
        held = _reference(mine, reference)
        for track in (*TRACKS, "baseline"):
            peers = {method: row for method, row in mine.items() if row["track"] == track}
            both = {*peers, held} - {None}
            table = {
                data: {
                    method: found.of(method, metric, slices[data]) for method in found.rows if method in both
                }
                for data, found in scores.items()
            }
            about = {"dataset": dataset, "slice": name, "metric": metric, "tier": tier, "track": track}
            yield _family(table, peers, held, about)


def _reference(rows: Mapping[str, Mapping[str, Any]], name: str) -> str | None:
    """The row of a tier that others are held against: the one of that name, else the first of that method."""
    same = [row for row, about in rows.items() if about["method"] == name and about["track"] == "controlled"]
    return name if name in rows else next(iter(same), None)


def _family(
    table: Table, peers: Mapping[str, Mapping[str, Any]], reference: str | None, about: Mapping[str, str]
) -> pd.DataFrame:
    found = compare_family(table, reference) if reference else {}
    own = {data: {method: rows[method] for method in peers} for data, rows in table.items()}
    given = groups(own) if about["track"] != "baseline" and _enough(own) else {}
    return pd.DataFrame([
        {
            **about, "row": method, "title": row["title"], "mean": mean_of(own, method),
            "reference": reference if method in found else "",
            **(found[method]._asdict() if method in found else dict.fromkeys(Difference._fields, math.nan)),
            "groups": "".join(given.get(method, ())),
        }
        for method, row in peers.items()
    ])  # fmt: skip


def _enough(table: Table) -> bool:
    """Whether there are methods to part, each with seeds and queries that can part them."""
    runs = [by_seed for methods in table.values() for by_seed in methods.values()]
    several = all(len(by_seed) > 1 and len(next(iter(by_seed.values()))) > 1 for by_seed in runs)
    return several and len(next(iter(table.values()))) > 1


if __name__ == "__main__":
    stage.command(main)
