"""Which figures a board has, and that each entry of the catalogue is a module that can be run."""

import importlib
import inspect

from negmark.store.contents import Comparison, Contents
from negmark.suite.figures import FIGURES, planned

TIERS = Comparison(cheap="adapter", costly="finetune", track="controlled", rows=[("a", "b")])


def listed(cards: dict[str, str], **more: dict[str, str] | list[Comparison] | list[str]) -> Contents:
    return Contents.model_validate({"suite": "s", "rows": ["a"], "seeds": [0], "cards": cards, **more})


def test_every_entry_is_a_module_that_draws() -> None:
    for figure in FIGURES:
        draw = importlib.import_module(f"negmark.board.figures.{figure.name}").draw
        assert list(inspect.signature(draw).parameters) == ["board", "dataset", "folder"], figure.name


def test_a_figure_is_planned_where_its_data_are() -> None:
    stems = planned(listed({"one": "", "two": ""}, homes={"two": "one"}, comparisons=[TIERS]))
    assert stems == [
        *(f"one-{name}" for name in ("quality", "cost", "gain", "tiers", "scores", "negatives", "foresight")),
        *(f"two-{name}" for name in ("quality", "cost", "gain", "tiers")),
        "datasets",
    ]
    hidden = planned(listed({"one": "", "two": ""}, homes={"two": "one"}, hiding=["one"]))
    assert [stem for stem in hidden if stem.endswith("truth")] == ["one-truth"]
    few = planned(listed({"one": ""}))
    assert "datasets" not in few
    assert "one-tiers" not in few
