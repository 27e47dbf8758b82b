"""Results of other stages joined to the rows of a board: differences, groups, rises on dev, false negatives."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from negmark.board.standings import datasets, ranking_slice
from negmark.compare.differences import MACRO, RANKING
from negmark.compare.rising import Rises
from negmark.compare.statistics import CONFIDENCE
from negmark.core.errors import UserError
from negmark.core.names import records
from negmark.core.spreadsheet import read_table
from negmark.core.tiers import in_order
from negmark.evaluate.audit import WHOLE_RUN

RATE, WEIGHTED = "false_negatives", "false_negatives_weighted"
"""Columns of the board: shares in 0..1, means over seeds of the audit's `false_negative_rate` and `_weight`."""


OF_AUDIT = {RATE: "false_negative_rate", WEIGHTED: "false_negative_weight"}
ANCESTORS, SIBLINGS, SYNONYMS = "ancestors", "siblings", "synonyms"
"""Columns of the board: shares in 0..1 of the negatives with that relation to a positive, means over seeds."""
OF_RELATION = {"ancestor": ANCESTORS, "sibling": SIBLINGS, "synonym": SYNONYMS}


def with_false_negatives(frame: pd.DataFrame, cards: dict[str, dict[str, Any]], audits: Path) -> pd.DataFrame:
    """Return the rows of `standings` with the columns above where a dataset hides labels or relates documents.

    `cards` are the datasets' by name, `audits` is the folder of their CSV files. A method without negatives of its
    own, and a row of a dataset that has neither, has NaN; a column that no dataset has is left out.
    """
    audited = {name: columns for name, card in cards.items() if (columns := _audit_columns(card))}
    if not audited:
        return frame
    rates = [
        _rates(audits / f"{name}.csv", columns).assign(dataset=name) for name, columns in audited.items()
    ]
    return frame.merge(pd.concat(rates), how="left", on=["dataset", "row"])


def _audit_columns(card: dict[str, Any]) -> dict[str, str]:
    """Return the audit's columns that a dataset has, by the board's names."""
    relations = {OF_RELATION[name]: f"{name}_rate" for name in card.get("relations", {})}
    return {**(OF_AUDIT if "hidden" in card else {}), **relations}


def _rates(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    """Return the columns of an audit under the board's names: means over seeds, one line per row."""
    try:
        table = read_table(path)
        whole = table[table["window"] == WHOLE_RUN].groupby("row", as_index=False)
        means = whole[list(columns.values())].mean()
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: no false negatives can be read ({error}); delete it and run again"
        ) from None
    return means.rename(columns={name: column for column, name in columns.items()})


UNADJUSTED = "p/unadjusted"
"""A column that tells where `p` is only a bound; shown nowhere."""
OF_DIFFERENCES = {
    "reference": "reference",
    "difference": "difference",
    "difference/low": "low",
    "difference/high": "high",
    "p": "adjusted",
    "effect": "effect",
    "detectable": "detectable",
    "groups": "groups",
    UNADJUSTED: "p",
}
"""Columns of the board and their names in differences.csv, on the slice that ranks a dataset."""


