"""The project's files agree with one another and name nothing of one machine."""

import ast
import re
import tomllib
from pathlib import Path

from builders import ROOT


def test_every_dependency_is_pinned_in_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "config" / "constraints.txt").read_text().replace("_", "-")
    pinned = {line.split("==")[0].lower() for line in text.splitlines()}
    named = {re.split(r"[<>=!~\[; ]", requirement)[0].lower() for requirement in project["dependencies"]}
    assert named - pinned == set()


def test_the_default_run_has_the_tests_of_every_room() -> None:
    """A new room is not forgotten; what starts Snakemake lies in tests/whole and is run apart."""
    rooms = {path.parent for path in (ROOT / "tests").rglob("test_*.py")} - {ROOT / "tests" / "whole"}
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["testpaths"]
    assert {room.relative_to(ROOT / "tests").parts[0] for room in rooms} == {
        Path(name).name for name in named
    }


def imported(path: Path) -> set[str]:
    """Names of modules that a file imports, and of what it imports from them, as `module.name`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_no_test_file_imports_another_one() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        assert not [name for name in imported(path) if name.startswith("test_")], path


def test_what_starts_snakemake_lies_in_whole() -> None:
    starting = {f"tiny.{name}" for name in ("snakemake", "scheduled", "reported", "command")}
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert path.parent.name == "whole" or not imported(path) & starting, path
