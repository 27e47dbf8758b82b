"""Learning curves: values checked independently; evaluation neither changes a run nor adds to its cost."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from builders import Bench, set_dev_aside
from killed_runs import OUTPUTS, killed
from negmark.core.errors import UserError
from negmark.evaluate import dev_curve
from negmark.store import collection
from negmark.store.curve import read_curve
from negmark.train import clock as clocks
from negmark.train import energy
from negmark.train import train as stage_train
from negmark.train.run import set_up
from texts import Texts

CURVE = {"curve_every": 4, "curve_queries": 100}
MEASURED = ["wall_seconds", "cpu_seconds", "joules"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return set_dev_aside(Bench(tmp_path_factory.mktemp("bench")))


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Texts:
    return set_dev_aside(Texts(tmp_path_factory.mktemp("texts")))


def ndcg(scores: np.ndarray, labelled: dict[int, int]) -> float:
    """By the formula: gains over log2(rank + 1), divided by that of the ideal order."""
    order = np.argsort(-scores)[:10]
    discounts = 1 / np.log2(np.arange(2, 12))
    gained = sum(labelled.get(int(row), 0) * discounts[place] for place, row in enumerate(order))
    return gained / sum(discounts[: min(len(labelled), 10)])


def test_the_points_are_ndcg_of_the_maps_by_the_formula(bench, tmp_path):
    out = bench.train(tmp_path / "run", bench.spec("random", **CURVE))
    curve = pd.read_parquet(out / "dev.parquet")
    assert curve["step"].tolist() == [0, 4, 8, 12]
    rows = bench.collection.qrels["dev"]
    queries = np.unique(rows[:, 0])
    assert curve["queries"].tolist() == [len(queries)] * 4 == [9] * 4
    maps = load_file(out / "model.safetensors")
    for point, weights in ((0, None), (3, maps)):
        query_vectors, documents = (
            part.astype(np.float64) @ (np.eye(8) if weights is None else weights[side].double().numpy().T)
            for side, part in (("query", bench.query_vectors), ("document", bench.document_vectors))
        )
        documents /= np.linalg.norm(documents, axis=1, keepdims=True)
        values = {
            int(query): ndcg(
                documents @ query_vectors[query], {int(row[1]): 1 for row in rows[rows[:, 0] == query]}
            )
            for query in queries
        }
        assert curve["nDCG@10"][point] == pytest.approx(np.mean(list(values.values())), abs=1e-6)
        trained = set(bench.collection.qrels["train"][:, 1].tolist())
        unseen = [
            values[int(query)] for query in queries if not set(rows[rows[:, 0] == query][:, 1]) & trained
        ]
        assert 0 < len(unseen) < 9
        assert curve["unseen_queries"][point] == len(unseen)
        assert curve["nDCG@10/unseen"][point] == pytest.approx(np.mean(unseen), abs=1e-6)
    assert curve["nDCG@10"][3] != curve["nDCG@10"][0]


def test_a_curve_is_of_the_metric_that_ranks_the_board(bench, tmp_path):
    """R@20 needs more than ten ranked documents."""
    out = bench.train(tmp_path / "run", bench.spec("random", **CURVE, metric="R@20"))
    with pytest.raises(
        UserError, match=r"has no points of nDCG@10, as `curve_every` was 0 or another metric"
    ):
        read_curve(out / "dev.parquet")
    curve = read_curve(out / "dev.parquet", "R@20")
    rows = bench.collection.qrels["dev"]
    products = bench.query_vectors.astype(np.float64) @ bench.document_vectors.T.astype(np.float64)
    recalls = []
    for query in np.unique(rows[:, 0]):
        relevant = set(rows[rows[:, 0] == query][:, 1].tolist())
        recalls.append(len(relevant & set(np.argsort(-products[query])[:20].tolist())) / len(relevant))
    assert curve["R@20"][0] == pytest.approx(np.mean(recalls), abs=1e-6)


@pytest.mark.parametrize("method", ["inbatch", "simans", "adore", "ance"])
def test_evaluation_changes_nothing(bench, tmp_path, method):
    plain = bench.train(tmp_path / "plain", bench.spec(method))
    curved = bench.train(tmp_path / "curved", bench.spec(method, **{**CURVE, "curve_every": 1}))
    for name in OUTPUTS:
        assert (plain / name).read_bytes() == (curved / name).read_bytes(), name
    first, second = (json.loads((run / "manifest.json").read_text()) for run in (plain, curved))
    assert first["counters"] == second["counters"]
    assert pq.read_table(plain / "dev.parquet").num_rows == 0


@pytest.mark.parametrize("dropout", [None, 0.3])
def test_evaluation_changes_nothing_in_whole_encoders(texts, tmp_path, dropout):
    plain = texts.train(tmp_path / "plain", texts.spec("simans", dropout=dropout))
    curved = texts.train(
        tmp_path / "curved", texts.spec("simans", dropout=dropout, **{**CURVE, "curve_every": 2})
    )
    for name in OUTPUTS:
        assert (plain / name).read_bytes() == (curved / name).read_bytes(), name
    curve = pd.read_parquet(curved / "dev.parquet")
    assert curve["step"].tolist() == [0, 2, 4, 6]
    assert curve["nDCG@10"].nunique() > 1


def test_a_point_of_a_whole_encoder_is_what_evaluation_computes(texts, tmp_path):
    from negmark.evaluate.evaluate import _searcher
    from negmark.evaluate.metrics import Evaluator
    from negmark.evaluate.ranking import TestSplit, rank

    spec = texts.spec("inbatch", dropout=0.3, **CURVE)
    out = texts.train(tmp_path / "run", spec)
    split = TestSplit(texts.dataset, "dev")
    about = {"tier": "finetune", "encoder": texts.settings, "track": "controlled"}
    model = out / "model.safetensors"
    run = rank(_searcher(about, texts.dataset, texts.vectors, model, split, 1), split)
    metrics = Evaluator(split.qrels, relevant=split.relevant).values(run)
    expected = np.mean([metrics[name]["nDCG@10"] for name in split.names])
    assert pd.read_parquet(out / "dev.parquet")["nDCG@10"].iloc[-1] == pytest.approx(expected, abs=1e-9)


def test_cost_is_counted_up_to_the_point(bench, tmp_path):
    spec = bench.spec("adore", **CURVE)
    out = bench.train(tmp_path / "run", {**spec, "params": {**spec["params"], "refresh_steps": 1}})
    curve = pd.read_parquet(out / "dev.parquet")
    assert curve["searches"].tolist() == [0, 4 * 16, 8 * 16, 12 * 16]
    assert curve["refreshes"].tolist() == [0, 4, 8, 12]  # the corpus of 90 is encoded again at each step
    assert curve["vectors"].tolist() == [step * (16 + 16 * 5 + 90) for step in (0, 4, 8, 12)]
    assert (curve["wall_seconds"].diff()[1:] > 0).all()


def test_evaluation_time_is_not_run_time(bench, tmp_path, monkeypatch):
    """With a clock that runs only in evaluations, 1,000 seconds each."""
    now = [0.0]
    monkeypatch.setattr(clocks, "_now", lambda: (now[0], now[0]))
    point = dev_curve.Curve._point

    def slow(*arguments):
        now[0] += 1000
        return point(*arguments)

    monkeypatch.setattr(dev_curve.Curve, "_point", slow)
    out = bench.train(tmp_path / "run", bench.spec("random", **CURVE))
    assert now[0] == 4000
    assert json.loads((out / "manifest.json").read_text())["cost"]["training"]["wall_seconds"] == 0
    assert pd.read_parquet(out / "dev.parquet")["wall_seconds"].tolist() == [0] * 4


@pytest.mark.parametrize("at", [5, 8, 11])
def test_a_killed_run_has_the_same_curve(bench, stop_at, tmp_path, at):
    spec = bench.spec("simans", checkpoint_steps=4, **{**CURVE, "curve_every": 3})
    whole = bench.train(tmp_path / "whole", spec)
    killed(bench, stop_at, tmp_path / "broken", spec, at=at)
    stop_at()
    broken = bench.train(tmp_path / "broken", spec)
    one, two = (pd.read_parquet(run / "dev.parquet").drop(columns=MEASURED) for run in (whole, broken))
    assert one["step"].tolist() == [0, 3, 6, 9, 12]
    pd.testing.assert_frame_equal(one, two)


def test_an_interval_of_all_steps_gives_only_the_end(bench, tmp_path):
    out = bench.train(tmp_path / "run", bench.spec("random", **{**CURVE, "curve_every": 12}))
    assert pd.read_parquet(out / "dev.parquet")["step"].tolist() == [12]


def test_the_test_split_may_be_missing(bench, tmp_path):
    """Curves are the same without any test label on disk."""
    whole = bench.train(tmp_path / "whole", bench.spec("simans", **CURVE))
    table = pq.read_table(bench.dataset / "qrels.parquet")
    without_test = table.filter(pa.compute.not_equal(table.column("split"), "test"))
    assert 0 < without_test.num_rows < table.num_rows
    pq.write_table(without_test, bench.dataset / "qrels.parquet")
    try:
        without = bench.train(tmp_path / "without", bench.spec("simans", **CURVE))
    finally:
        pq.write_table(table, bench.dataset / "qrels.parquet")
    one, two = (pd.read_parquet(run / "dev.parquet").drop(columns=MEASURED) for run in (whole, without))
    pd.testing.assert_frame_equal(one, two)


def test_fewer_dev_queries_are_the_same_for_all(bench, tmp_path):
    few = {**CURVE, "curve_queries": 4}
    curves = [dev_curve.Curve(bench.dataset, {"steps": 12, **few})._split.names for _ in range(2)]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 4
    out = bench.train(tmp_path / "run", bench.spec("random", seed=7, **few))
    assert pd.read_parquet(out / "dev.parquet")["queries"].tolist() == [4] * 4


def test_a_dataset_without_dev_queries_is_reported_in_one_line(tmp_path):
    plain = Bench(tmp_path / "plain")
    with pytest.raises(UserError, match="has no dev split, which curves and tuning need"):
        plain.train(tmp_path / "run", plain.spec("random", **CURVE))


def test_blocks_of_documents_give_the_ranking_of_all(bench, monkeypatch):
    materials = stage_train.load_materials(bench.dataset, bench.vectors, {})
    run = set_up(bench.spec("random"), materials)
    queries = np.arange(20)
    whole = dev_curve.BlockSearcher(run.encoder, 90).search(queries, 11)
    expected = np.argsort(-(bench.query_vectors[:20] @ bench.document_vectors.T), axis=1, kind="stable")[
        :, :11
    ]
    np.testing.assert_array_equal(whole[0], expected)
    monkeypatch.setattr(dev_curve, "BLOCK", 7)
    parts = dev_curve.BlockSearcher(run.encoder, 90).search(queries, 11)
    np.testing.assert_array_equal(parts[0], whole[0])
    pairs = dev_curve.BlockSearcher(run.encoder, 90).score_pairs(queries, parts[0][:, 0])
    np.testing.assert_allclose(pairs, parts[1][:, 0], rtol=1e-6)


@pytest.mark.parametrize(("unseen", "which", "value"), [(30, "unseen", 0.2), (29, "all", 0.5)])
def test_unseen_queries_decide_where_there_are_enough(tmp_path: Path, unseen, which, value):
    columns = {
        "step": [3],
        "queries": [90],
        "nDCG@10": [0.5],
        "unseen_queries": [unseen],
        "nDCG@10/unseen": [0.2],
    }
    collection.write_table(tmp_path / "dev.parquet", columns)
    curve = read_curve(tmp_path / "dev.parquet")
    assert (curve["slice"][0], curve["nDCG@10"][0]) == (which, value)
    assert curve["queries"][0] == (unseen if which == "unseen" else 90)
    collection.write_table(tmp_path / "empty.parquet", {"step": []})
    with pytest.raises(UserError, match="has no points"):
        read_curve(tmp_path / "empty.parquet")


def write_rapl(folder: Path, **microjoules: int) -> Path:
    for name, value in microjoules.items():
        package = folder / f"intel-rapl:{name[1:]}"
        package.mkdir(parents=True, exist_ok=True)
        (package / "energy_uj").write_text(f"{value}\n")
        (package / "max_energy_range_uj").write_text("262143328850\n")
    return folder


def test_energy_is_what_the_packages_count(tmp_path):
    before = energy.read(write_rapl(tmp_path, p0=5_000_000, p1=262_143_000_000))
    (tmp_path / "intel-rapl:0" / "intel-rapl:0:0").mkdir()  # the cores of a package are counted in it
    after = energy.read(write_rapl(tmp_path, p0=7_500_000, p1=1_000_000))
    assert energy.spent(before, after) == pytest.approx(2.5 + 0.328850 + 1.0)


def test_energy_without_a_reading_is_unknown(tmp_path):
    assert energy.read(tmp_path / "none") is None
    reading = energy.read(write_rapl(tmp_path, p0=1))
    assert energy.spent(None, reading) is None
    assert energy.spent(reading, None) is None
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert energy.read(tmp_path) is None


def test_a_run_that_loses_its_energy_reading_says_so(monkeypatch):
    readings = iter([{"p": energy.Reading(joules, 100.0)} for joules in (1.0, 2.0, 4.0, 7.0)] + [None])
    monkeypatch.setattr(clocks.energy, "read", lambda: next(readings))
    clock = clocks.Clock()
    clock.start()
    with clock.paused():  # counts 2 J up to here, and not the 3 J within
        assert clock.joules == 2.0
    clock.stop()
    assert clock.joules is None
