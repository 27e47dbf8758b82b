"""The message for a value that a settings model refuses: the key, what is allowed, and what was found."""

import difflib
import reprlib
from collections.abc import Mapping
from datetime import date
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from negmark.core.errors import UserError
from negmark.suite.settings import HIDINGS, TEACHERS, DatasetSettings, GateSettings

ENTRIES: dict[str, type[BaseModel]] = {"datasets": DatasetSettings, "gates": GateSettings}
"""The models of entries under names of the user's own, by section."""

UNIONS = {**HIDINGS, **TEACHERS}
"""The models of settings of several kinds, by the tags that pydantic's locations name them with."""


def validated(model: type[BaseModel], value: Any, where: str, separator: str = ": ") -> Any:
    """Return a mapping as a model. Raises `UserError` whose message starts with `where` and names the key."""
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: expected keys and values, found {shown(value)}")
    try:
        return model.model_validate(dict(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part not in {"[key]", *UNIONS})
        raise UserError(f"{where}{separator}{key}: {_message(model, first)}") from None


def shown(value: Any) -> str:
    """Return the repr of a value, shortened: nested aliases in YAML make gigabytes of a few lines."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    short.maxdict = short.maxlist = 6
    short.maxlevel = 2
    return short.repr(value)


def nearest(word: str, allowed: list[str]) -> str:
    """Return the end of a message: the closest allowed word, if any is close, and all allowed words."""
    guess = difflib.get_close_matches(word, allowed, n=1, cutoff=0.6)
    hint = f"did you mean '{guess[0]}'? " if guess else ""
    return f"{hint}allowed: {', '.join(sorted(allowed)) or 'none'}"


def _message(model: type[BaseModel], error: Any) -> str:
    if error["type"] == "extra_forbidden":
        owner = _model_at(model, error["loc"][:-1])
        return f"unknown key; {nearest(str(error['loc'][-1]), list(_fields(owner)))}"
    if error["type"] == "missing":
        return "this key is missing"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{message}, found {shown(error['input'])}{_unquoted(error)}"


def _unquoted(error: Any) -> str:
    """Return how to write a text that YAML takes for something else: a name such as no, null, 007 or 2024-01-01."""
    found = error["input"]
    if error["type"] != "string_type" or not isinstance(found, bool | int | float | date | None):
        return ""
    words = " (yes, on or true)" if found is True else " (no, off or false)" if found is False else ""
    return f"; YAML takes what was written{words} for this value: put it in quotes"


def _model_at(model: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel]:
    """Follow one of pydantic's locations through nested models to the model with the key."""
    for part in location:
        if str(part) in UNIONS:
            model = UNIONS[str(part)]
        field = _fields(model).get(str(part))
        if field is None:
            continue
        parts = (field.annotation, *get_args(field.annotation))  # of one that may be null too
        inner = next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
        if inner is not None:
            model = inner
        elif str(part) in ENTRIES:
            model = ENTRIES[str(part)]
    return model


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Return the fields of a model by their keys in a config."""
    return {field.alias or name: field for name, field in model.model_fields.items()}
