"""The board of a study: what its variants' boards say side by side, as tables, figures and one page.

`study.csv` has a line for each variant, dataset and row: its value and its difference from the variant's reference.
Where the study names a variant to hold the others against, `agreement.csv` has a line for each of the others and each
dataset, and `pairs.csv` one for each pair of rows. Of a sweep, `effects.csv` has a line for each key, dataset, value
and row: its difference from the same row at the suite's own value.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from negmark.board.study_figures import draw
from negmark.board.study_page import markdown, page, terminal
from negmark.board.study_sections import Findings, sections
from negmark.compare.agreement import (
    NEITHER,
    ONLY_HERE,
    ONLY_THERE,
    REVERSED,
    SAME,
    order_agreement,
    pairs,
)  # fmt: skip
from negmark.compare.differences import read_differences
from negmark.compare.inference import compare, holm
from negmark.core.errors import UserError
from negmark.core.files import write_json, write_text
from negmark.core.spreadsheet import csv
from negmark.core.tiers import TRACKS
from negmark.store.board import Board, open_board
from negmark.store.query_scores import QueryScores, Runs
from negmark.store.run import ranks_by
from negmark.suite.study import Study, Variant

FEWEST = 3
"""Rows in common below which two boards have no order to compare."""
ROW_KEYS = ["row", "title", "tier", "track", "metric", "slice", "mean"]
PAIR_VERDICTS = (SAME, REVERSED, ONLY_HERE, ONLY_THERE, NEITHER)


class Part(NamedTuple):
    """A variant with its board, and the query scores of datasets that were read so far."""

    variant: Variant
    board: Board
    read: dict[str, QueryScores]

    def scores(self, dataset: str) -> QueryScores:
        """Return the query scores of the rows that are ranked."""
        if dataset not in self.read:
            self.read[dataset] = self.board.query_scores(dataset).ranked().acting()
        return self.read[dataset]


def write_study(study: Study, folder: Path, root: Path = Path()) -> str:
    """Compare the boards of a study below `root`, write tables, figures and page into `folder`; return a summary.

    Raises `UserError` if a board, or a run of one whose order is compared, isn't there.
    """
    parts = [Part(variant, open_board(variant.suite, root), {}) for variant in study.variants]
    rows = study_table(study, parts)
    write_text(folder / "study.csv", csv(rows))
    write_json(folder / "study.json", {"name": study.name, "axes": study.axes, "against": study.against,
                                       "boards": [part.variant.suite for part in parts]})  # fmt: skip
    found = Findings(*(pd.DataFrame() for _ in Findings._fields))
    if study.against is not None:
        found = found._replace(
            **dict(zip(("agreement", "pairs"), agreement_tables(study, parts), strict=True))
        )
    if study.base is not None:
        found = found._replace(effects=effects_table(study, parts))
    for name, table in found._asdict().items():
        (folder / f"{name}.csv").unlink(missing_ok=True)  # an earlier comparison may have been another
        if len(table):
            write_text(folder / f"{name}.csv", csv(table))
    shown = list(sections(study, rows))
    for section in shown:
        draw(section, found, folder / "figures")
    write_text(folder / "study.md", markdown(study, shown, found))
    write_text(folder / "study.html", page(study, shown, found, folder))
    text = terminal(study, shown, found)
    write_text(folder / "summary.txt", text)
    return text


def study_table(study: Study, parts: Sequence[Part]) -> pd.DataFrame:
    """Return a line per variant, dataset and row, on the slice that ranks: value, interval, difference, p, rank.

    `low` and `high` bound the mean over other seeds; `difference_low` and `difference_high` bound the difference from
    the reference over other seeds and queries; `p` is adjusted (Holm).
    """
    return pd.concat([table for part in parts for table in _rows(study, part)], ignore_index=True)


def _rows(study: Study, part: Part) -> Iterator[pd.DataFrame]:
    compared, table = read_differences(part.board.folder / "differences.csv"), part.board.table
    contents = part.board.contents
    for dataset in contents.cards:
        ranked = table[(table["dataset"] == dataset) & (table["status"] == "ok")].set_index("row")
        name = ranks_by(int(ranked["test_queries/unseen"].iloc[0]))
        mine = compared[(compared["dataset"] == dataset) & (compared["slice"] == name)].copy()
        mine = mine[~mine.duplicated("row")]  # a baseline is compared in every tier
        metric = mine["metric"].iloc[0]
        bounds = {
            kind: ranked[f"{metric}/{name}/{kind}"].reindex(mine["row"]).to_numpy()
            for kind in ("low", "high")
        }
        yield pd.DataFrame(
            {
                **dict(zip(study.columns, part.variant.labels, strict=True)),
                "suite": part.variant.suite,
                "dataset": dataset,
                **{key: mine[key].to_numpy() for key in ROW_KEYS},
                **bounds,
                "rank": ranked["rank"].reindex(mine["row"]).to_numpy(),
                "seconds": ranked["train_seconds"].reindex(mine["row"]).to_numpy(),
                "reference": mine["reference"].to_numpy(),
                "difference": mine["difference"].to_numpy(),
                "difference_low": mine["low"].to_numpy(),
                "difference_high": mine["high"].to_numpy(),
                "p": mine["adjusted"].to_numpy(),
                "groups": mine["groups"].to_numpy(),
                "control": mine["row"].isin(contents.controls).to_numpy(),
            }
        )


def agreement_tables(study: Study, parts: Sequence[Part]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how far each other variant's order agrees with that of `against`, and every pair of rows, by dataset."""
    axis = study.columns[0]
    judge = next(part for part in parts if part.variant.labels[0] == study.against)
    orders: list[dict[str, Any]] = []
    couples: list[dict[str, Any]] = []
    for part in parts:
        for dataset in part.board.contents.cards:
            if part is judge or dataset not in judge.board.contents.cards:
                continue
            here, there = (_runs(one, dataset, "controlled") for one in (part, judge))
            if len(here.keys() & there.keys()) < FEWEST:
                continue
            _check_same_queries(part, judge, dataset)
            about = {axis: part.variant.label, "dataset": dataset}
            told = pairs(here, there)
            counts = {word: sum(pair.verdict == word for pair in told) for word in PAIR_VERDICTS}
            orders.append({**about, **order_agreement(here, there)._asdict(), **counts})
            couples += [{**about, **pair._asdict()} for pair in told]
    if not orders:
        raise UserError(
            f"{study.name}: {study.against}: no dataset has {FEWEST} rows that it and another variant have in common; "
            "name the same rows in them"
        )
    return pd.DataFrame(orders), pd.DataFrame(couples)


