"""The furnished suite in three states, run once for all tests of the whole, and copies of it for those that edit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from furnished import furnish
from negmark.core.locks import held
from tiny import snakemake

PATIENCE_S = 1500
"""What a test may take with the suite that it asks for first, where others work on the machine too."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests more time, but for those that name their own."""
    for item in items:
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(2 * PATIENCE_S))


def copied(project: Path, folder: Path) -> Path:
    """Copy a project with its results, its cache and Snakemake's records; times of files are kept."""
    return Path(shutil.copytree(project, folder, symlinks=True))


def run(folder: Path, *options: str) -> Path:
    """Run the suite; what was said, the exit code and the place (a URI) are left beside it, and copied with it."""
    done = snakemake(folder, *options, check=False, seconds=PATIENCE_S)
    (folder / "terminal.txt").write_text(done.stdout + done.stderr)
    (folder / "code.txt").write_text(str(done.returncode))
    (folder / "place.txt").write_text(folder.as_uri())
    return folder


Made = Callable[[str, Callable[[Path], Path]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Made:
    """Make a state of the suite in one of several test processes (pytest-xdist); each gets a copy of its own."""
    own = tmp_path_factory.mktemp("states")
    together = own if worker_id == "master" else tmp_path_factory.getbasetemp().parent

    def made(name: str, make: Callable[[Path], Path]) -> Path:
        first, ready = together / f"first-{name}" / "project", together / f"{name}.ready"
        with held(together / f"{name}.lock", waits=lambda: None):
            if not ready.exists():
                make(first)
                ready.touch()
        return copied(first, own / name / "project")

    return made


@pytest.fixture(scope="session")
def tuned(made_once: Made) -> Path:
    """The suite after its first run, which tunes."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        furnish(folder)
        return run(folder)

    return made_once("tuned", make)


@pytest.fixture(scope="session")
def failed(tuned: Path, made_once: Made) -> Path:
    """The suite after its second run, in which rows go wrong."""
    return made_once("failed", lambda folder: run(copied(tuned, folder), "--keep-going"))


@pytest.fixture(scope="session")
def finished(failed: Path, made_once: Made) -> Path:
    """The suite after its third run, in which nothing goes wrong. Tests that edit it ask for `project`."""

    def make(folder: Path) -> Path:
        copied(failed, folder)
        (folder / "healed").touch()
        return run(folder)

    folder = made_once("finished", make)
    assert (folder / "code.txt").read_text() == "0", (folder / "terminal.txt").read_text()
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished suite."""
    return copied(finished, tmp_path / "project")


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project without results, to plan in: each test writes a suite of its own."""
    folder = tmp_path_factory.mktemp("bare") / "project"
    folder.mkdir()
    furnish(folder)
    return folder
