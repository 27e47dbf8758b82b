"""Which method a board lets one take, and how sure that is: from the board's own statistics alone.

Where methods can't be told apart the cheapest is taken; what is a little dearer counts as equally cheap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from negmark.board.findings import COMPARED, TELLS, letters
from negmark.board.standings import ranked_by, ranking_slice
from negmark.compare.statistics import CONFIDENCE
from negmark.compare.undertrained import Trained, undertrained
from negmark.core.errors import UserError
from negmark.core.names import LEXICAL, UNTRAINED, Row, records

SAME_PRICE = 1.25
"""Times the cheapest's seconds up to which a method counts as equally cheap: seconds of short runs vary so much."""
BELOW = 1 - CONFIDENCE


class Verdict(StrEnum):
    """What a board shows."""

    BETTER = "better"
    """The method taken is better than the reference."""
    AMONG = "among"
    """Methods differ, but the one taken isn't told apart from the reference."""
    NOTHING = "nothing"
    """No difference is shown."""
    UNTRAINED = "untrained"
    """No method reaches what it started from."""


@dataclass(frozen=True)
class Choice:
    """What is taken on a dataset."""

    dataset: str
    metric: str
    slice: str
    queries: int
    """Test queries that decide."""
    verdict: Verdict
    taken: Row
    reference: Row | None
    best: Row
    """The highest mean."""
    alike: list[Row]
    """What can't be told apart from the one taken, best first."""
    detectable: float
    """The smallest difference that would have been shown in four of five repetitions; NaN where nothing was tested."""
    baselines: dict[str, float]
    """Means of the untrained encoder and of BM25."""
    file_row: Row | None
    """The row whose negatives the file has: the one taken, or, as it gives no documents, the best that does."""
    ranking: list[Row]
    """All methods, best first."""

    def mean(self, row: Row) -> float:
        """Return what ranks a row."""
        return float(row[f"{self.metric}/{self.slice}/mean"])


def choice(frame: pd.DataFrame, controls: Sequence[str], without_documents: Sequence[str]) -> Choice:
    """Return what the rows of one dataset let one take; `frame` are lines of leaderboard.csv.

    `controls` are rows that nobody can choose, `without_documents` those whose negatives no file can hold.
    """
    name, metric, part = frame["dataset"].iloc[0], ranked_by(frame), ranking_slice(frame)
    by = f"{metric}/{part}/mean"
    trained = frame[(frame["track"] == "controlled") & ~frame["row"].isin(list(controls)) & frame[by].notna()]
    acted = trained["idle"].isna() | (trained["idle"] == "")
    trained = trained[acted].sort_values(by, ascending=False, kind="stable")
    if trained.empty:
        raise UserError(
            f"{name}: no method has a result, so there is nothing to advise; see the board's page"
        )
    rows = records(trained)
    baselines = {row["row"]: float(row[by]) for row in records(frame[frame["track"] == "baseline"])}
    named = {_text(row["reference"]) for row in rows}
    reference = next((row for row in rows if row["row"] in named), None)
    verdict, candidates = _candidates(rows)
    if undertrained(
        [Trained(row["row"], row["tier"], UNTRAINED, row[by]) for row in rows], baselines, metric
    ):
        verdict = Verdict.UNTRAINED
    taken = _cheapest(candidates, by)
    alike = _alike(rows, taken) if verdict != Verdict.NOTHING else []
    if verdict == Verdict.BETTER and reference is not None:
        alike = [row for row in alike if row["row"] != reference["row"]]
    compared = trained[trained[COMPARED].astype(bool)]
    return Choice(
        dataset=name,
        metric=metric,
        slice=part,
        queries=int(frame[f"test_queries/{part}"].iloc[0]),
        verdict=verdict,
        taken=taken,
        reference=reference,
        best=rows[0],
        alike=alike,
        detectable=float((compared["detectable"] ** 2).mean() ** 0.5),
        baselines={key: baselines[key] for key in (UNTRAINED, LEXICAL) if key in baselines},
        file_row=_with_documents([taken, *candidates, *rows], without_documents),
        ranking=rows,
    )


def _candidates(rows: list[Row]) -> tuple[Verdict, list[Row]]:
    """Return what a board shows, and the methods that it lets one take.

    Letters are stricter than the comparison with the reference, as there are more pairs: a method may be better than
    the reference and share a letter with it, and is taken then.
    """
    if str(rows[0].get(TELLS)) != str(True):
        return Verdict.NOTHING, rows
    leaders = [rows[0], *_alike(rows, rows[0])]
    better = [row for row in leaders if row["p"] < BELOW and row["difference"] > 0]  # NaN is neither
    return (Verdict.BETTER, better) if better else (Verdict.AMONG, leaders)


def _alike(rows: list[Row], one: Row) -> list[Row]:
    """Return the other rows that share a letter with one."""
    mine = letters(_text(one.get("groups")))
    others = (row for row in rows if row["row"] != one["row"])
    return [row for row in others if mine & letters(_text(row.get("groups")))]


def _cheapest(rows: list[Row], by: str) -> Row:
    """Return the best of those that are about as cheap as the cheapest."""
    least = min(seconds(row) for row in rows)
    return max((row for row in rows if seconds(row) <= SAME_PRICE * least), key=lambda row: row[by])


def seconds(row: Row) -> float:
    """Return the seconds of a run's training loop: those of the CPU, which other work on the machine doesn't stretch.

    Wall seconds where a GPU trained, as the CPU only waits there, and on boards of before they were noted.
    """
    alone = str(row.get("hardware", "")).endswith("no GPU") and not pd.isna(row.get("cpu_seconds"))
    return float(row["cpu_seconds"] if alone else row["train_seconds"])


def _with_documents(rows: list[Row], without: Sequence[str]) -> Row | None:
    return next((row for row in rows if row["row"] not in without), None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
