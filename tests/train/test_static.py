"""The static tier: its gradients are those of the whole table, its steps those of AdamW on the rows they touch."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from torch.nn.functional import normalize

from builders import Bench, both_sides, tiny_model
from killed_runs import killed, same
from negmark.core.errors import UserError
from negmark.data import prepare
from negmark.encode import static_vectors
from negmark.encode.table_starts import open_table, static_table
from negmark.encode.token_table import tokens_of_sides
from negmark.share import export
from negmark.store import collection
from negmark.store.pool import CandidatePool
from negmark.train import table_warmup
from negmark.train.checkpoint import Checkpoint
from negmark.train.inputs import load_materials
from negmark.train.run import set_up
from negmark.train.step import one_step, train_until
from negmark.train.tiers import static_rows
from negmark.train.tiers.row_adam import TrainedTable
from negmark.train.tiers.static import StaticEncoder
from negmark.train.tiers.static_rows import Moved, trained_table

EMPTY = 7
"""A document without a token."""
TRAINING = {
    "steps": 12, "batch_size": 8, "negatives": 3, "learning_rate": 1e-2, "warmup": 0.1, "weight_decay": 0.0,
    "temperature": 0.05, "checkpoint_steps": 3, "start": "random", "dimension": 16, "seed": 5, "weights": "none",
}  # fmt: skip


class Words(Bench):
    """The made dataset with texts of letters, and vectors by a random table of 16 dimensions."""

    def __init__(self, folder: Path, **settings) -> None:
        super().__init__(folder)
        rng = np.random.default_rng(11)
        letters = [" ".join(rng.choice(list("abcdefgh"), size=3)) for _ in range(self.documents)]
        self.collection.texts[:] = [f"{text} {row}" for row, text in enumerate(letters)]
        self.collection.texts[EMPTY] = ""
        other = str.maketrans("abcdefgh", "mnopqrst")  # a query's letters are none of its document's
        self.collection.queries[:] = [letters[row].translate(other) for row in range(72)]
        prepare.write(self.collection, self.dataset)
        self.encoder = {
            "model": str(tiny_model(folder / "model")), "query_length": 12, "document_length": 12,
            "query_prompt": "", "document_prompt": "", "output": "float32", **settings,
        }  # fmt: skip
        files, self.facts = static_vectors.embed(self.dataset, self.encoder, TRAINING)
        for name, file in files.items():
            (self.vectors / name).write_bytes(file.read_bytes())
        self.table = open_table(TRAINING, self.encoder["model"])

    def spec(self, method="random", seed=0, row=None, track="controlled", **training):
        return {
            **super().spec(method, seed, row), "track": track, "tier": "static", **self.about(**training),
            "training": {**TRAINING, **training},
        }  # fmt: skip

    def run(self, method="random", track="controlled", start=None, row=None, **training):
        materials = load_materials(self.dataset, self.vectors, {"dense": CandidatePool(self.pool)})
        return set_up(self.spec(method, row=row, track=track, **training), materials, start)

    def about(self, **training):
        table = {key: {**TRAINING, **training}[key] for key in ("start", "dimension", "seed")}
        return {"encoder": {**self.encoder, "table": table}}

    def evaluated(self, run: Path, **training):
        model = run / "model.safetensors"
        queries = np.arange(72)
        return both_sides(static_rows, self.about(**training), model, self.dataset, self.vectors, queries)


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Words:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEGMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Words(tmp_path_factory.mktemp("words"))


def test_a_trained_row_teaches_with_the_vectors_it_is_judged_by(words, tmp_path):
    run = words.run("random", learning_rate=0.5)
    for step in range(3):
        one_step(run, step, keep_scores=False)
    save_file(
        {name: value.contiguous() for name, value in run.encoder.weights().items()},
        tmp_path / "model.safetensors",
    )
    documents, queries = words.evaluated(tmp_path)
    materials = load_materials(words.dataset, words.vectors, {"dense": CandidatePool(words.pool)})
    spec = words.spec("simans", track="faithful")
    services = set_up(spec, materials, None, tmp_path / "model.safetensors").services
    rows = np.array([[3, 9], [9, 40]])
    np.testing.assert_allclose(services.teacher_documents(rows).numpy(), documents[rows], atol=1e-6)
    np.testing.assert_allclose(services.teacher_queries(rows[0]).numpy(), queries[rows[0]], atol=1e-6)
    assert not np.allclose(documents[rows], services.warmup_documents(rows).numpy(), atol=1e-2)


def plain(table: torch.Tensor, weights: torch.Tensor | None, bench: Words, side: str, rows) -> torch.Tensor:
    """Means of a whole table in double precision, a text after the other."""
    tokens = tokens_of_sides(bench.table, bench.dataset, bench.encoder)[side]
    vectors = []
    for row in rows:
        ids = torch.from_numpy(tokens.ids[tokens.starts[row] : tokens.starts[row + 1]].astype(np.int64))
        scale = 1 if weights is None else weights[ids][:, None]
        empty = torch.full((table.shape[1],), table.shape[1] ** -0.5, dtype=torch.float64)
        vectors.append((table[ids] * scale).mean(dim=0) if len(ids) else empty)
    return normalize(torch.stack(vectors), dim=1)


def loss_of(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    return torch.logsumexp(queries @ documents.T / 0.1, dim=1).mean() + (queries * documents).sum() ** 2


def batches(count: int):
    rng = np.random.default_rng(2)
    return [(rng.integers(72, size=9), np.append(rng.integers(90, size=8), EMPTY)) for _ in range(count)]


def gradient_of(table: TrainedTable) -> tuple[np.ndarray, torch.Tensor]:
    """The distinct tokens [R] of a step and the whole gradient [R, D] of their rows, without weights."""
    bags, sums = table.gathered()
    dense = np.zeros(tuple(table.rows.shape))
    texts = np.repeat(np.arange(len(sums)), np.diff(bags.starts))
    np.add.at(dense, bags.tokens, sums[texts])
    tokens = np.unique(bags.tokens)
    return tokens, torch.from_numpy(dense[tokens])


@pytest.mark.parametrize("weights", ["none", "learned"])
def test_steps_are_those_of_adamw_on_the_rows_they_touch(words, weights):
    run = words.run(weights=weights, weight_decay=0.1)
    encoder, held = run.encoder, run.encoder._vocabulary.ids
    whole = torch.from_numpy(words.table.rows).double().requires_grad_()
    scale = torch.ones(len(whole), dtype=torch.float64, requires_grad=True) if weights == "learned" else None
    tracked = [whole] if scale is None else [whole, scale]
    moments = [(torch.zeros_like(one), torch.zeros_like(one)) for one in tracked]
    for step, (queries, documents) in enumerate(batches(6), start=1):
        run.optimizer.zero_grad()
        loss = loss_of(encoder.queries(queries), encoder.documents(documents))
        encoder.backward(loss)
        wanted = loss_of(
            plain(whole, scale, words, "query", queries), plain(whole, scale, words, "document", documents)
        )
        gradients = torch.autograd.grad(wanted, tracked)
        assert loss.item() == pytest.approx(wanted.item(), abs=1e-5)
        rows, found = gradient_of(encoder.tables["both"])
        touched = torch.from_numpy(held)[rows]
        dense = torch.zeros_like(whole)
        dense[touched] = found if scale is None else found * scale[touched][:, None].detach()
        torch.testing.assert_close(dense, gradients[0], atol=1e-6, rtol=1e-5)
        rate = run.optimizer.param_groups[0]["lr"]
        run.optimizer.step()
        run.schedule.step()
        for value, gradient, (first, second) in zip(tracked, gradients, moments, strict=True):
            with torch.no_grad():
                first[touched] = 0.9 * first[touched] + 0.1 * gradient[touched]
                second[touched] = 0.999 * second[touched] + 0.001 * gradient[touched] ** 2
                mean = first[touched] / (1 - 0.9**step)
                spread = (second[touched] / (1 - 0.999**step)).sqrt() + 1e-8
                value[touched] = value[touched] * (1 - rate * 0.1) - rate * mean / spread
    ours = encoder.tables["both"]
    torch.testing.assert_close(ours.rows.detach().double(), whole[held].detach(), atol=1e-5, rtol=1e-5)
    if scale is not None:
        torch.testing.assert_close(ours.weights.detach().double(), scale[held].detach(), atol=1e-5, rtol=1e-5)
        assert (scale - 1).abs().max() > 1e-3


@pytest.mark.parametrize("weights", ["none", "learned"])
def test_moved_tokens_move_the_mean(words, weights):
    run = words.run(weights=weights)
    encoder, rows = run.encoder, np.array([3, EMPTY, 40])
    table = encoder.tables["both"]
    if weights == "learned":
        torch.nn.init.uniform_(table.weights, 0.5, 2.0)
    tokens = encoder.token_vectors("document", rows)
    bags = encoder._bags("document", rows)
    scale = 1 if table.weights is None else table.weights.detach()[bags.tokens][:, None]
    torch.testing.assert_close(tokens, table.rows.detach()[bags.tokens] * scale)
    shift = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(0))
    ends = bags.starts.tolist()
    expected = normalize(
        torch.stack([(tokens + shift)[a:b].sum(dim=0) if b > a else torch.ones(16)
                     for a, b in itertools.pairwise(ends)])
    )  # fmt: skip
    for still in (True, False):
        torch.testing.assert_close(encoder.from_tokens("document", rows, shift, still).detach(), expected)
    torch.testing.assert_close(
        encoder.from_tokens("document", rows, torch.zeros_like(shift), still=False), encoder.documents(rows)
    )


def test_gradients_of_moves_reach_the_shift_alone_and_those_of_the_texts_the_table_alone(words):
    run = words.run()
    encoder, rows = run.encoder, np.array([3, 40])
    shift = torch.full(
        encoder.token_vectors("document", rows).shape, 0.1, dtype=torch.float64, requires_grad=True
    )
    aim = torch.linspace(-1, 1, 16)

    def score(moved):
        return (encoder.from_tokens("document", rows, moved.float(), still=True) @ aim).sum()

    (found,) = torch.autograd.grad(score(shift), shift)
    assert not encoder.tables["both"].collected
    for place in ((0, 2), (len(shift) - 1, 5)):
        step = torch.zeros_like(shift)
        step[place] = 1e-2
        slope = (score((shift + step).detach()) - score((shift - step).detach())) / 2e-2
        assert found[place].item() == pytest.approx(slope.item(), abs=2e-3)
    moved = encoder.from_tokens("document", rows, shift.float(), still=False)
    (moved @ aim).sum().backward()
    assert shift.grad is None
    assert len(encoder.tables["both"].collected) == 1


def test_a_copy_encodes_by_its_own_tables(words):
    for track, method in (("controlled", "random"), ("faithful", "adore")):
        run = words.run(method, track=track)
        rows = np.array([3, EMPTY, 40])
        live = run.encoder.live()
        for side in ("query", "document"):
            torch.testing.assert_close(run.encoder.by_copy(side, rows, live), run.encoder.still(side, rows))
        other = {name: -value for name, value in live.items()}
        apart = run.encoder.by_copy("document", rows, other)[[0, 2]]
        torch.testing.assert_close(apart, -run.encoder.still("document", rows)[[0, 2]])


@pytest.mark.parametrize("method", ["buir", "moco_dual_view", "claps"])
def test_a_killed_run_with_a_copy_or_moved_tokens_ends_with_the_same_bytes(words, tmp_path, stop_at, method):
    spec = words.spec(method, track="faithful")
    whole = words.train(tmp_path / "whole", spec)
    killed(words, stop_at, tmp_path / "broken", spec, at=5)
    stop_at()
    broken = words.train(tmp_path / "broken", spec)
    assert json.loads((broken / "manifest.json").read_text())["resumed_at"] == 3
    assert same(whole, broken)


def test_first_step_is_that_of_the_usual_adam(words):
    """Of the rows that it touches; PyTorch's own dense AdamW is the other hand."""
    run = words.run(weight_decay=0.0)
    table = run.encoder.tables["both"]
    dense = torch.nn.Parameter(table.rows.detach().clone())
    usual = torch.optim.AdamW([dense], lr=run.optimizer.param_groups[0]["lr"], weight_decay=0.0)
    queries, documents = batches(1)[0]
    run.encoder.backward(loss_of(run.encoder.queries(queries), run.encoder.documents(documents)))
    rows, gradient = gradient_of(table)
    dense.grad = torch.zeros_like(dense)
    dense.grad[rows] = gradient.float()
    usual.step()
    run.optimizer.step()
    torch.testing.assert_close(table.rows.detach(), dense.detach(), atol=1e-6, rtol=0)


