"""Baselines that are trained with the loss of a faithful row, and chains: what a run's metrics.json says of them."""

import json
import re
from typing import Any

import pytest
import yaml

from builders import ROOT
from negmark.compare.pairing import LOSS, NEGATIVES, unlike
from negmark.core.errors import UserError
from negmark.methods import registry
from negmark.methods.base import Method
from negmark.suite.checks import load
from negmark.suite.layout import Layout
from planned import about, layout, spec

STAR = {"method": "star", "track": "faithful"}
LENT = {"method": "random", "loss": "star_faithful"}


@pytest.mark.parametrize("first", [True, False])
def test_a_row_takes_the_loss_the_budget_and_the_number_of_negatives_of_another(first: bool) -> None:
    own = {**STAR, "alpha": 0.3, "budget": {"steps": 7, "learning_rate": 1e-5}}
    rows = {"star_faithful": own, "star_random": LENT}
    planned = layout(rows if first else dict(reversed(rows.items())))
    assert list(planned.rows) == ["inbatch", *(rows if first else reversed(rows))]
    found = spec(planned, "star_random")
    assert found["method"] == "random"
    assert found["loss"]["method"] == "star"
    assert found["loss"]["params"]["alpha"] == 0.3
    assert found["track"] == "faithful"
    training = {**spec(planned, "star_faithful")["training"], "negatives": 1}
    assert found["training"] == training, "STAR's recipe has one negative"
    told, star = about(planned, "star_random"), about(planned, "star_faithful")
    assert told["conditions"] == {**star["conditions"], "depth": None}
    assert (star["conditions"]["loss"], star["conditions"]["negatives"], star["conditions"]["steps"]) == (
        "star_faithful", 1, 7
    )  # fmt: skip
    assert told["track"] == "faithful"
    assert told["title"] == "Random, loss of star_faithful"
    assert told["adaptations"] == [
        "trained with the loss, towers and budget of star_faithful, 1 negative a query"
    ]


def test_what_was_planned_is_planned_again_from_the_resolved_config() -> None:
    planned = layout({"star_faithful": STAR, "star_random": LENT})
    again = Layout(load({**planned.suite.resolved()}, "again.yaml"))
    assert spec(again, "star_random") == spec(planned, "star_random")


def test_other_rows_know_of_no_loss() -> None:
    planned = layout({"star": None, "star_faithful": STAR})
    assert all("loss" not in spec(planned, row) for row in planned.rows)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"method": "random", "loss": "star_fiathful"}, "made.yaml: methods.mine.loss: unknown row 'star_fiathful'; "),
        ({"method": "random", "loss": "star"}, "loss: star has no loss of its own; name a row with `track: faithful`"),
        ({"method": "random", "loss": "again"}, "loss: again has no loss of its own; "),
        ({"method": "random", "loss": "mine"}, "loss: mine has no loss of its own; "),
        ({**LENT, "track": "controlled"}, "methods.mine.track: a row under the loss of star_faithful is faithful"),
        ({**LENT, "budget": {"steps": 9}}, "loss: the row has the budget of star_faithful, to be compared with it"),
        ({**LENT, "tier": "finetune"}, "star_faithful is of the tier adapter, this row of the tier finetune"),
        ({**LENT, "method": "simans"}, "loss: simans has a loss of its own; only a method without one"),
        ({**LENT, "method": "debiased"}, "loss: debiased has a loss of its own; "),
        ({**LENT, "loss": "adore_f"}, "loss: the loss of adore needs what its own choice of negatives leaves"),
        ({"method": "inbatch", "loss": "ance_f"}, "loss of ance is over given documents, and inbatch gives none"),
        ({"method": "b3", "loss": "margins"}, "loss of margin_mse is over given documents, and b3 gives none"),
        ({"method": "tas_b", "loss": "margins"}, "loss of margin_mse is over given documents, and tas_b gives none"),
    ],
)  # fmt: skip
def test_a_loss_that_cannot_be_lent_is_refused_in_one_line(row: dict[str, Any], words: str) -> None:
    others = {
        "star": None, "star_faithful": STAR, "again": LENT,
        "margins": {"method": "margin_mse", "track": "faithful"},
        **{f"{name}_f": {"method": name, "track": "faithful"} for name in ("adore", "ance")},
    }  # fmt: skip
    with pytest.raises(UserError) as error:
        layout({**others, "mine": row})
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(registry.available()))
def test_only_a_faithful_method_lends_and_only_one_that_keeps_nothing(name: str) -> None:
    """What lends has no networks or state of its own, so that its loss needs no more than the step."""
    kind = registry.available()[name]
    if kind.lends_loss is kind.lends_loss.NOT:
        return
    assert kind.faithful
    own = (
        "faithful_loss",
        "loss",
        "relabels",
    )  # whose labels differ lends the loss that baselines in its track have
    assert any(getattr(kind, name) != getattr(Method, name) for name in own)
    assert kind.extra_modules is Method.extra_modules


