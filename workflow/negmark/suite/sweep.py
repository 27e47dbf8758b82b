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

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from negmark.core.errors import UserError
from negmark.core.tiers import TIERS
from negmark.methods.types import IN_BATCH, Gives
from negmark.suite.checks import load
from negmark.suite.rows import Row
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
from negmark.suite.validation import nearest, shown, validated

BASE = "base"
WATCHES = frozenset({"curve_every", "curve_queries", "checkpoint_steps"})
"""Keys of a budget that change no result."""
OF_RANDOM_TABLES = frozenset({"dimension", "seed"})
"""Keys of a budget that are read where a token table starts as random rows."""
FEWEST_VALUES = 2
LONGEST = 64
"""Letters of a suite's name."""


class Axis(NamedTuple):
    """A key that is swept: its name, its values, the suite's own among them, and the row that alone has it, if any."""

    name: str
    key: str
    values: list[Any]
    own: Any
    row: str | None
    section: str
    """Of the suite: that of the tier whose budget has the key; empty for a parameter of the row's method."""

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
    if config.get("tuned"):
        raise UserError(
            f"{file}: tuned: rows of a sweep run as the config has them; leave it out, or {SWEEP}"
        )
    given = _without_sweeps(config)
    suite = load(given, file)
    axes = list(_axes(config, suite, file))
    for axis in axes:
        if not any(_has_key(row, axis) for row in suite.rows.values()):
            raise UserError(f"{file}: {_why_unread(axis)}; leave it out")
    base = tuple(label_of(axis.own) for axis in axes)
    variants = [Variant(base, {**given, "suite": f"{name}-{BASE}"})]
    for place, axis in enumerate(axes):
        for value in axis.values:
            if value != axis.own:
                labels = (*base[:place], label_of(value), *base[place + 1 :])
                variants.append(Variant(labels, _changed(given, suite, axis, value, file)))
    if len({variant.suite for variant in variants}) < len(variants):
        raise UserError(f"{file}: {SWEEP}: two values give the same name of a board; use other values")
    return Study(name, {axis.name: axis.labels() for axis in axes}, None, variants, base)


def label_of(value: Any) -> str:
    """Return a value as a label: as YAML writes it."""
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def _without_sweeps(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the suite as it is; what isn't in the form of one is left for `load` to refuse."""
    given = {key: value for key, value in config.items() if key != SWEEP}
    rows = config.get("methods")
    if isinstance(rows, Mapping):
        given["methods"] = {name: _without_sweep(row) for name, row in rows.items()}
    return given


def _without_sweep(row: Any) -> Any:
    return {key: value for key, value in row.items() if key != SWEEP} if isinstance(row, Mapping) else row


def _axes(config: Mapping[str, Any], suite: Suite, file: str) -> Iterator[Axis]:
    """Yield the axes of the suite, then those of its rows."""
    swept: dict[str | None, Any] = {None: config[SWEEP]} if SWEEP in config else {}
    swept.update(row_sweeps(config))
    for row, entries in swept.items():
        where = f"{file}: {SWEEP}" if row is None else f"{file}: methods.{row}.{SWEEP}"
        if not isinstance(entries, Mapping) or not entries:
            raise UserError(f"{where}: expected keys, each with a list of values, found {shown(entries)}")
        for key, values in entries.items():
            yield _axis(suite, row, key, values, where)


def _axis(suite: Suite, row: str | None, key: str, values: Any, where: str) -> Axis:
    """Return the axis of a key, with values as the suite reads them: 8 and 8.0 are one."""
    mine = suite.rows[row] if row else None
    params = mine.defaults if mine else {}
    budget = mine.budget if mine else suite.budget(suite.tier)
    allowed = [*params, *(name for name in type(budget).model_fields if name not in WATCHES)]
    if key not in allowed:
        raise UserError(f"{where}: unknown key {shown(key)}; {nearest(str(key), allowed)}")
    if not isinstance(values, list) or any(isinstance(value, list | Mapping) for value in values):
        raise UserError(f"{where}.{key}: expected a list of values, found {shown(values)}")
    if mine and key in params:
        section, own = "", params[key]
        read = [
            validated(mine.method.Params, {**mine.given, key: value}, where, ".").model_dump(mode="json")[key]
            for value in values
        ]
    else:
        section, own = (mine.tier if mine else TIERS[suite.tier]).section, getattr(budget, key)
        whole = budget.model_dump()
        read = [getattr(validated(type(budget), {**whole, key: value}, where, "."), key) for value in values]
    return Axis(
        f"{row}.{key}" if row else key, key, _with_own(read, own, f"{where}.{key}"), own, row, section
    )


def _with_own(values: list[Any], own: Any, where: str) -> list[Any]:
    """Return the values with the suite's own, numbers in rising order."""
    if len(set(map(label_of, values))) < len(values):
        raise UserError(f"{where}: a value is listed twice; list each once")
    every = values if own in values else [*values, own]
    if len(every) < FEWEST_VALUES:
        raise UserError(f"{where}: expected a value other than the suite's own, found {shown(values)}")
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in every)
    return sorted(every) if numbers else every


