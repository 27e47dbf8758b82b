"""Gates: which pass, which fail, and that a failing one prints its table and stops the board."""

import copy
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from builders import ROOT
from negmark.core.errors import UserError
from negmark.evaluate import gates
from negmark.suite.checks import load
from negmark.suite.layout import Layout

GATE: dict[str, Any] = {
    "dataset": "made", "system": "bm25_search", "metric": "nDCG@10", "expected": 0.5, "tolerance": 0.01,
    "queries": None, "tokenizer": "words", "k1": 1.2, "b": 0.75, "length": None, "fields": "title and text",
    "self_ids": "left out", "source": "a paper", "note": "",
}  # fmt: skip
FOUND = {"queries": 100, "nDCG@10": 0.505, "RR@10": 0.3, "R@100": 0.9}


def holds(means: dict[str, float] = FOUND, **changes: Any) -> bool:
    return bool(gates.judge({"one": {**GATE, **changes}}, {"one": {**FOUND, **means}})["holds"].item())


def test_a_gate_holds_within_its_tolerance_either_way() -> None:
    assert holds()
    assert holds({"nDCG@10": 0.49})
    assert not holds({"nDCG@10": 0.4899})
    assert not holds({"nDCG@10": 0.5101})
    assert not holds(metric="R@100")
    assert holds(metric="R@100", expected=0.9, tolerance=1e-9)


def test_queries_that_we_lack_count_as_zero() -> None:
    """ArguAna: the published mean is over 1,406 queries, of which 5 have no relevant document in the corpus."""
    assert not holds({"nDCG@10": 0.55})
    row = gates.judge({"one": {**GATE, "queries": 110}}, {"one": {**FOUND, "nDCG@10": 0.55}}).iloc[0]
    assert row["found"] == pytest.approx(0.5)
    assert row["holds"]
    with pytest.raises(UserError, match=r"gates\.one\.queries: 99 were published, but 100 were judged here"):
        holds(queries=99)


def run(folder: Path, **changes: Any) -> None:
    for name, value in (("good", 0.5), ("bad", 0.7)):
        (folder / "runs" / name).mkdir(parents=True, exist_ok=True)
        metrics = {"slices": {"all": {**FOUND, "nDCG@10": value}}}
        (folder / "runs" / name / "metrics.json").write_text(json.dumps(metrics))
    settings = {"good": GATE, "bad": {**GATE, **changes}}
    gates.main(
        json.dumps(settings), folder / "board", [folder / "runs" / name / "metrics.json" for name in settings]
    )


def test_the_table_and_how_each_value_was_made_are_written(tmp_path: Path) -> None:
    run(tmp_path, expected=0.7, note="another analyser", length=256)
    text = (tmp_path / "board" / "gates.md").read_text()
    assert "tokens read: 256; documents under the query's id: left out; note: another analyser" in text
    assert (
        "published by a paper; words or tokens by words; k1 1.2; b 0.75; fields: title and text; documents"
        in text
    )
    assert pd.read_csv(tmp_path / "board" / "gates.csv")["holds"].all()


def test_a_failing_gate_prints_the_table_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        UserError, match=r"^gates: 1 of 2 fail \(bad\): a baseline differs from its published value"
    ):
        run(tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("good", "bad"))]
    assert [line.split()[-1] for line in lines] == ["yes", "NO"]
    assert "+0.20000" in lines[1]
    assert not (tmp_path / "board").exists()


def test_a_suite_without_gates_says_where_some_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the suite names none; see config/gates\.yaml"):
        gates.main("{}", tmp_path)


def suite_of(**gate: Any) -> Any:
    config = copy.deepcopy(yaml.safe_load((ROOT / "config" / "gates.yaml").read_text()))
    config["gates"] = {"one": {**config["gates"]["scifact-bm25s"], **gate}}
    return load(config, "g.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "scifacts"}, "gates.one.dataset: unknown dataset 'scifacts'; did you mean 'scifact'?"),
        ({"k1": None}, "gates.one.k1: this key is missing; a gate of bm25_search needs k1 and b"),
        ({"length": 256}, "gates.one.length: a gate of bm25_search has no such setting; it has k1, b"),
        ({"system": "untrained", "k1": None, "b": None}, "gates.one.length: this key is missing"),
        ({"system": "untrained", "k1": None, "b": None, "length": 64},
         "gates.one.length: 64 tokens were read for the published value, but encoder.query_length is 256 and"),
        ({"tolerance": 0}, "gates.one.tolerance: input should be greater than 0, found 0"),
        ({"expected": 68.7}, "gates.one.expected: input should be less than or equal to 1, found 68.7"),
        ({"sourse": "x"}, "gates.one.sourse: unknown key; did you mean 'source'? allowed: b, dataset, "),
    ],
)  # fmt: skip
def test_mistakes_in_a_gate(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        suite_of(**change)
    assert str(caught.value).startswith(f"g.yaml: {message}")


def test_the_gates_of_negmark_train_nothing() -> None:
    """Every gate names how its value was obtained; the tightest have the same analyser and model."""
    suite = load(yaml.safe_load((ROOT / "config" / "gates.yaml").read_text()), "gates.yaml")
    assert {gate.dataset for gate in suite.gates.values()} == {"scifact", "nfcorpus", "arguana"}
    assert all(gate.tolerance <= 0.02 for gate in suite.gates.values())
    assert all(suite.datasets[name].decides["test_only"] for name in suite.datasets)
    targets = Layout(suite).targets()
    assert not [target for target in targets if "audit" in target or "wandb" in target or "html" in target]
