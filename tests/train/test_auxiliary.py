"""Texts beside the corpus in the finetune tier, and as the stage trains on them: checksums, resumption, read back."""

import json

import numpy as np
import pytest
import torch

from negmark.core.errors import UserError
from negmark.core.files import read_json, sha256_file
from negmark.methods.auxiliary import is_auxiliary, rows_of
from negmark.store import collection
from negmark.store.auxiliary import read_auxiliary
from negmark.store.ledger import read_ledger
from negmark.store.pool import CandidatePool
from negmark.train.inputs import load_materials
from negmark.train.run import set_up
from negmark.train.step import _example, one_step
from negmark.train.train import main
from texts import Texts
from world import write_auxiliary, write_world


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Texts(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def beside(bench):
    path = bench.pool.parent / "beside.parquet"
    documents, _ = collection.texts(bench.dataset)
    write_auxiliary(
        path, collection.qrels(bench.dataset, "train"), [f"{text} b c d e f" for text in documents]
    )
    return path


def run_of(bench, beside, track="controlled", **training):
    pools = {"dense": CandidatePool(bench.pool), "bm25": CandidatePool(bench.pool)}
    materials = load_materials(bench.dataset, bench.vectors, pools, auxiliary=[beside])
    return set_up(bench.spec("generated", track=track, **training), materials)


@pytest.mark.parametrize("chunked", [False, True])
def test_the_documents_tower_encodes_them_with_gradient(chunked, bench, beside):
    run = run_of(bench, beside, chunk_gradients=chunked, dropout=0.0)
    run.encoder.begin(0, 0)
    example = _example(run, 0)
    ids = example.negatives.ids
    mask = is_auxiliary(ids)
    assert mask.any()
    expected = run.encoder._all("auxiliary", rows_of(ids[mask]))
    torch.testing.assert_close(
        example.negative_vectors.detach()[torch.from_numpy(mask)], expected, atol=1e-5, rtol=0
    )
    documents = run.encoder._all("document", ids[~mask])
    torch.testing.assert_close(
        example.negative_vectors.detach()[torch.from_numpy(~mask)], documents, atol=1e-5, rtol=0
    )
    one_step(run, 0, keep_scores=False)
    assert all(torch.isfinite(each.grad).all() for each in run.encoder.parameters() if each.grad is not None)


def test_chunked_gradients_of_texts_are_those_of_a_whole_pass(bench, beside):
    found = []
    for chunked in (False, True):
        run = run_of(bench, beside, chunk_gradients=chunked, dropout=0.0)
        one_step(run, 0, keep_scores=False)
        found.append({name: value.detach().clone() for name, value in run.encoder.named_parameters()})
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], atol=1e-5, rtol=1e-4)


def test_a_tier_on_cached_vectors_refuses(bench, beside):
    spec = {**bench.spec("generated"), "tier": "adapter"}
    pools = {"dense": CandidatePool(bench.pool), "bm25": CandidatePool(bench.pool)}
    run = set_up(spec, load_materials(bench.dataset, bench.vectors, pools, auxiliary=[beside]))
    with pytest.raises(UserError, match="encodes no texts"):
        _example(run, 0)


def test_a_run_says_which_texts_it_saw_and_gives_them_back(tmp_path):
    """Through the command: two tables, numbered on; and the ledger with its texts, read as a script does."""
    from negmark.store.board import Run

    world = write_world(tmp_path / "results" / "datasets")
    two = tmp_path / "second.parquet"
    write_auxiliary(two, world.labels, ["x y z u v w"] * world.documents)
    (world.dataset / "card.json").write_text(json.dumps({"name": "made"}))
    (world.vectors / "embeddings.json").write_text(json.dumps({"key": "0123"}))
    spec = {key: value for key, value in world.spec("generated").items() if key != "seed"}
    folder = tmp_path / "runs" / "seed-0"
    pools = [f"{kind}={world.vectors.parent / f'{kind}.safetensors'}" for kind in ("bm25", "dense")]
    tables = [world.auxiliary, two]
    main(
        [folder / "model.safetensors"], json.dumps(spec), world.dataset, world.vectors, tmp_path / "state", pools,
        auxiliary=tables,
    )  # fmt: skip
    manifest = read_json(folder / "manifest.json")
    assert manifest["data"]["auxiliary"] == {str(path): sha256_file(path) for path in tables}
    numbers = read_ledger(folder / "negatives.parquet")["document"].to_numpy()
    rows = rows_of(numbers[is_auxiliary(numbers)])
    assert rows.max() >= world.texts > rows.min(), "texts of both tables"
    ledger = Run(folder, folder, tmp_path).negatives(texts=True)
    texts = read_auxiliary(tables).texts
    beside = ledger[is_auxiliary(ledger["document"].to_numpy())]
    assert [texts[row] for row in rows_of(beside["document"].to_numpy())] == beside["document_text"].tolist()
    documents, _ = collection.texts(world.dataset)
    inside = ledger[ledger["document"] >= 0]
    assert [documents[row] for row in inside["document"]] == inside["document_text"].tolist()


def test_tables_are_numbered_on(tmp_path):
    world = write_world(tmp_path / "world")
    twice = read_auxiliary([world.auxiliary, world.auxiliary])
    assert len(twice) == 2 * world.texts
    once, _ = read_auxiliary([world.auxiliary]).candidates(np.array([0]), ["entity"], judged=True)
    both, _ = twice.candidates(np.array([0]), ["entity"], judged=True)
    first = rows_of(once[0])
    assert rows_of(both[0]).tolist() == [*first, *(first + world.texts)]
