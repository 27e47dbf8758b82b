"""The suite through the slurm profile on a real SLURM ends as it does without one, and survives what clusters do.

python -m pytest -m slow -s tests/whole/test_slurm.py     # apt-get install slurm-wlm munge; root
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm import Cluster, cluster
from slurm_runs import Submitted, assert_as_local, finished, project, states, untrained, wait_for
from tiny import (
    SUITE,
    snakemake,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install -e .[slurm]")
LONG = 30_000
"""Steps that take more than the least time limit SLURM has, a minute."""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("slurm")
    for part in (folder, *folder.parents[:2]):
        part.chmod(0o755)  # munge's user looks for its socket below
    with cluster(folder / "cluster") as made:
        yield made


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite without a cluster."""
    folder = project(tmp_path_factory.mktemp("local"))
    snakemake(folder)
    return folder


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
