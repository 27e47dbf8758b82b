"""Two snakemakes in one folder, and two suites that share a cache, started together as a user would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import command, copy_project, environment, measured_apart, scheduled, snakemake

pytestmark = pytest.mark.slow
RUNS = "results/runs/tiny/pydoc"
HOLD = """
import time
from negmark.core.run_lock import hold_folder
hold_folder()
print("held", flush=True)
time.sleep(500)
"""
SAME = (
    "metrics.json",
    "per_query.parquet",
    "run.trec.gz",
    "model.safetensors",
    "negatives.parquet",
    "history.parquet",
)


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite as one snakemake makes it, with a cache of its own."""
    folder = tmp_path_factory.mktemp("lone")
    copy_project(folder)
    snakemake(folder)
    return folder


def started(folder: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(), cwd=folder, env=environment(folder, cache), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def ended(runs: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Wait for runs; return exit codes and what they said, those that ended well first."""
    said = [run.communicate(timeout=500)[0] for run in runs]
    return sorted((run.returncode, text) for run, text in zip(runs, said, strict=True))


def assert_equal(folder: Path, lone: Path) -> None:
    """Runs are the same bytes, the board the same but for what was measured."""
    files = [path.relative_to(lone) for path in (lone / RUNS).rglob("*") if path.name in SAME]
    assert len(files) == 6 * 6 + 2 * 3, "two seeds of three rows, and two baselines"
    for file in files:
        assert (folder / file).read_bytes() == (lone / file).read_bytes(), file
    assert measured_apart(folder) == measured_apart(lone)
    assert scheduled(folder) == set()


def test_of_two_runs_in_one_folder_one_wins_and_the_other_says_so(lone: Path, tmp_path: Path) -> None:
    copy_project(tmp_path)
    (done, first), (refused, second) = ended([started(tmp_path, tmp_path / "cache") for _ in range(2)])
    assert (done, refused) == (0, 1), first + second
    lines = [line for line in second.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, second
    assert "works in this folder; wait until it has ended, or end it. Nothing was done" in lines[0]
    assert "Traceback" not in second
    assert "jobs done" not in second
    assert_equal(tmp_path, lone)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in ("one", "two")]
    for folder in made:
        folder.mkdir()
        copy_project(folder)
    return made


def test_two_suites_with_one_cache_are_both_right(lone: Path, folders: list[Path], tmp_path: Path) -> None:
    found = ended([started(folder, tmp_path / "cache") for folder in folders])
    assert [code for code, _ in found] == [0, 0], found[-1][1]
    for folder in folders:
        assert_equal(folder, lone)
        assert scheduled(folder) == set()
    one, two = (next(folder.glob("results/embeddings/*/*")) for folder in folders)
    for name in ("documents.npy", "queries.npy"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
        assert not (one / name).samefile(two / name), "a job of one would change the other's time"
    assert list((tmp_path / "cache" / "unfinished").iterdir()) == []
    keys = [json.loads((folder / "embeddings.json").read_text())["key"] for folder in (one, two)]
    assert keys[0] == keys[1]


def test_a_run_is_refused_while_another_one_works_and_changes_nothing(lone: Path) -> None:
    """Whatever is asked for, but a dry run and a report are let through."""
    places = {**os.environ, "PYTHONPATH": str(lone / "workflow")}
    hold = [sys.executable, "-c", HOLD]
    with subprocess.Popen(hold, cwd=lone, env=places, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            model = lone / RUNS / "simans/seed-0/model.safetensors"
            before = {
                path: path.stat().st_mtime_ns for path in (lone / "results").rglob("*") if path.is_file()
            }
            done = snakemake(lone, "--forcerun", str(model.relative_to(lone)), check=False)
            assert done.returncode == 1
            assert f"process {holder.pid} on" in done.stderr
            after = {
                path: path.stat().st_mtime_ns for path in (lone / "results").rglob("*") if path.is_file()
            }
            assert after == before
            assert snakemake(lone, "--dry-run").returncode == 0
            assert snakemake(lone, "--report", "report.zip").returncode == 0
        finally:
            holder.kill()
