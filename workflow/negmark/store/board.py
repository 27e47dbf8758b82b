"""A board and the runs that it is made of, read back: for scripts that draw figures, and for the figures of a board."""

import difflib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from negmark.core.errors import UserError
from negmark.core.files import read_json
from negmark.core.formats import BOARD, number_of, whose
from negmark.core.names import METRICS_FILE, PER_QUERY
from negmark.core.run_folders import run_folder
from negmark.core.spreadsheet import read_table
from negmark.methods.auxiliary import ids_of
from negmark.store import collection
from negmark.store.auxiliary import read_auxiliary
from negmark.store.contents import Contents, read_contents
from negmark.store.ledger import VECTOR, read_ledger
from negmark.store.query_scores import QueryScores, read_query_scores
from negmark.store.run import as_placed, read_run

BOARDS = Path("results/leaderboards")
BOARD_KEYS = {"suite", "encoders", "datasets", "rows", "environments", "tolerances", "table"}


class Run:
    """The files that one run left."""

    def __init__(self, folder: Path, trained: Path, root: Path) -> None:
        self.folder = folder
        """Where its evaluation lies."""
        self._trained, self._root = trained, root

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def metrics(self) -> dict[str, Any]:
        """What it is, and its metrics for each slice (metrics.json), with its cost and hardware."""
        return read_run(_there(self.folder / METRICS_FILE))

    @property
    def manifest(self) -> dict[str, Any]:
        """Its config, checksums of its data, versions, hardware and cost."""
        return read_json(_there(self._trained / "manifest.json"))

    @property
    def per_query(self) -> pd.DataFrame:
        """A row for each test query: query, slice, and its metrics."""
        return _frame(self.folder / PER_QUERY)

    @property
    def history(self) -> pd.DataFrame:
        """A row for each step of training: loss, learning rate, scores."""
        return _frame(self._trained / "history.parquet")

    @property
    def curve(self) -> pd.DataFrame:
        """Its learning curve on the dev split; empty where none was asked for."""
        return _frame(self._trained / "dev.parquet")

    def negatives(self, texts: bool = False) -> pd.DataFrame:
        """Return its ledger: every negative that it trained on, with step, score, weight and source.

        `query` and `document` are row numbers of the prepared dataset. With `texts` there are also `query_id`,
        `query_text`, `document_id` and `document_text`, empty for a negative that is a vector and no document.
        """
        ledger = read_ledger(_there(self._trained / "negatives.parquet")).to_pandas()
        if not texts:
            return ledger
        dataset = self._root / "results" / "datasets" / self.manifest["collection"]
        documents, queries = collection.texts(_there(dataset))
        for name, table, lines in (
            ("query", collection.QUERIES, queries), ("document", collection.DOCUMENTS, documents),
        ):  # fmt: skip
            known = pd.DataFrame({"id": collection.column(dataset, table, "id"), "text": lines})
            known.loc[VECTOR] = ["", ""]
            if name == "document":
                known = pd.concat([known, self._beside_the_corpus()])
            for column in known:
                ledger[f"{name}_{column}"] = known[column].loc[ledger[name]].to_numpy()
        return ledger

    def _beside_the_corpus(self) -> pd.DataFrame:
        """Return id and text of the texts beside the corpus that its negatives may be, by their number in ledgers."""
        tables = self.manifest["data"].get("auxiliary", {})
        texts = read_auxiliary([_there(self._root / table) for table in tables]).texts if tables else []
        numbers = np.arange(len(texts))
        about = {"id": [f"auxiliary-{number}" for number in numbers], "text": texts}
        return pd.DataFrame(about, index=ids_of(numbers))


