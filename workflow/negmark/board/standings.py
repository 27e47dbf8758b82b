"""From runs to rows: one ranked row per method and dataset, with means and intervals over seeds.

A ranking holds the rows of one dataset, one tier (what is trained: adapter, finetune) and one track.
A test query is *seen* when one of its relevant documents was a positive of a training query, otherwise *unseen*.
Training can improve the seen ones by memorising documents, so a dataset is ranked by its unseen queries if
it has enough of them.
"""

import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pandas as pd

from negmark.compare.pairing import of_another_budget
from negmark.compare.statistics import interval
from negmark.core.errors import UserError
from negmark.core.files import canonical
from negmark.core.names import SLICES
from negmark.core.tiers import in_order
from negmark.store.filled import SHARES, words
from negmark.store.run import COSTS, idle_of, metrics_of, ranks_by, with_chains

SAME_IN_A_ROW = ("tier", "track", "method", "start", "params", "conditions")
CARD_COLUMNS = ("regime", "documents", "documents_full")
OTHER_BUDGET = "other_budget"
"""A column: was the row trained otherwise than most, for more steps for instance?"""


def summarise(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per (dataset, method): means and 95 % intervals over seeds, ordered and ranked within a dataset.

    Columns `METRIC/SLICE/mean|low|high` are fractions in 0..1, those of sentences correlations x 100 (NaN: no such
    slice, or one seed only), `test_queries/SLICE` counts, those of `COSTS` means over seeds: wall seconds of the
    training loop and of the method's own functions in it, counts of work, MiB, with those of the rows it starts from.
    `rank` counts trained methods from 1,
    within their tier and track, by the metric that `ranked_by` names on the slice that `ranking_slice` names;
    baselines have no rank and no tier, and are placed by their values in the first ranking. Rows that are untuned
    beside tuned ones, whose rule never acted, or that had another budget than most, have no rank.
    """
    _check_comparable(runs)
    ordered = sorted(with_chains(runs), key=lambda run: (run["dataset"], run["row"], str(run["seed"])))
    groups = groupby(ordered, key=lambda run: (run["dataset"], run["row"]))
    frame = pd.DataFrame([_row(list(group)) for _, group in groups])
    frame[OTHER_BUDGET] = _of_other_budgets(ordered)
    return pd.concat([_ranked(part) for _, part in datasets(frame)], ignore_index=True)


def standings(runs: list[dict[str, Any]], cards: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """The rows of `summarise` with regime and size of their collection, from the cards by dataset name."""
    unknown = sorted({run["dataset"] for run in runs} - cards.keys())
    if unknown:
        raise UserError(
            f"no dataset card for {', '.join(unknown)}; give the card of every dataset on the board"
        )
    frame = summarise(runs)
    for place, column in enumerate(CARD_COLUMNS, start=1):
        frame.insert(place, column, [cards[name][column] for name in frame["dataset"]])
    return frame


def metrics(frame: pd.DataFrame) -> list[str]:
    """The metrics of the rows of one dataset; the first one ranks them."""
    ends = "/all/mean"
    stems = [name.removesuffix(ends) for name in frame.columns if name.endswith(ends)]
    return [name for name in stems if frame[f"{name}{ends}"].notna().any()]


def ranked_by(frame: pd.DataFrame) -> str:
    """The metric that ranks the rows of one dataset."""
    return metrics(frame)[0]


def ranking_slice(frame: pd.DataFrame) -> str:
    """The slice that ranks the rows of one dataset: unseen queries if it has enough of them, otherwise all."""
    return ranks_by(frame["test_queries/unseen"].iloc[0])


def shown_slices(frame: pd.DataFrame) -> list[str]:
    """The slices worth showing for one dataset: all three, or one if every query is seen (or unseen)."""
    parts = [name for name in ("seen", "unseen") if frame[f"test_queries/{name}"].iloc[0]]
    return ["all", *parts] if len(parts) == 2 else [ranking_slice(frame)]


def datasets(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each dataset's name and rows, by name."""
    for name in sorted(frame["dataset"].unique()):
        yield name, frame[frame["dataset"] == name]


def tiers(frame: pd.DataFrame) -> list[str]:
    """The tiers of these rows, the cheapest first."""
    return in_order([tier for tier in frame["tier"].unique() if tier])


def _check_comparable(runs: list[dict[str, Any]]) -> None:
    """Refuse duplicate runs, and runs of one dataset that were evaluated on different numbers of queries."""
    if not runs:
        raise UserError("no run to show: the board was given no metrics.json")
    seen: set[tuple[Any, ...]] = set()
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    counts: dict[str, dict[str, int]] = {}
    judged: dict[str, list[str]] = {}
    for run in runs:
        key = (run["dataset"], run["row"], run["seed"])
        if key in seen:
            raise UserError(f"{key[1]} on {key[0]} with seed {key[2]} is given twice; keep one of its runs")
        seen.add(key)
        shared = {name: run[name] for name in SAME_IN_A_ROW}
        if rows.setdefault(key[:2], shared) != shared:
            differing = ", ".join(name for name in shared if shared[name] != rows[key[:2]][name])
            raise UserError(
                f"{key[1]} on {key[0]}: seed {key[2]} differs from others in {differing}; run the row again"
            )
        if judged.setdefault(run["dataset"], metrics_of(run)) != metrics_of(run):
            raise UserError(
                f"{run['row']} on {run['dataset']} (seed {run['seed']}) was evaluated by {', '.join(metrics_of(run))}, "
                f"others by {', '.join(judged[run['dataset']])}; evaluate them again by the same metrics"
            )
        queries = {name: values["queries"] for name, values in run["slices"].items()}
        if counts.setdefault(run["dataset"], queries) != queries:
            raise UserError(
                f"{run['row']} on {run['dataset']} (seed {run['seed']}) was evaluated on {queries} queries, "
                f"others on {counts[run['dataset']]}; evaluate them again on the same queries"
            )


def _row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One row from the runs of one method on one dataset, in the order of seeds."""
    first = runs[0]
    trained = first["track"] != "baseline"
    shares = {
        name: _mean([share for run in runs if (share := run["filled"].get(name)) is not None])
        for name in SHARES
    }
    return {
        "dataset": first["dataset"],
        **{f"test_queries/{name}": first["slices"].get(name, {"queries": 0})["queries"] for name in SLICES},
        "row": first["row"],
        "title": first["title"],
        "tier": first["tier"] or "",
        "track": first["track"],
        "method": first["method"] or "",
        "start": first["start"] or "",
        "before": first["before"],
        "idle": idle_of(runs),
        "untuned": first.get("untuned", False),
        "seeds": len(runs) if trained else None,
        "hardware": " and ".join(sorted({run["hardware"] for run in runs} - {""})),
        **{key: value for name in SLICES for key, value in _slice_columns(runs, name)},
        **{name: _mean([run["cost"][name] for run in runs if run["cost"]]) for name in COSTS},
        **shares,
        "adaptations": "; ".join([*first["adaptations"], *words(shares)]),
        "summary": first["summary"] or "",
        "paper": first["paper"] or "",
        "params": canonical(first["params"]),
    }


def _of_other_budgets(ordered: list[dict[str, Any]]) -> list[bool]:
    """Return for each row of `ordered` runs whether it had another budget than most of its dataset, tier and track."""
    by_dataset: dict[str, dict[str, dict[str, Any]]] = {}
    for run in ordered:
        by_dataset.setdefault(run["dataset"], {})[run["row"]] = run
    others = {dataset: of_another_budget(rows) for dataset, rows in by_dataset.items()}
    return [row in others[dataset] for dataset, rows in by_dataset.items() for row in rows]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _slice_columns(runs: list[dict[str, Any]], name: str) -> Iterator[tuple[str, float]]:
    """Mean, low and high of each metric on slice `name`, over runs."""
    for metric in metrics_of(runs[0]):
        values = [run["slices"][name][metric] for run in runs if name in run["slices"]]
        bounds = interval(values) if values else (math.nan,) * 3
        for kind, value in zip(("mean", "low", "high"), bounds, strict=True):
            yield f"{metric}/{name}/{kind}", value


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one dataset, tier by tier and track by track, from best to worst.

    Trained methods are numbered from 1 in each tier and track (equal means share a number): rows that train
    different parts, or with a different recipe, are never mixed in one ranking. Where rows are tuned, those that aren't
    come below them, without a number, and so do rows whose rule never acted, or that had another budget than most.
    """
    by = f"{ranked_by(frame)}/{ranking_slice(frame)}/mean"
    place = {tier: number for number, tier in enumerate(tiers(frame))}
    keys = frame.assign(tier=frame["tier"].map(place).fillna(0), track=frame["track"] == "faithful")
    untuned = frame.pop("untuned")
    frame = frame.assign(**{OTHER_BUDGET: frame[OTHER_BUDGET] & ~untuned})  # untuned rows have no rank anyway
    below = untuned | (frame["idle"] != "") | frame[OTHER_BUDGET]
    keys, by_place = keys.assign(below=below), ["tier", "track", "below", by, "row"]
    order = keys.sort_values(by_place, ascending=[True, True, True, False, True]).index
    scores = frame[by].where((frame["track"] != "baseline") & ~below)
    ranks = scores.groupby([frame["tier"], frame["track"]]).rank(ascending=False, method="min")
    frame.insert(list(frame.columns).index("row"), "rank", ranks.astype("Int64"))
    return frame.assign(seeds=frame["seeds"].astype("Int64")).loc[order]
