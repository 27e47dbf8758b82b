"""SIGKILL at twenty seeded moments, the same command again each time: in the end nothing is other than unbroken.

    python -m pytest -m slow tests/whole/test_kill.py -s      # prints a line a kill: stage, job, seconds to recover

Encoding and mining are made anew before a kill that is to hit them and finds them done; so is one row, or the board.
"""

import copy
import json
import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tabulate import tabulate

from builders import tiny_model
from tiny import SUITE, command, copy_project, environment, measured_apart, scheduled, snakemake, write_suite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ROWS = ("simans", "conan", "clusterns", "adore", "simans_finetune", "conan_finetune")
CONAN = {"check_steps": 7, "depth": 20, "skip": 2, "margin": 1.0, "ceiling": 5.0}
METHODS: dict[str, dict[str, Any]] = {
    "simans": {"depth": 20},
    "conan": CONAN,
    "clusterns": {"clusters": 4, "start_step": 5},
    "adore": {},
    "simans_finetune": {"method": "simans", "tier": "finetune", "depth": 20},
    "conan_finetune": {"method": "conan", "tier": "finetune", **CONAN},
}
BUDGET = {"batch_size": 8, "negatives": 2, "learning_rate": 1e-3}
RUNS, BOARD = Path("results/runs/tiny/pydoc"), Path("results/leaderboards/tiny")
SAME = (
    "model.safetensors", "negatives.parquet", "history.parquet", "scores.parquet", "dev.parquet", "metrics.json",
    "per_query.parquet", "run.trec.gz",
)  # fmt: skip
TABLES = ("differences.csv", "claims.csv", "claims.md", "audit/pydoc.csv", "foresight/pydoc.csv")
SEED = 20260101
PATIENCE_S = 400


@dataclass(frozen=True)
class Moment:
    """When to kill: as many seconds after a job of a stage has begun, or after its first checkpoint."""

    stage: str
    after: float
    whole_group: bool
    """Kill all processes, or snakemake alone."""


COLLATING = (
    "audit/*/*",
    "foresight/*/*",
    "figures/*/*",
    "differences/*",
    "claims/*",
    "leaderboard/*",
    "manifest/*",
)
LOGS = {  # of the jobs of a stage, below results/logs
    "encode": ["embeddings/*/*.log"],
    "mine": ["pools/*/*.log"],
    "train": ["train/*/*/*/*.log"],
    "train on": ["train/*/*/*/*.log"],
    "evaluate": ["evaluate/*/*/**/*.log"],
    "collate": [f"{name}.log" for name in COLLATING],
}
STAGES = [  # in the order in which they are hit, so that runs and their evaluation are in the middle
    *["encode"] * 4, *["mine"] * 3,
    *["train", "train on", "evaluate"] * 3, "train on",
    *["collate"] * 3,
]  # fmt: skip


def moments() -> list[Moment]:
    rng = random.Random(SEED)
    return [Moment(stage, rng.random(), rng.random() < 0.75) for stage in STAGES]


def project(folder: Path) -> Path:
    copy_project(folder)
    tiny_model(folder / "encoder")
    suite = copy.deepcopy(SUITE)
    suite["encoder"] |= {"model": "./encoder", "query_length": 16, "document_length": 24}
    suite["training"] = {**BUDGET, "steps": 600, "checkpoint_steps": 20}
    suite["finetune"] = {**BUDGET, "steps": 90, "checkpoint_steps": 5}
    suite |= {"pools": {"depth": 20}, "methods": METHODS, "seeds": [0]}
    write_suite(folder, suite)
    return folder


