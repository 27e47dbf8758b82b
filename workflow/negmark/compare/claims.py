"""Stage claims: test what each method's paper claims on the runs of a suite, with one verdict a claim.

A claim says that one method beats another by a metric (`negmark.methods.types.Claim`). It is tested by rows that are
alike in all else (`negmark.compare.pairing`), on the queries that rank a dataset. How a verdict is reached (`RULE`) is
fixed before any result is looked at, and printed above the results.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from tabulate import tabulate
from typer import Option

from negmark.compare.differences import once_each
from negmark.compare.idle import Idle, read_idle
from negmark.compare.inference import RESOLUTION, Difference, compare, compare_average, holm
from negmark.compare.pairing import Pair, obstacle, pairs
from negmark.compare.rising import Rises, read_rises
from negmark.compare.statistics import CONFIDENCE
from negmark.compare.undertrained import below_start, undertrained_tiers
from negmark.core import stage
from negmark.core.files import read_json, write_text
from negmark.core.metrics import decimals
from negmark.core.names import Row, records
from negmark.core.notation import MISSING, chance, counted, listed, number, plain
from negmark.core.spreadsheet import csv, read_csv
from negmark.core.tiers import in_order
from negmark.methods import registry
from negmark.methods.types import Claim
from negmark.store.contents import read_contents
from negmark.store.query_scores import ClusteredRuns, QueryScores, Runs, clusters_of, read_query_scores

REPRODUCED, CONTRADICTED, NOT_SHOWN, NOT_TESTABLE = (
    "reproduced", "contradicted", "not shown", "not testable here",
)  # fmt: skip
ABOUT = ("claimed_by", "better", "worse", "metric", "condition", "differs")
COLUMNS = (
    *ABOUT, "verdict", "reason", "dataset", "slice", "tier", "track", "better_row", "worse_row", *Difference._fields,
)  # fmt: skip
"""A line with a verdict is a claim's, over all datasets that are judged; the lines without one are its comparisons."""
RULE = (
    "A claim compares rows of one dataset, tier and track that have the same loss, steps, training queries, "
    "negatives, temperature and teacher, and before tuning the same learning rate and number of candidates to draw "
    "from; the steps of a row count those of the rows that it starts from, and what is itself claimed (a loss, a "
    "teacher, a depth) may differ. It has one verdict in a tier, from the faithful track where the suite has such "
    "rows, as that is the paper's own loss, else from the controlled track. The verdict is by the mean difference "
    "over all datasets that are trained on, each collection once (in its strict regime if there is one, else as the "
    "suite lists it first) and all alike in weight. The claim is reproduced where the method is better and the "
    "p-value, adjusted (Holm) for all verdicts of the board, is below .05, contradicted where it is significantly "
    "worse, and not shown otherwise. A dataset is not judged where one of the two rows was still getting better on "
    "dev queries at its last step, did not act, or ended below what it started from, or where all rows of the tier "
    "did. Intervals and p-values account for other seeds and other queries of these datasets, not for "
    "other datasets: two or three can't show what another would. Our setting is not the paper's, so a claim that is "
    "contradicted here may hold there."
)
Undertrained = Mapping[str, Mapping[str, str]]
"""By dataset and tier: what `negmark.compare.undertrained` found."""


