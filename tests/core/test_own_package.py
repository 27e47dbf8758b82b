"""Jobs run the package beside the Snakefile, whose files are recorded: whatever else is installed or lies about."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]


def prefix(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the Snakefile in a folder puts before every command, as Snakemake fills it in."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    head = (ROOT / "Snakefile").read_text().split("# The default target")[0]
    head = head.replace("from negmark.suite.study import is_study", "")
    found: list[str] = []
    exec(head, {"workflow": SimpleNamespace(basedir=root), "shell": SimpleNamespace(prefix=found.append)})
    return found[0].format()


def package(folder: Path, says: str) -> Path:
    (folder / "negmark").mkdir(parents=True)
    (folder / "negmark" / "__init__.py").write_text("")
    (folder / "negmark" / "stage.py").write_text(f"print({says!r})")
    return folder


@pytest.mark.parametrize("known", [True, False])
def test_neither_another_copy_nor_the_working_folder_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    package(tmp_path / "clone b" / "workflow", "clone b")
    elsewhere = package(tmp_path / "elsewhere", "the working folder")
    other = package(tmp_path / "other", "another copy")
    if known:
        monkeypatch.setenv("PYTHONPATH", str(other))
    else:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    command = prefix(tmp_path / "clone b", monkeypatch) + "python -m negmark.stage"
    told = subprocess.run(["bash", "-c", command], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert told.stdout == "clone b\n"
