"""What a dataset of known truth says of false negatives, in words: from the table of the stage `truth`."""

import math
from pathlib import Path

import pandas as pd

from negmark.compare.statistics import CONFIDENCE
from negmark.compare.truth import read_truth
from negmark.core.metrics import decimals
from negmark.core.names import Row, records
from negmark.core.notation import chance


def truth_sentences(path: Path) -> list[str]:
    """Return a sentence per tier and one per control; none where the stage didn't run."""
    table = read_truth(path) if path.is_file() else pd.DataFrame(columns=["tier"])
    several = table["tier"].nunique() > 1
    return [
        sentence
        for tier, part in table.groupby("tier", sort=False)
        for sentence in _of_tier(f"In the {tier} tier, among" if several else "Among", part)
    ]


def correlation_sentence(row: Row, start: str = "Among") -> str:
    """Return what goes with fewer false negatives among the methods of a tier; `row` is a line of its table."""
    methods, metric = f"{start} {row['methods']:.0f} methods", row["metric"]
    if math.isnan(row["tau"]):
        return f"{methods}, too few or too equal to rank, false negatives can't be related to {metric}."
    bounds = (
        "" if math.isnan(row["tau_low"]) else f", {row['tau_low']:+.2f} to {row['tau_high']:+.2f} over seeds"
    )
    numbers = f"Kendall's tau {row['tau']:+.2f}{bounds}, p {chance(row['p'])}"
    if row["p"] >= 1 - CONFIDENCE:
        return f"{methods} no relation of false negatives to {metric} is shown ({numbers})."
    return f"{methods} {'fewer' if row['tau'] < 0 else 'more'} false negatives go with higher {metric} ({numbers})."


def twin_sentence(row: Row, twin: Row) -> str:
    """Return what a control differs by from the row that has its negatives but for false ones."""
    digits = decimals(row["metric"])
    text = (
        f"{row['title']}, with {row['rate']:.1%} false negatives, differs from {twin['title']}, with "
        f"{twin['rate']:.1%} and otherwise the same negatives, by {row['difference']:+.{digits}f}"
    ).replace("%", " %")
    if math.isnan(row["difference_low"]):
        return f"{text}."
    bounds = f"{row['difference_low']:+.{digits}f} to {row['difference_high']:+.{digits}f}"
    shown = "" if row["difference_p"] < 1 - CONFIDENCE else ": no difference shown"
    return f"{text} ({bounds}, p {chance(row['difference_p'])}{shown})."


def _of_tier(start: str, part: pd.DataFrame) -> list[str]:
    rows = {row["row"]: row for row in records(part)}
    twins = [twin_sentence(row, rows[row["twin"]]) for row in rows.values() if row["twin"]]
    return [correlation_sentence(next(iter(rows.values())), start), *twins]
