"""A mistake in the config ends Snakemake in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from builders import SCIFACT, lines_of
from tiny import ROOT, SUITE, copy_project, planned, write_suite


def dry_run(folder: Path, config: str) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-n",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--configfile",
        config,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "NEGMARK_CACHE": str(folder / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder, env=environment)
    assert done.returncode != 0
    return lines_of(done)


def test_snakemake_ends_where_a_key_stands_twice(tmp_path):
    (tmp_path / "bad.yaml").write_text("suite: s\ndatasets: {scifact: }\nmethods:\n  random:\n  random:\n")
    (line,) = dry_run(tmp_path, "bad.yaml")
    assert line.endswith("bad.yaml: line 5: random: this key is already on line 4; keep one of the two")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory: 'bad.yaml'"),
        ("", "must be given as JSON or YAML with keys at top level"),
        ("- a\n", "must be given as JSON or YAML with keys at top level"),
        ("suite: s\n\tdatasets: x\n", "make sure to not mix whitespace and tab indentation"),
        ("a: !!python/object/apply:os.system ['touch pwned']\n", "is not valid JSON or YAML"),
    ],
)
def test_what_snakemake_says_itself_of_a_file_that_it_cannot_read(tmp_path, content, said):
    """It reads the file before it reads ours: its last line tells what is wrong."""
    if content is not None:
        (tmp_path / "bad.yaml").write_text(content)
    assert said in dry_run(tmp_path, "bad.yaml")[-1]
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seedz": [1]}, "seedz: unknown key; did you mean 'seeds'? allowed: "),
        ({"training": {"steps": -1}}, "training.steps: input should be greater than or equal to 1, found -1"),
    ],
)
def test_snakemake_tells_a_mistake_in_one_line(tmp_path, change, said):
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({**SCIFACT, **change}))
    (line,) = dry_run(tmp_path, "bad.yaml")
    assert line.startswith("error: ")
    assert f"bad.yaml: {said}" in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stepz": 3}, ["suite.yaml", "stepz", "did you mean"]),
        (
            {"methods": {"simnas": None}},
            ["methods.simnas", "unknown method 'simnas'", "did you mean 'simans'"],
        ),
        ({"datasets": {"sciefact": None}}, ["datasets.sciefact", "did you mean 'scifact'"]),
        ({"training": {"steps": "many"}}, ["training.steps", "'many'"]),
        ({"data": "./nowhere"}, ["data", "./nowhere"]),
    ],
)
def test_a_mistake_in_the_config_is_told_in_one_line(tmp_path: Path, change: dict, words: list[str]) -> None:
    copy_project(tmp_path)
    write_suite(tmp_path, {**SUITE, **change})
    done = planned(tmp_path, check=False)
    assert done.returncode != 0
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]
    assert "Traceback" not in done.stdout + done.stderr
