"""What a person is told of a value that a model of settings refuses: the key, what is allowed, and what was found."""

import difflib
import reprlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from negmark.core.errors import UserError
from negmark.suite.settings import HIDINGS, DatasetSettings, GateSettings

ENTRIES: dict[str, type[BaseModel]] = {"datasets": DatasetSettings, "gates": GateSettings}
"""What stands in a section by names of the user's own."""


def validated(model: type[BaseModel], value: Any, where: str, separator: str = ": ") -> Any:
    """Return a model of a mapping's keys and values. Raises `UserError` that begins with `where` and names the key."""
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: expected keys and values, found {shown(value)}")
    try:
        return model.model_validate(dict(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part not in {"[key]", *HIDINGS})
        raise UserError(f"{where}{separator}{key}: {_said(model, first)}") from None


def shown(value: Any) -> str:
    """Return a value as Python writes it, shortened: an alias of YAML's in another makes gigabytes of a few lines."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    short.maxdict = short.maxlist = 6
    short.maxlevel = 2
    return short.repr(value)


def nearest(word: str, allowed: list[str]) -> str:
    """Return the end of a message: the nearest allowed word, if one is near, and all that are allowed."""
    guess = difflib.get_close_matches(word, allowed, n=1, cutoff=0.6)
    hint = f"did you mean '{guess[0]}'? " if guess else ""
    return f"{hint}allowed: {', '.join(sorted(allowed))}"


def _said(model: type[BaseModel], error: Any) -> str:
    if error["type"] == "extra_forbidden":
        owner = _model_at(model, error["loc"][:-1])
        return f"unknown key; {nearest(str(error['loc'][-1]), list(_fields(owner)))}"
    if error["type"] == "missing":
        return "this key is missing"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{message}, found {shown(error['input'])}"


def _model_at(model: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel]:
    """Follow a location of pydantic's through nested models to the one that holds the key."""
    for part in location:
        if str(part) in HIDINGS:
            model = HIDINGS[str(part)]
        field = _fields(model).get(str(part))
        if field is None:
            continue
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
        elif str(part) in ENTRIES:
            model = ENTRIES[str(part)]
    return model


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Return the fields of a model by the keys that a config calls them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}
