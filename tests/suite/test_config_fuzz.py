"""Damaged configs by the hundred: each is a suite or one line that names what is wrong, and no unknown key passes."""

import json
import math
import os
import re
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snakemake.common.configfile import load_configfile

from builders import ROOT, shipped_suites
from mutations import STRANGE, damaged, damaged_bytes
from negmark.core.errors import LONGEST, UserError
from negmark.core.files import canonical
from negmark.methods import registry
from negmark.suite.checks import load
from negmark.suite.layout import Layout
from negmark.suite.open import open_suite, refuse_repeated_keys
from negmark.suite.suite import Suite
from negmark.suite.tuned_rows import rate_task, tuning_task, value_task

FILES = sorted((ROOT / "config").glob("*.yaml"))
NAMED_BY_USERS = {"datasets", "gates", "methods"}
SEEDS = st.integers(0, 2**32 - 1)
MANY = settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # fmt: skip


def in_full(config: dict[str, Any]) -> dict[str, Any]:
    """A config with every key that it may have."""
    suite = load(config, "s.yaml")
    config = json.loads(json.dumps(suite.resolved()))
    return {**config, "data": None, "models": None, "tracking": suite.tracking.model_dump()}


WRITTEN = list(shipped_suites().values())
CONFIGS = [*WRITTEN, *map(in_full, WRITTEN)]


def loaded(config: dict[str, Any]) -> tuple[Suite | None, str]:
    """The suite of a config, or the message of the error."""
    try:
        return load(config, "s.yaml"), ""
    except UserError as error:
        return None, str(error)


def is_one_line(message: str) -> bool:
    return message.isprintable() and 20 < len(message) <= LONGEST * 6


def plan(suite: Suite) -> None:
    """Ask for all that the rules ask of a suite, as bytes on a command line."""
    layout = Layout(suite)
    texts = [
        *layout.targets(),
        layout.contents.model_dump_json(),
        canonical(layout.board_settings()),
        layout.specs.gates(),
    ]
    texts += [
        json.dumps(layout.suite.resolved(), allow_nan=False, ensure_ascii=False),
        tuning_task(layout.suite, layout.specs, layout.paths),
    ]
    for dataset in layout.suite.with_dev:
        for row in layout.suite.tuned_rows():
            texts += [task(suite, layout.specs, dataset, row) for task in (rate_task, value_task)]
    for dataset in layout.datasets.values():
        texts += [canonical(dataset.decides), layout.paths.vectors(dataset)]
        for row in layout.rows.values():
            texts += [canonical(layout.specs.run(dataset, row)), layout.about.runs(dataset, row)]
            texts += layout.paths.models(dataset, row, suite.seeds)
    for text in texts:
        assert "\0" not in text
        assert text.encode()


@MANY
@given(st.sampled_from(CONFIGS), SEEDS)
def test_a_damaged_config_is_a_suite_or_one_line(tmp_path_factory, config, seed):
    os.chdir(tmp_path_factory.getbasetemp())  # no board lies here
    made, kind, path = damaged(config, Random(seed))
    suite, message = loaded(made)
    if suite is None:
        assert message.startswith("s.yaml: ")
        assert is_one_line(message)
        return
    if kind in ("misspelt", "added"):
        assert len(path) == 2, path
        assert path[0] in NAMED_BY_USERS
    plan(suite)


def test_the_faults_are_of_all_kinds_and_most_are_found():
    """Else the test above could pass without damage."""
    found: Counter[tuple[str, bool]] = Counter()
    for seed in range(300):
        random = Random(seed)
        made, kind, _ = damaged(random.choice(CONFIGS), random)
        found[kind, loaded(made)[0] is not None] += 1
    assert {kind for kind, _ in found} == {"lost", "misspelt", "strange", "wrapped", "moved", "added"}
    assert sum(count for (_, accepted), count in found.items() if not accepted) > 200


