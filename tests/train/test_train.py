"""The training loop: its schedule, its first step by another hand, what it records, and that it repeats to the bit."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy, normalize

from builders import ROOT, Bench
from killed_runs import same
from negmark.core.errors import DivergedError, UserError
from negmark.store.pool import CandidatePool
from negmark.train import services
from negmark.train import step as step_module
from negmark.train import train as stage_train
from negmark.train.run import rate_factor, set_up
from negmark.train.step import one_step
from negmark.train.train import load_materials


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def start(bench, method="dense_topk", **training):
    materials = load_materials(bench.dataset, bench.vectors, {"dense": CandidatePool(bench.pool)})
    return set_up(bench.spec(method, **training), materials)


def test_a_run_that_diverges_at_its_last_step_is_no_run(bench, tmp_path):
    """The loss of a step is that of the weights before it."""
    spec = bench.spec("inbatch", steps=1, learning_rate=1e30, weight_decay=1e30)
    with pytest.raises(DivergedError, match="inbatch: a weight is no finite number; lower the learning rate"):
        bench.train(tmp_path, spec)
    assert not list(tmp_path.rglob("model.safetensors"))


@pytest.mark.parametrize(
    ("steps", "warmup", "wanted"),
    [
        (10, 0.2, [0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        (4, 0.0, [1, 1, 2 / 3, 1 / 3]),
        (4, 1.0, [1 / 4, 2 / 4, 3 / 4, 1]),
        (5, 0.5, [1 / 2, 1, 1, 2 / 3, 1 / 3]),
        (1, 0.1, [1]),
        (1, 1.0, [1]),
    ],
)
def test_rate_rises_and_falls(steps, warmup, wanted):
    assert [rate_factor(step, steps, warmup) for step in range(steps)] == pytest.approx(wanted)
    assert rate_factor(steps, steps, warmup) == 0 or warmup == 1.0 or steps == 1


@pytest.mark.parametrize(
    ("method", "in_batch"), [("dense_topk", True), ("dense_topk", False), ("inbatch", True)]
)
def test_first_step_equals_an_independent_computation(bench, method, in_batch):
    """InfoNCE with in-batch and given negatives, AdamW by its formula, all in double precision."""
    run = start(bench, method, learning_rate=0.03, weight_decay=0.2, warmup=0.25, in_batch=in_batch)
    one_step(run, 0, keep_scores=True)

    queries, positives = start(bench, method).labels.batch(0, 0, 16)
    labels = {(int(query), int(document)) for query, document, _ in bench.collection.qrels["train"]}
    q = torch.from_numpy(bench.query_vectors.astype(np.float64))[queries]
    d = torch.from_numpy(bench.document_vectors.astype(np.float64))
    maps = [torch.eye(8, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    asked, own = normalize(q @ maps[0].T, dim=1), normalize(d[positives] @ maps[1].T, dim=1)
    logits = asked @ own.T / 0.05
    drop = [
        [i != j and (not in_batch or (int(queries[i]), int(positives[j])) in labels) for j in range(16)]
        for i in range(16)
    ]
    logits = logits.masked_fill(torch.tensor(drop), -torch.inf)
    if method == "dense_topk":
        products = bench.query_vectors.astype(np.float64) @ bench.document_vectors.astype(np.float64).T
        best = [
            [row for row in np.argsort(-products[query]) if (int(query), int(row)) not in labels][:4]
            for query in queries
        ]
        given = normalize(d[np.array(best)] @ maps[1].T, dim=2)
        logits = torch.cat([logits, torch.einsum("bd,bmd->bm", asked, given) / 0.05], dim=1)
    loss = cross_entropy(logits, torch.arange(16))
    loss.backward()

    assert run.history[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    rate = 0.03 / 3  # the first of three warm-up steps of twelve
    assert run.history[0]["learning_rate"] == pytest.approx(rate)
    for weight, reference in zip((run.encoder.query, run.encoder.document), maps, strict=True):
        assert weight.grad.numpy() == pytest.approx(reference.grad.numpy(), abs=1e-4, rel=1e-3)
        gradient = (
            weight.grad.double()
        )  # Adam's first step is the gradient's sign, so rounding near 0 would show
        step = gradient / (gradient.abs() + 1e-8)
        wanted = torch.eye(8, dtype=torch.float64) * (1 - rate * 0.2) - rate * step
        assert weight.detach().numpy() == pytest.approx(wanted.numpy(), abs=1e-6)


def test_scores_of_step_zero_are_the_untrained_cosines(bench, tmp_path):
    out = bench.train(tmp_path / "run", bench.spec("dense_topk"))
    table = pq.read_table(out / "scores.parquet").to_pandas()
    assert sorted(set(table["step"])) == [0, 11]
    queries, positives = start(bench).labels.batch(0, 0, 16)
    q, d = bench.query_vectors.astype(np.float64), bench.document_vectors.astype(np.float64)
    at_zero = table[table["step"] == 0]
    found = at_zero[at_zero["kind"] == "positive"]["score"].to_numpy()
    assert found == pytest.approx((q[queries] * d[positives]).sum(axis=1), abs=1e-6)
    ledger = pq.read_table(out / "negatives.parquet").to_pandas()
    first = ledger[ledger["step"] == 0]
    assert len(first) == 64
    wanted = (q[first["query"]] * d[first["document"]]).sum(axis=1)
    assert first["score"].to_numpy() == pytest.approx(wanted, abs=1e-6)
    assert at_zero[at_zero["kind"] == "negative"]["score"].to_numpy() == pytest.approx(wanted, abs=1e-6)
    assert set(ledger["source"]) == {"dense_topk"}
    assert set(ledger["weight"]) == {1.0}


def test_history_has_a_row_a_step(bench, tmp_path):
    out = bench.train(tmp_path / "run", bench.spec("simans", steps=10, warmup=0.2))
    rows = pq.read_table(out / "history.parquet").to_pylist()
    assert [row["step"] for row in rows] == list(range(10))
    assert rows[3]["learning_rate"] == pytest.approx(0.01 * 7 / 8)
    ledger = pq.read_table(out / "negatives.parquet").to_pandas()
    for row in rows:
        scores = ledger[ledger["step"] == row["step"]]["score"]
        assert row["negative_score"] == pytest.approx(scores.mean(), abs=1e-6)
        assert row["negative_score_max"] == pytest.approx(scores.max(), abs=1e-6)


def test_no_labelled_positive_is_trained_as_a_negative(bench, tmp_path):
    labels = {(int(query), int(document)) for query, document, _ in bench.collection.qrels["train"]}
    for method in ("random", "simans", "dense_uniform"):
        out = bench.train(tmp_path / method, bench.spec(method, steps=20))
        ledger = pq.read_table(out / "negatives.parquet").to_pydict()
        assert not labels & set(zip(ledger["query"], ledger["document"], strict=True))
        assert max(ledger["query"]) < bench.train_queries


def test_loss_falls_and_retrieval_improves(bench, tmp_path):
    out = bench.train(tmp_path / "run", bench.spec("random", steps=150))
    losses = [row["loss"] for row in pq.read_table(out / "history.parquet").to_pylist()]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    maps = load_file(out / "model.safetensors")
    assert set(maps) == {"query", "document"}

    def hits(query_map, document_map):  # of the held-out test queries
        q = torch.from_numpy(bench.query_vectors)[60:] @ query_map.T
        d = normalize(torch.from_numpy(bench.document_vectors) @ document_map.T, dim=1)
        return int(((q @ d.T).argmax(dim=1) == torch.arange(60, 72)).sum())

    assert hits(maps["query"], maps["document"]) >= hits(torch.eye(8), torch.eye(8)) + 3


@pytest.mark.parametrize("method", ["inbatch", "random", "dense_uniform", "simans"])
def test_twice_gives_equal_bytes(bench, tmp_path, method):
    one, two = (bench.train(tmp_path / name, bench.spec(method)) for name in ("one", "two"))
    assert same(one, two)
    assert not (one / "state").exists()
    other = bench.train(tmp_path / "three", bench.spec(method, seed=1))
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_methods_see_the_same_queries_in_the_same_order(bench, monkeypatch):
    seen = {}
    for method in ("inbatch", "random", "simans"):
        run = start(bench, method)
        chosen = run.method.negatives

        def listening(batch, method=method, chosen=chosen):
            seen.setdefault(method, []).append((batch.queries.tolist(), batch.positives.tolist()))
            return chosen(batch)

        monkeypatch.setattr(run.method, "negatives", listening)
        for step in range(6):
            one_step(run, step, keep_scores=False)
    assert seen["inbatch"] == seen["random"] == seen["simans"]


def test_loss_that_is_no_number_ends_the_run_in_one_line(bench, tmp_path):
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "embeddings.json").write_text('{"key": "x"}')
    np.save(tmp_path / "vectors" / "queries.npy", bench.query_vectors)
    broken = bench.document_vectors.copy()
    broken[:, 3] = np.nan
    np.save(tmp_path / "vectors" / "documents.npy", broken)
    with pytest.raises(
        UserError, match=r"^inbatch: the loss is nan at step 0; no step was taken yet: raise the temp"
    ):
        stage_train.main(
            [tmp_path / "out" / "seed-0" / "model.safetensors"],
            json.dumps(bench.spec("inbatch")),
            bench.dataset,
            tmp_path / "vectors",
            tmp_path / "state",
        )
    assert not (tmp_path / "out").exists()


def test_manifest_tells_the_run_its_cost_and_where_it_came_from(bench, tmp_path):
    spec = bench.spec("dense_topk")
    out = bench.train(tmp_path / "run", spec)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["run"] == spec
    size = (out / "negatives.parquet").stat().st_size
    assert manifest["ledger"] == {"negatives": 12 * 16 * 4, "bytes": size}
    assert manifest["counters"] == {
        "optimizer_steps": 12,
        "query_vectors": 12 * 16, "document_vectors": 12 * 16 * 5, "extra_vectors": 0,
        "searches": 0, "refreshes": 0, "teacher_vectors": 0, "pairs": 0, "network_forwards": 0,
    }  # fmt: skip
    assert manifest["resumed_at"] is None
    assert manifest["data"] == {
        "dataset": {"name": "made", "sha256": "made of noise"},
        "vectors": "0123abcd",
        "start": None,
        "teacher": None,
    }
    cost = manifest["cost"]
    for unit in ("wall_seconds", "cpu_seconds"):
        assert 0 < cost["own"][unit] < cost["training"][unit]
        assert cost["shared"][unit] == pytest.approx(cost["training"][unit] - cost["own"][unit], abs=0.002)
    assert cost["loading"]["runs"] == 1
    assert "torch" in manifest["packages"]
    assert str(tmp_path) not in json.dumps(manifest)


def test_seeds_in_one_process_give_what_each_gives_alone(bench, tmp_path):
    spec = bench.spec("simans")
    together = bench.train_seeds(tmp_path / "together", spec, [3, 1])
    for seed, run in zip([3, 1], together, strict=True):
        alone = bench.train(tmp_path / "alone", {**spec, "seed": seed})
        assert same(run, alone)
        manifest = json.loads((run / "manifest.json").read_text())
        assert (manifest["run"]["seed"], manifest["cost"]["loading"]["runs"]) == (seed, 2)
    assert not list((tmp_path / "together" / "state").iterdir())


def test_a_job_killed_at_its_second_seed_keeps_the_first(bench, tmp_path, monkeypatch):
    spec = bench.spec("simans")
    whole = bench.train_seeds(tmp_path / "whole", spec, [0, 1])

    def killed(run, step, keep_scores):
        if run.seed == 1 and step == 5:
            raise KeyboardInterrupt
        one_step(run, step, keep_scores)

    monkeypatch.setattr(step_module, "one_step", killed)
    with pytest.raises(KeyboardInterrupt):
        bench.train_seeds(tmp_path / "broken", spec, [0, 1])
    for run in (tmp_path / "broken").glob("seed-*"):
        shutil.rmtree(run)  # as Snakemake does with the outputs of a failed job
    monkeypatch.setattr(step_module, "one_step", one_step)
    broken = bench.train_seeds(tmp_path / "broken", spec, [0, 1])
    manifests = [json.loads((run / "manifest.json").read_text()) for run in broken]
    assert [manifest["resumed_at"] for manifest in manifests] == [12, None]
    for one, other in zip(whole, broken, strict=True):
        assert same(one, other)


def test_command_shows_its_options():
    done = subprocess.run(
        [sys.executable, "-m", "negmark.train.train", "--help"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
    )  # fmt: skip
    assert done.returncode == 0
    for option in ("--spec", "--dataset", "--vectors", "--state", "--start", "--pool", "--threads"):
        assert option in done.stdout


@pytest.mark.parametrize("block", [1, 7, 40, 90, 1000])
def test_a_search_in_blocks_finds_what_a_whole_one_does(block):
    generator = torch.Generator().manual_seed(0)
    queries, documents = torch.randn(5, 6, generator=generator), torch.randn(90, 6, generator=generator)
    rows, scores = services.top(queries, documents, 8, block)
    expected = (queries @ documents.T).sort(dim=1, descending=True)
    np.testing.assert_array_equal(rows, expected.indices[:, :8].numpy())
    np.testing.assert_allclose(scores, expected.values[:, :8].numpy(), atol=1e-6)
    assert services.top(queries, documents, 200, block)[0].shape == (5, 90)
