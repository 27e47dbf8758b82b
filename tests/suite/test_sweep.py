"""Sweeps: what their variants are, the line along each key, and one line for every mistake."""

import copy
import json
from typing import Any

import pytest

from negmark.core.errors import UserError
from negmark.suite.study import as_json, is_sweep, study_from
from negmark.suite.sweep import sweep_of

BASE: dict[str, Any] = {
    "suite": "s",
    "tier": "static",
    "datasets": {"wordnet": None},
    "static": {"negatives": 4, "steps": 10},
    "methods": {"inbatch": None, "random": {}, "simans": {"a": 0.5}},
    "reference": "random",
}


def sweep(entries: Any = None, rows: Any = None, **more: Any) -> Any:
    config = copy.deepcopy(BASE) | more
    if entries is not None:
        config["sweep"] = entries
    for row, keys in (rows or {}).items():
        config["methods"][row] = {**(config["methods"][row] or {}), "sweep": keys}
    assert is_sweep(config)
    return sweep_of(config, "file.yaml")


def test_one_key_at_a_time_has_another_value() -> None:
    found = sweep({"negatives": [8, 2], "temperature": [0.1]})
    assert found.axes == {"negatives": ["2", "4", "8"], "temperature": ["0.05", "0.1"]}
    assert found.base == ("4", "0.05")
    assert {one.suite: (one.labels, one.config["static"]) for one in found.variants} == {
        "s-base": (("4", "0.05"), {"negatives": 4, "steps": 10}),
        "s-negatives-2": (("2", "0.05"), {"negatives": 2, "steps": 10}),
        "s-negatives-8": (("8", "0.05"), {"negatives": 8, "steps": 10}),
        "s-temperature-0-1": (("4", "0.1"), {"negatives": 4, "steps": 10, "temperature": 0.1}),
    }
    assert not any("sweep" in one.config for one in found.variants)


def test_a_line_holds_the_boards_along_one_key_in_the_order_of_its_values() -> None:
    negatives, temperature = sweep({"negatives": [8, 2], "temperature": [0.1]}).lines
    assert [one.suite for one in negatives.variants] == ["s-negatives-2", "s-base", "s-negatives-8"]
    assert (negatives.axes, negatives.base) == ({"negatives": ["2", "4", "8"]}, ("4",))
    assert [one.labels for one in temperature.variants] == [("0.05",), ("0.1",)]


def test_a_row_is_run_with_another_value_only_if_it_reads_the_key() -> None:
    static = {**BASE["static"], "start": "random"}
    found = sweep({"negatives": [8], "dimension": [8]}, static=static).variants
    by_name = {one.suite: list(one.config["methods"]) for one in found}
    assert by_name == {
        "s-base": ["inbatch", "random", "simans"], "s-negatives-8": ["random", "simans"],
        "s-dimension-8": ["inbatch", "random", "simans"],
    }  # fmt: skip


def test_more_negatives_change_no_row_that_gives_none_or_has_a_number_of_its_own() -> None:
    rows = {
        "random": {}, "hcl": {}, "tas_b": {}, "hardness": {}, "given": {"method": "hardness", "of": "given"},
        "moco_dual_view": {}, "star_f": {"method": "star", "track": "faithful"},
    }  # fmt: skip
    for base in (4, 1):
        static = {**BASE["static"], "negatives": base}
        found = sweep({"negatives": [8]}, methods=rows, static=static).variants
        by_name = {one.suite: list(one.config["methods"]) for one in found}
        assert by_name["s-negatives-8"] == ["random", "given", "moco_dual_view"]


def test_without_in_batch_negatives_rows_that_have_no_others_are_left_out() -> None:
    found = sweep({"in_batch": [True, False]})
    by_name = {one.suite: one.config for one in found.variants}
    assert list(by_name["s-base"]["methods"]) == ["inbatch", "random", "simans"]
    assert list(by_name["s-in-batch-false"]["methods"]) == ["random", "simans"]
    assert by_name["s-in-batch-false"]["static"]["in_batch"] is False
    assert found.axes == {"in_batch": ["true", "false"]}


def test_a_row_sweeps_its_own_parameter_or_the_budget_beside_the_reference_alone() -> None:
    found = sweep(rows={"simans": {"a": [0.1], "negatives": [1]}})
    assert found.axes == {"simans.a": ["0.1", "0.5"], "simans.negatives": ["1", "4"]}
    by_name = {one.suite: one.config for one in found.variants}
    assert by_name["s-simans-a-0-1"]["methods"] == {"random": {}, "simans": {"a": 0.1}}
    assert by_name["s-simans-negatives-1"]["methods"] == {"random": {}, "simans": {"a": 0.5}}
    assert by_name["s-simans-negatives-1"]["static"]["negatives"] == 1
    assert by_name["s-base"]["methods"]["simans"] == {"a": 0.5}


def test_a_sweep_is_the_same_after_it_was_handed_on_as_text() -> None:
    found = sweep({"negatives": [8]})
    assert study_from(json.loads(as_json(found))) == found


