"""The finetune tier: chunks, gradient caching and processes change the cost, never the gradient."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from builders import ROOT, both_sides
from killed_runs import killed, same
from negmark.core.errors import UserError
from negmark.evaluate import evaluate
from negmark.methods import registry
from negmark.store.ledger import read_ledger
from negmark.train.step import one_step
from negmark.train.tiers import finetune
from texts import Texts, gradients


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Texts:
    return Texts(tmp_path_factory.mktemp("texts"))


def test_vectors_are_those_of_the_model_in_any_order_and_chunk(texts):
    run = texts.run(dropout=0.0, chunk_tokens=40)
    rows = np.array([5, 3, 5, 80, 0])
    run.encoder.begin(0, 0)
    wanted = np.load(texts.vectors / "documents.npy")[rows]
    np.testing.assert_allclose(run.encoder.documents(rows).detach().numpy(), wanted, atol=1e-5)
    np.testing.assert_allclose(run.encoder.all_documents()[rows].numpy(), wanted, atol=1e-5)
    asked = np.load(texts.vectors / "queries.npy")[rows[:2]]
    np.testing.assert_allclose(run.encoder.queries(rows[:2]).detach().numpy(), asked, atol=1e-5)


def test_dot_products_leave_vectors_as_long_as_they_are(texts, monkeypatch):
    monkeypatch.setitem(texts.settings, "similarity", "dot")
    run = texts.run(dropout=0.0)
    lengths = run.encoder.documents(np.arange(9)).norm(dim=1)
    assert (lengths - 1).abs().min() > 1e-3
    monkeypatch.setitem(texts.settings, "similarity", "cosine")
    unit = texts.run(dropout=0.0).encoder.documents(np.arange(9)).norm(dim=1)
    assert (unit - 1).abs().max() < 1e-6


def test_a_copy_encodes_by_its_own_weights_without_dropout(texts):
    run = texts.run(chunk_tokens=40)
    rows = np.array([5, 3, 5, 80, 0])
    run.encoder.begin(0, 0)
    live = {name: value.clone() for name, value in run.encoder.live().items()}
    found = run.encoder.by_copy("document", rows, live)
    torch.testing.assert_close(found, run.encoder.still("document", rows), atol=1e-5, rtol=0)
    assert run.encoder.training
    assert all(tower.training for tower in run.encoder.towers.values())
    other = {name: value + 0.1 * (value.ndim == 1) for name, value in live.items()}
    assert not torch.allclose(run.encoder.by_copy("document", rows, other), found, atol=1e-3)
    torch.testing.assert_close(run.encoder.by_copy("document", rows, live), found)


def test_tokens_that_do_not_move_give_the_vectors_as_they_are_and_moved_ones_have_a_gradient(texts):
    run = texts.run(dropout=0.0, chunk_tokens=40)
    rows = np.array([5, 3, 80, 0])
    run.encoder.begin(0, 0)
    tokens = run.encoder.token_vectors("document", rows)
    assert len(tokens) == run.encoder._lengths["document"][rows].sum()
    shift = torch.zeros_like(tokens).requires_grad_()
    found = run.encoder.from_tokens("document", rows, shift, still=True)
    torch.testing.assert_close(found, run.encoder.documents(rows), atol=1e-5, rtol=0)
    aim = torch.linspace(-1, 1, found.shape[1])
    (slope,) = torch.autograd.grad((found @ aim).sum(), shift)
    assert all(parameter.grad is None for parameter in run.encoder.parameters())
    for place in ((0, 2), (len(tokens) - 1, 1)):
        step = torch.zeros_like(tokens)
        step[place] = 1e-2
        up, down = (
            (run.encoder.from_tokens("document", rows, sign * step, still=True) @ aim).sum()
            for sign in (1, -1)
        )
        assert slope[place].item() == pytest.approx(((up - down) / 2e-2).item(), rel=0.02, abs=5e-3)


def test_all_passes_over_moved_texts_have_the_same_dropout(texts):
    run = texts.run()
    rows = np.arange(4)
    run.encoder.begin(0, 0)
    shift = torch.zeros_like(run.encoder.token_vectors("document", rows))
    first, second = (run.encoder.from_tokens("document", rows, shift, still) for still in (True, False))
    assert torch.equal(first, second)
    run.encoder.begin(0, 1)
    assert not torch.equal(first, run.encoder.from_tokens("document", rows, shift, still=True))


@pytest.mark.parametrize("method", ["inbatch", "dense_topk"])
def test_gradient_caching_gives_the_gradient_of_the_whole_batch(texts, method):
    loss, whole = gradients(texts.run(method))
    again, cached = gradients(texts.run(method, chunk_gradients=True))
    assert again == loss
    assert whole.keys() == cached.keys()
    for name in whole:
        torch.testing.assert_close(cached[name], whole[name], atol=1e-6, rtol=1e-5)
    assert max(gradient.abs().max() for gradient in whole.values()) > 1e-3


def test_dropout_follows_from_seed_and_step(texts):
    run = texts.run()
    rows = np.arange(4)

    def vectors(seed, step):
        run.encoder.begin(seed, step)
        torch.rand(3)
        return run.encoder.documents(rows).detach()

    first = vectors(0, 0)
    assert torch.equal(first, vectors(0, 0))
    assert not torch.equal(first, vectors(0, 1))
    assert not torch.equal(first, vectors(1, 0))


def test_two_views_of_a_text_in_one_step_differ_by_dropout(texts):
    run = texts.run()
    run.encoder.begin(0, 0)
    one, two = (run.encoder.documents(np.arange(4)).detach() for _ in range(2))
    assert (one - two).abs().max() > 1e-3


def test_accumulated_batches_move_the_optimiser_once(texts):
    run = texts.run(accumulation=2, dropout=0.0)
    before = {name: value.clone() for name, value in run.encoder.state_dict().items()}
    one_step(run, 0, keep_scores=False)
    assert all(torch.equal(value, before[name]) for name, value in run.encoder.state_dict().items())
    one_step(run, 1, keep_scores=False)
    assert not all(torch.equal(value, before[name]) for name, value in run.encoder.state_dict().items())
    assert run.services.counters.optimizer_steps == 1


def test_adore_trains_queries_alone_and_its_documents_stay(texts):
    run = texts.run("adore", track="faithful")
    before = run.encoder.all_documents().clone()
    for step in range(3):
        one_step(run, step, keep_scores=False)
    weights = run.encoder.weights()
    assert {name.partition(".")[0] for name in weights} == {"query", "document"}
    changed = {
        side: any(
            not torch.equal(value, weights[name.replace(side, other, 1)])
            for name, value in weights.items() if name.startswith(side)
        )
        for side, other in (("query", "document"),)
    }  # fmt: skip
    assert changed == {"query": True}
    assert torch.equal(run.encoder.all_documents(), before)
    assert run.services.counters.refreshes == 1


def test_a_moment_is_taken_up_as_it_was(texts):
    run = texts.run()
    moment = run.encoder.moment()
    state = {name: value.clone() for name, value in moment.state_dict().items()}
    for step in range(2):
        one_step(run, step, keep_scores=False)
    again = run.encoder.moment(state)
    rows = run.labels.queries[[4, 0, 2]]
    assert torch.equal(again.documents, moment.documents)
    assert torch.equal(again.queries(rows), moment.queries(rows))
    assert not torch.allclose(again.documents, run.encoder.all_documents(), atol=1e-4)


def test_a_run_goes_on_from_another_runs_towers(texts, tmp_path):
    first = texts.train(tmp_path / "first", texts.spec("inbatch"))
    run = texts.run("adore", track="faithful", start=first / "model.safetensors")
    weights = load_file(first / "model.safetensors")
    for name, value in run.encoder.weights().items():
        side = name.partition(".")[0]
        assert torch.equal(value, weights[name.replace(side, "both", 1)])
    moved = run.encoder.all_documents()
    assert not np.allclose(moved.numpy(), np.load(texts.vectors / "documents.npy"), atol=1e-4)


MECHANISMS = {"inbatch", "simans", "ance", "adore", "clusterns", "cet", "buir", "claps"}
"""A method of each kind: without documents of its own, from a pool, from a refreshed pool, by live search with one side
trained, with vectors that are no document's, with networks of its own, with a momentum copy, with moved tokens."""


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[] if name in MECHANISMS else pytest.mark.slow)
        for name in sorted(registry.available())
    ],
)
def test_every_method_trains_and_a_killed_run_ends_with_the_same_bytes(texts, tmp_path, stop_at, method):
    kind = registry.available()[method]
    if kind.pools & {"bm25", "given"}:
        pytest.skip("the made dataset has no words, and no file of given negatives")
    spec = texts.spec(method, track="faithful" if kind.faithful else "controlled")
    whole = texts.train(tmp_path / "whole", spec)

    killed(texts, stop_at, tmp_path / "broken", spec, at=5)
    stop_at()
    broken = texts.train(tmp_path / "broken", spec)
    assert json.loads((broken / "manifest.json").read_text())["resumed_at"] == 4
    assert same(whole, broken)


