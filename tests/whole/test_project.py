"""The project's files agree with one another and name nothing of one machine."""

import re
import subprocess
import sys
import tomllib

from tiny import ROOT

NO_ENVIRONMENT = "Specify a conda environment or container for each rule."
"""What `snakemake --lint` misses here: jobs run with the interpreter that started Snakemake."""


def test_the_linter_of_snakemake_misses_nothing_but_environments() -> None:
    command = [sys.executable, "-m", "snakemake", "--lint", "--configfile", "config/smoke.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert set(re.findall(r"^    \* (.*):$", done.stderr, re.MULTILINE)) == {NO_ENVIRONMENT}, done.stderr


def test_every_dependency_is_pinned_in_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "config" / "constraints.txt").read_text().replace("_", "-")
    pinned = {line.split("==")[0].lower() for line in text.splitlines()}
    named = {re.split(r"[<>=!~\[; ]", requirement)[0].lower() for requirement in project["dependencies"]}
    assert named - pinned == set()
