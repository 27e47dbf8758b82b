"""Method files that break the contract: each is one line that names the file, before anything has run or at a step."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from negmark import methods
from negmark.core.errors import UserError
from negmark.methods import registry
from negmark.methods.base import Method
from negmark.methods.types import Negatives
from negmark.suite.open import open_suite
from negmark.train.step import one_step

WHOLE = '''"""Mine: a method that nothing is wrong with."""

from typing import Any

from pydantic import BaseModel

from negmark.methods import base
from negmark.methods.base import Batch, Claim, Footnote, Method, Negatives, Tried, When


class Mine(Method):
    name = "mine"
    title = "Mine"

    class Params(base.Params):
        """One number."""

        depth: int = 3

    def negatives(self, batch: Batch) -> Negatives:
        """None of its own."""
        return Negatives()
'''
CONFIG = {"suite": "s", "datasets": {"scifact": None}, "methods": {"mine": None}}


@pytest.fixture
def written(tmp_path, monkeypatch) -> Iterator[Path]:
    """A file of a folder of methods of its own beside negmark's, empty as yet."""
    folder = tmp_path / "methods"
    folder.mkdir()
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    monkeypatch.chdir(tmp_path)
    registry.available.cache_clear()
    yield folder / "mine.py"
    sys.modules.pop("negmark.methods.mine", None)
    registry.available.cache_clear()


def said(capsys) -> str:
    with pytest.raises(SystemExit):
        open_suite(CONFIG, [])  # the keys of the default suite beside these
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    return told.removeprefix("error: ").strip()