class Doubts(NamedTuple):
    """What keeps a comparison from being judged."""

    rises: Rises = MappingProxyType({})
    """Of the rows that have a learning curve."""
    idle: Idle = MappingProxyType({})
    undertrained: Undertrained = MappingProxyType({})
    """Nothing is judged there."""
    below: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    """By dataset the rows that don't reach what they began with, and what that is; none of them is judged."""
    counted: Collection[str] | None = None
    """The datasets that verdicts are over, if not all: trained on, each collection once."""

    def of(self, pair: Pair) -> str:
        """Return why a comparison isn't judged, empty if it is."""
        rows = (pair.better_row, pair.worse_row)
        if found := self.undertrained.get(pair.dataset, {}).get(pair.tier):
            return f"undertrained: {found}"
        below = self.below.get(pair.dataset, {})
        if fallen := [f"{row} below {below[row]}" for row in rows if row in below]:
            return f"ended below what training began with, {listed(fallen)}"
        if idle := [f"{row} {why}" for row in rows if (why := self.idle.get((pair.dataset, row)))]:
            return f"did not act, {listed(idle)}"
        risen = {row: self.rises.get((pair.dataset, row)) for row in rows}
        if rising := [f"{row} {rise}" for row, rise in risen.items() if rise and rise.rising]:
            return f"dev still rose, {listed(rising)}"
        if self.counted is not None and pair.dataset not in self.counted:
            return "counted in no verdict, as it is not trained on or another regime of its collection is"
        return ""


class Test(NamedTuple):
    """What decides a claim in a tier: the comparisons that are judged, and why the others aren't."""

    tier: str
    track: str
    judged: tuple[Pair, ...]
    doubts: Mapping[Pair, str]

    @property
    def datasets(self) -> list[str]:
        """The datasets that are judged."""
        return list(dict.fromkeys(pair.dataset for pair in self.judged))


def judge(
    claims: Mapping[str, tuple[Claim, ...]], scores: Mapping[str, QueryScores], doubts: Doubts | None = None
) -> pd.DataFrame:
    """Return for each claim and tier a row with its verdict, then one for each comparison (`COLUMNS`).

    `claims` maps a method's name to its claims, `scores` a dataset's name to the scores of its runs.
    """
    named = [(name, claim) for name, listed_claims in claims.items() for claim in listed_claims]
    tests = {key: _tests(list(pairs(key[1], scores)), scores, doubts or Doubts()) for key in named}
    verdicts = _verdicts([test for found in tests.values() for test in found], scores)
    rows = [
        {**_claim_columns(name, claim), **line}
        for (name, claim), found in tests.items()
        for line in (
            [line for test in found for line in _lines(test, verdicts, scores)]
            or [{"metric": claim.metric, "verdict": NOT_TESTABLE, "reason": obstacle(claim, scores)}]
        )
    ]
    empty = {name: np.nan if name in Difference._fields else "" for name in COLUMNS}
    return pd.DataFrame([{**empty, **row} for row in rows], columns=list(COLUMNS))


def markdown(judged: pd.DataFrame, suite: str) -> str:
    """Return the page: how many claims held, the rule, each claim's verdict and comparisons, what differs."""
    parts = [f"# Claims: {plain(suite)}", plain(sentence(judged)), plain(RULE)]
    for name, mine in judged.groupby("claimed_by", sort=False):
        parts.append(f"## {plain(str(name))}")
        for _, part in mine.groupby(list(ABOUT), sort=False):
            first = part.iloc[0]
            parts.append(
                f"**{plain(first['better'])} above {plain(first['worse'])} by {plain(first['metric'])}.** "
                f"The paper: {plain(first['condition'])}. What differs: {plain(first['differs'])}."
            )
            parts += [plain(verdict_text(row)) for row in records(part) if row["verdict"]]
            parts += [_table(part)] if part["dataset"].any() else []
            parts += [
                plain(f"Not judged ({row['dataset']}, {row['tier']}, {row['track']}): {row['reason']}.")
                for row in records(part)
                if row["dataset"] and row["reason"]
            ]
    return "\n\n".join(parts) + "\n"


def sentence(judged: pd.DataFrame) -> str:
    """Say how many claims were reproduced, contradicted, not shown or not testable; by tier where there are several."""
    if judged.empty:
        return "No method's file lists a claim."
    verdicts = judged[judged["verdict"] != ""]
    claims = len(verdicts.drop_duplicates(list(ABOUT)))
    kinds = (REPRODUCED, CONTRADICTED, NOT_SHOWN, NOT_TESTABLE)
    counts = listed([f"{(verdicts['verdict'] == kind).sum()} {kind}" for kind in kinds])
    several = f", with {len(verdicts)} verdicts in their tiers" if len(verdicts) > claims else ""
    return f"Of {counted(claims, 'claim')}{several}: {counts}."