def _changed(given: Mapping[str, Any], suite: Suite, axis: Axis, value: Any, file: str) -> dict[str, Any]:
    """Return the suite with another value of an axis, without the rows that it says nothing of."""
    label = re.sub(r"^-", "minus ", label_of(value))
    name = "-".join([suite.suite, slug(axis.name), slug(label)])
    if len(name) > LONGEST:
        raise UserError(
            f"{file}: suite: the board {name!r} needs a name of at most {LONGEST}; shorten the suite's"
        )
    if axis.section:
        changes: dict[str, Any] = {axis.section: {axis.key: value}}
    else:
        changes = {"methods": {axis.row: {axis.key: value}}}
    config = {**merged(_with_sections(given), changes), "suite": name}
    kept = _kept(suite, axis, value)
    if lost := [row for row in suite.rows.values() if _is_reference(suite, row) and row.name not in kept]:
        raise UserError(
            f"{file}: reference: {lost[0].name} can't run with {axis.key} {label_of(value)}; name another row as "
            "`reference`"
        )
    return {**config, "methods": {row: config["methods"][row] for row in config["methods"] if row in kept}}


def _with_sections(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose empty rows can be changed key by key."""
    return {**config, "methods": {name: row or {} for name, row in config["methods"].items()}}


def _kept(suite: Suite, axis: Axis, value: Any) -> set[str]:
    """Return the rows that run with another value: those that have the key, the reference, and what they need."""
    able = {
        row.name for row in suite.rows.values() if not (_leaves_none(axis, value) and _has_none_else(row))
    }
    able = {name for name in able if _needs(suite, name) <= able}
    mine = {row.name for row in suite.rows.values() if _has_key(row, axis) or _is_reference(suite, row)}
    needed: set[str] = set()
    for name in mine & able:
        needed |= {name} | _needs(suite, name)
    return needed


def _has_key(row: Row, axis: Axis) -> bool:
    """Say whether a row would run otherwise: it may be of another tier, or have the key from elsewhere."""
    if axis.row not in {None, row.name}:
        return False
    if not axis.section:
        return True
    elsewhere = axis.key in row.own_budget or row.lender is not None
    none = axis.key == "negatives" and (row.gives is Gives.NOTHING or row.recipe_negatives is not None)
    unread = axis.key in OF_RANDOM_TABLES and getattr(row.budget, "start", "random") != "random"
    return row.tier.section == axis.section and not (elsewhere or none or unread)


def _why_unread(axis: Axis) -> str:
    """Say that no board would differ: no row of the suite, or not the one that sweeps it, reads a key."""
    if axis.row is None:
        return f"{SWEEP}.{axis.name}: no row of this suite reads {axis.key}"
    return (
        f"methods.{axis.row}.{SWEEP}.{axis.key}: this row has it from its own `budget`, from the row whose `loss` it "
        "is trained with, or from nowhere"
    )


def _is_reference(suite: Suite, row: Row) -> bool:
    return suite.reference in {row.name, row.method.name}


def _leaves_none(axis: Axis, value: Any) -> bool:
    return axis.key == "in_batch" and value is False


def _has_none_else(row: Row) -> bool:
    return row.method.needs_vectors == IN_BATCH or row.composer is not None


def _needs(suite: Suite, name: str) -> set[str]:
    """Return the rows without which a row can't run: whose model, loss, batches or teaching it has, and theirs."""
    row = suite.rows[name]
    teacher = suite.teacher_row if row.asks_teacher else None
    composer = row.composer.row if row.composer and row.composer.row in suite.rows else None
    direct = {other for other in (row.start, row.lender and row.lender.row, composer, teacher) if other}
    return direct.union(*(_needs(suite, other) for other in direct))
