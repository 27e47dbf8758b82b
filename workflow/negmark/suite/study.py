"""A study: one config that varies a suite along an axis or two. Each variant is a suite of its own, with its own board.

    suite: tiers
    vary:
      tier:
        adapter: { tier: adapter }
        finetune: { tier: finetune, seeds: [0, 1, 2] }
    against: finetune

Every key but `vary` and `against` is that of all its suites; a variant changes some, key by key within a section. With
two axes there is a variant for each pair of labels, and the second one changes what the first has made.
"""

import json
import re
from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

from negmark.core.errors import UserError
from negmark.suite.settings import NAME
from negmark.suite.validation import nearest, shown

VARY, AGAINST, SWEEP = "vary", "against", "sweep"
MOST_AXES = 2
FEWEST_LABELS = 2
BETWEEN = " / "
KINDS = ("how", "kind")
"""Keys that decide which others a section has."""


class Variant(NamedTuple):
    """One suite of a study: its labels, one an axis, and its whole config, whose `suite` is its name."""

    labels: tuple[str, ...]
    config: dict[str, Any]

    @property
    def label(self) -> str:
        """Its labels in one."""
        return BETWEEN.join(self.labels)

    @property
    def suite(self) -> str:
        """Name of its suite, and of the folder of its board."""
        return str(self.config["suite"])


class Study(NamedTuple):
    """The suites that are compared, in the order of the config."""

    name: str
    axes: dict[str, list[str]]
    """Labels of each axis, by its name."""
    against: str | None
    """The label of the first axis whose order of rows the others are held against; None where no order is asked for."""
    variants: list[Variant]
    base: tuple[str, ...] | None = None
    """Of a sweep: the labels of the suite as it is, from which each other variant differs along one axis alone."""

    @property
    def columns(self) -> list[str]:
        """The columns of its tables that hold the labels of each axis."""
        return [f"{VARY}.{axis}" for axis in self.axes]

    @property
    def lines(self) -> list["Study"]:
        """The studies that are shown by themselves: one along each axis of a sweep, else this one."""
        return [self] if self.base is None else [self._along(place) for place in range(len(self.axes))]

    def _along(self, place: int) -> "Study":
        assert self.base is not None
        axis, own = list(self.axes)[place], self.base
        mine = {
            one.labels[place]: Variant((one.labels[place],), one.config)
            for one in self.variants
            if all(one.labels[other] == own[other] for other in range(len(own)) if other != place)
        }
        labels = [label for label in self.axes[axis] if label in mine]
        return Study(self.name, {axis: labels}, None, [mine[label] for label in labels], (own[place],))


def is_study(config: Mapping[str, Any]) -> bool:
    """Say whether a config varies a suite."""
    return VARY in config or is_sweep(config)


def is_sweep(config: Mapping[str, Any]) -> bool:
    """Say whether a config varies a suite by one key at a time (`negmark.suite.sweep`)."""
    return SWEEP in config or bool(row_sweeps(config))


def row_sweeps(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what single rows of a config sweep, by row."""
    rows = config.get("methods")
    found = rows.items() if isinstance(rows, Mapping) else ()
    return {name: row[SWEEP] for name, row in found if isinstance(row, Mapping) and SWEEP in row}


def study_of(config: Mapping[str, Any], file: str) -> Study:
    """Return the study of a config. Raises `UserError` that names `file` and the key of the first mistake.

    The suites themselves are checked when they are opened.
    """
    name = named_study(config, file)
    axes = _axes(config[VARY], f"{file}: {VARY}")
    labels = {axis: list(values) for axis, values in axes.items()}
    given, first = config.get(AGAINST), next(iter(labels.values()))
    against = None if given is None else str(given)
    if against is not None and against not in first:
        raise UserError(f"{file}: {AGAINST}: unknown label {shown(against)}; {nearest(against, first)}")
    if against is not None and len(labels) > 1:
        raise UserError(f"{file}: {AGAINST}: orders are compared along one axis; leave the second one out")
    shared = {key: value for key, value in config.items() if key not in {VARY, AGAINST}}
    variants = []
    for chosen in product(*labels.values()):
        made = shared
        for axis, label in zip(axes, chosen, strict=True):
            made = merged(made, axes[axis][label])
        variants.append(Variant(chosen, {**made, "suite": "-".join([name, *map(slug, chosen)])}))
    if len({variant.suite for variant in variants}) < len(variants):
        raise UserError(f"{file}: {VARY}: two labels give the same name of a board; use other labels")
    return Study(name, labels, against, variants)


def named_study(config: Mapping[str, Any], file: str) -> str:
    """Return the name of a study. Raises `UserError` if it can't be that of a folder."""
    name = config.get("suite")
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise UserError(
            f"{file}: suite: a study needs a name of small letters, digits, - and _, found {shown(name)}"
        )
    return name


def as_json(study: Study) -> str:
    """Return a study as JSON, which a job is given; labels are text there already, and dates are."""
    return json.dumps({**study._asdict(), "variants": [list(one) for one in study.variants]}, default=str)


def study_from(written: Mapping[str, Any]) -> Study:
    """Return the study that `as_json` wrote."""
    variants = [Variant(tuple(labels), config) for labels, config in written["variants"]]
    base = written["base"]
    return Study(**{**written, "variants": variants, "base": None if base is None else tuple(base)})


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with some keys changed; sections are changed key by key, all else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        inner = result.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping) and not _other_kind(inner, value):
            value = merged(inner, value)
        result[key] = value
    return result


def _other_kind(section: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
    """Say whether a section becomes one of another kind, whose keys are others."""
    return any(key in changes and changes[key] != section.get(key) for key in KINDS)


def _axes(given: Any, where: str) -> dict[str, dict[str, Mapping[str, Any]]]:
    if not isinstance(given, Mapping) or not 1 <= len(given) <= MOST_AXES:
        raise UserError(
            f"{where}: expected one or two axes, each with labels and what they change, found {shown(given)}"
        )
    return {str(axis): _labels(values, f"{where}.{axis}") for axis, values in given.items()}


def _labels(given: Any, where: str) -> dict[str, Mapping[str, Any]]:
    if not isinstance(given, Mapping) or len(given) < FEWEST_LABELS:
        raise UserError(
            f"{where}: expected two labels or more, each with what it changes, found {shown(given)}"
        )
    for label, changes in given.items():
        if not isinstance(changes, Mapping):
            raise UserError(f"{where}.{label}: expected keys and values of a suite, found {shown(changes)}")
        if foreign := sorted({"suite", VARY, AGAINST} & changes.keys()):
            raise UserError(f"{where}.{label}.{foreign[0]}: a variant can't change this; leave it out")
        if not slug(label):
            raise UserError(
                f"{where}: {shown(label)} has no letter or digit to name a board by; use another label"
            )
    return {str(label): changes for label, changes in given.items()}


def slug(label: Any) -> str:
    """Return a label as part of a board's name."""
    return re.sub(r"[^a-z0-9]+", "-", str(label).lower()).strip("-")
