"""The suite through the slurm profile on a real SLURM ends as it does without one, and survives what clusters do.

python -m pytest -m slow -s tests/test_slurm.py     # apt-get install slurm-wlm munge; root
"""

import copy
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm import Cluster, cluster
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
    snakemake,
    write_suite,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install -e .[slurm]")
PROFILE = (
    "--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue", "--max-threads", "2",
    "--latency-wait", "5", "--seconds-between-status-checks", "1", "--slurm-init-seconds-before-status-checks", "1",
    "--slurm-no-account", "--group-components", "measured=2",
)  # fmt: skip
PATIENCE_S = 900
LONG = 30_000
"""Steps that take more than the least time limit SLURM has, a minute."""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("slurm")
    for part in (folder, *folder.parents[:2]):
        part.chmod(0o755)  # munge's user looks for its socket below
    with cluster(folder / "cluster") as made:
        yield made


def project(folder: Path, **changes: Any) -> Path:
    """A suite whose trainings are long enough to be met while they run."""
    copy_project(folder)
    suite = copy.deepcopy(SUITE)
    suite["training"] |= {"steps": 3000, "checkpoint_steps": 100}
    suite |= {"methods": {"inbatch": None, "simans": {"depth": 10}}, "seeds": [0]}
    write_suite(folder, {**suite, **changes})
    return folder


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite without a cluster."""
    folder = project(tmp_path_factory.mktemp("local"))
    snakemake(folder)
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


def test_the_board_is_the_local_one(slurm: Cluster, tmp_path: Path) -> None:
    local = project(tmp_path / "local", seeds=[0, 1])
    snakemake(local)
    before, folder = states(slurm), project(tmp_path / "far", seeds=[0, 1])
    run = Submitted(folder, slurm)
    assert run.end() == 0, run.text() + slurm.told()
    found = states(slurm) - before
    print(f"jobs of SLURM: {dict(found)}")
    assert set(found) == {"COMPLETED"}
    assert found["COMPLETED"] > 5
    assert_as_local(folder, local)


def test_a_job_that_is_cancelled_goes_on_where_it_was(slurm: Cluster, local: Path, tmp_path: Path) -> None:
    before, folder = states(slurm), untrained(local, tmp_path)
    run = Submitted(folder, slurm)
    number = wait_for(slurm, "train")
    time.sleep(10)
    slurm.call("scancel", number)
    finished(run, folder, slurm)
    found = states(slurm) - before
    print(f"cancelled: {dict(found)}")
    assert found["CANCELLED"] == 1
    assert_as_local(folder, local)


def test_a_node_that_is_away_for_a_while(slurm: Cluster, local: Path, tmp_path: Path) -> None:
    before, folder = states(slurm), untrained(local, tmp_path)
    run = Submitted(folder, slurm)
    wait_for(slurm, "train")
    slurm.stop_node()
    time.sleep(10)
    slurm.start_node()
    finished(run, folder, slurm)
    print(f"the node was away: {dict(states(slurm) - before)}")
    assert_as_local(folder, local)


def test_a_job_over_its_memory_is_tried_again_with_more(slurm: Cluster, local: Path, tmp_path: Path) -> None:
    before, folder = states(slurm), untrained(local, tmp_path)
    options = ("--set-resources", "train_0:mem_mb=200*2**attempt")
    finished(Submitted(folder, slurm, *options), folder, slurm, *options)
    found = states(slurm) - before
    print(f"over its memory: {dict(found)}")
    assert set(found) - {"COMPLETED"}, "no job was over its memory"
    assert_as_local(folder, local)


def test_a_job_over_its_time_goes_on_where_it_was(slurm: Cluster, tmp_path: Path) -> None:
    long = {
        "methods": {"inbatch": None},
        "training": {**SUITE["training"], "steps": LONG, "checkpoint_steps": 500},
    }
    local = project(tmp_path / "local", **long)
    snakemake(local)
    before, folder = states(slurm), untrained(local, tmp_path / "far")
    options = ("--set-resources", "train_0:runtime=1")
    finished(Submitted(folder, slurm, *options), folder, slurm, *options)
    found = states(slurm) - before
    print(f"over its time: {dict(found)}")
    assert found["TIMEOUT"] >= 1
    assert_as_local(folder, local)
