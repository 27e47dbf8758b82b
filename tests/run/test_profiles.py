"""The profiles: what they name is known to Snakemake, and no more GPUs are used at a time than there are."""

import yaml

from tiny import ROOT

PROFILES = ROOT / "workflow" / "profiles"


def test_there_is_a_profile_for_each_kind_of_machine() -> None:
    assert {path.parent.name for path in PROFILES.glob("*/config.yaml")} == {
        "default",
        "gpu",
        "slurm",
    }
    for path in PROFILES.glob("*/config.yaml"):
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert all(told[key] for key in ("keep-going", "rerun-incomplete", "nolock")), path
