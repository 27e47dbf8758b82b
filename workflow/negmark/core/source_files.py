"""Which source files a result depends on: they are declared inputs, so an edit re-runs what it affects.

Snakemake doesn't look into `python -m` jobs, so the files must be named. Imports are followed statically. Methods are
imported by name at run time, so a run depends only on the file of its own method.
"""

import ast
import importlib.util
import inspect
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "negmark"
# What these decide reaches a job through its parameters, which Snakemake compares by value.
NEUTRAL_ROOMS = ("negmark.suite.", "negmark.run.")
NEUTRAL = frozenset(f"negmark.core.{name}" for name in ("stage", "errors", "failure_record", "source_files"))


def sources(*modules: str) -> list[str]:
    """Return the files of modules and of everything they import from this project, sorted."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or name in NEUTRAL or name.startswith(NEUTRAL_ROOMS):
            continue
        if (path := _path(name)) is not None:
            seen.add(name)
            waiting += _imports(path)
    return sorted({_shown(path) for name in seen if (path := _path(name)) is not None})


def method_sources(*methods: type) -> list[str]:
    """Return the files behind methods' classes; for one from another package, only that module's."""
    return sorted({file for method in methods for file in _of_method(method)})


def _of_method(method: type) -> list[str]:
    module = method.__module__
    if module.partition(".")[0] == PACKAGE:
        return sources(module)
    return [*sources("negmark.methods.base"), inspect.getfile(method)]


@cache
def _path(module: str) -> Path | None:
    if module.partition(".")[0] != PACKAGE:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    if not (spec and spec.origin) or spec.origin.endswith(
        "__init__.py"
    ):  # a room's, which says what it holds
        return None
    return Path(spec.origin).resolve()  # `negmark.methods` is a link


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Names that a file imports; for `from a import b` both `a` and `a.b`, as b may be a module."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def asset(name: str) -> list[str]:
    """Return a project file that isn't Python, named from the root, as a list of one."""
    return [_shown(ROOT / name)]


def _shown(path: Path) -> str:
    """Name a file relative to the working folder if it is inside, as in a clone; else by its full path."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
