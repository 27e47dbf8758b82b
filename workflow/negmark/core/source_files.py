"""Which source files a result depends on: they are declared inputs, so an edit re-runs what it affects.

Snakemake doesn't look into `python -m` jobs, so the files must be named. Imports are followed statically. Methods are
imported by name at run time, so a run depends only on the file of its own method.
"""

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "negmark"
HOME = Path(__file__).resolve().parents[1]
# What these decide reaches a job through its parameters, which Snakemake compares by value.
NEUTRAL_ROOMS = ("negmark.suite.", "negmark.run.")
NEUTRAL = frozenset(f"negmark.core.{name}" for name in ("stage", "errors", "failure_record", "source_files"))


def sources(*modules: str) -> list[str]:
    """Return the files of modules and of everything they import from this project, sorted."""
    return list(_names(modules, Path.cwd()))


@cache
def _names(modules: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    return tuple(sorted(_seen_from(path, folder) for path in _needed(modules)))


def _needed(modules: tuple[str, ...]) -> tuple[Path, ...]:
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name in NEUTRAL or name.startswith(NEUTRAL_ROOMS):
            continue
        if (path := _path(name)) is not None:
            found[name] = path
            waiting += _imports(path)
    return tuple(dict.fromkeys(found.values()))


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
    """Return the file of a module of this project; `None` for a name in a module, a room (which says what it holds)
    and what is another package's. It is looked up, not imported: an import here would cost a plan seconds."""
    package, _, place = module.partition(".")
    if package != PACKAGE or not place:
        return None
    path = HOME.joinpath(*place.split(".")).with_suffix(".py")
    return path.resolve() if path.is_file() else None  # `negmark.methods` is a link


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Names that a file imports; for `from a import b` both `a` and `a.b`, as b may be a module."""
    names: list[str] = []
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements in a file, of functions and branches too; expressions import nothing."""
    for block in ("body", "orelse", "handlers", "finalbody", "cases"):
        for inner in getattr(node, block, ()):
            yield inner
            yield from _statements(inner)


def asset(name: str) -> list[str]:
    """Return a project file that isn't Python, named from the root, as a list of one."""
    return [_seen_from(ROOT / name, Path.cwd())]


def _seen_from(path: Path, folder: Path) -> str:
    """Name a file relative to the working folder if it is inside, as in a clone; else by its full path."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
