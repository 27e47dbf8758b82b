"""Stage differences: each row's difference from its reference, how certain it is, and which rows are tied.

A family of comparisons has the methods of one dataset, slice, tier and track, each against the reference; p-values
are adjusted within it (Holm). Rows of other tiers or tracks are not in it, as no ranking mixes them. A row is compared
with a reference of its own track and budget; one of the faithful track, whose loss is its own, only with the
reference's method under that loss, where the suite has such a row. Others stand without a difference.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from typer import Option

from negmark.compare.inference import Difference, Table, compare_family, groups, mean_of
from negmark.compare.pairing import LOSS, OF_METHODS, of_another_budget, unlike
from negmark.core import stage
from negmark.core.files import read_json, write_text
from negmark.core.spreadsheet import csv, read_csv
from negmark.core.tiers import TRACKS, in_order
from negmark.store.contents import Contents, read_contents
from negmark.store.query_scores import QueryScores, read_query_scores

MACRO = "all datasets"
"""The name of the average over datasets; no dataset can have it."""
RANKING = "ranking"
"""The slice of that average: for each dataset, the one that ranks it."""
COLUMNS = (
    "dataset", "slice", "metric", "tier", "track", "row", "title", "mean", "reference", *Difference._fields,
    "groups",
)  # fmt: skip


def differences(scores: Mapping[str, QueryScores], averaged: list[str], reference: str) -> pd.DataFrame:
    """Return one row per dataset, slice and method (`COLUMNS`), the average over `averaged`, if several, last.

    `reference` names the row, or its method, that the others of each tier are compared with. Where no such row is like
    it (`_reference`), and for the reference itself, only mean and groups are filled. `groups` are letters within a tier
    and track, empty for a baseline, for a row of another budget than the reference's, and where there are too few seeds
    or queries to separate methods. A baseline is compared in every tier.
    """
    parts = [
        part
        for dataset, table in scores.items()
        for name in table.shown()
        for part in _rankings({dataset: table}, table.metric, {dataset: name}, dataset, name, reference)
    ]
    if len(averaged) > 1:
        chosen = {dataset: scores[dataset] for dataset in averaged}
        slices = {dataset: table.ranking() for dataset, table in chosen.items()}
        parts += _rankings(chosen, scores[averaged[0]].metric, slices, MACRO, RANKING, reference)
    return pd.concat([part for part in parts if len(part)], ignore_index=True)[list(COLUMNS)]


def to_average(cards: Mapping[str, Mapping[str, Any]], contents: Contents) -> list[str]:
    """Return the datasets to average over: those searched and trained on, each collection once (`once_each`)."""
    return once_each({name: cards[name] for name in contents.trained() if name not in contents.sentences})


def once_each(cards: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names of these datasets in order, of those with the same test queries one: the strict one if any is.

    Two regimes of a collection are evaluated on the same queries, so their errors are not independent, which an average
    assumes, and the collection would count twice.
    """
    chosen: dict[tuple[str, str], str] = {}
    for name in sorted(cards, key=lambda name: cards[name]["regime"] != "strict"):
        chosen.setdefault((cards[name]["dataset"], cards[name].get("test_split", "test")), name)
    return [name for name in cards if name in chosen.values()]


def main(
    contents: Annotated[Path, Option(help="contents.json of the board")],
    reference: Annotated[str, Option(help="the row, or its method, to compare the others with")],
    output: Annotated[Path, Option(help="the CSV file to write, in the board's folder")],
) -> None:
    """Compare every row of a board with its reference."""
    listed = read_contents(contents)
    cards = {name: read_json(output.parent / "cards" / f"{name}.json") for name in listed.cards}
    scores = {
        name: read_query_scores(listed, name).ranked().acting()
        for name in stage.progress(list(listed.cards), "differences")
    }
    table = differences(scores, to_average(cards, listed), reference)
    write_text(output, csv(table))


def read_differences(path: Path) -> pd.DataFrame:
    """Read what `main` wrote; a missing or broken file raises a `UserError` that names it."""
    return read_csv(path, COLUMNS, Difference._fields, "differences")


def _rankings(
    scores: Mapping[str, QueryScores],
    metric: str,
    slices: Mapping[str, str],
    dataset: str,
    name: str,
    reference: str,
) -> Iterator[pd.DataFrame]:
    """Yield the rows of each tier and track; baselines come with every tier.

    A row that failed on one of the datasets is left out of the average.
    """
    everywhere = set.intersection(*(set(table.rows) for table in scores.values()))
    rows = {
        method: row.about for method, row in next(iter(scores.values())).rows.items() if method in everywhere
    }
    for tier in in_order([row["tier"] for row in rows.values() if row["tier"]]) or [""]:
        mine = {method: row for method, row in rows.items() if row["tier"] in {tier, None}}
        for track in (*TRACKS, "baseline"):
            peers = {method: row for method, row in mine.items() if row["track"] == track}
            references = {
                method: found
                for method in peers
                if (found := _reference(method, mine, reference)) not in {None, method}
            }
            both = {*peers, *references.values()}
            table = {
                data: {
                    method: query_scores.of(method, metric, slices[data])
                    for method in query_scores.rows
                    if method in both
                }
                for data, query_scores in scores.items()
            }
            about = {"dataset": dataset, "slice": name, "metric": metric, "tier": tier, "track": track}
            yield _family(table, peers, references, about)


def _reference(row: str, rows: Mapping[str, Mapping[str, Any]], name: str) -> str | None:
    """Return the row of a tier that a row is compared with: the one of that name, else the first of that method.

    It is of the same track and budget, and of the same loss but in the controlled track, where a loss of its own is
    what a row is about. A baseline, which has neither, is compared with the first controlled one.
    """
    about = rows[row]
    named = [name] if name in rows else []
    same = [
        other for other, its in rows.items() if its["method"] == (rows[name]["method"] if named else name)
    ]
    found = [*named, *same]
    if about["track"] == "baseline":
        return next(
            (other for other in found if other in named or rows[other]["track"] == "controlled"), None
        )
    free = OF_METHODS if about["track"] == "controlled" else OF_METHODS - {LOSS}
    return next((other for other in found if not unlike(about, rows[other], free)), None)


def _family(
    table: Table,
    peers: Mapping[str, Mapping[str, Any]],
    references: Mapping[str, str],
    about: Mapping[str, str],
) -> pd.DataFrame:
    comparisons = compare_family(table, references)
    own = {data: {method: rows[method] for method in peers} for data, rows in table.items()}
    others = of_another_budget(peers)
    ranked = {
        data: {method: rows[method] for method in peers if method not in others} for data, rows in own.items()
    }
    letters = groups(ranked) if about["track"] != "baseline" and _separable(ranked) else {}
    return pd.DataFrame([
        {
            **about, "row": method, "title": row["title"], "mean": mean_of(own, method),
            "reference": references.get(method, ""),
            **(comparisons[method]._asdict() if method in comparisons else dict.fromkeys(Difference._fields, math.nan)),
            "groups": "".join(letters.get(method, ())),
        }
        for method, row in peers.items()
    ])  # fmt: skip


def _separable(table: Table) -> bool:
    """Return whether there are several methods, each with enough seeds and queries to separate them."""
    runs = [by_seed for methods in table.values() for by_seed in methods.values()]
    several = all(len(by_seed) > 1 and len(next(iter(by_seed.values()))) > 1 for by_seed in runs)
    return several and len(next(iter(table.values()))) > 1


if __name__ == "__main__":
    stage.command(main)
