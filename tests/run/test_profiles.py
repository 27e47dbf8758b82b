"""The profiles: what they name is known to Snakemake, and no more GPUs are used at a time than there are."""

import copy
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from negmark.plan.jobs import METADATA, done
from tiny import ROOT, SUITE, copy_project, scheduled, snakemake, write_suite

PROFILES = ROOT / "workflow" / "profiles"
PLUGINS = {"slurm": "snakemake_executor_plugin_slurm"}


def project(folder: Path) -> Path:
    """Two rows whose trainings take some seconds, so that they would overlap."""
    copy_project(folder)
    suite = copy.deepcopy(SUITE)
    suite["training"] |= {"steps": 1500}
    write_suite(folder, {**suite, "methods": {"inbatch": None, "random": None}, "seeds": [0]})
    return folder


def test_there_is_a_profile_for_each_kind_of_machine() -> None:
    assert {path.parent.name for path in PROFILES.glob("*/config.yaml")} == {"default", "gpu", "slurm"}
    for path in PROFILES.glob("*/config.yaml"):
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert all(told[key] for key in ("keep-going", "rerun-incomplete", "nolock")), path


@pytest.mark.parametrize("name", ["default", "gpu", "slurm"])
def test_a_profile_plans_what_the_default_one_plans(name: str, tmp_path: Path) -> None:
    if name in PLUGINS:
        pytest.importorskip(PLUGINS[name], reason=f"the profile needs {PLUGINS[name].replace('_', '-')}")
    folder = project(tmp_path)
    found = scheduled(folder, "--workflow-profile", f"profiles/{name}")
    assert sum(path.endswith("model.safetensors") for path in found) == 2
    assert found == scheduled(folder)


@pytest.mark.slow
def test_one_gpu_serves_one_training_at_a_time(tmp_path: Path) -> None:
    folder = project(tmp_path)
    snakemake(folder, "--until", "train_0", "--workflow-profile", "profiles/gpu")
    trained = [job for job in done(folder / METADATA) if job.rule == "train_0"]
    assert len(trained) == 2
    assert all(one.ended <= other.began + 1 for one, other in pairwise(trained)), trained
