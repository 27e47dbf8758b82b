"""The scores of every run of a dataset, query by query, as comparisons of methods want them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from negmark.core.errors import UserError
from negmark.core.names import METRICS_FILE, PER_QUERY, STS
from negmark.store.contents import Contents
from negmark.store.run import as_placed, idle_of, metrics_of, ranks_by, read_run

Scores = NDArray[np.float64]
Clusters = NDArray[np.int64]
"""Which queries share a positive, as a number [Q] for each: equal within a cluster."""


Runs = Mapping[int | None, Scores]
"""A method's scores [Q] by seed, all on the same queries in the same order; by None where no seed plays a part."""


class ClusteredRuns(dict[int | None, Scores]):
    """The same, on queries of which some share a positive: `clusters` [Q] says which."""

    def __init__(self, runs: Runs, clusters: Clusters) -> None:
        super().__init__(runs)
        self.clusters = clusters


def clusters_of(*methods: Runs) -> Clusters | None:
    """Return the clusters of the queries on which these methods' runs are; None where no two queries share one."""
    found = [runs.clusters for runs in methods if isinstance(runs, ClusteredRuns)]
    return found[0] if found else None


class Row(NamedTuple):
    """A row of the board: what it is, and its scores [Q] by metric and seed, the queries in one order for all rows."""

    about: Mapping[str, Any]
    """The content of the first seed's metrics.json; `idle` says why no run's rule acted."""
    scores: Mapping[str, Runs]


class QueryScores(NamedTuple):
    """The rows of one dataset by name. Pairs of sentences have no score of their own: STS is one number per run."""

    metric: str
    """That ranks the dataset."""
    slices: NDArray[np.str_]
    """[Q] of each query: `seen` or `unseen`."""
    rows: Mapping[str, Row]
    queries: Sequence[str] = ()
    """[Q] their ids; none where pairs of sentences are judged."""
    clusters: Clusters = np.empty(0, np.int64)
    """[Q] of each query; none where pairs of sentences are judged."""
    aside: Mapping[str, str] = MappingProxyType({})
    """The method of each row that isn't compared; others may start from it."""

    def of(self, method: str, metric: str, name: str) -> Runs:
        """The scores of a row on a slice (`all`, `seen` or `unseen`), by seed."""
        chosen = np.ones(len(self.slices), dtype=bool) if name == "all" else self.slices == name
        runs = {seed: values[chosen] for seed, values in self.rows[method].scores[metric].items()}
        clusters = self.clusters[chosen] if len(self.clusters) else self.clusters
        shared = len(np.unique(clusters)) < len(clusters)
        return ClusteredRuns(runs, clusters) if shared else runs

    def ranked(self) -> "QueryScores":
        """Return the same without the rows that stand untuned below their tuned copies: only these are compared."""
        kept = {name: row for name, row in self.rows.items() if not row.about.get("untuned")}
        aside = {name: row.about["method"] for name, row in self.rows.items() if name not in kept}
        return self._replace(rows=kept, aside={**self.aside, **aside})

    def started(self, name: str) -> set[str]:
        """Return the methods of the rows that a row starts from, compared or not."""
        methods = {**self.aside, **{other: row.about["method"] for other, row in self.rows.items()}}
        return {methods[other] for other in self.rows[name].about.get("chain", []) if other in methods}

    def acting(self) -> "QueryScores":
        """Return the same without the rows whose own rule never acted: what they show is no method of theirs."""
        return self._replace(rows={name: row for name, row in self.rows.items() if not row.about.get("idle")})

    def frame(self) -> pd.DataFrame:
        """Return the same as a table: a line for each row, seed and query, with its slice and metrics."""
        parts = []
        for name, row in self.rows.items():
            for seed in next(iter(row.scores.values())):
                values = {metric: by_seed[seed] for metric, by_seed in row.scores.items()}
                queries = {"query": self.queries, "slice": self.slices} if self.queries else {}
                parts.append(pd.DataFrame({"row": name, "seed": seed, **queries, **values}))
        return pd.concat(parts, ignore_index=True).astype({"seed": "Int64"})

    def ranking(self) -> str:
        """The slice that ranks the dataset."""
        return ranks_by(int((self.slices == "unseen").sum()))

    def shown(self) -> list[str]:
        """The slices worth comparing on, as the board shows them."""
        parts = [name for name in ("seen", "unseen") if (self.slices == name).any()]
        return ["all", *parts] if len(parts) == 2 else [self.ranking()]


def read_query_scores(contents: Contents, dataset: str, root: Path = Path()) -> QueryScores:
    """Read what all runs and baselines of a dataset left below `root`, the folder that snakemake ran in.

    Raises `UserError` where they judged other queries.
    """
    rows: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for file in contents.files(METRICS_FILE, dataset):
        run = as_placed(read_run(path := root / file), contents.untuned)
        rows.setdefault(run["row"], []).append((path, run))
    first, run = next(iter(rows.values()))[0]
    if dataset in contents.sentences:
        made = {name: Row(_about(runs), {STS: _sts(runs)}) for name, runs in rows.items()}
        return QueryScores(STS, np.array(["all"]), made)
    metrics = metrics_of(run)
    asked = _table(first, metrics)
    made = {
        name: Row(_about(runs), _scores(runs, metrics, asked["query"], first)) for name, runs in rows.items()
    }
    slices = np.array([part or "" for part in asked["slice"]])
    return QueryScores(metrics[0], slices, made, asked["query"], np.array(asked["cluster"], np.int64))


def _about(runs: list[tuple[Path, dict[str, Any]]]) -> dict[str, Any]:
    return {**runs[0][1], "idle": idle_of([run for _, run in runs])}


def _sts(runs: list[tuple[Path, dict[str, Any]]]) -> Runs:
    return {run["seed"]: np.array([run["slices"]["all"][STS]]) for _, run in runs}


def _scores(
    runs: list[tuple[Path, dict[str, Any]]], metrics: list[str], queries: list[str], first: Path
) -> dict[str, Runs]:
    tables = {run["seed"]: _table(path, metrics) for path, run in runs}
    for (path, _), table in zip(runs, tables.values(), strict=True):
        if table["query"] != queries:
            raise UserError(
                f"{path.with_name(PER_QUERY)}: its queries are others than those of {first.with_name(PER_QUERY)}; "
                "evaluate both again on the same queries"
            )
    return {metric: {seed: np.array(table[metric]) for seed, table in tables.items()} for metric in metrics}


def _table(beside: Path, metrics: list[str]) -> dict[str, list[Any]]:
    path = beside.with_name(PER_QUERY)
    try:
        return pq.read_table(path, columns=["query", "slice", "cluster", *metrics]).to_pydict()
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: can't be read ({error}); delete it and run again") from None
