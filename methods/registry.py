"""Finds methods: every `Method` subclass in a file of `methods/`, and those of other packages' entry points.

A package adds methods through the entry point group `negmark.methods`; its pyproject.toml says, for a class
`Mine` in `mine/negatives.py`:

    [project.entry-points."negmark.methods"]
    mine = "mine.negatives:Mine"
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from negmark import methods
from negmark.methods.base import Method, Params
from negmark.methods.types import Claim, Footnote, Lends, When

GROUP = "negmark.methods"
LONGEST_TITLE = 200
POOLS = frozenset({"bm25", "dense", "given", "verdicts"})


@cache
def available() -> dict[str, type[Method]]:
    """Return all methods by name, sorted. Raises ValueError if one breaks the contract or two share a name."""
    by_name: dict[str, type[Method]] = {}
    for method in [*_own(), *_announced()]:
        check(method)
        if method.name in by_name:
            raise ValueError(
                f"two methods are named {method.name!r}: "
                f"{by_name[method.name].__module__} and {method.__module__}"
            )
        by_name[method.name] = method
    return dict(sorted(by_name.items()))


def is_composed(spec: Mapping[str, Any]) -> bool:
    """Say whether the batches of a run, by its spec, were put together by a method, and not in the shared order."""
    chosen = spec.get("composer") or spec
    method = available()[chosen["method"]]
    return method.composition(method.Params.model_validate(chosen["params"])) is not None


def check(method: type[Method]) -> None:
    """Raise ValueError with the reason if a class can't be on a board."""
    where = f"{place(method)}: {method.__qualname__}"
    for attribute in ("name", "title"):
        if not isinstance(getattr(method, attribute, None), str):
            raise ValueError(f"{where}: the class attribute {attribute!r} must be a string")
    if not re.fullmatch("[a-z][a-z0-9_]{0,40}", method.name):
        raise ValueError(
            f"{where}: name {method.name!r} must be lower case letters, digits and underscores, 41 at most"
        )
    if not (method.title.strip() and method.title.isprintable() and len(method.title) <= LONGEST_TITLE):
        raise ValueError(
            f"{where}: title must be one line of at most {LONGEST_TITLE} signs that print, found {method.title!r}"
        )
    if inspect.isabstract(method):
        raise ValueError(f"{where}: doesn't implement {', '.join(sorted(method.__abstractmethods__))}")
    if not method.summary():
        raise ValueError(f"{where}: its module needs a docstring, whose first line the board shows")
    _check_kinds(method, where)
    if unknown := set(method.pools) - POOLS:
        raise ValueError(
            f"{where}: unknown pool {sorted(unknown)[0]!r}; there are {', '.join(map(repr, sorted(POOLS)))}"
        )
    if not (inspect.isclass(method.Params) and issubclass(method.Params, Params)):
        raise ValueError(
            f"{where}: Params must be a subclass of negmark.methods.base.Params, which refuses unknown keys"
        )


def _check_kinds(method: type[Method], where: str) -> None:
    """Check the class attributes that a board shows or a rule reads."""
    if not (
        isinstance(method.pools, set | frozenset) and all(isinstance(kind, str) for kind in method.pools)
    ):
        raise ValueError(f"{where}: pools must be a set of names, as frozenset({{'dense'}})")
    for attribute in ("citation", "needs_vectors", "needs_tokens"):
        if not isinstance(getattr(method, attribute), str):
            raise ValueError(f"{where}: the class attribute {attribute!r} must be a string")
    flags = (
        "faithful",
        "gives_positives",
        "knows_hidden",
        "uses_teacher",
        "cosine_thresholds",
        "loss_asks_teacher",
    )
    for attribute in flags:
        if not isinstance(getattr(method, attribute), bool):
            raise ValueError(f"{where}: the class attribute {attribute!r} must be True or False")
    if not isinstance(method.lends_loss, Lends):
        raise ValueError(
            f"{where}: lends_loss must be one of Lends, as Lends.TO_ALL, found {method.lends_loss!r}"
        )
    granted = method.recipe_negatives
    if granted is not None and (not isinstance(granted, int) or isinstance(granted, bool) or granted < 0):
        raise ValueError(
            f"{where}: recipe_negatives must be None or a number of negatives, found {granted!r}"
        )
    for attribute, kind in (("footnotes", Footnote), ("claims", Claim)):
        entries = getattr(method, attribute)
        if not (isinstance(entries, tuple) and all(isinstance(entry, kind) for entry in entries)):
            raise ValueError(
                f"{where}: the class attribute {attribute!r} must be a tuple of {kind.__name__}; a tuple of one "
                "ends in a comma"
            )
    for note in method.footnotes:
        if not (isinstance(note.text, str) and note.text.strip()):
            raise ValueError(f"{where}: the text of a footnote must be a string, found {note.text!r}")
        if not (isinstance(note.when, set | frozenset) and note.when <= set(When)):
            raise ValueError(
                f"{where}: `when` of a footnote must be a set of When, as {{When.FAITHFUL}}, found {note.when!r}"
            )


def place(method: type[Method]) -> str:
    """Return the file of a method, as a path relative to the folder of its package."""
    module = method.__module__.removeprefix("negmark.")
    return f"{module.replace('.', '/')}.py"


def _own() -> list[type[Method]]:
    classes = []
    for module_info in pkgutil.iter_modules(methods.__path__):
        try:
            module = importlib.import_module(f"negmark.methods.{module_info.name}")
        except Exception as error:
            raise ValueError(
                f"methods/{module_info.name}.py: can't be imported: {_message(error)}"
            ) from error
        classes += [
            value
            for _, value in inspect.getmembers(module, inspect.isclass)
            if issubclass(value, Method) and value.__module__ == module.__name__ and value is not Method
        ]
    return classes


def _announced() -> list[type[Method]]:
    classes = []
    for entry in entry_points(group=GROUP):
        try:
            method = entry.load()
        except Exception as error:
            raise ValueError(
                f"entry point {entry.name} = {entry.value} can't be loaded: {_message(error)}"
            ) from error
        if not (inspect.isclass(method) and issubclass(method, Method)):
            raise ValueError(
                f"entry point {entry.name} = {entry.value} is no subclass of negmark.methods.base.Method"
            )
        classes.append(method)
    return classes


def _message(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