@MANY
@given(st.sampled_from(FILES), SEEDS)
def test_a_damaged_file_is_a_suite_or_one_line(tmp_path_factory, capsys, file, seed):
    """Through what Snakemake does with it: what it refuses itself never comes to us."""
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    os.chdir(path.parent)
    path.write_bytes(damaged_bytes(file.read_bytes(), Random(seed)))
    try:
        config = load_configfile(str(path))
    except Exception:  # Snakemake's own words
        return
    capsys.readouterr()
    try:
        open_suite(config, [path])
    except SystemExit:
        message = capsys.readouterr().err
        assert message.startswith(f"error: {path}: ")
        assert is_one_line(message.removesuffix("\n"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_key_that_stands_twice_is_named_with_its_line(file, tmp_path):
    """Each line that has a key, doubled; PyYAML alone would take the last one."""
    lines = file.read_text(encoding="utf-8").splitlines()
    refuse_repeated_keys(file)
    tried = 0
    for number, line in enumerate(lines, start=1):
        found = re.match(r"\s*([a-z][\w-]*):(?= |$)(?!.*(&|>-))", line)  # no anchor, no text of many lines
        if not found:
            continue
        key = found[1]
        copy = line if line.partition(":")[2].strip() else f"{line} 1"
        path = tmp_path / "twice.yaml"
        path.write_text(
            "\n".join([*lines[: number - 1], copy, *lines[number - 1 :]]) + "\n", encoding="utf-8"
        )
        with pytest.raises(UserError) as caught:
            refuse_repeated_keys(path)
        assert str(caught.value).startswith(
            f"{path}: line {number + 1}: {key}: this key is already on line {number}"
        )
        tried += 1
    assert tried > 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "suite: s\nmethods: {simans: , simans: {a: 1}}\n",
            "line 2: simans: this key is already on line 2",
        ),
        ("suite: s\n'suite': t\n", "line 2: suite: this key is already on line 1"),
        (
            '{"suite": "s", "methods": {"simans": null, "simans": null}}',
            "simans: this key is repeated in one",
        ),
    ],
)
def test_keys_that_stand_twice_in_other_ways(text, message, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        refuse_repeated_keys(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_key_that_a_merge_gives_may_be_set_again(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("one: &one {a: 1, b: 2}\ntwo: {<<: *one, b: 3}\n")
    refuse_repeated_keys(path)


def test_a_few_lines_that_unfold_to_gigabytes_are_told_in_one(tmp_path):
    """An alias in an alias: a million million entries when they are written out."""
    names = "abcdefghijkl"
    lines = [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in pairwise(names)]
    text = "\n".join(["a: &a [x]", *lines, "suite: *l", "datasets: {scifact: }", "methods: {random: }"])
    with pytest.raises(
        UserError, match=r"^s\.yaml: suite: input should be a valid string, found \[\["
    ) as caught:
        load(yaml.safe_load(text), "s.yaml")
    assert len(str(caught.value)) < 500


ALLOWED_IN = {
    name: {
        **({"track": "faithful"} if kind.refusal(kind.Params(), "controlled") else {}),
        **(
            {"tier": "finetune"}
            if kind.needs_tokens or kind.needs_auxiliary(kind.Params(), "controlled")
            else {}
        ),
    }
    for name, kind in registry.available().items()
}
WANTS_A_FILE = {"given": "given", "rlhn": "verdicts"}
TEACHER = {"model": "another-encoder"}
PARAMETERS = [
    (name, key, info)
    for name, kind in registry.available().items()
    for key, info in kind.Params.model_fields.items()
]


@pytest.mark.parametrize(
    ("name", "key", "info"), PARAMETERS, ids=[f"{name}.{key}" for name, key, _ in PARAMETERS]
)
def test_a_parameter_takes_its_own_type_alone(name, key, info):
    """No number is rounded, no truth value counts as 1, no text as anything but the number that it spells."""
    kinds = set(get_args(info.annotation)) or {info.annotation}
    taken, dataset = 0, {WANTS_A_FILE[name]: __file__} if name in WANTS_A_FILE else None
    for value in STRANGE:
        track = {"track": "faithful"} if key == "augment" else {}  # which changes labels
        row = {key: value, **ALLOWED_IN[name], **track}
        config = {"suite": "s", "datasets": {"scifact": dataset}, "methods": {name: row}, "teacher": TEACHER}
        suite, message = loaded(config)
        if suite is None:
            assert message.startswith(f"s.yaml: methods.{name}.{key}: ")
            assert is_one_line(message)
            continue
        taken, found = taken + 1, suite.rows[name].defaults[key]
        if isinstance(value, str) and value not in kinds:
            value = int(value) if int in kinds else float(value)
        assert found == (float(value) if isinstance(found, float) else value)
        assert isinstance(value, bool) == isinstance(found, bool)
        assert not isinstance(found, float) or math.isfinite(found)
    assert taken < 20
