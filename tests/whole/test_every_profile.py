"""Under every profile the same is planned, and no more GPUs are used at a time than there are."""

from itertools import pairwise
from pathlib import Path

import pytest

from negmark.plan.jobs import METADATA, done
from tiny import overlapping, scheduled, snakemake

PLUGINS = {
    "slurm": "snakemake_executor_plugin_slurm",
    "kubernetes": "snakemake_executor_plugin_cluster_generic",
}


@pytest.mark.parametrize("name", ["default", "gpu", "slurm", "kubernetes"])
def test_a_profile_plans_what_the_default_one_plans(name: str, tmp_path: Path) -> None:
    if name in PLUGINS:
        pytest.importorskip(PLUGINS[name], reason=f"the profile needs {PLUGINS[name].replace('_', '-')}")
    folder = overlapping(tmp_path)
    found = scheduled(folder, "--workflow-profile", f"profiles/{name}")
    assert sum(path.endswith("model.safetensors") for path in found) == 2
    assert found == scheduled(folder)


@pytest.mark.slow
def test_one_gpu_serves_one_training_at_a_time(tmp_path: Path) -> None:
    folder = overlapping(tmp_path)
    snakemake(folder, "--until", "train_0", "--workflow-profile", "profiles/gpu")
    trained = [job for job in done(folder / METADATA) if job.rule == "train_0"]
    assert len(trained) == 2
    assert all(one.ended <= other.began + 1 for one, other in pairwise(trained)), trained
