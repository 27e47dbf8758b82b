"""Snakemake's own linter."""

import re
import subprocess
import sys

from tiny import ROOT

NO_ENVIRONMENT = "Specify a conda environment or container for each rule."
"""What `snakemake --lint` misses here: jobs run with the interpreter that started Snakemake."""


def test_the_linter_of_snakemake_misses_nothing_but_environments() -> None:
    command = [sys.executable, "-m", "snakemake", "--lint", "--configfile", "config/smoke.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert set(re.findall(r"^    \* (.*):$", done.stderr, re.MULTILINE)) == {NO_ENVIRONMENT}, done.stderr
