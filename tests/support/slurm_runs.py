"""Suites that are submitted to a SLURM, and what they have to end with."""

import copy
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from slurm import Cluster
from tiny import (
    BOARD,
    RUNS,
    SAME,
    SUITE,
    command,
    copy_project,
    environment,
    measured_apart,
    scheduled,
    write_suite,
)

PROFILE = (
    "--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue", "--max-threads", "2",
    "--latency-wait", "5", "--seconds-between-status-checks", "1", "--slurm-init-seconds-before-status-checks", "1",
    "--slurm-no-account", "--group-components", "measured=2",
)  # fmt: skip


PATIENCE_S = 900


def project(folder: Path, **changes: Any) -> Path:
    """A suite whose trainings are long enough to be met while they run."""
    copy_project(folder)
    suite = copy.deepcopy(SUITE)
    suite["training"] |= {"steps": 3000, "checkpoint_steps": 100}
    suite |= {"methods": {"inbatch": None, "simans": {"depth": 10}}, "seeds": [0]}
    write_suite(folder, {**suite, **changes})
    return folder


def untrained(local: Path, folder: Path) -> Path:
    """The suite with its data, vectors and pools, before anything is trained: where faults are played."""
    shutil.copytree(local, folder, dirs_exist_ok=True, symlinks=True)
    for path in (RUNS, BOARD, Path("results/state"), Path("results/tracking")):
        shutil.rmtree(folder / path, ignore_errors=True)
    return folder


class Submitted:
    """A snakemake that submits, in the background."""

    def __init__(self, folder: Path, slurm: Cluster, *options: str) -> None:
        self.said = folder / "said.txt"
        self._began = time.monotonic()
        places = {**environment(folder, folder / "cache"), "SLURM_CONF": slurm.environment["SLURM_CONF"]}
        self._process = subprocess.Popen(
            command(*PROFILE, *options), cwd=folder, env=places, text=True,
            stdout=self.said.open("w"), stderr=subprocess.STDOUT,
        )  # fmt: skip

    def end(self) -> int:
        """Wait for its end and return its exit code."""
        code = self._process.wait(timeout=PATIENCE_S)
        print(f"\nexit code {code} after {time.monotonic() - self._began:.0f} s")
        return code

    def text(self) -> str:
        return self.said.read_text()


def wait_for(slurm: Cluster, names: str) -> str:
    """Wait until a job runs and has left a checkpoint or two, and return its number."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := slurm.jobs(names=names)):
        assert time.monotonic() < deadline, slurm.call("squeue", "-a", "-t", "all")
        time.sleep(0.2)
    return found[0]


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in (folder / RUNS).rglob("*") if path.name in SAME]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def assert_as_local(folder: Path, local: Path) -> None:
    assert files(folder) == files(local)
    assert measured_apart(folder) == measured_apart(local)
    assert (folder / BOARD / "differences.csv").read_bytes() == (
        local / BOARD / "differences.csv"
    ).read_bytes()
    assert scheduled(folder) == set()


def finished(run: Submitted, folder: Path, slurm: Cluster, *options: str) -> None:
    """Let a run end, and give the same command again where it fails: the second must go through."""
    if run.end():
        print(f"the same command again after:\n{run.text()[-1500:]}")
        run = Submitted(folder, slurm, *options)
        assert run.end() == 0, run.text() + slurm.told()


def states(slurm: Cluster) -> Counter[str]:
    """Count the states of all jobs that the cluster has had."""
    return Counter(slurm.call("squeue", "-h", "-a", "-t", "all", "-o", "%T").split())
