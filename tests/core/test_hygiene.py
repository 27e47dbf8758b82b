"""The test split is read by `evaluate` alone (the card counts its labels); dev and train share no query."""

import ast
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from builders import ROOT, Bench, collection_of
from negmark.data import prepare
from negmark.evaluate import evaluate
from negmark.search import candidates
from negmark.store import collection
from negmark.store.collection import HIDDEN, SPLITS, write_table

MAY_READ = {
    "evaluate/ranking": {"split"},  # its argument, "test" unless told otherwise
    "board/card": {"split"},
    "evaluate/audit": {"train", HIDDEN},
    "evaluate/dev_curve": {"dev", "train"},  # train to say which dev queries are unseen
    "train/inputs": {"train", HIDDEN},  # HIDDEN in `hidden_labels`, for a control
    "search/candidates": {"train"},
    "search/parts": {"train"},
    "train/warmup": {"train"},
    "evaluate/foresight": {"train", HIDDEN},  # what is known of false negatives
    "evaluate/audit_given": {"train", HIDDEN},  # the same of a file
    "data/given": {"train"},
    "share/negatives": {"train"},
    "advise/suspects": {"train"},
    "data/edited": {"train"},
    "data/verdicts": {"train"},
    "share/to_judge": {"train", HIDDEN},
    "train/judged_texts": {"train"},
}
"""Which splits a module asks `collection.qrels` for. One that isn't here reads no labels."""
TOUCH_THE_FILE = {"store/collection", "data/prepare"}
NEGMARK = ROOT / "workflow" / "negmark"


def module_of(path: Path) -> str:
    """A module by its room and name."""
    return str(path.relative_to(NEGMARK if path.is_relative_to(NEGMARK) else ROOT).with_suffix(""))


def asked_by(path: Path) -> set[str]:
    """The splits that a file asks `qrels` for: a literal's value, or the name of what it passes."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    found = [
        call.args[1]
        for call in calls
        if isinstance(call.func, ast.Attribute | ast.Name)
        and (call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id) == "qrels"
        and len(call.args) == 2
    ]
    names = {
        getattr(part, "value", None) if isinstance(part, ast.Constant) else ast.unparse(part)
        for part in found
    }
    return {HIDDEN if name in ("HIDDEN", "collection.HIDDEN") else str(name) for name in names}


def test_no_module_asks_for_a_split_that_is_not_its_own() -> None:
    modules = [*NEGMARK.rglob("*.py"), *(ROOT / "methods").glob("*.py")]
    found = [(module_of(path), splits) for path in modules if (splits := asked_by(path))]
    assert dict(found) == MAY_READ


def test_evaluation_alone_takes_the_test_queries() -> None:
    """`TestSplit` is of the test split unless another is named: curves, and so tuning, name the dev split."""
    asked: dict[str, set[str]] = {}
    for path in NEGMARK.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("TestSplit"):
                split = ast.unparse(call.args[1]) if len(call.args) > 1 else "'test'"
                asked.setdefault(module_of(path), set()).add(split)
    assert asked == {"evaluate/evaluate": {"'test'"}, "evaluate/dev_curve": {"'dev'"}}


def test_no_module_opens_the_labels_beside_the_one_function_that_reads_them() -> None:
    """Else the test above could be gone round: the file is named where it is read and where it is written."""
    names = "QRELS", "qrels.parquet"
    modules = [*NEGMARK.rglob("*.py"), *(ROOT / "methods").glob("*.py")]
    opening = {module_of(path) for path in modules if any(name in path.read_text() for name in names)}
    assert opening - {"suite/paths"} == TOUCH_THE_FILE  # names it as a rule's input


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def other(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same dataset, but every test query finds another document relevant, and hidden labels stand beside."""
    folder = tmp_path_factory.mktemp("other") / "dataset"
    shutil.copytree(bench.dataset, folder)
    rows = pq.read_table(folder / "qrels.parquet").to_pydict()
    rows["document"] = [
        (document + 40) % bench.documents if split == "test" else document
        for split, document in zip(rows["split"], rows["document"], strict=True)
    ]
    added = {"split": [HIDDEN] * 5, "query": [*range(5)], "document": [*range(40, 45)], "grade": [1] * 5}
    joined = {name: np.array([*rows[name], *added[name]]) for name in rows}
    write_table(folder / "qrels.parquet", {**joined, "split": joined["split"].tolist()})
    return folder


@pytest.mark.parametrize("kind", ["bm25", "dense"])
def test_pools_are_the_same_whatever_is_relevant_to_test_queries(
    kind: str, bench: Bench, other: Path, tmp_path: Path
) -> None:
    settings = json.dumps({"depth": 20, "bm25_k1": 1.2, "bm25_b": 0.75})
    for name, dataset in (("one", bench.dataset), ("other", other)):
        vectors = bench.vectors if kind == "dense" else None
        candidates.main(kind, dataset, settings, tmp_path / f"{name}.safetensors", vectors)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "other.safetensors").read_bytes()


def test_runs_are_the_same_whatever_is_relevant_to_test_queries(
    bench: Bench, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = bench.train(tmp_path / "one", bench.spec())
    own = bench.dataset
    monkeypatch.setattr(bench, "dataset", other)
    changed = bench.train(tmp_path / "other", bench.spec())
    for file in ("model.safetensors", "negatives.parquet", "history.parquet", "scores.parquet"):
        assert (one / file).read_bytes() == (changed / file).read_bytes(), file

    about = {
        "track": "controlled",
        "tier": "adapter",
        "dataset": "made",
        "title": "SimANS",
        "row": "simans",
        "metrics": ["nDCG@10", "R@100"],
    }
    values = []
    for run, dataset in ((one, own), (changed, other)):
        evaluate.main([run / "metrics.json"], json.dumps(about), dataset, bench.vectors)
        values.append(json.loads((run / "metrics.json").read_text())["slices"]["all"])
    assert values[0] != values[1], "else the two datasets don't differ, and nothing is shown here"


def test_methods_meet_training_queries_alone(bench: Bench, tmp_path: Path) -> None:
    run = bench.train(tmp_path, bench.spec())
    asked = set(pq.read_table(run / "negatives.parquet").column("query").to_pylist())
    test = collection.qrels(bench.dataset, "test")
    assert asked
    assert not asked & set(test.queries.tolist())


@pytest.mark.parametrize("seed", range(20))
def test_dev_is_disjoint_from_train_under_every_seed(seed: int) -> None:
    train = [(query, (query + place) % 50, 1) for query in range(60) for place in range(1 + query % 3)]
    made = collection_of(
        [f"d{row}" for row in range(50)],
        [f"q{row}" for row in range(61)],
        {"train": train, "test": [(60, 0, 1)]},
    )
    cut = prepare.with_dev(made, 6, seed)
    queries = {split: set(cut.qrels[split][:, 0].tolist()) for split in SPLITS}
    assert len(queries["dev"]) == 6
    assert not queries["dev"] & queries["train"]
    assert not (queries["dev"] | queries["train"]) & queries["test"]
    both = np.concatenate([cut.qrels["train"], cut.qrels["dev"]])
    assert sorted(map(tuple, both.tolist())) == sorted(train)