def test_training_lowers_the_loss_and_evaluation_reads_the_trained_weights(texts, tmp_path):
    run = texts.train(tmp_path / "run", texts.spec("inbatch", steps=40, learning_rate=5e-3, dropout=0.0))
    about = {"dataset": "made", "row": "inbatch", "title": "x", "track": "controlled", "tier": "finetune"}
    about |= {"encoder": texts.settings, "metrics": ["nDCG@10"]}
    evaluate.main([run / "metrics.json"], json.dumps(about), texts.dataset, texts.vectors)
    metrics = json.loads((run / "metrics.json").read_text())
    documents, queries = both_sides(
        finetune, about, run / "model.safetensors", texts.dataset, texts.vectors, np.array([60, 61])
    )
    live = texts.run("inbatch", start=run / "model.safetensors", dropout=0.0)
    np.testing.assert_allclose(documents, live.encoder.all_documents().numpy(), atol=1e-5)
    np.testing.assert_allclose(
        queries[[60, 61]], live.encoder.queries(np.array([60, 61])).detach().numpy(), atol=1e-5
    )
    assert not queries[0].any()
    assert 0 < metrics["slices"]["all"]["nDCG@10"] <= 1


def test_evaluation_keeps_the_length_of_vectors_for_dot_products(texts, tmp_path):
    run = texts.train(tmp_path / "run", texts.spec("inbatch", steps=2, dropout=0.0))
    about = {"encoder": {**texts.settings, "similarity": "dot"}}
    model = run / "model.safetensors"
    documents, _ = both_sides(finetune, about, model, texts.dataset, texts.vectors, np.array([60]))
    unit, _ = both_sides(
        finetune, {"encoder": texts.settings}, model, texts.dataset, texts.vectors, np.array([60])
    )
    lengths = np.linalg.norm(documents, axis=1, keepdims=True)
    assert np.abs(lengths - 1).max() > 0.1
    np.testing.assert_allclose(documents / lengths, unit, atol=1e-5)