@pytest.mark.parametrize(
    ("entries", "rows", "more", "message"),
    [
        ({}, None, {}, "file.yaml: sweep: expected keys, each with a list of values, found {}"),
        (3, None, {}, "file.yaml: sweep: expected keys, each with a list of values, found 3"),
        ({"negative": [1]}, None, {}, "sweep: unknown key 'negative'; did you mean 'negatives'?"),
        ({"checkpoint_steps": [1]}, None, {}, "sweep: unknown key 'checkpoint_steps'"),
        ({"negatives": 3}, None, {}, "file.yaml: sweep.negatives: expected a list of values, found 3"),
        ({"negatives": [4]}, None, {}, "sweep.negatives: expected a value other than the suite's own, found [4]"),
        ({"negatives": [1, 1]}, None, {}, "sweep.negatives: a value is listed twice"),
        ({"negatives": [1]}, None, {"against": "x"}, "file.yaml: against: a sweep changes one key at a time"),
        ({"negatives": [1]}, None, {"suite": "My"}, "file.yaml: suite: a study needs a name"),
        (None, {"simans": {"aa": [1]}}, {}, "file.yaml: methods.simans.sweep: unknown key 'aa'; did you mean 'a'?"),
    ],
)  # fmt: skip
def test_every_mistake_has_one_line(entries: Any, rows: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        sweep(entries, rows, **more)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_row_sweep_changes_the_budget_of_the_rows_own_tier() -> None:
    methods = {"random": {}, "mine": {"method": "simans", "tier": "finetune"}}
    config = {"tier": "adapter", "static": {}, "methods": methods}
    found = sweep(rows={"mine": {"learning_rate": [0.1]}}, **config)
    changed = next(one.config for one in found.variants if one.suite.startswith("s-mine"))
    assert changed["finetune"] == {"learning_rate": 0.1}
    assert "training" not in changed


def test_rows_that_have_the_key_from_elsewhere_run_with_the_base_alone() -> None:
    star = {"method": "star", "track": "faithful"}
    own = {"method": "simans", "track": "faithful", "target": "labels", "budget": {"negatives": 3}}
    methods = {
        "random": {},
        "simans": {},
        "star_f": star,
        "lent": {"method": "random", "loss": "star_f"},
        "own": own,
    }
    by_name = {
        one.suite: one.config["methods"] for one in sweep({"negatives": [2]}, methods=methods).variants
    }
    assert set(by_name["s-base"]) == set(methods)
    # the reference is every row of the method: its lent copy stays, and so does whose loss that is
    assert set(by_name["s-negatives-2"]) == {"random", "simans", "lent", "star_f"}


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"method": "hcl", "track": "faithful", "budget": {"temperature": 0.5}}, "temperature"),
        ({"method": "random", "loss": "star_f"}, "negatives"),
        ({"method": "inbatch"}, "negatives"),
    ],
)
def test_a_row_sweeps_no_key_that_it_has_from_elsewhere(row: dict[str, Any], key: str) -> None:
    """Else its boards would be labelled with values that it never had, and only the reference would change."""
    rows = {**BASE["methods"], "star_f": {"method": "star", "track": "faithful"}, "mine": row}
    with pytest.raises(
        UserError, match=rf"methods\.mine\.sweep\.{key}: this row has it from its own `budget`"
    ):
        sweep(None, {"mine": {key: [1, 2]}}, methods=rows)


def test_what_a_swept_row_needs_runs_with_it() -> None:
    methods = {"random": {}, "simans": {"a": 0.5}, "star": {}, "after": {"method": "star", "start": "simans"}}
    found = sweep(rows={"after": {"depth": [30]}}, methods=methods)
    assert set(found.variants[-1].config["methods"]) == {"random", "simans", "after"}


def test_a_row_that_starts_from_one_without_negatives_goes_with_it() -> None:
    methods = {"random": {}, "inbatch": {}, "after": {"method": "simans", "start": "inbatch"}}
    found = sweep({"in_batch": [False]}, methods=methods)
    assert set(found.variants[-1].config["methods"]) == {"random"}


def test_values_are_compared_as_the_suite_reads_them() -> None:
    assert sweep({"negatives": ["8", 4]}).axes == {"negatives": ["4", "8"]}
    assert sweep({"temperature": ["1e-2"]}).axes == {"temperature": ["0.01", "0.05"]}


def test_a_negative_value_has_a_board_of_its_own() -> None:
    found = sweep(rows={"simans": {"b": [-1, 0, 1]}})
    assert [one.suite for one in found.variants] == ["s-base", "s-simans-b-minus-1-0", "s-simans-b-1-0"]


@pytest.mark.parametrize(
    ("entries", "more", "message"),
    [
        ({"temperature": [0.1, "0.1"]}, {}, "sweep.temperature: a value is listed twice"),
        ({"negatives": [0]}, {}, "file.yaml: sweep.negatives: input should be greater than or equal to 1"),
        ({"negatives": [8]}, {"tuned": "alone"}, "file.yaml: tuned: rows of a sweep run as the config has them"),
        ({"in_batch": [False]}, {"reference": "inbatch"}, "reference: inbatch can't run with in_batch false"),
        ({"negatives": [8]}, {"suite": "s" * 60}, "needs a name of at most 64; shorten the suite's"),
        ({"negatives": [8]}, {"methods": ["random"]}, "file.yaml: methods: "),
        ({"negatives": [8]}, {"methods": {"inbatch": {}}, "reference": "inbatch"},
         "file.yaml: sweep.negatives: no row of this suite reads negatives; leave it out"),
        ({"dimension": [8]}, {"static": {"start": "words"}}, "no row of this suite reads dimension; leave it out"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_refused_in_one_line(
    entries: Any, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        sweep(entries, **more)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
