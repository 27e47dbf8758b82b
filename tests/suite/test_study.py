"""Studies: what their variants are, and one line for every mistake in a config that varies a suite."""

import datetime as dt
import json
from typing import Any

import pytest
import yaml

from builders import ROOT
from negmark.core.errors import UserError
from negmark.suite.checks import load
from negmark.suite.open import study_in
from negmark.suite.study import as_json, is_study, merged, study_from, study_of

BASE: dict[str, Any] = {
    "suite": "s",
    "datasets": {"wordnet": None},
    "static": {"steps": 10, "seed": 1},
    "methods": {"inbatch": None, "ance": None, "random": None},
}


def study(vary: Any, **more: Any) -> Any:
    return study_of({**BASE, "vary": vary, **more}, "file.yaml")


def test_a_variant_changes_some_keys_of_a_section_and_leaves_the_others() -> None:
    found = study({"steps": {"few": {"static": {"steps": 5}}, "more": {"methods": {"ance": {"depth": 9}}}}})
    few, more = found.variants
    assert few.config["static"] == {"steps": 5, "seed": 1}
    assert few.config["methods"] == BASE["methods"]
    assert more.config["static"] == BASE["static"]
    assert more.config["methods"] == {"inbatch": None, "ance": {"depth": 9}, "random": None}
    assert [one.suite for one in found.variants] == ["s-few", "s-more"]
    assert "vary" not in few.config


def test_two_axes_give_a_variant_for_each_pair_and_the_second_changes_what_the_first_has_made() -> None:
    found = study(
        {
            "table": {"a 1": {"static": {"steps": 1}}, "b": {"static": {"seed": 2}}},
            "steps": {1: {"static": {"steps": 7}}, 2: {}},
        }
    )
    assert [one.labels for one in found.variants] == [("a 1", "1"), ("a 1", "2"), ("b", "1"), ("b", "2")]
    assert [one.suite for one in found.variants] == ["s-a-1-1", "s-a-1-2", "s-b-1", "s-b-2"]
    assert [one.config["static"] for one in found.variants] == [
        {"steps": 7, "seed": 1}, {"steps": 1, "seed": 1}, {"steps": 7, "seed": 2}, {"steps": 10, "seed": 2},
    ]  # fmt: skip


TWO = {"tier": {"one": {}, "two": {}}}


@pytest.mark.parametrize(
    ("vary", "more", "message"),
    [
        (None, {}, "file.yaml: vary: expected one or two axes"),
        ({}, {}, "file.yaml: vary: expected one or two axes"),
        ({"a": {}, "b": {}, "c": {}}, {}, "file.yaml: vary: expected one or two axes"),
        ({"tier": ["one", "two"]}, {}, "file.yaml: vary.tier: expected two labels or more"),
        ({"tier": {"one": {}}}, {}, "file.yaml: vary.tier: expected two labels or more"),
        ({"tier": {"one": {}, "two": 3}}, {}, "file.yaml: vary.tier.two: expected keys and values of a suite, found 3"),
        ({"tier": {"one": {}, "two": {"suite": "x"}}}, {}, "vary.tier.two.suite: a variant can't change this"),
        ({"tier": {"one": {}, "!": {}}}, {}, "vary.tier: '!' has no letter or digit to name a board by"),
        ({"tier": {"a b": {}, "a-b": {}}}, {}, "two labels give the same name of a board"),
        (TWO, {"against": "twoo"}, "file.yaml: against: unknown label 'twoo'; did you mean 'two'? allowed: one, two"),
        ({**TWO, "x": TWO["tier"]}, {"against": "two"}, "orders are compared along one axis"),
        (TWO, {"suite": 3}, "file.yaml: suite: a study needs a name of small letters, digits, - and _, found 3"),
        (TWO, {"suite": "my study"}, "file.yaml: suite: a study needs a name of small letters, digits, - and _, found"),
    ],
)  # fmt: skip
def test_every_mistake_has_one_line(vary: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        study(vary, **more)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_label_that_is_a_number_may_be_named_by_against() -> None:
    assert study({"width": {32: {}, 256: {}}}, against=256).against == "256"


def test_a_section_of_another_kind_is_replaced() -> None:
    base = {"hide": {"how": "pooled", "depth": 10}}
    assert merged(base, {"hide": {"how": "random"}}) == {"hide": {"how": "random"}}
    assert merged(base, {"hide": {"how": "pooled", "depth": 5}}) == {"hide": {"how": "pooled", "depth": 5}}


def test_a_study_is_the_same_after_it_was_handed_on_as_text() -> None:
    found = study({"day": {dt.date(2026, 1, 2): {"static": {"steps": 1}}, None: {}}}, against=None)
    again = study_from(json.loads(as_json(found)))
    assert again == found
    assert again.axes == {"day": ["2026-01-02", "None"]}


def test_merging_leaves_its_arguments_as_they_are() -> None:
    base = {"a": {"b": 1}, "c": [1]}
    assert merged(base, {"a": {"d": 2}, "c": [2]}) == {"a": {"b": 1, "d": 2}, "c": [2]}
    assert base == {"a": {"b": 1}, "c": [1]}


def studies() -> list[str]:
    files = sorted((ROOT / "config").glob("*.yaml"))
    return [file.name for file in files if is_study(yaml.safe_load(file.read_text(encoding="utf-8")))]


@pytest.mark.parametrize("name", studies())
def test_every_variant_of_a_study_that_is_shipped_is_a_suite(name: str) -> None:
    config = yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))
    for variant in study_in(config, name).variants:
        assert load(variant.config, name).suite == variant.suite


def test_there_are_studies() -> None:
    assert {"tiers.yaml", "capacity.yaml", "sweep.yaml"} <= set(studies())
