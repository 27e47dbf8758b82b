"""Stage truth: where it is known which negatives are false, do fewer of them go with better results?

There are two answers for each tier, from its rows of the controlled track, where nothing but the negatives differs:

- Kendall's tau-b between the rows' false-negative rates and their results, the controls left out. Rows differ in more
  than that (harder negatives teach more and are more often false), so it shows what goes together, not what causes
  what. Its interval is over seeds, the rate and the result of a run drawn together, and so holds for *these* rows. `p`,
  two-sided, says how often a random order of as many rows is correlated as strongly. Rows are not resampled: they were
  chosen and are akin, so they are no sample of all methods.
- What each control differs by from its *twin*, the row that gives the same negatives but for false ones: `oracle`
  leaves the hidden ones out, `poisoned` puts labelled positives in. Here false negatives are the cause. The interval
  and the p-value account for other seeds and other queries (`negmark.compare.inference`); the p-value isn't adjusted.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from typer import Option

from negmark.compare.inference import compare
from negmark.compare.statistics import agreement, association, interval
from negmark.core import stage
from negmark.core.files import write_text
from negmark.core.spreadsheet import csv, read_csv
from negmark.core.tiers import in_order
from negmark.evaluate.audit import WHOLE_RUN
from negmark.store.contents import read_contents
from negmark.store.query_scores import QueryScores, read_query_scores
from negmark.suite.tier_pairs import FEWEST

TRACK = "controlled"
TWINS = {"oracle": "dense_topk", "poisoned": "dense_topk"}
"""The method of each control's twin."""
OF_TIER = ("methods", "tau", "tau_low", "tau_high", "p")
OF_TWIN = ("difference", "difference_low", "difference_high", "difference_p")
OF_ROW = ("rate", "rate_low", "rate_high", "mean", "low", "high")
COLUMNS = (
    "tier", "row", "title", "track", "control", "seeds", "metric", "slice", *OF_ROW, *OF_TIER, "twin", *OF_TWIN,
)  # fmt: skip


def truth(audit: pd.DataFrame, scores: QueryScores, controls: Sequence[str]) -> pd.DataFrame:
    """Return one line per row with false negatives to count (`COLUMNS`), tier by tier, the best result first.

    Takes the table of the stage audit and the query scores of a dataset that hides something, and the names of the
    rows that are controls. `rate` is the share 0..1 of false negatives, `mean` the metric that ranks on the queries
    that rank, both with 95 % Student t intervals over seeds. `methods` to `p` are the same in all lines of a tier; NaN
    where a tier has fewer than three rows besides controls. `twin` is empty for all but controls.
    """
    runs = {name: _runs(audit, scores, name) for name in _audited(audit, scores)}
    about = {name: scores.rows[name].about for name in runs}
    lines = []
    for tier in in_order([row["tier"] for row in about.values()]):
        mine = {name: runs[name] for name in runs if about[name]["tier"] == tier}
        correlation = _correlation([part for name, part in mine.items() if name not in controls])
        for name, part in sorted(mine.items(), key=lambda item: -item[1]["result"].mean()):
            lines.append(
                {
                    **{"tier": tier, "row": name, "title": about[name]["title"], "track": TRACK},
                    **{"control": name in controls, "seeds": len(part)},
                    **{"metric": scores.metric, "slice": scores.ranking()},
                    **dict(
                        zip(
                            OF_ROW,
                            [*interval(list(part["rate"])), *interval(list(part["result"]))],
                            strict=True,
                        )
                    ),
                    **correlation,
                    **_from_twin(name, [other for other in mine if other != name], scores),
                }
            )
    return pd.DataFrame(lines, columns=list(COLUMNS))


def read_truth(path: Path) -> pd.DataFrame:
    """Read what `main` wrote; a missing or broken file raises a `UserError` that names it."""
    return read_csv(path, COLUMNS, (*OF_ROW, *OF_TIER, *OF_TWIN), "known truth")


def main(
    contents: Annotated[Path, Option(help="contents.json of the board")],
    name: Annotated[str, Option(help="the dataset, which hides something from training")],
    audit: Annotated[Path, Option(help="the table of its audit")],
    output: Annotated[Path, Option(help="the CSV file to write")],
) -> None:
    """Relate the false negatives of a dataset's rows to their results."""
    listed = read_contents(contents)
    numbers = ("seed", "window", "false_negative_rate")
    audited = read_csv(audit, ("row", *numbers), numbers, "an audit of known truth")
    write_text(
        output, csv(truth(audited, read_query_scores(listed, name).ranked().acting(), listed.controls))
    )


def _audited(audit: pd.DataFrame, scores: QueryScores) -> list[str]:
    """Return the controlled rows that gave documents as negatives; of in-batch ones there is no ledger."""
    counted = set(audit.loc[audit["false_negative_rate"].notna(), "row"])
    return [name for name, row in scores.rows.items() if name in counted and row.about["track"] == TRACK]


def _runs(audit: pd.DataFrame, scores: QueryScores, name: str) -> pd.DataFrame:
    """Return the runs of a row: a line per seed with its false-negative rate and its result."""
    mine = audit[(audit["row"] == name) & (audit["window"] == WHOLE_RUN)]
    results = scores.of(name, scores.metric, scores.ranking())
    means = {seed: float(np.mean(values)) for seed, values in results.items()}
    return pd.DataFrame(
        {"rate": mine["false_negative_rate"].to_numpy(), "result": mine["seed"].map(means).to_numpy()}
    )


def _correlation(rows: Sequence[pd.DataFrame]) -> dict[str, float]:
    """Return the columns `OF_TIER` of rows, each with its runs."""
    if len(rows) < FEWEST:
        return {**dict.fromkeys(OF_TIER, math.nan), "methods": len(rows)}
    rates, results = ([list(part[name]) for part in rows] for name in ("rate", "result"))
    one = agreement(rates, results, same_runs=True)
    p = association([float(np.mean(part)) for part in rates], [float(np.mean(part)) for part in results]).p
    return dict(zip(OF_TIER, (len(rows), one.tau, one.tau_low, one.tau_high, p), strict=True))


def _rate(scores: QueryScores, row: str) -> Any:
    """Return the learning rate that tuning chose for a row, None without: rows of two rates are no twins."""
    return scores.rows[row].about.get("params", {}).get("learning_rate")


def _from_twin(name: str, others: Sequence[str], scores: QueryScores) -> dict[str, Any]:
    """Return the columns `twin` and `OF_TWIN` of a row; empty where it has no twin among the others."""
    wanted = TWINS.get(scores.rows[name].about["method"])
    alike = [other for other in others if _rate(scores, other) == _rate(scores, name)]
    twin = next((other for other in alike if scores.rows[other].about["method"] == wanted), "")
    if not twin:
        return {"twin": "", **dict.fromkeys(OF_TWIN, math.nan)}
    own, others_runs = (scores.of(row, scores.metric, scores.ranking()) for row in (name, twin))
    found = compare(own, others_runs)
    return {
        "twin": twin,
        **dict(zip(OF_TWIN, (found.difference, found.low, found.high, found.p), strict=True)),
    }


if __name__ == "__main__":
    stage.command(main)