def with_differences(frame: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `standings` with the columns `OF_DIFFERENCES`, from the rows of differences.csv.

    A baseline, which every tier is compared with, has the difference from the reference of the first tier.
    """
    first = {tier: place for place, tier in enumerate(in_order(list(table["tier"])))}
    ordered = table.assign(place=table["tier"].map(first)).sort_values("place", kind="stable")
    ranking = {name: ranking_slice(part) for name, part in datasets(frame)}
    ranks = ordered[ordered["slice"] == ordered["dataset"].map(ranking)]
    chosen = ranks.drop_duplicates(["dataset", "row"])
    named = {column: chosen[name] for column, name in OF_DIFFERENCES.items()}
    joined = frame.merge(chosen[["dataset", "row"]].assign(**named), how="left", on=["dataset", "row"])
    return joined.fillna({"reference": "", "groups": ""})  # of an untuned row, which is compared with none


COMPARED, TELLS = "compared", "tells"
"""Columns of the board: whether a row is a method compared with the reference, no control, and whether any such method
of its ranking differs (None where none was tested)."""


def with_orders(frame: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """Return the rows with the columns above, and without ranks where a ranking tells nothing: no method differs.

    `controls` are the rows that nobody can choose; that they differ says nothing about methods. A baseline is in no
    ranking and goes with the first one of its dataset.
    """
    parts = [_with_order(part, controls) for _, part in datasets(frame)]
    return pd.concat(parts, ignore_index=True)


def _with_order(frame: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """Return the rows of one dataset with both columns."""
    trained = frame["track"] != "baseline"
    frame = frame.assign(**{COMPARED: trained & frame["p"].notna() & ~frame["row"].isin(list(controls))})
    told = {key: _tells(part) for key, part in frame[trained].groupby(["tier", "track"], sort=False)}
    first = next(iter(told.values()), None)
    keys = zip(frame["tier"], frame["track"], strict=True)
    tells = pd.Series([told.get(key, first) for key in keys], index=frame.index, dtype=object)
    return frame.assign(**{TELLS: tells, "rank": frame["rank"].mask(tells.eq(False))})


def tells_nothing(frame: pd.DataFrame) -> bool:
    """Return whether a ranking among these rows was tested and shows no difference."""
    return TELLS in frame and bool(frame[TELLS].eq(False).any())


def without_controls(ranking: pd.DataFrame) -> pd.DataFrame:
    """Return a ranking without its controls: the rows that were tested but aren't compared; all where none were."""
    if COMPARED not in ranking:
        return ranking
    kept = ranking[ranking[COMPARED].astype(bool) | ranking["p"].isna()]
    return ranking if kept.empty else kept


def letters(groups: str | None) -> set[str]:
    """Return the letters of a row's groups; none for a row that was not told apart from others."""
    return set(re.findall(r"[a-z]\d*", groups or ""))


def alike(ranking: pd.DataFrame) -> list[str]:
    """Return the titles of the rows that share a letter with the first one of a ranking, best first."""
    first, *others = records(ranking)
    mine = letters(first.get("groups"))
    return [row["title"] for row in others if mine & letters(row.get("groups"))]


def _tells(ranking: pd.DataFrame) -> bool | None:
    """Say whether a method differs from the reference, or two from each other, who then share no letter."""
    compared = ranking[ranking[COMPARED]]
    if compared.empty:
        return None
    sets = [letters(text) for text in compared["groups"].fillna("") if text]
    apart = bool(sets) and not set.intersection(*sets)
    return bool((compared["p"] < 1 - CONFIDENCE).any()) or apart


GAIN, GAIN_STEPS, RISING = "dev_gain", "dev_gain_steps", "dev_rising"
"""Columns of the board: what `compare.rising.Rise` has as `gain`, `steps` and `rising`."""


def with_rises(frame: pd.DataFrame, rises: Rises) -> pd.DataFrame:
    """Return the rows with the columns above, empty for a row without a curve; without them if no row has one."""
    if not rises:
        return frame
    keys = zip(frame["dataset"], frame["row"], strict=True)
    found = pd.Series([rises.get(key) for key in keys], index=frame.index, dtype=object)
    columns: dict[str, Any] = {
        GAIN: found.map(lambda rise: rise.gain if rise else None).astype(float),
        GAIN_STEPS: found.map(lambda rise: rise.steps if rise else None).astype("Int64"),
        RISING: found.map(lambda rise: rise.rising if rise else None).astype(object),
    }
    return frame.assign(**columns)


def average(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the average over datasets, best first within a tier and track; none where there is no average."""
    rows = table[(table["dataset"] == MACRO) & (table["slice"] == RANKING)]
    place = {tier: number for number, tier in enumerate(in_order(list(rows["tier"])))}
    order = rows.assign(place=rows["tier"].map(place)).sort_values(
        ["place", "track", "mean"], ascending=[True, True, False], kind="stable"
    )
    return order.drop(columns="place").reset_index(drop=True)