def verdict_text(row: Row) -> str:
    """Say a claim's verdict in a tier: by which difference, over which datasets, or why there is none."""
    place = f" ({row['tier']}, {row['track']})" if row["tier"] else ""
    if row["verdict"] == NOT_TESTABLE:
        return f"{NOT_TESTABLE}{place}: {row['reason']}."
    return f"{row['verdict']}{place}: {difference_text(row)}, p {chance_text(row)}, {row['reason']}."


def main(
    contents: Annotated[Path, Option(help="contents.json of the board")],
    folder: Annotated[Path, Option(help="the board's folder, with its cards, for claims.csv and claims.md")],
) -> None:
    """Test the claims in every method's file on the runs of a suite."""
    listed_contents = read_contents(contents)
    names = list(listed_contents.cards)
    cards = {name: read_json(folder / "cards" / f"{name}.json") for name in names}
    scores = {name: read_query_scores(listed_contents, name) for name in stage.progress(names, "claims")}
    doubts = Doubts(
        rises=read_rises(listed_contents),
        idle=read_idle(listed_contents),
        undertrained={
            name: undertrained_tiers(table, listed_contents.controls) for name, table in scores.items()
        },
        below={name: below_start(table) for name, table in scores.items()},
        counted=once_each({name: cards[name] for name in listed_contents.trained()}),
    )
    known = {name: method.claims for name, method in registry.available().items()}
    judged = judge(known, {name: table.ranked() for name, table in scores.items()}, doubts)
    write_text(folder / "claims.csv", csv(judged))
    write_text(folder / "claims.md", markdown(judged, listed_contents.suite))
    stage.say(sentence(judged))


def read_claims(path: Path) -> pd.DataFrame:
    """Read what `main` wrote; a broken file raises a `UserError` that names it."""
    return read_csv(path, COLUMNS, Difference._fields, "claims")


def _tests(found: Sequence[Pair], scores: Mapping[str, QueryScores], doubts: Doubts) -> list[Test]:
    """Return what decides a claim in each tier that has comparisons, from the track that counts there."""
    tests = []
    for tier in in_order([pair.tier for pair in found]):
        mine = [pair for pair in found if pair.tier == tier]
        track = "faithful" if any(pair.track == "faithful" for pair in mine) else "controlled"
        why = {pair: _doubt(pair, track, scores, doubts) for pair in mine}
        judged = tuple(pair for pair in mine if not why[pair])
        tests.append(Test(tier, track, judged, why))
    return tests


def _doubt(pair: Pair, track: str, scores: Mapping[str, QueryScores], doubts: Doubts) -> str:
    if pair.track != track:
        return f"the {track} track decides"
    if found := doubts.of(pair):
        return found
    return "" if compare(*_runs(pair, scores)).p >= 0 else "one seed or one value a run gives no p-value"


def _verdicts(tests: Sequence[Test], scores: Mapping[str, QueryScores]) -> dict[tuple[Pair, ...], Difference]:
    """Return what each test finds, by its comparisons: claims that share them all share it, and count once for Holm."""
    keys = list(dict.fromkeys(test.judged for test in tests if test.judged))
    found = [_mean_difference(_by_dataset(key, scores), len(keys)) for key in keys]
    adjusted = holm([one.p for one in found])
    return {key: one._replace(adjusted=p) for key, one, p in zip(keys, found, adjusted, strict=True)}


def _mean_difference(runs: Mapping[str, tuple[Runs, Runs]], family: int) -> Difference:
    """Return the mean difference over datasets; that of one is its own, to the last digit."""
    alone = len(runs) == 1
    return compare(*next(iter(runs.values())), family=family) if alone else compare_average(runs, family)