class Broken:
    """A project whose snakemake is killed again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[list[Any]] = []
        self._rng = random.Random(SEED + 1)

    def kill_at(self, number: int, moment: Moment) -> None:
        """Start the command, wait for the moment, and kill."""
        self._undo_if_done(moment.stage)
        began = time.time()
        run = subprocess.Popen(
            command(), cwd=self.folder, env=environment(self.folder, self.folder / "cache"), text=True,
            stdout=(self.folder / f"kill-{number}.txt").open("w"), stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        recovered, job = self._wait(run, moment, began)
        time.sleep(moment.after)
        assert run.poll() is None, f"ended by itself at moment {number}: {self._said(number)}"
        if moment.whole_group:
            os.killpg(run.pid, signal.SIGKILL)
        else:
            run.kill()
        run.wait()
        self.told.append(
            [number, moment.stage, job, f"{moment.after:.2f}", "all" if moment.whole_group else "snakemake",
             f"{recovered:.1f}"]
        )  # fmt: skip
        self._assert_nothing_runs()

    def _wait(self, run: subprocess.Popen[str], moment: Moment, began: float) -> tuple[float, str]:
        """Wait until a job of the stage has begun, or has left a checkpoint; return when any job had, and its name."""
        recovered = None
        while time.time() - began < PATIENCE_S and run.poll() is None:
            if recovered is None and self._fresh(["**/*.log"], began):
                recovered = time.time() - began
            found = self._fresh(LOGS[moment.stage], began)
            if moment.stage == "train on":
                found = [
                    path for path in (self.folder / "results/state").glob("*/*/*/seed-0/step-*")
                    if path.stat().st_mtime >= began
                ]  # fmt: skip
            if found and recovered is not None:
                return recovered, "/".join(found[0].relative_to(self.folder / "results").parts[1:])
            time.sleep(0.02)
        raise AssertionError(f"{moment}: no job of this stage; snakemake ended with {run.poll()}")

    def _fresh(self, patterns: list[str], began: float) -> list[Path]:
        """Return the logs that were begun since the command was."""
        logs = self.folder / "results/logs"
        return [path for pattern in patterns for path in logs.glob(pattern) if path.stat().st_mtime >= began]

    def _undo_if_done(self, stage: str) -> None:
        """Remove what a stage left if none of it is left to do."""
        results = self.folder / "results"
        rows = [results.parent / RUNS / row / "seed-0" for row in ROWS]
        if stage == "encode" and list(results.glob("embeddings/*/*/embeddings.json")):
            shutil.rmtree(results / "embeddings")
            shutil.rmtree(self.folder / "cache" / "vectors")
        elif stage == "mine" and list(results.glob("pools/**/dense.safetensors")):
            shutil.rmtree(results / "pools")
        elif stage.startswith("train") and all((row / "manifest.json").is_file() for row in rows):
            shutil.rmtree(self._rng.choice(rows))
        elif stage == "evaluate" and all((row / "metrics.json").is_file() for row in rows):
            (self._rng.choice(rows) / "metrics.json").unlink()
        elif stage == "collate" and (self.folder / BOARD / "manifest.json").is_file():
            shutil.rmtree(self.folder / BOARD)

    def _assert_nothing_runs(self) -> None:
        """Jobs whose snakemake was killed alone have to end by themselves."""
        deadline = time.monotonic() + 10
        while (left := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, left

    def _processes(self) -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").resolve() == self.folder.resolve():
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return [line for line in found if "negmark." in line]

    def _said(self, number: int) -> str:
        return (self.folder / f"kill-{number}.txt").read_text()[-3000:]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite, unbroken."""
    folder = project(tmp_path_factory.mktemp("whole"))
    snakemake(folder)
    return folder


def test_twenty_kills_lose_nothing(whole: Path, tmp_path: Path) -> None:
    broken = Broken(project(tmp_path))
    plan = moments()
    assert len(plan) == 20
    for number, moment in enumerate(plan):
        broken.kill_at(number, moment)
    started = time.monotonic()
    last = snakemake(tmp_path)
    print("\n" + tabulate(broken.told, ["", "stage", "job", "s after", "killed", "s to recover"]))
    print(f"the last run: {time.monotonic() - started:.1f} s")
    assert "error:" not in last.stdout + last.stderr
    for number in range(len(plan)):
        text = (tmp_path / f"kill-{number}.txt").read_text()
        assert "Traceback" not in text
        assert "--unlock" not in text
        assert "IncompleteFiles" not in text
    places = [path.relative_to(whole) for path in sorted((whole / RUNS).rglob("*")) if path.name in SAME]
    assert len(places) == len(ROWS) * len(SAME) + 2 * 3
    other = [str(path) for path in places if (tmp_path / path).read_bytes() != (whole / path).read_bytes()]
    assert other == []
    for name in TABLES:
        assert (tmp_path / BOARD / name).read_bytes() == (whole / BOARD / name).read_bytes(), name
    assert measured_apart(tmp_path) == measured_apart(whole)
    manifests = {
        row: json.loads((tmp_path / RUNS / row / "seed-0" / "manifest.json").read_text()) for row in ROWS
    }
    resumed = {row: manifest["resumed_at"] for row, manifest in manifests.items() if manifest["resumed_at"]}
    print(f"resumed at step: {resumed}")
    assert len(resumed) >= 2
    for row, manifest in manifests.items():
        unbroken = json.loads((whole / RUNS / row / "seed-0" / "manifest.json").read_text())
        assert unbroken["resumed_at"] is None
        assert manifest["counters"] == unbroken["counters"], row
    left = [path for path in (tmp_path / "results").rglob("*") if path.name.startswith(".partial-")]
    assert left == []
    assert list((tmp_path / "results" / "state").rglob("step-*")) == []
    assert list((tmp_path / "cache").rglob(".partial-*")) == []
    assert scheduled(tmp_path) == set()
