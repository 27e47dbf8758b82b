"""Finds methods: every `Method` subclass in a file of `methods/`, and those that other packages announce.

A package adds methods through the entry point group `negbench.methods`; its pyproject.toml says, for a class
`Mine` in `mine/negatives.py`:

    [project.entry-points."negbench.methods"]
    mine = "mine.negatives:Mine"
"""

import importlib
import inspect
import pkgutil
import re
from functools import cache
from importlib.metadata import entry_points

import methods
from methods.base import Method

GROUP = "negbench.methods"


@cache
def available() -> dict[str, type[Method]]:
    """Return all methods by name, sorted. Raises ValueError if one breaks the contract or takes a taken name."""
    found: dict[str, type[Method]] = {}
    for method in [*_own(), *_announced()]:
        check(method)
        if method.name in found:
            raise ValueError(
                f"two methods are named {method.name!r}: "
                f"{found[method.name].__module__} and {method.__module__}"
            )
        found[method.name] = method
    return dict(sorted(found.items()))


def check(method: type[Method]) -> None:
    """Raise ValueError with the reason if a class can't stand on a board."""
    where = f"{method.__module__}.{method.__qualname__}"
    for attribute in ("name", "title"):
        if not isinstance(getattr(method, attribute, None), str):
            raise ValueError(f"{where}: the class attribute {attribute!r} must be a string")
    if not re.fullmatch("[a-z][a-z0-9_]*", method.name):
        raise ValueError(f"{where}: name {method.name!r} must be lower case letters, digits and underscores")
    if inspect.isabstract(method):
        raise ValueError(f"{where}: doesn't implement {', '.join(sorted(method.__abstractmethods__))}")
    if unknown := set(method.pools) - {"bm25", "dense"}:
        raise ValueError(f"{where}: unknown pool {sorted(unknown)[0]!r}; there are 'bm25' and 'dense'")


def _own() -> list[type[Method]]:
    found = []
    for module_info in pkgutil.iter_modules(methods.__path__):
        module = importlib.import_module(f"methods.{module_info.name}")
        found += [
            value
            for _, value in inspect.getmembers(module, inspect.isclass)
            if issubclass(value, Method) and value.__module__ == module.__name__ and value is not Method
        ]
    return found


def _announced() -> list[type[Method]]:
    found = []
    for entry in entry_points(group=GROUP):
        try:
            method = entry.load()
        except Exception as error:
            raise ValueError(f"entry point {entry.name} = {entry.value} can't be loaded: {error}") from error
        if not (inspect.isclass(method) and issubclass(method, Method)):
            raise ValueError(
                f"entry point {entry.name} = {entry.value} is no subclass of methods.base.Method"
            )
        found.append(method)
    return found
