"""The board of a study: what its variants' boards say side by side, as tables, figures and one page.

`study.csv` has a line for each variant, dataset and row: its value and its difference from the variant's reference.
Where the study names a variant to hold the others against, `agreement.csv` has a line for each of the others and each
dataset, and `pairs.csv` one for each pair of rows.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from negmark.board.study_figures import draw_agreement, draw_response
from negmark.board.study_page import markdown, page, terminal
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
from negmark.core.errors import UserError
from negmark.core.files import write_json, write_text
from negmark.core.spreadsheet import csv
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
            self.read[dataset] = self.board.query_scores(dataset).ranked()
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
    agreements = couples = pd.DataFrame()
    for name in ("agreement.csv", "pairs.csv"):  # of an earlier comparison, which may have been another
        (folder / name).unlink(missing_ok=True)
    if study.against is not None:
        agreements, couples = agreement_tables(study, parts)
        write_text(folder / "agreement.csv", csv(agreements))
        write_text(folder / "pairs.csv", csv(couples))
    figures = folder / "figures"
    for dataset, mine in rows.groupby("dataset", sort=False):
        if study.against is None:
            draw_response(study, mine, str(dataset), figures)
        else:
            draw_agreement(study, mine, agreements, str(dataset), figures)
    write_text(folder / "study.md", markdown(study, rows, agreements, couples))
    write_text(folder / "study.html", page(study, rows, agreements, couples, folder))
    text = terminal(study, rows, agreements)
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
            here, there = (_ordered(one, dataset) for one in (part, judge))
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


def _ordered(part: Part, dataset: str) -> dict[str, Runs]:
    """Return the runs of a board's controlled rows, controls of the benchmark left out, on the slice that ranks."""
    scores, contents = part.scores(dataset), part.board.contents
    return {
        name: scores.of(name, scores.metric, scores.ranking())
        for name in contents.rows
        if name in scores.rows
        and name not in contents.controls
        and scores.rows[name].about["track"] == "controlled"
    }


def _check_same_queries(part: Part, judge: Part, dataset: str) -> None:
    one, other = part.scores(dataset), judge.scores(dataset)
    same = list(one.queries) == list(other.queries) and np.array_equal(one.slices, other.slices)
    if not same or one.metric != other.metric:
        raise UserError(
            f"{part.variant.suite} and {judge.variant.suite}: {dataset} has other test queries, other unseen ones or "
            "another metric; vary nothing that decides a dataset"
        )