def test_a_chain_has_the_steps_of_all_its_rows() -> None:
    rows = {
        "star_faithful": {**STAR, "budget": {"steps": 5, "batch_size": 4}},
        "middle": {"method": "ance", "track": "faithful", "start": "star_faithful", "budget": {"steps": 7}},
        "adore_star": {"method": "adore", "track": "faithful", "start": "middle", "budget": {"steps": 1000}},
        "inbatch_600": {"method": "inbatch", "start": "inbatch"},
    }
    planned = layout(rows, training={"steps": 300, "batch_size": 64})
    told = about(planned, "adore_star")
    assert told["chain"] == ["middle", "star_faithful"]
    assert told["conditions"]["steps"] == 1012
    assert told["conditions"]["training_queries"] == 64 * 1007 + 4 * 5
    assert (
        "1,012 steps, 7 of them those of middle and 5 of them those of star_faithful: starts from the trained model of "
        "middle" in told["adaptations"]
    )
    double = about(planned, "inbatch_600")
    assert (double["conditions"]["steps"], double["conditions"]["loss"]) == (600, "info_nce")
    alone = about(planned, "inbatch")
    assert (alone["conditions"]["steps"], alone["chain"], alone["before"]) == (300, [], "untrained")


@pytest.mark.parametrize(
    ("row", "loss", "depth"),
    [
        ({"method": "star"}, "info_nce", 200),
        ({"method": "star", "depth": 30}, "info_nce", 30),
        ({"method": "dense_uniform"}, "info_nce", 200),
        ({"method": "dense_uniform", "top": 5000}, "info_nce", 200),  # a pool has no more
        ({"method": "dense_uniform", "skip": 10}, "info_nce", 190),
        ({"method": "dense_uniform", "skip": 10, "top": 50}, "info_nce", 50),
        ({"method": "conan"}, "info_nce", 200),  # of which it leaves the first 10 out
        ({"method": "dense_topk"}, "info_nce", None),
        ({"method": "random"}, "info_nce", None),
        ({"method": "adore"}, "info_nce", None),
        ({"method": "adore", "track": "faithful"}, "mine", 200),
        ({"method": "cet"}, "info_nce", 200),
        ({"method": "cet", "track": "faithful"}, "mine", 200),
        ({"method": "debiased"}, "mine", None),
    ],
)
def test_a_row_says_its_loss_and_its_depth(row: dict[str, Any], loss: str, depth: int | None) -> None:
    found = about(layout({"mine": row}), "mine")["conditions"]
    assert (found["loss"], found["depth"]) == (loss, depth)


def test_a_ranker_is_held_against_its_first_stage() -> None:
    planned = layout({"random": {"tier": "rerank"}}, rerank={"first_stage": "bm25_search"})
    assert about(planned, "random")["before"] == "bm25_search"


def test_baselines_name_no_condition() -> None:
    planned = layout({})
    told = json.loads(planned.about.baseline(planned.datasets["scifact"], "untrained"))
    assert (told["conditions"], told["chain"], told["before"]) == ({}, [], "")


def test_the_example_of_the_documentation_is_a_suite_whose_rows_are_alike() -> None:
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(methods:\n(?:(?!```).)*?star_random.*?)```", text, re.DOTALL)
    planned = layout(yaml.safe_load(example)["methods"])
    found = {row: about(planned, row)["conditions"] for row in planned.rows}
    assert found["cet"] == found["dense_uniform"]
    assert found["star_random"] == found["star_inbatch"] == {**found["star_faithful"], "depth": None}
    assert found["adore_star"]["steps"] == found["inbatch_twice"]["steps"] == 2 * found["inbatch"]["steps"]
    (claim, *_) = [claim for claim in registry.available()["adore"].claims if claim.worse == "star"]
    assert claim.from_worse, "so that their losses may differ"
    chains = [about(planned, row) for row in ("adore_star", "star_twice")]
    assert unlike(*chains, free=[LOSS]) == [NEGATIVES], (
        "STAR's one a query, and the list that ADORE's loss is over"
    )