def _runs(part: Part, dataset: str, *tracks: str) -> dict[str, Runs]:
    """Return the runs of a board's rows of some tracks, or all, on the slice that ranks; controls are left out."""
    scores, contents = part.scores(dataset), part.board.contents
    return {
        name: scores.of(name, scores.metric, scores.ranking())
        for name in contents.rows
        if name in scores.rows
        and name not in contents.controls
        and scores.rows[name].about["track"] in (tracks or TRACKS)
    }


def _check_same_queries(part: Part, judge: Part, dataset: str) -> None:
    one, other = part.scores(dataset), judge.scores(dataset)
    same = list(one.queries) == list(other.queries) and np.array_equal(one.slices, other.slices)
    if not same or one.metric != other.metric:
        raise UserError(
            f"{part.variant.suite} and {judge.variant.suite}: {dataset} has other test queries, other unseen ones or "
            "another metric; vary nothing that decides a dataset"
        )


def effects_table(study: Study, parts: Sequence[Part]) -> pd.DataFrame:
    """Return what each value of a swept key changes in each row's metric, by dataset, from the suite's own value.

    `low` and `high` bound the difference over other seeds and queries; `p` is adjusted (Holm) for all rows and values
    of a key on a dataset.
    """
    by_suite = {part.variant.suite: part for part in parts}
    lines: list[dict[str, Any]] = []
    for line in study.lines:
        there = [variant for variant in line.variants if variant.suite in by_suite]
        base = next((by_suite[one.suite] for one in there if one.labels == line.base), None)
        if base is None:
            continue
        others = [by_suite[one.suite]._replace(variant=one) for one in there if one.labels != line.base]
        for dataset in base.board.contents.cards:
            lines += _effects(next(iter(line.axes)), dataset, base, others)
    return pd.DataFrame(lines)


def _effects(axis: str, dataset: str, base: Part, others: Sequence[Part]) -> list[dict[str, Any]]:
    own = _runs(base, dataset)
    pairs_of_runs = [
        (part.variant.label, name, runs, own[name])
        for part in others
        for name, runs in _runs(part, dataset).items()
        if name in own
    ]
    results = [compare(here, there, family=len(pairs_of_runs)) for _, _, here, there in pairs_of_runs]
    adjusted = holm([result.p for result in results])
    about = base.scores(dataset).rows
    return [
        {"key": axis, "dataset": dataset, "value": label, "row": name,
         **{key: about[name].about[key] for key in ("title", "tier", "track")},
         "difference": result.difference, "low": result.low, "high": result.high, "p": p}
        for (label, name, _, _), result, p in zip(pairs_of_runs, results, adjusted, strict=True)
    ]  # fmt: skip
