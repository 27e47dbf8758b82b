"""Stage claims: test what each method's paper claims on the runs of a suite.

A claim says that one method beats another by a metric (`negmark.methods.types.Claim`). It is tested on every dataset,
in every tier and track where the suite has rows of both, on the queries that rank the dataset. P-values are adjusted
(Holm) for all comparisons that claims need on a dataset. Where dev still rose at the last step for either row, the
comparison is made but not judged.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
from tabulate import tabulate
from typer import Option

from negmark.compare.inference import Difference, compare, holm
from negmark.compare.rising import Rises, read_rises
from negmark.compare.statistics import CONFIDENCE
from negmark.core import stage
from negmark.core.files import write_text
from negmark.core.metrics import decimals
from negmark.core.names import Row, records
from negmark.core.notation import MISSING, chance, counted, listed, number, plain
from negmark.core.spreadsheet import csv, read_csv
from negmark.core.tiers import TRACKS, in_order
from negmark.methods import registry
from negmark.methods.types import Claim
from negmark.store.contents import read_contents
from negmark.store.query_scores import QueryScores, read_query_scores

REPRODUCED, CONTRADICTED, NOT_SHOWN, NOT_TESTABLE = (
    "reproduced", "contradicted", "not shown", "not testable here",
)  # fmt: skip
ABOUT = ("claimed_by", "better", "worse", "metric", "condition", "differs")
COLUMNS = (
    *ABOUT, "verdict", "reason", "dataset", "slice", "tier", "track", "better_row", "worse_row", *Difference._fields,
)  # fmt: skip


class Pair(NamedTuple):
    """Two rows of a dataset that a claim compares by a metric."""

    dataset: str
    slice: str
    tier: str
    track: str
    better_row: str
    worse_row: str
    metric: str


def judge(
    claims: Mapping[str, tuple[Claim, ...]], scores: Mapping[str, QueryScores], rises: Rises | None = None
) -> pd.DataFrame:
    """Return one row per claim and pair of rows that tests it, or one that says why none can (`COLUMNS`).

    `claims` maps a method's name to its claims, `scores` a dataset's name to the scores of its runs. `rises` are those
    of the rows that have a learning curve.
    """
    named = [(name, claim) for name, listed_claims in claims.items() for claim in listed_claims]
    pairs = {(name, claim): list(_pairs(claim, scores)) for name, claim in named}
    differences = _differences({pair for tests in pairs.values() for pair in tests}, scores)
    rows = [
        {**_claim_columns(name, claim), **result}
        for (name, claim), tests in pairs.items()
        for result in (
            [_tested(pair, differences[pair], rises or {}) for pair in tests] or [_untestable(claim, scores)]
        )
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def markdown(judged: pd.DataFrame, suite: str) -> str:
    """Return the page: how many claims held, the results of each, and how the setting differs from the paper's."""
    parts = [f"# Claims: {plain(suite)}", plain(sentence(judged)), plain(READING)]
    for name, mine in judged.groupby("claimed_by", sort=False):
        parts.append(f"## {plain(str(name))}")
        for _, part in mine.groupby(list(ABOUT), sort=False):
            first = part.iloc[0]
            parts.append(
                f"**{plain(first['better'])} above {plain(first['worse'])} by {plain(first['metric'])}.** "
                f"The paper: {plain(first['condition'])}. What differs: {plain(first['differs'])}."
            )
            parts += [_table(part)] if first["dataset"] else []
            parts += [
                plain(f"{NOT_TESTABLE}{_place(row)}: {row['reason']}.")
                for row in records(part)
                if row["reason"]
            ]
    return "\n\n".join(parts) + "\n"


def sentence(judged: pd.DataFrame) -> str:
    """Say how many claims were reproduced somewhere, contradicted somewhere, shown nowhere or not testable."""
    if judged.empty:
        return "No method's file lists a claim."
    by_claim = [set(part["verdict"]) for _, part in judged.groupby(list(ABOUT), sort=False)]
    both = {REPRODUCED, CONTRADICTED}
    counts = {
        REPRODUCED: sum(REPRODUCED in one and not both <= one for one in by_claim),
        CONTRADICTED: sum(CONTRADICTED in one and not both <= one for one in by_claim),
        "both, by dataset or tier": sum(both <= one for one in by_claim),
        NOT_SHOWN: sum(NOT_SHOWN in one and not both & one for one in by_claim),
        NOT_TESTABLE: sum(one == {NOT_TESTABLE} for one in by_claim),
    }
    return f"Of {counted(len(by_claim), 'claim')}: {listed([f'{count} {name}' for name, count in counts.items()])}."


READING = (
    "A claim is reproduced where the method is better and the p-value, adjusted (Holm) for all comparisons that "
    "claims ask for on a dataset, is below .05, contradicted where it is significantly worse, and not shown otherwise. "
    "Where one of the two rows was still getting better on dev queries at its last step, their order may be another "
    "after more steps, so the claim isn't judged. Intervals and p-values account for other seeds and other queries. "
    "Our setting is not the paper's, so a claim that is contradicted here may hold there."
)