def test_rows_that_no_text_of_the_batch_has_stay_as_they_are(words):
    run = words.run(weight_decay=0.5)
    table = run.encoder.tables["both"]
    for queries, documents in batches(2):
        before, first = table.rows.detach().clone(), run.optimizer.state[table.rows].get("exp_avg")
        first = None if first is None else first.clone()
        run.optimizer.zero_grad()
        run.encoder.backward(loss_of(run.encoder.queries(queries[:2]), run.encoder.documents(documents[:2])))
        rows, _ = gradient_of(table)
        run.optimizer.step()
        still = np.setdiff1d(np.arange(len(before)), rows)
        assert 0 < len(still) < len(before)
        assert torch.equal(table.rows.detach()[still], before[still])
        assert not torch.equal(table.rows.detach()[rows], before[rows])
        if first is not None:
            assert torch.equal(run.optimizer.state[table.rows]["exp_avg"][still], first[still])


def test_vectors_are_the_means_before_and_after_training(words, tmp_path):
    encoder = words.run().encoder
    start = np.load(words.vectors / "documents.npy")
    np.testing.assert_allclose(encoder.all_documents().numpy(), start, atol=1e-6)
    np.testing.assert_allclose(start[EMPTY], 16**-0.5)
    assert words.facts["without_tokens"] == {"documents": 1, "queries": 0}
    rows = np.array([4, EMPTY, 4, 80, 0])
    assert torch.equal(encoder.documents(rows).detach(), encoder.all_documents()[rows])
    run = words.run()
    for step in range(5):
        one_step(run, step, keep_scores=False)
    assert torch.equal(run.encoder.documents(rows).detach(), run.encoder.all_documents()[rows])
    assert torch.equal(run.encoder.still("query", rows[:3]), run.encoder.queries(rows[:3]).detach())
    assert (run.encoder.all_documents() - torch.from_numpy(start)).abs().max() > 1e-2


