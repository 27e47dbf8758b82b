"""The project's files agree with one another and name nothing of one machine."""

import re
import tomllib

import yaml

from tiny import ROOT


def test_the_conda_environment_has_the_packages_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    conda = yaml.safe_load((ROOT / "workflow" / "envs" / "negmark.yaml").read_text())
    assert conda["dependencies"][-1]["pip"] == project["dependencies"]


def test_every_dependency_is_pinned_in_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "config" / "constraints.txt").read_text().replace("_", "-")
    pinned = {line.split("==")[0].lower() for line in text.splitlines()}
    named = {re.split(r"[<>=!~\[; ]", requirement)[0].lower() for requirement in project["dependencies"]}
    assert named - pinned == set()