def test_a_broken_model_is_named(texts, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"model\.safetensors: no encoder can be read from it .*run again"):
        texts.run(start=tmp_path / "model.safetensors")


def test_float16_without_a_card_is_refused(texts):
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(UserError, match="float16 needs a GPU"):
        texts.run(precision="float16")


PROCESS = """
import os, sys
sys.path[:0] = [{support!r}, {root!r}]
import torch
from pathlib import Path
from texts import Texts, gradients
folder = Path({folder!r}) / os.environ["RANK"]
texts = Texts(folder)
for cached in (False, True):
    run = texts.run("dense_topk", dropout=0.0, chunk_gradients=cached)
    loss, found = gradients(run)
    assert run.encoder._accelerator.num_processes == 2
    torch.save({{"loss": loss, **found}}, folder / f"cached-{{cached}}.pt")
"""


def test_two_processes_have_the_loss_and_the_gradient_of_one(texts, tmp_path):
    script = tmp_path / "process.py"
    root = str(ROOT / "workflow")
    script.write_text(
        PROCESS.format(
            support=str(ROOT / "tests" / "support"),
            root=root,
            folder=str(tmp_path),
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loss, wanted = gradients(texts.run("dense_topk", dropout=0.0))
    for rank, cached in itertools.product(("0", "1"), (False, True)):
        found = torch.load(tmp_path / rank / f"cached-{cached}.pt", weights_only=True)  # noqa: TID251 - the test's own
        assert found.pop("loss") == pytest.approx(loss, abs=1e-6)
        assert found.keys() == wanted.keys()
        for name in wanted:
            torch.testing.assert_close(found[name], wanted[name], atol=1e-6, rtol=1e-4)


@pytest.mark.slow
def test_a_run_of_two_processes_ends_as_a_run_of_one(texts, tmp_path):
    """The stage as the rule starts it: one run is written, with the other's ledger and nearly its weights."""
    spec = texts.spec("dense_topk", dropout=0.0, steps=4)
    row = json.dumps({key: value for key, value in spec.items() if key != "seed"})
    ends = [texts.train(tmp_path / "one", spec), tmp_path / "two" / "seed-0"]
    state = tmp_path / "two" / "state"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    done = subprocess.run(
        [*launcher, "negmark.train.train", str(ends[1] / "model.safetensors"), "--spec", row, "--dataset",
         str(texts.dataset), "--vectors", str(texts.vectors), "--pool", f"dense={texts.pool}", "--state", str(state)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list(state.rglob("*.safetensors"))
    one, two = (load_file(run / "model.safetensors") for run in ends)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=1e-3)
    ledgers = [read_ledger(run / "negatives.parquet").to_pandas() for run in ends]
    columns = ["step", "query", "document"]
    pd.testing.assert_frame_equal(ledgers[0][columns], ledgers[1][columns])