def test_a_moment_stays_and_can_be_taken_up(words):
    run = words.run(weights="learned")
    rows = np.arange(9)
    one_step(run, 0, keep_scores=False)
    moment, documents = run.encoder.moment(), run.encoder.all_documents().clone()
    queries = run.encoder.still("query", rows)
    one_step(run, 1, keep_scores=False)
    again = run.encoder.moment(moment.state_dict())
    for kept in (moment, again):
        torch.testing.assert_close(kept.documents, documents, atol=1e-6, rtol=0)
        torch.testing.assert_close(kept.queries(rows), queries, atol=1e-6, rtol=0)
    assert (run.encoder.all_documents() - documents).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("method", "track", "weights"),
    [("random", "controlled", "none"), ("inbatch", "controlled", "learned"), ("adore", "faithful", "none")],
)
def test_resumed_run_equals_an_unbroken_one(words, stop_at, tmp_path, method, track, weights):
    spec = words.spec(method, track=track, weights=weights, weight_decay=0.1)
    whole = words.train(tmp_path / "whole", spec)
    killed(words, stop_at, tmp_path / "broken", spec, at=8)
    taken = stop_at()
    assert same(words.train(tmp_path / "broken", spec), whole)
    assert taken == [6, 7, 8, 9, 10, 11]


