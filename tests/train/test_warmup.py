"""The warm-up: layers drawn anew, in-batch steps, and an encoder folder like any other at the end."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from builders import tiny_model
from negmark.core.errors import UserError
from negmark.encode.encoder import Encoder
from negmark.train import warmup
from negmark.train.tiers import finetune
from texts import TRAINING, Texts


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Texts:
    return Texts(tmp_path_factory.mktemp("texts"))


def changed_by_reinit(folder, layers, seed=0):
    """Names of the parameters that differ from the folder's after a reinit, and the tower."""
    tower = finetune.load_tower(folder, "cosine")
    before = {name: value.clone() for name, value in tower.model.state_dict().items()}
    warmup.reinit_top(tower.model, layers, seed)
    after = tower.model.state_dict()
    return {name for name, value in after.items() if not torch.equal(value, before[name])}, after


def test_only_the_top_layers_are_drawn_anew_and_all_of_their_matrices(tmp_path):
    folder = tiny_model(tmp_path / "model")
    changed, after = changed_by_reinit(folder, 1)
    assert changed
    assert all(name.startswith("encoder.layer.1.") for name in changed)
    matrices = {
        name for name, value in after.items() if name.startswith("encoder.layer.1.") and value.dim() > 1
    }
    assert matrices <= changed
    assert {name.split(".")[2] for name in changed_by_reinit(folder, 2)[0]} == {"0", "1"}
    assert changed_by_reinit(folder, 0)[0] == set()
    again, other = changed_by_reinit(folder, 1)[1], changed_by_reinit(folder, 1, seed=1)[1]
    assert all(torch.equal(again[name], after[name]) for name in changed)
    assert any(not torch.equal(other[name], after[name]) for name in changed)


def test_more_layers_than_there_are_is_refused(tmp_path):
    with pytest.raises(UserError, match="reinit_top: 3 layers are asked for, the encoder has 2"):
        changed_by_reinit(tiny_model(tmp_path / "model"), 3)


@pytest.mark.parametrize(("layers", "steps"), [(0, 5), (1, 0), (1, 5)])
def test_the_result_is_an_encoder_of_other_weights(texts, tmp_path, layers, steps):
    settings = {**texts.settings, "reinit_top": layers, "warmup_steps": steps}
    training = json.dumps(TRAINING)
    for name in ("one", "two"):
        warmup.main(texts.dataset, json.dumps(settings), training, tmp_path / name, tmp_path / "state")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    start = load_file(texts.model / "model.safetensors")
    moved = [name for name, value in one.items() if not torch.equal(value, start[name])]
    below = [name for name in moved if name.startswith("encoder.layer.0.")]
    assert moved
    assert bool(below) == bool(steps)  # in-batch steps move every layer, the reinit the top one alone
    tokens = finetune.tokens_of_sides(texts.dataset, json.dumps(texts.settings))["query"]
    vectors = Encoder(tmp_path / "one", "float32").encode(tokens, np.arange(3))
    assert vectors.shape == (3, 8)
    assert not (tmp_path / "state").exists()
    assert json.loads((tmp_path / "one" / "warmup.json").read_text())["encoder"]["warmup_steps"] == steps
