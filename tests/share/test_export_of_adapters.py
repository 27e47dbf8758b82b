"""Runs with low-rank adapters, and with losses of first dimensions: what they save opens in sentence-transformers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

from builders import both_sides
from negmark.core.errors import UserError
from negmark.share import export
from negmark.store import collection
from negmark.train.tiers import finetune, lora
from texts import Texts

pytest.importorskip("peft", reason="pip install 'negmark[lora]'")
LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": []}
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Texts:
    return Texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def adapted(texts, tmp_path_factory) -> Path:
    """A run that trains adapters, by the losses of 8 and of 3 dimensions."""
    spec = texts.spec("dense_topk", lora=LORA, matryoshka=[8, 3], learning_rate=0.02)
    return texts.train(tmp_path_factory.mktemp("run") / "adapted", spec)


def test_a_layer_with_its_adapter_added_is_the_sum_by_hand(texts):
    run = texts.run(lora=LORA)
    layer = run.encoder.towers["both"].model.encoder.layer[0].attention.self.query
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_(generator=torch.Generator().manual_seed(0))
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    name = "both.model.encoder.layer.0.attention.self.query.weight"
    wanted = layer.base_layer.weight + 8 / 4 * b @ a
    torch.testing.assert_close(run.encoder.weights()[name], wanted.detach())


def test_adapters_alone_are_trained_and_add_nothing_at_the_start(texts):
    run, plain = texts.run(lora=LORA, dropout=0.0), texts.run(dropout=0.0)
    trained = {name for name, value in run.encoder.named_parameters() if value.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert not any("pooler" in name for name in trained)
    rows = np.arange(6)
    for one in (run, plain):
        one.encoder.begin(0, 0)
    torch.testing.assert_close(run.encoder.documents(rows), plain.encoder.documents(rows), atol=1e-6, rtol=0)
    assert run.encoder.weights().keys() == plain.encoder.weights().keys()


def test_layers_can_be_named(texts):
    run = texts.run(lora={**LORA, "targets": ["query", "value"]})
    named = {
        name.split(".lora_")[0].rsplit(".", 1)[1]
        for name, _ in run.encoder.named_parameters()
        if "lora_" in name
    }
    assert named == {"query", "value"}
    with pytest.raises(UserError, match=r"finetune.lora.targets: \['nowhere'\]"):
        texts.run(lora={**LORA, "targets": ["nowhere"]})


def test_the_model_of_a_run_has_the_names_and_shapes_of_any_other(texts, adapted):
    found = load_file(adapted / "model.safetensors")
    plain = texts.run().encoder.weights()
    assert {name: value.shape for name, value in found.items()} == {
        name: tuple(v.shape) for name, v in plain.items()
    }
    moved = [name for name in found if np.abs(found[name] - plain[name].numpy()).max() > 1e-4]
    assert moved
    assert all(name.endswith("weight") for name in moved), "biases have no adapter"


def test_a_run_starts_from_one_with_adapters_and_the_other_way_round(texts, adapted):
    for more in ({}, {"lora": LORA}):
        run = texts.run(dropout=0.0, **more)
        run.encoder.load(adapted / "model.safetensors")
        found = run.encoder.weights()
        for name, value in load_file(adapted / "model.safetensors").items():
            torch.testing.assert_close(found[name], torch.from_numpy(value))
        assert lora.has_adapters(run.encoder.towers) == bool(more)


def test_sentence_transformers_opens_it_and_gives_equal_vectors_whole_and_cut(texts, adapted, tmp_path):
    export.main(adapted, tmp_path / "model", json.dumps(texts.settings))
    rows = np.arange(len(finetune.tokens_of_sides(texts.dataset, json.dumps(texts.settings))["query"]))
    documents, queries = both_sides(
        finetune,
        {"encoder": texts.settings},
        adapted / "model.safetensors",
        texts.dataset,
        texts.vectors,
        rows,
    )
    lines, asked = collection.texts(texts.dataset)
    model = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert np.abs(model.encode_document(lines) - documents).max() < TOLERANCE
    assert np.abs(model.encode_query(asked) - queries).max() < TOLERANCE
    assert np.abs(documents - np.load(texts.vectors / "documents.npy")).max() > 100 * TOLERANCE
    cut = SentenceTransformer(str(tmp_path / "model"), device="cpu", truncate_dim=3)
    found = cut.encode_document(lines, normalize_embeddings=True)
    wanted = documents[:, :3] / np.linalg.norm(documents[:, :3], axis=1, keepdims=True)
    assert found.shape[1] == 3
    assert np.abs(found - wanted).max() < TOLERANCE