def test_a_model_holds_what_has_moved_and_gives_the_vectors_of_the_run(words, tmp_path):
    out = words.train(tmp_path / "run", words.spec(batch_size=2, steps=3))
    model = load_file(out / "model.safetensors")
    assert set(model) == {"both.tokens", "both.rows"}
    assert 0 < len(model["both.tokens"]) < len(words.table.rows)
    run = words.run(batch_size=2, steps=3)
    for step in range(3):
        one_step(run, step, keep_scores=False)
    documents, queries = words.evaluated(out)
    np.testing.assert_allclose(documents, run.encoder.all_documents().numpy(), atol=1e-6)
    np.testing.assert_allclose(queries, run.encoder.still("query", np.arange(72)).numpy(), atol=1e-6)
    some = static_rows.trained_side(
        words.about(), out / "model.safetensors", words.dataset, words.vectors, "query", np.array([3, 70]), 1
    )
    np.testing.assert_array_equal(some[[3, 70]], queries[[3, 70]])
    assert not some[:3].any()


def test_learned_weights_are_part_of_the_model(words, tmp_path):
    out = words.train(tmp_path / "run", words.spec(weights="learned"))
    assert set(load_file(out / "model.safetensors")) == {"both.tokens", "both.rows", "both.weights"}
    run = words.run(weights="learned")
    for step in range(12):
        one_step(run, step, keep_scores=False)
    np.testing.assert_allclose(words.evaluated(out)[0], run.encoder.all_documents().numpy(), atol=1e-6)
    with pytest.raises(UserError, match=r"static\.weights"):
        words.run(start=out / "model.safetensors")