def _by_dataset(judged: Sequence[Pair], scores: Mapping[str, QueryScores]) -> dict[str, tuple[Runs, Runs]]:
    """Return the runs of both sides by dataset: where several pairs of rows test a claim, their mean counts once."""
    by_dataset: dict[str, list[tuple[Runs, Runs]]] = {}
    for pair in judged:
        by_dataset.setdefault(pair.dataset, []).append(_runs(pair, scores))
    return {
        name: (_mean([better for better, _ in both]), _mean([worse for _, worse in both]))
        for name, both in by_dataset.items()
    }


def _mean(runs: Sequence[Runs]) -> Runs:
    """Return the mean of several rows by seed, for the seeds that all of them have."""
    seeds = [seed for seed in runs[0] if all(seed in one for one in runs)]
    if not seeds:
        return runs[0]  # rows whose other seeds failed: the first one stands for them
    mean = {seed: np.mean([one[seed] for one in runs], axis=0) for seed in seeds}
    clusters = clusters_of(*runs)
    return mean if clusters is None else ClusteredRuns(mean, clusters)


def _runs(pair: Pair, scores: Mapping[str, QueryScores]) -> tuple[Runs, Runs]:
    better, worse = (
        scores[pair.dataset].of(row, pair.metric, pair.slice) for row in (pair.better_row, pair.worse_row)
    )
    return better, worse


def _claim_columns(name: str, claim: Claim) -> dict[str, str]:
    return {
        "claimed_by": name, "better": claim.better, "worse": claim.worse, "metric": claim.metric,
        "condition": claim.condition, "differs": claim.differs,
    }  # fmt: skip


def _lines(
    test: Test, verdicts: Mapping[tuple[Pair, ...], Difference], scores: Mapping[str, QueryScores]
) -> list[dict[str, Any]]:
    """Return the line of a verdict and one for each comparison, whose p-value stands unadjusted."""
    place = {"tier": test.tier, "track": test.track}
    if test.judged:
        found = verdicts[test.judged]
        verdict = {
            **place,
            **found._asdict(),
            "verdict": _verdict(found),
            "reason": f"on {listed(test.datasets)}",
        }
    else:
        reasons = listed(
            [f"{pair.dataset}: {why}" for pair, why in test.doubts.items() if pair.track == test.track]
        )
        verdict = {**place, "verdict": NOT_TESTABLE, "reason": reasons}
    return [
        verdict,
        *(
            {
                **pair._asdict(),
                **compare(*_runs(pair, scores))._replace(adjusted=np.nan)._asdict(),
                "reason": why,
            }
            for pair, why in test.doubts.items()
        ),
    ]


def _verdict(found: Difference) -> str:
    if not found.adjusted < 1 - CONFIDENCE:
        return NOT_SHOWN
    return REPRODUCED if found.difference > 0 else CONTRADICTED


def _table(part: pd.DataFrame) -> str:
    heads = ["dataset", "tier", "track", "rows", "difference", "p, unadjusted"]
    rows = [
        [
            plain(row["dataset"]), row["tier"], row["track"], plain(f"{row['better_row']} - {row['worse_row']}"),
            difference_text(row), chance_text(row),
        ]
        for row in records(part)
        if row["dataset"]
    ]  # fmt: skip
    align = ["left"] * 4 + ["right"] * 2
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True, colalign=align)


def chance_text(row: Row) -> str:
    """Return the p-value of a line: adjusted for a verdict, unadjusted for a comparison; a bound where it is none."""
    p = row["p"] if row["dataset"] else row["adjusted"]
    return chance(p, bound=row["p"] < RESOLUTION)


def difference_text(row: Row) -> str:
    """Return the difference of a tested pair, as `+0.020 ±0.005`, or a dash for one that wasn't tested."""
    if pd.isna(row["difference"]):
        return MISSING
    text = number(row["difference"], row["low"], decimals(row["metric"]))
    return f"+{text}" if row["difference"] > 0 else text


if __name__ == "__main__":
    stage.command(main)
