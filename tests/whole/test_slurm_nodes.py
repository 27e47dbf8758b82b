"""A node of two dies with its jobs: the other one goes on with them.

python -m pytest -m slow -s tests/whole/test_slurm_nodes.py     # apt-get install slurm-wlm munge; root
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_slurm import Submitted, assert_as_local, finished, project, states, untrained, wait_for

from slurm import Cluster, cluster
from tiny import snakemake

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install -e .[slurm]")


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("pair")
    for part in (folder, *folder.parents[:2]):
        part.chmod(0o755)  # munge's user looks for its socket below
    with cluster(folder / "cluster", nodes=2) as made:
        yield made


def test_a_node_that_dies_with_its_jobs(pair: Cluster, tmp_path: Path) -> None:
    local = project(tmp_path / "local")
    snakemake(local)
    folder = untrained(local, tmp_path / "far")
    run = Submitted(folder, pair)
    number = wait_for(pair, "train")
    node = pair.call("squeue", "-h", "-j", number, "-o", "%N").strip()
    pair.kill_node(node)
    finished(run, folder, pair)
    told = pair.call("sinfo", "-h", "-N", "-o", "%N %T").split("\n")
    print(f"{node} died: {dict(states(pair))}, {told}")
    assert any(line.startswith(f"{node} down") for line in told)
    assert_as_local(folder, local)