def test_frozen_documents_are_those_of_the_start(words, tmp_path):
    first = words.train(tmp_path / "first", words.spec())
    begun = words.evaluated(first)
    run = words.run("adore", track="faithful", start=first / "model.safetensors")
    assert run.encoder.trained == {"query"}
    version = run.encoder.document_version
    for step in range(3):
        one_step(run, step, keep_scores=False)
    assert run.encoder.document_version == version
    np.testing.assert_allclose(run.encoder.all_documents().numpy(), begun[0], atol=1e-6)
    assert np.abs(run.encoder.still("query", np.arange(72)).numpy() - begun[1]).max() > 1e-2
    assert run.encoder.moment().documents.equal(run.encoder.all_documents())


def test_a_run_goes_on_from_one_that_parted_the_sides(words, tmp_path):
    out = words.train(tmp_path / "adore", words.spec("adore", track="faithful"))
    model = load_file(out / "model.safetensors")
    assert {name.partition(".")[0] for name in model} == {"query", "document"}
    assert len(model["document.tokens"]) == 0
    run = words.run(start=out / "model.safetensors")
    documents, queries = words.evaluated(out)
    np.testing.assert_allclose(documents, np.load(words.vectors / "documents.npy"), atol=1e-6)
    np.testing.assert_allclose(run.encoder.still("query", np.arange(72)).numpy(), queries, atol=1e-6)
    one_step(run, 0, keep_scores=False)
    assert np.abs(run.encoder.all_documents().numpy() - documents).max() > 1e-4
    again = run.encoder.moment(run.encoder.moment().state_dict())
    assert torch.equal(again.documents, run.encoder.all_documents())


def test_training_finds_more(words, tmp_path):
    def hits(run: Path) -> int:
        documents, queries = words.evaluated(run)
        return int(((queries @ documents.T).argmax(axis=1) == np.arange(72))[:60].sum())

    short = words.train(tmp_path / "short", words.spec(steps=1, learning_rate=1e-9))
    long = words.train(tmp_path / "long", words.spec(steps=100, checkpoint_steps=1000))
    assert hits(long) > hits(short) + 5


