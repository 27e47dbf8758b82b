"""A whole project, Snakemake's records too, on a disk that fills up and on one that is read-only."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import Disk, mounted, partials
from tiny import BOARD, RUNS, SAME, SUITE, command, copy_project, environment, measured_apart, write_suite

pytestmark = pytest.mark.slow


class Project:
    """A project on a disk of its own, with the cache elsewhere, where Snakemake keeps the sources that it reads."""

    def __init__(self, disk: Disk, cache: Path) -> None:
        self.disk, self.folder, self.cache = disk, disk.folder / "project", cache
        copy_project(self.folder)
        write_suite(
            self.folder, {**SUITE, "methods": {"inbatch": None, "simans": {"depth": 10}}, "seeds": [0]}
        )

    def start(self, said: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(), cwd=self.folder, env=environment(self.folder, self.cache), text=True,
            stdout=said.open("w"), stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, said: Path) -> tuple[int, str]:
        return self.start(said).wait(timeout=500), said.read_text()

    def undo(self) -> None:
        """Leave some of it to do: a row and the board."""
        shutil.rmtree(self.folder / RUNS / "inbatch")
        shutil.rmtree(self.folder / BOARD)

    def bytes(self) -> dict[str, bytes]:
        files = [path for path in (self.folder / RUNS).rglob("*") if path.name in SAME]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("small")
    with mounted(folder / "disk", 96 << 20) as disk:
        made = Project(disk, folder / "cache")
        code, text = made.run(folder / "first.txt")
        assert code == 0, text
        yield made


@pytest.fixture
def undone(project: Project, tmp_path: Path) -> Iterator[Project]:
    """Some of it is to be made again; in the end, the same command must have made the same."""
    kept, board = project.bytes(), measured_apart(project.folder)
    project.undo()
    yield project
    code, text = project.run(tmp_path / "again.txt")
    assert code == 0, text
    assert project.bytes() == kept
    assert measured_apart(project.folder) == board
    assert partials(project.folder) == []


def errors(text: str) -> list[str]:
    assert "Traceback" not in text, text
    assert "Logging error" not in text, text
    return [line for line in text.splitlines() if line.startswith("error:")]


def test_a_disk_that_is_full_at_the_start(undone: Project, tmp_path: Path) -> None:
    undone.disk.fill()
    code, text = undone.run(tmp_path / "said.txt")
    undone.disk.empty()
    assert code == 1
    assert errors(text)
    assert all("the disk is full; make room, then the same command goes on" in line for line in errors(text))


def test_a_disk_that_fills_up_while_it_runs(undone: Project, tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    run = undone.start(said)
    while run.poll() is None and not re.search(r"^2 of", said.read_text(), re.MULTILINE):
        time.sleep(0.05)
    assert run.poll() is None, said.read_text()
    while run.poll() is None:
        undone.disk.fill()
        time.sleep(0.1)
    undone.disk.empty()
    assert run.returncode == 1
    told = errors(said.read_text())
    assert told
    for line in told:
        assert re.match(r"error: results/\S+: can't be written: the disk is full; make room, then", line), (
            line
        )


def test_a_disk_that_is_read_only(undone: Project, tmp_path: Path) -> None:
    undone.disk.read_only()
    try:
        code, text = undone.run(tmp_path / "said.txt")
    finally:
        undone.disk.read_only(False)
    assert code == 1
    assert errors(text) == [
        f"error: {undone.folder / '.snakemake'}: can't be written: the folder or the file is read-only; "
        "fix its permissions, then the same command goes on"
    ]
