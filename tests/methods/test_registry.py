"""Methods are found by file and by entry point; what breaks the contract is refused with the reason."""

import ast
import importlib.util
import inspect
import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from negmark import methods
from negmark.methods import registry
from negmark.methods.base import Method
from negmark.methods.types import Negatives

ROOT = Path(methods.__file__).resolve().parent.parent


def made(name="made", title="Made", module="made.negatives", **attributes):
    """A complete method, as a package might bring it."""
    body = {"name": name, "title": title, "negatives": lambda self, batch: Negatives(), **attributes}
    body = {key: value for key, value in body.items() if value is not None}
    return type("Made", (Method,), {**body, "__module__": module, "__doc__": "A made method."})


def announced(monkeypatch, *entries):
    monkeypatch.setattr(
        registry, "entry_points", lambda group: list(entries) if group == registry.GROUP else []
    )


def found():
    return registry.available.__wrapped__()


def test_every_class_in_a_file_of_methods_is_found():
    written = set()
    for file in (ROOT / "methods").glob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and "Method" in [ast.unparse(base) for base in node.bases]:
                written.add((f"negmark.methods.{file.stem}", node.name))
    own = {method for method in found().values() if method.__module__.startswith("negmark.methods.")}
    assert {(method.__module__, method.__name__) for method in own} == written
    assert len(written) >= 6


def test_names_are_sorted_and_lead_to_their_class():
    assert list(found()) == sorted(found())
    assert all(method.name == name for name, method in found().items())
    assert not any(inspect.isabstract(method) for method in found().values())


def test_two_methods_of_one_name_are_refused_and_both_named(monkeypatch):
    monkeypatch.setattr(registry, "_announced", lambda: [made("simans", module="elsewhere.negatives")])
    with pytest.raises(ValueError, match=r"'simans': negmark\.methods\.simans and elsewhere\.negatives"):
        found()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (made(name=None), r"made/negatives\.py: Made: the class attribute 'name' must be a string"),
        (made(name=3), "'name' must be a string"),
        (made(title=None), "'title' must be a string"),
        (made(negatives=None), "doesn't implement negatives"),
        (
            made(pools=frozenset({"dense", "sparse"})),
            "unknown pool 'sparse'; there are 'bm25', 'dense', 'given', 'verdicts'",
        ),
        (made(pools=["splade"]), "pools must be a set of names"),
        (made(name="SimANS2"), "name 'SimANS2' must be lower case letters, digits and underscores"),
        (made(name="hard-negatives"), "lower case"),
        (made(name="größe"), "lower case"),
        (made(name="_mine"), "lower case"),
        (made(name="2nd"), "lower case"),
        (made(name=""), "lower case"),
    ],
)
def test_a_broken_contract_is_refused_with_the_reason(method, message, monkeypatch):
    with pytest.raises(ValueError, match=message):
        registry.check(method)
    monkeypatch.setattr(registry, "_announced", lambda: [method])
    with pytest.raises(ValueError, match=message):
        found()


@pytest.mark.parametrize("name", ["made", "top_10", "m2"])
def test_a_complete_method_is_accepted(name):
    registry.check(made(name, pools=frozenset({"bm25", "dense"})))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_package.negatives:Mine", "entry point mine = .* can't be loaded: .*No module named"),
        ("negmark.methods.base:NoSuchClass", "can't be loaded: .*NoSuchClass"),
        ("negmark.methods.base:Batch", "is no subclass of negmark.methods.base.Method"),
        ("negmark.methods.base:NO_DOCUMENT", "is no subclass of negmark.methods.base.Method"),
    ],
)
def test_an_entry_point_that_gives_no_method_is_refused_and_named(value, message, monkeypatch):
    announced(monkeypatch, EntryPoint("mine", value, registry.GROUP))
    with pytest.raises(ValueError, match=message):
        found()


MODULE = '''"""Shifted: the documents that follow the positive.

What the paper says: nothing. What we do: the next rows.
"""

import numpy as np
from negmark.methods import base
from negmark.methods.base import Method, Negatives


class Shifted(Method):
    name = "shifted"
    title = "Shifted"
    citation = "Nobody 2026"

    class Params(base.Params):
        by: int = 1
        """Rows to go on."""

    def negatives(self, batch):
        return Negatives(ids=(batch.positives[:, None] + self.params.by) % self.services.documents)
'''
PROJECT = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "negmark-shifted"
version = "1.0"

[project.entry-points."negmark.methods"]
shifted = "shifted_negatives:Shifted"

[tool.setuptools]
py-modules = ["shifted_negatives"]
"""
ASK = """
import json, sys
from negmark.methods import registry
from negmark.core.errors import UserError
from negmark.suite.checks import load
suite = {"suite": "third", "datasets": {"scifact": None}}
taken = load({**suite, "methods": {"shifted": {"by": 2}, "far": {"method": "shifted", "by": 9}}}, "third.yaml")
try:
    load({**suite, "methods": {"shifted": {"to": 2}}}, "third.yaml")
    refused = ""
except UserError as error:
    refused = str(error)
print(json.dumps({
    "available": list(registry.available()),
    "summary": registry.available()["shifted"].summary(),
    "parameters": [taken.rows["shifted"].defaults, taken.rows["far"].defaults],
    "refused": refused,
}))
"""


@pytest.fixture
def installed(tmp_path):
    """A folder into which a package with a method is installed."""
    source, target = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "shifted_negatives.py").write_text(MODULE)
    if importlib.util.find_spec("pip") and importlib.util.find_spec("setuptools"):
        options = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    else:  # an environment made without pip: what it would have written
        information = target / "negmark_shifted-1.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: negmark-shifted\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(
            "[negmark.methods]\nshifted = shifted_negatives:Shifted\n"
        )
        (target / "shifted_negatives.py").write_text(MODULE)
    return target


def test_a_method_of_another_package_stands_beside_ours(installed):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "workflow"), str(installed)])}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["available"] == sorted([*found(), "shifted"])
    assert told["summary"] == "Shifted: the documents that follow the positive."
    assert told["parameters"] == [{"by": 2}, {"by": 9}]
    assert "methods.shifted.to: unknown key" in told["refused"]
    assert "by" in told["refused"]