def main(
    contents: Annotated[Path, Option(help="contents.json of the board")],
    folder: Annotated[Path, Option(help="folder for claims.csv and claims.md")],
) -> None:
    """Test the claims in every method's file on the runs of a suite."""
    listed_contents = read_contents(contents)
    names = list(listed_contents.cards)
    scores = {
        name: read_query_scores(listed_contents, name).ranked() for name in stage.progress(names, "claims")
    }
    known = {name: method.claims for name, method in registry.available().items()}
    judged = judge(known, scores, read_rises(listed_contents))
    write_text(folder / "claims.csv", csv(judged))
    write_text(folder / "claims.md", markdown(judged, listed_contents.suite))
    stage.say(sentence(judged))


def read_claims(path: Path) -> pd.DataFrame:
    """Read what `main` wrote; a broken file raises a `UserError` that names it."""
    return read_csv(path, COLUMNS, Difference._fields, "claims")


def _pairs(claim: Claim, scores: Mapping[str, QueryScores]) -> Iterator[Pair]:
    """Yield the pairs of rows of one tier that test a claim; `worse` is controlled where it has no row in the track."""
    for dataset, table in scores.items():
        rows = {name: row.about for name, row in table.rows.items() if claim.metric in row.scores}
        for tier in in_order([about["tier"] for about in rows.values() if about["tier"]]):
            for track in TRACKS:
                better = _rows(rows, claim.better, tier, track)
                worse = _rows(rows, claim.worse, tier, track) or _rows(
                    rows, claim.worse, tier, next(iter(TRACKS))
                )
                for one in better:
                    for other in worse:
                        yield Pair(dataset, table.ranking(), tier, track, one, other, claim.metric)


def _rows(rows: Mapping[str, Mapping[str, Any]], method: str, tier: str, track: str) -> list[str]:
    key = {"method": method, "tier": tier, "track": track}
    return [name for name, about in rows.items() if key.items() <= about.items()]


def _differences(pairs: set[Pair], scores: Mapping[str, QueryScores]) -> dict[Pair, Difference]:
    """Compare each pair once, however many claims share it; adjust for all pairs of the dataset."""
    differences: dict[Pair, Difference] = {}
    for dataset in scores:
        mine = sorted(pair for pair in pairs if pair.dataset == dataset)
        runs = [
            [scores[dataset].of(row, pair.metric, pair.slice) for row in (pair.better_row, pair.worse_row)]
            for pair in mine
        ]
        unadjusted = [compare(better, worse, family=len(mine)) for better, worse in runs]
        adjusted = holm([one.p for one in unadjusted])
        differences |= {
            pair: one._replace(adjusted=p) for pair, one, p in zip(mine, unadjusted, adjusted, strict=True)
        }
    return differences


def _claim_columns(name: str, claim: Claim) -> dict[str, str]:
    return {
        "claimed_by": name, "better": claim.better, "worse": claim.worse, "metric": claim.metric,
        "condition": claim.condition, "differs": claim.differs,
    }  # fmt: skip


def _tested(pair: Pair, result: Difference, rises: Rises) -> dict[str, Any]:
    """Return the verdict on a comparison; none where dev still rose for either row."""
    row = {**pair._asdict(), **result._asdict()}
    found = {name: rises.get((pair.dataset, name)) for name in (pair.better_row, pair.worse_row)}
    if rising := [f"{name} {rise}" for name, rise in found.items() if rise and rise.rising]:
        return {**row, "verdict": NOT_TESTABLE, "reason": f"dev still rose, {listed(rising)}"}
    significant = result.adjusted < 1 - CONFIDENCE
    verdict = (REPRODUCED if result.difference > 0 else CONTRADICTED) if significant else NOT_SHOWN
    return {**row, "verdict": verdict, "reason": ""}


def _untestable(claim: Claim, scores: Mapping[str, QueryScores]) -> dict[str, Any]:
    """Say why a claim can't be tested: a method without a row, a metric that no dataset has, or no tier in common."""
    rows = [row for table in scores.values() for row in table.rows.values()]
    missing = [
        name for name in (claim.better, claim.worse) if name not in {row.about["method"] for row in rows}
    ]
    if missing:
        reason = f"this suite has no row of {' and none of '.join(missing)}"
    elif not any(claim.metric in row.scores for row in rows):
        reason = f"no dataset of this suite is judged by {claim.metric}"
    else:
        reason = f"no tier has a row of both {claim.better} and {claim.worse}"
    return {
        **dict.fromkeys(Pair._fields, ""),
        "metric": claim.metric,
        "verdict": NOT_TESTABLE,
        "reason": reason,
    }


def _place(row: Row) -> str:
    """Return where a comparison stands that was made but not judged; empty where none could be made."""
    places = [row["dataset"], row["tier"], row["track"]]
    return f" ({', '.join(places)})" if row["dataset"] else ""


def _table(part: pd.DataFrame) -> str:
    heads = ["dataset", "tier", "track", "rows", "verdict", "difference", "p"]
    rows = [
        [
            plain(row["dataset"]), row["tier"], row["track"], plain(f"{row['better_row']} - {row['worse_row']}"),
            row["verdict"], difference_text(row), chance(row["adjusted"]),
        ]
        for row in records(part)
    ]  # fmt: skip
    align = ["left"] * 5 + ["right"] * 2
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True, colalign=align)


def difference_text(row: Row) -> str:
    """Return the difference of a tested pair, as `+0.020 ±0.005`, or a dash for one that wasn't tested."""
    if pd.isna(row["difference"]):
        return MISSING
    text = number(row["difference"], row["low"], decimals(row["metric"]))
    return f"+{text}" if row["difference"] > 0 else text


if __name__ == "__main__":
    stage.command(main)
