"""The furnished suite in three states, run once for all tests of the whole, and copies of it for those that edit."""

import shutil
from pathlib import Path

import pytest

from furnished import furnish
from tiny import snakemake

PATIENCE_S = 1500
"""What a test may take with the suite that it asks for first, where others work on the machine too."""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist's own hook reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests more time, but for those that name their own, and keep together what shares a suite.

    With several processes (pytest-xdist's `loadgroup`) the furnished suite runs in one of them.
    """
    for item in items:
        shares = "tuned" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("furnished" if shares else item.path.stem))
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(2 * PATIENCE_S))


def copied(project: Path, folder: Path) -> Path:
    """Copy a project with its results, its cache and Snakemake's records; times of files are kept."""
    return Path(shutil.copytree(project, folder, symlinks=True))


def run(folder: Path, *options: str) -> Path:
    """Run the suite; what was said and the exit code are left beside it."""
    done = snakemake(folder, *options, check=False, seconds=PATIENCE_S)
    (folder / "terminal.txt").write_text(done.stdout + done.stderr)
    (folder / "code.txt").write_text(str(done.returncode))
    return folder


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite after its first run, which tunes."""
    folder = tmp_path_factory.mktemp("tuned") / "project"
    folder.mkdir()
    furnish(folder)
    return run(folder)


@pytest.fixture(scope="session")
def failed(tuned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite after its second run, in which rows go wrong."""
    return run(copied(tuned, tmp_path_factory.mktemp("failed") / "project"), "--keep-going")


@pytest.fixture(scope="session")
def finished(failed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite after its third run, in which nothing goes wrong. Tests that edit it ask for `project`."""
    folder = copied(failed, tmp_path_factory.mktemp("finished") / "project")
    (folder / "healed").touch()
    run(folder)
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