@pytest.mark.parametrize("method", ["random", "adore"])
@pytest.mark.parametrize("query_length", [12, 5])
def test_an_export_opens_with_the_vectors_of_evaluation(tmp_path, monkeypatch, method, query_length):
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path / "cache"))
    words = Words(tmp_path / "words", query_length=query_length)
    track = "faithful" if method == "adore" else "controlled"
    out = words.train(tmp_path / "run", words.spec(method, track=track, weights="learned"))
    export.main(out, tmp_path / "model", json.dumps({**words.about()["encoder"], "similarity": "cosine"}))
    model = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    alone = method == "random" and query_length == 12
    assert [type(part) for part in model] == [StaticEmbedding, Normalize] or not alone
    documents, queries = collection.texts(words.dataset)
    wanted = words.evaluated(out, weights="learned")
    found = model.encode_document(documents), model.encode_query(queries)
    assert not found[0][EMPTY].any()
    texts = np.arange(90) != EMPTY
    np.testing.assert_allclose(found[0][texts], wanted[0][texts], atol=1e-6)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-6)


def test_a_saved_table_is_a_start_and_a_sentence_transformer(words, tmp_path):
    rows = words.table.rows * 2 + 1
    static_vectors.save_table(words.table, rows, tmp_path / "table")
    np.testing.assert_array_equal(static_table(tmp_path / "table").rows, rows)
    model = SentenceTransformer(str(tmp_path / "table"), device="cpu")
    assert [type(part) for part in model] == [StaticEmbedding, Normalize]
    assert model.encode(["a b"]).shape == (1, 16)


def test_a_broken_model_is_told_in_one_line(words, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="no token table can be read"):
        words.run(start=tmp_path / "model.safetensors")


def test_only_the_tokens_of_a_dataset_are_kept(words):
    encoder: StaticEncoder = words.run().encoder
    tokens = tokens_of_sides(words.table, words.dataset, words.encoder)
    held = set(tokens["query"].ids) | set(tokens["document"].ids)
    assert encoder._vocabulary.ids.tolist() == sorted(held)
    assert len(encoder.tables["both"].rows) == len(held) < len(words.table.rows)


def test_a_warm_start_is_trained_in_batch_and_a_start_like_any_other(words, tmp_path):
    settings = {**words.encoder, "warmup_steps": 6}
    for name in ("one", "two"):
        table_warmup.main(
            words.dataset, json.dumps(settings), json.dumps(TRAINING), tmp_path / name, tmp_path / "state"
        )
    found = static_table(tmp_path / "one")
    changed = (found.rows != words.table.rows).any(axis=1)
    assert 0 < changed.sum() < len(changed), "only tokens of training texts move"
    np.testing.assert_array_equal(found.rows, static_table(tmp_path / "two").rows)
    # the same steps as a run of in-batch negatives whose row is called as the warm-up's
    run = words.run("inbatch", row="warm-up", steps=6)
    train_until(run, 6, Checkpoint(tmp_path / "other", words.spec("inbatch"), 10))
    np.testing.assert_array_equal(trained_table(words.table, {"both": moved_of(run)}, "document"), found.rows)
    warm = {**words.encoder, "table": {**words.about()["encoder"]["table"], "start": str(tmp_path / "one")}}
    spec = {**words.spec(), "encoder": warm}
    materials = load_materials(words.dataset, words.vectors, {"dense": CandidatePool(words.pool)})
    begun = set_up(spec, materials)
    ids = begun.encoder._vocabulary.ids
    np.testing.assert_array_equal(begun.encoder.tables["both"].rows.detach().numpy(), found.rows[ids])


def moved_of(run) -> Moved:
    found = {name: value.detach().numpy() for name, value in run.encoder.weights().items()}
    return Moved(found["both.tokens"], found["both.rows"], None)