def test_a_whole_one_is_taken(written):
    written.write_text(WHOLE)
    assert open_suite(CONFIG, []).suite.rows["mine"].defaults == {"depth": 3}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class Mine(Method):", "class Mine(Method)", "can't be imported: SyntaxError: expected ':' (mine.py"),
        ("from typing import Any", "import no_such_package", "can't be imported: ModuleNotFoundError: No module named"),
        ("from typing import Any", "1 / 0", "can't be imported: ZeroDivisionError: division by zero"),
        ('"""Mine: a method that nothing is wrong with."""\n', "\0", "can't be imported: SyntaxError: source code"),
        ("class Mine(Method):", "def f(x=f()):", "can't be imported: NameError: name 'f' is not defined"),
        ('    name = "mine"\n', "", "Mine: the class attribute 'name' must be a string"),
        ('    name = "mine"\n', "    name = 3\n", "Mine: the class attribute 'name' must be a string"),
        ('    name = "mine"\n', '    name = "../Mine"\n', "Mine: name '../Mine' must be lower case letters"),
        ('    title = "Mine"\n', "", "Mine: the class attribute 'title' must be a string"),
        *(
            ('title = "Mine"', f"title = {title!r}", "Mine: title must be one line of at most 200 signs that print")
            for title in ("a\nb", "", " ", "\x1b[31m", "\u202e", "x" * 201)
        ),
        ("def negatives(", "def positives(", "Mine: doesn't implement negatives"),
        ('"""Mine: a method that nothing is wrong with."""', '""', "Mine: its module needs a docstring, whose first"),
        ("base.Params", "BaseModel", "Mine: Params must be a subclass of negmark.methods.base.Params, which"),
        ('title = "Mine"', 'title = "Mine"\n    pools = "dense"', "Mine: pools must be a set of names, as frozenset("),
        ('title = "Mine"', 'title = "Mine"\n    pools = {"dens"}', "Mine: unknown pool 'dens'; there are 'bm25',"),
        ('title = "Mine"', 'title = "Mine"\n    footnotes = (Footnote("a"))',
         "Mine: the class attribute 'footnotes' must be a tuple of Footnote; a tuple of one ends in a comma"),
        ('title = "Mine"', 'title = "Mine"\n    footnotes = (Footnote(" "),)',
         "Mine: the text of a footnote must be a string, found ' '"),
        ('title = "Mine"', 'title = "Mine"\n    footnotes = (Footnote("a", When.FAITHFUL),)',
         "Mine: `when` of a footnote must be a set of When, as {When.FAITHFUL}, found <When.FAITHFUL"),
        ('title = "Mine"', 'title = "Mine"\n    footnotes = (Footnote("a", {"faithful"}),)',
         "Mine: `when` of a footnote must be a set of When, as {When.FAITHFUL}, found {'faithful'}"),
        ('title = "Mine"', 'title = "Mine"\n    claims = [("mine", "random")]',
         "Mine: the class attribute 'claims' must be a tuple of Claim"),
        ('title = "Mine"', 'title = "Mine"\n    faithful = "yes"', "Mine: the class attribute 'faithful' must be Tr"),
        ('title = "Mine"', 'title = "Mine"\n    citation = None', "Mine: the class attribute 'citation' must be a str"),
        ("    def neg", "    @classmethod\n    def space(cls, params, track):\n        return {1: 2}\n\n    def neg",
         "mine can't be asked: AttributeError: 'int' object has no attribute 'values'; fix the method"),
        ("    def neg", "    @classmethod\n    def space(cls, params, track):\n"
         "        return {'depth': Tried((), '')}\n\n    def neg",
         "mine can't be asked: ValueError: space() names a parameter without values to try"),
        ("    def neg", "    @classmethod\n    def vectors_needed(cls, params, track):\n        raise KeyError('a')\n\n"
         "    def neg", "mine can't be asked: KeyError: 'a'; fix the method"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_before_anything_runs(old, new, message, written, capsys):
    assert WHOLE.count(old) == 1
    written.write_text(WHOLE.replace(old, new))
    assert said(capsys).startswith(f"methods/mine.py: {message}")


def test_a_row_that_its_method_refuses_is_refused_with_the_reason(written, capsys):
    refusing = (
        "    @classmethod\n    def refusal(cls, params, track):\n        return 'it is Monday'\n\n    def neg"
    )
    written.write_text(WHOLE.replace("    def neg", refusing))
    assert said(capsys).endswith(
        "methods.mine: this row of mine can't be in the controlled track: it is Monday"
    )


def test_two_files_of_one_name_are_named(written, capsys):
    written.write_text(WHOLE.replace('name = "mine"', 'name = "random"'))
    assert "two methods are named 'random': negmark.methods.random and negmark.methods.mine" in said(capsys)


def ids(batch, value: int) -> np.ndarray:
    return np.full((len(batch.queries), 2), value, np.int64)


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda batch: None, "negatives() must return Negatives, found NoneType"),
        (lambda batch: ids(batch, 1), "negatives() must return Negatives, found ndarray"),
        (lambda batch: Negatives(ids=[[1]]), "ids must be int64 of shape [8, M], found list"),
        (lambda batch: Negatives(ids=torch.ones(8, 2, dtype=torch.int64)), "ids must be int64 of shape [8, M], found"),
        (lambda batch: Negatives(ids=ids(batch, 60)),
         "ids must be rows from 0 to 59, or -1 in empty places, found 60"),
        (lambda batch: Negatives(ids=ids(batch, -2)),
         "ids must be rows from 0 to 59, or -1 in empty places, found -2"),
        (lambda batch: Negatives(ids=ids(batch, 1), weights=torch.full((8, 2), torch.nan)),
         "weights must be finite numbers, none below 0"),
        (lambda batch: Negatives(ids=ids(batch, 1), weights=-torch.ones(8, 2)),
         "weights must be finite numbers, none below 0"),
        (lambda batch: Negatives(ids=ids(batch, 1), weights=[[1.0, 1.0]] * 8), "weights must be [8, 2], found list"),
        (lambda batch: Negatives(vectors=torch.full((8, 1, 16), torch.inf)), "vectors must be finite numbers"),
        (lambda batch: Negatives(vectors=np.zeros((8, 1, 16))), "vectors must be [8, V, 16], found float64 (8, 1, 16)"),
        (lambda batch: Negatives(in_batch=[[True]]), "in_batch must be bool [8, 8], found list"),
    ],
)  # fmt: skip
def test_what_a_method_gives_is_held_to_the_contract(give, message, world, monkeypatch):
    class Wrong(Method):
        name, title = "wrong", "Wrong"

        def negatives(self, batch):
            return give(batch)

    told = broken(Wrong, world, monkeypatch)
    assert told.startswith(f"tests/methods/test_broken_methods.py: wrong: {message}")
    assert told.endswith("; methods/base.py has the contract")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda step: 0.5, "the loss must be a scalar tensor with gradient, found float"),
        (
            lambda step: step.scores.positive,
            "the loss must be a scalar tensor with gradient, found torch.float32 (8,)",
        ),
        (
            lambda step: step.scores.positive.mean().detach(),
            "the loss must be a scalar tensor with gradient, found ",
        ),
    ],
)
def test_a_loss_is_held_to_the_contract(loss, message, world, monkeypatch):
    class Wrong(Method):
        name, title = "wrong", "Wrong"

        def negatives(self, batch):
            return Negatives()

        def loss(self, step):
            return loss(step)

    assert f"test_broken_methods.py: wrong: {message}" in broken(Wrong, world, monkeypatch)


def broken(kind: type[Method], world, monkeypatch) -> str:
    registry.check(kind)
    monkeypatch.setattr(registry, "available", lambda: {"wrong": kind})
    with pytest.raises(UserError) as caught:
        one_step(world.run("wrong"), 0, keep_scores=False)
    return str(caught.value)
