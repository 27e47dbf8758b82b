"""Gates of what is trained: the mean over seeds by hand, what a config must say, and the shipped suites of gates."""

import json
import re
from pathlib import Path

import pytest
import yaml

from builders import ROOT
from negmark.core.errors import UserError
from negmark.evaluate import gate_of_runs, gates
from negmark.suite.checks import load
from negmark.suite.layout import Layout
from negmark.suite.study import merged

CONFIG = ROOT / "config"


def config_of(*names: str) -> dict:
    found: dict = {}
    for name in names:
        found = merged(found, yaml.safe_load((CONFIG / name).read_text()))
    return found


def test_the_value_of_a_row_is_the_mean_over_its_seeds(tmp_path: Path) -> None:
    paths = []
    for seed, value in enumerate((0.70, 0.74, 0.75)):
        path = tmp_path / f"seed-{seed}" / "metrics.json"
        path.parent.mkdir()
        slices = {"all": {"queries": 300, "nDCG@10": value, "RR": value / 2}}
        path.write_text(json.dumps({"row": "bm25", "seed": seed, "slices": slices}))
        paths.append(path)
    gate_of_runs.main(paths, tmp_path / "gate" / "metrics.json")
    found = json.loads((tmp_path / "gate" / "metrics.json").read_text())
    assert found["seeds"] == [0, 1, 2]
    assert found["slices"]["all"] == pytest.approx({"queries": 300, "nDCG@10": 0.73, "RR": 0.365})
    settings = json.loads(Layout(load(config_of("gates-trained.yaml"), "f")).specs.gates())
    judged = gates.judge(settings, dict.fromkeys(settings, found["slices"]["all"])).set_index("gate")
    assert judged["holds"].to_dict() == {"scifact-tevatron": True, "scifact-tevatron-rr": False}
    assert judged.loc["scifact-tevatron", "difference"] == pytest.approx(0.73 - 0.7473)
    assert judged.loc["scifact-tevatron", "system"] == "row bm25"


def test_runs_on_other_queries_are_refused() -> None:
    with pytest.raises(UserError, match="evaluated on 299 and 300 queries"):
        gate_of_runs.mean_of([{"queries": 300, "AP": 1.0}, {"queries": 299, "AP": 1.0}])


def test_the_recipe_is_tevatrons() -> None:
    suite = load(config_of("gates-trained.yaml"), "f")
    budget = suite.finetune
    assert (budget.batch_size, budget.negatives, budget.learning_rate, budget.temperature) == (
        64,
        1,
        1e-5,
        1.0,
    )
    assert budget.steps == 80 * 809 // 64
    assert (suite.encoder.query_length, suite.encoder.document_length, suite.encoder.similarity) == (
        64,
        512,
        "dot",
    )
    layout = Layout(suite)
    assert layout.gate_runs("scifact-tevatron") == [
        f"results/runs/gates-trained/scifact/bm25/seed-{seed}/metrics.json" for seed in (0, 1, 2)
    ]
    assert all(re.fullmatch(layout.gate_pattern(trained=True), gate) for gate in suite.gates)
    assert layout.gate_pattern(trained=False) == "NONE"
    assert layout.paths.gate_tables()


def test_the_small_run_is_the_same_with_less() -> None:
    small = load(config_of("gates-trained.yaml", "small/gates-trained.yaml"), "f")
    assert small.suite == "gates-trained-small"
    assert not small.gpu
    assert {gate.expected for gate in small.gates.values()} == {0.7473, 0.7322}
    assert small.finetune.negatives == 1


def test_a_ranker_needs_its_first_stage_alone() -> None:
    layout = Layout(load(config_of("gates-ranker.yaml"), "f"))
    (name,) = layout.suite.gates
    assert list(layout.gate_inputs(name)) == ["qrels"]
    assert layout.gate_modules(name) == ["negmark.evaluate.evaluate", "negmark.train.tiers.rerank"]
    about = json.loads(layout.about.gate(name))
    assert about["ranker"]["model"] == "cross-encoder/ms-marco-MiniLM-L2-v2"
    assert (about["first_stage"]["name"], about["first_stage"]["depth"]) == ("bm25_search", 100)
    assert (about["tier"], about["track"], about["metrics"]) == ("rerank", "baseline", ["RR@10"])


GATE = config_of("gates-trained.yaml")["gates"]["scifact-tevatron"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"row": None}, "gates.g.row: this key is missing; a gate of trained needs row"),
        ({"row": "simans"}, "gates.g.row: unknown row 'simans'; allowed: bm25, inbatch"),
        ({"k1": 0.9}, "gates.g.k1: a gate of trained has no such setting; it has row"),
        (
            {"metric": "P@5"},
            "gates.g.metric: runs are evaluated by nDCG@10, RR@10, R@100, RR; add P@5 to `metrics`",
        ),
        ({"system": "ranker", "row": None}, "gates.g.system: a gate of ranker needs `rerank.model`"),
        ({"system": "ranker"}, "gates.g.row: a gate of ranker has no such setting; it has none"),
        (
            {"system": "untrained", "length": 64},
            "gates.g.row: a gate of untrained has no such setting; it has length",
        ),
    ],
)
def test_a_mistake_is_said_in_one_line(changes: dict, said: str) -> None:
    config = {**config_of("gates-trained.yaml"), "gates": {"g": {**GATE, **changes}}}
    with pytest.raises(UserError) as error:
        load(config, "f")
    assert said in str(error.value)