class Board:
    """A board: its tables, and the runs behind them where they are on this machine."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self._root = root

    @cached_property
    def table(self) -> pd.DataFrame:
        """The leaderboard: a line for each dataset and row, with means, intervals, differences and costs."""
        return _csv(self.folder / "leaderboard.csv")

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Every comparison with the reference, on every slice."""
        return _csv(self.folder / "differences.csv")

    @cached_property
    def claims(self) -> pd.DataFrame:
        """What each method's paper claims, with a verdict for every comparison."""
        return _csv(self.folder / "claims.csv")

    @cached_property
    def contents(self) -> Contents:
        """What is on the board, and so which runs it is made of."""
        return read_contents(_there(self.folder / "contents.json"))

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The whole config, checksums, versions, hardware."""
        return read_board(_there(self.folder / "manifest.json"))

    def __repr__(self) -> str:
        return f"Board({str(self.folder)!r})"

    def _check(self, *datasets: str) -> None:
        for name in datasets:
            if name not in self.contents.cards:
                raise UserError(
                    f"{self.folder}: no dataset {name!r}; it has {', '.join(self.contents.cards)}"
                )

    def _check_trained(self, dataset: str) -> None:
        self._check(dataset)
        if home := self.contents.homes.get(dataset):
            raise UserError(f"{self.folder}: nothing is trained on {dataset}; its runs are those of {home}")

    def audit(self, dataset: str) -> pd.DataFrame:
        """Return what a dataset's runs trained on: a line for each row, seed and window of steps."""
        self._check_trained(dataset)
        return _csv(self.folder / "audit" / f"{dataset}.csv")

    def foresight(self, dataset: str) -> pd.DataFrame:
        """Return scores of each run's first negatives that need no training."""
        self._check_trained(dataset)
        return _csv(self.folder / "foresight" / f"{dataset}.csv")

    def truth(self, dataset: str) -> pd.DataFrame:
        """Return false-negative rates beside results, a line for each row, where the dataset hides something."""
        self._check_trained(dataset)
        return _csv(self.folder / "truth" / f"{dataset}.csv")

    def query_scores(self, dataset: str) -> QueryScores:
        """Return the scores of all rows x seeds x queries of a dataset; their `frame()` is a table."""
        self._check(dataset)
        for file in self.contents.files(METRICS_FILE, dataset):
            _there(self._root / file)
        return read_query_scores(self.contents, dataset, self._root)

    def run(self, dataset: str, row: str, seed: int) -> Run:
        """Return one run. Raises `UserError` if the board has none of that name."""
        contents = self.contents
        for name, value, known in (
            ("dataset", dataset, list(contents.cards)), ("row", row, contents.rows), ("seed", seed, contents.seeds),
        ):  # fmt: skip
            if value not in known:
                raise UserError(f"{self.folder}: no {name} {value!r}; it has {', '.join(map(str, known))}")
        runs = self._root / "results" / "runs" / contents.suite
        home = contents.homes.get(dataset, dataset)
        evaluated, trained = (runs / name / row / run_folder(seed) for name in (dataset, home))
        return Run(evaluated, trained, self._root)

    def run_folders(self, *datasets: str) -> list[Path]:
        """Return the folders of the trained runs of these datasets, or of all."""
        self._check(*datasets)
        return [self._root / folder for folder in self.contents.runs(*datasets)]

    def evaluations(
        self, *datasets: str, baselines: bool = True, untuned: bool = True
    ) -> list[dict[str, Any]]:
        """Return the metrics of every run of these datasets, or of all, and of the baselines.

        Without `untuned` those of rows that stand untuned below the ranked ones are left out.
        """
        self._check(*datasets)
        contents = self.contents
        folders = [*contents.runs(*datasets), *(contents.baselines(*datasets) if baselines else [])]
        runs = [read_run(_there(self._root / folder / METRICS_FILE)) for folder in folders]
        return [
            as_placed(run, contents.untuned) for run in runs if untuned or run["row"] not in contents.untuned
        ]


def open_board(board: str | Path, root: str | Path = ".") -> Board:
    """Open a board by its suite's name, or by its folder below `root`, the folder that snakemake ran in.

    Its tables lie in the repository. The runs behind them (`query_scores`, `run`) are there only where the suite was
    run. Raises `UserError` if there is no such board.
    """
    path, boards = Path(board), Path(root) / BOARDS
    folder = Path(root) / path if len(path.parts) > 1 else boards / path
    if path.name in {"", ".."} or not folder.is_dir():
        names = sorted(one.name for one in boards.glob("*") if one.is_dir())
        near = difflib.get_close_matches(path.name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"{folder}: there is no such board; {hint}boards: {', '.join(names) or 'none'}")
    return Board(folder, Path(root))


def read_board(manifest: Path) -> dict[str, Any]:
    """Read a board's manifest. Raises `UserError` if it has another format, or isn't one."""
    found = read_json(manifest)
    if (number := number_of(found)) != BOARD:
        raise UserError(
            f"{manifest}: the board was made by {whose(number, BOARD)}; check out the commit that made it (under "
            "environments: code), or run its suite again"
        )
    if lacking := sorted(BOARD_KEYS - found.keys()):
        raise UserError(f"{manifest}: lacks {lacking[0]}, so it is no board's manifest; run the suite anew")
    return dict(found)


def _there(path: Path) -> Path:
    if not path.exists():
        raise UserError(
            f"{path}: there is no such file here; run the board's suite to make it: "
            "snakemake --cores all --configfile config/<suite>.yaml"
        )
    return path


def _csv(path: Path) -> pd.DataFrame:
    return read_table(_there(path))


def _frame(path: Path) -> pd.DataFrame:
    return pd.read_parquet(_there(path))
