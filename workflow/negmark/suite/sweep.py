"""A sweep: one suite with one key at a time changed, all else as it is. Each value is a board of its own.

    suite: sweep
    sweep:
      negatives: [1, 4, 8, 16]
      temperature: [0.02, 0.05, 0.1]
    methods:
      random:
      simans: { sweep: { a: [0.1, 0.5, 2.0] } }

Keys of the suite's `sweep` are those of its tier's budget. A row's own `sweep` names parameters of its method or keys
of the budget, and only that row and the reference run with other values. The suite's own value is one of the values,
also where the list leaves it out. It is a study (`negmark.suite.study`) whose variants differ
from the base along one axis.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from negmark.core.errors import UserError
from negmark.core.tiers import TIERS
from negmark.methods.types import IN_BATCH
from negmark.suite.checks import load
from negmark.suite.settings import TrainingSettings
from negmark.suite.study import (
    AGAINST,
    SWEEP,
    VARY,
    Study,
    Variant,
    merged,
    named_study,
    row_sweeps,
    slug,
)  # fmt: skip
from negmark.suite.suite import Suite
from negmark.suite.validation import nearest, shown

BASE = "base"
WATCHES = frozenset({"curve_every", "curve_queries", "checkpoint_steps"})
"""Keys of a budget that change no result."""
FEWEST_VALUES = 2


class Axis(NamedTuple):
    """A key that is swept: its name, its values, the suite's own among them, and the row that alone has it, if any."""

    name: str
    key: str
    values: list[Any]
    own: Any
    row: str | None
    of_method: bool
    """Is it a parameter of the row's method? Otherwise it is a key of the budget."""

    def labels(self) -> list[str]:
        """Return the values as text."""
        return [label_of(value) for value in self.values]


def sweep_of(config: Mapping[str, Any], file: str) -> Study:
    """Return the study of a config that sweeps. Raises `UserError` that names the file and the key of a mistake."""
    name = named_study(config, file)
    if both := sorted({VARY, AGAINST} & config.keys()):
        raise UserError(
            f"{file}: {both[0]}: a sweep changes one key at a time; leave out {both[0]}, or {SWEEP}"
        )
    given = _without_sweeps(config)
    suite = load(given, file)
    axes = list(_axes(config, suite, file))
    base = tuple(label_of(axis.own) for axis in axes)
    variants = [Variant(base, {**given, "suite": f"{name}-{BASE}"})]
    for place, axis in enumerate(axes):
        for value in axis.values:
            if value != axis.own:
                labels = (*base[:place], label_of(value), *base[place + 1 :])
                variants.append(Variant(labels, _changed(given, suite, axis, value, name)))
    if len({variant.suite for variant in variants}) < len(variants):
        raise UserError(f"{file}: {SWEEP}: two values give the same name of a board; use other values")
    return Study(name, {axis.name: axis.labels() for axis in axes}, None, variants, base)


def label_of(value: Any) -> str:
    """Return a value as a label: as YAML writes it."""
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def _without_sweeps(config: Mapping[str, Any]) -> dict[str, Any]:
    rows = {
        name: {key: value for key, value in row.items() if key != SWEEP} if isinstance(row, Mapping) else row
        for name, row in (config.get("methods") or {}).items()
    }
    return {**{key: value for key, value in config.items() if key != SWEEP}, "methods": rows}


def _axes(config: Mapping[str, Any], suite: Suite, file: str) -> Iterator[Axis]:
    """Yield the axes of the suite, then those of its rows."""
    budget = suite.budget(suite.tier)
    swept: dict[str | None, Any] = {None: config[SWEEP]} if SWEEP in config else {}
    swept.update(row_sweeps(config))
    for row, entries in swept.items():
        where = f"{file}: {SWEEP}" if row is None else f"{file}: methods.{row}.{SWEEP}"
        if not isinstance(entries, Mapping) or not entries:
            raise UserError(f"{where}: expected keys, each with a list of values, found {shown(entries)}")
        own_params = suite.rows[row].defaults if row else {}
        own_budget = suite.rows[row].budget if row else budget
        for key, values in entries.items():
            own = _own_value(key, own_params, own_budget, where)
            name = f"{row}.{key}" if row else key
            yield Axis(name, key, _values(values, own, f"{where}.{key}"), own, row, key in own_params)


def _own_value(key: str, params: Mapping[str, Any], budget: TrainingSettings, where: str) -> Any:
    allowed = [*params, *(name for name in type(budget).model_fields if name not in WATCHES)]
    if key not in allowed:
        raise UserError(f"{where}: unknown key {shown(key)}; {nearest(str(key), allowed)}")
    return params[key] if key in params else getattr(budget, key)


def _values(given: Any, own: Any, where: str) -> list[Any]:
    """Return the values with the suite's own, numbers in rising order."""
    if not isinstance(given, list) or any(isinstance(value, list | Mapping) for value in given):
        raise UserError(f"{where}: expected a list of values, found {shown(given)}")
    if len(set(map(label_of, given))) < len(given):
        raise UserError(f"{where}: a value is listed twice; list each once")
    values = given if own in given else [*given, own]
    if len(values) < FEWEST_VALUES:
        raise UserError(f"{where}: expected a value other than the suite's own, found {shown(given)}")
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return sorted(values) if numbers else values


def _changed(given: Mapping[str, Any], suite: Suite, axis: Axis, value: Any, name: str) -> dict[str, Any]:
    """Return the suite with another value of an axis, without the rows that it says nothing of."""
    board = "-".join([name, *map(slug, (axis.name, label_of(value)))])
    if axis.of_method:
        changes: dict[str, Any] = {"methods": {axis.row: {axis.key: value}}}
    else:
        changes = {TIERS[suite.tier].section: {axis.key: value}}
    config = merged(_with_sections(given), changes)
    kept = {
        row: config["methods"][row] for row in config["methods"] if _says_something(suite, axis, value, row)
    }
    return {**config, "methods": kept, "suite": board}


def _with_sections(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose empty rows can be changed key by key."""
    return {**config, "methods": {name: row or {} for name, row in config["methods"].items()}}


def _says_something(suite: Suite, axis: Axis, value: Any, name: str) -> bool:
    """Say whether a row runs with another value: it, or any, and the reference; without in-batch negatives not all."""
    row = suite.rows[name]
    reference = suite.reference in {name, row.method.name}
    if axis.row is not None and name != axis.row and not reference:
        return False
    return not (axis.key == "in_batch" and value is False and row.method.needs_vectors == IN_BATCH)
