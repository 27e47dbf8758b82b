"""Every family is asked what it can do: attention, precision, lengths, dropout, encoders without their decoder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from dropouts import rates
from families import (
    DECODERS,
    FAMILIES,
    POSITIONS,
    WORDS,
    config_of,
    edit_json,
    in_shards,
    write_family,
    write_tokenizer,
)
from negmark.core import stage
from negmark.core.errors import UserError
from negmark.encode import architecture
from negmark.encode import encoder as encoder_module
from negmark.encode.architecture import attention, encoder_class, positions, readable, runs_in, usable_dtype
from negmark.encode.encoder import Encoder, vectors_key
from negmark.encode.head import Head
from negmark.encode.model_files import INDEX, WEIGHTS, open_config, weight_files
from negmark.encode.pretrained import find_model
from negmark.encode.recipe import Recipe
from negmark.encode.table_starts import word_table
from negmark.encode.tokens import Texts, Tokens, tokenise, tokens_key
from negmark.train.tiers.finetune import load_tower

LINES = [" ".join(WORDS[row : row + 1 + row % 7]) for row in range(10)] + ["", "w5"]
WITHOUT_SDPA = {"mpnet", "deberta-v2", "xlnet"}
UNBOUNDED = {"xlnet", "t5"}
BEHIND_PADDING = {"roberta", "xlm-roberta", "mpnet"}


def vectors(folder: Path, dtype: str = "float32") -> np.ndarray:
    return Encoder(folder, dtype).encode(tokenise(folder, Texts(LINES, 20, "")))


@pytest.mark.parametrize("name", FAMILIES)
def test_vectors_equal_those_of_sentence_transformers_alone_and_padded(family, name):
    from sentence_transformers import SentenceTransformer

    folder = find_model(str(family(name)))
    theirs = SentenceTransformer(str(folder), device="cpu").encode(LINES, normalize_embeddings=True)
    assert np.abs(vectors(folder) - theirs).max() < 2e-6
    with torch.no_grad():
        padded = load_tower(folder, "cosine").eval()(
            tokenise(folder, Texts(LINES, 20, "")), np.arange(len(LINES))
        )
    assert np.abs(padded.numpy() - theirs).max() < 2e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_a_gpu_is_asked_for_the_attention_that_the_class_has(family, name, monkeypatch):
    """No card is needed: what is asked for on `cuda` is asked for on the CPU here."""
    folder = family(name)
    kind = encoder_class(open_config(folder))
    assert attention(kind, "cuda") == ("eager" if name in WITHOUT_SDPA else "sdpa")
    assert attention(kind, "cpu") == "eager"
    before = vectors(folder)
    monkeypatch.setitem(architecture.ATTENTION, "cpu", architecture.ATTENTION["cuda"])
    encoder = Encoder(folder, "float32")
    tower = load_tower(folder, "cosine")
    around = Encoder.around(tower.model, tower.head)
    for one in (encoder, around):
        assert one.model.config._attn_implementation == attention(kind, "cuda")
    assert np.abs(vectors(folder) - before).max() < 1e-5


def test_the_device_decides_which_attention_is_asked_for(family, monkeypatch):
    asked = []
    monkeypatch.setattr(encoder_module, "device", lambda: "cuda")
    monkeypatch.setattr(
        encoder_module, "open_encoder", lambda model, dtype, attend: asked.append(attend) or 1 / 0
    )
    for name in ("bert", "mpnet"):
        with pytest.raises(ZeroDivisionError):
            Encoder(family(name), "float32")
    assert asked == ["sdpa", "eager"]


@pytest.mark.parametrize("name", FAMILIES)
def test_half_precision_is_taken_where_the_class_computes_in_it(family, name, monkeypatch):
    said = []
    monkeypatch.setattr(stage, "say", said.append)
    architecture._usable.cache_clear()
    folder, config = family(name), open_config(family(name))
    for _ in range(2):
        found = usable_dtype(config, "bfloat16")
    assert found == ("float32" if name == "xlnet" else "bfloat16")
    encoder = Encoder(folder, "bfloat16")
    assert {parameter.dtype for parameter in encoder.model.parameters()} == {getattr(torch, found)}
    half = encoder.encode(tokenise(folder, Texts(LINES, 20, "")))
    assert np.isfinite(half).all()
    assert said == (["XLNetModel can't compute in bfloat16; float32 is taken"] if name == "xlnet" else [])
    tower = load_tower(folder, "cosine")
    around = Encoder.around(tower.model, tower.head, "bfloat16")
    np.testing.assert_allclose(around.encode(tokenise(folder, Texts(LINES, 20, ""))), half, atol=2e-2)
    assert around.model.dtype == getattr(torch, found)


def test_what_cannot_be_tried_without_content_counts_as_able(monkeypatch):
    monkeypatch.setattr(architecture, "runs_in", lambda config, dtype: False)
    architecture._usable.cache_clear()
    assert usable_dtype(config_of("bert", vocab_size=99), "float16") == "float16"
    architecture._usable.cache_clear()
    assert not runs_in(config_of("xlnet"), "float16")


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_read_is_what_the_model_can_read(family, name):
    folder = family(name)
    most = readable(folder)
    if name in UNBOUNDED:
        assert most > 10**9
        assert positions(open_config(folder)) == []
        most = 2 * POSITIONS
    else:
        assert most == POSITIONS - (2 if name in BEHIND_PADDING else 0)
        with pytest.raises(UserError) as caught:
            tokenise(folder, Texts(["w1"], most + 1, ""))
        assert str(caught.value) == (
            f"encoder: {most + 1} tokens are asked for, but the model reads at most {most}; lower query_length or "
            "document_length"
        )
    assert tokenise(folder, Texts([" ".join(WORDS * 2)], most, "")).lengths[0] <= most
    tokens = Tokens(np.full(most, 7), np.array([0, most]))
    assert np.isfinite(Encoder(folder, "float32").encode(tokens)).all()


@pytest.mark.parametrize("name", sorted(BEHIND_PADDING))
def test_one_token_more_than_the_model_reads_would_fail(family, name):
    """The bound is the tightest one."""
    tower = load_tower(family(name), "cosine").eval()
    with pytest.raises((IndexError, RuntimeError)):
        tower.model(input_ids=torch.full((1, POSITIONS - 1), 7))


def test_the_tokenizers_maximum_counts_too(tmp_path):
    folder = write_family(tmp_path / "model", "roberta", {"model_max_length": 12})
    assert readable(folder) == 12


@pytest.mark.parametrize("rate", [0.25, 0.0])
@pytest.mark.parametrize("name", FAMILIES)
def test_dropout_of_the_budget_is_that_of_every_dropout(family, name, rate):
    folder = family(name)
    tokens = tokenise(folder, Texts(LINES, 20, ""))
    tower = load_tower(folder, "cosine", rate).train()
    assert rates(lambda: tower(tokens, np.arange(len(LINES)))) | {rate} == {rate}
    one, other = (tower(tokens, np.arange(len(LINES))) for _ in range(2))
    assert torch.equal(one, other) == (rate == 0)
    assert {module.p for module in tower.modules() if isinstance(module, torch.nn.Dropout)} <= {rate}


@pytest.mark.parametrize("name", FAMILIES)
def test_dropout_is_the_configs_where_the_budget_names_none(family, name):
    told, tower = open_config(family(name)).to_dict(), load_tower(family(name), "cosine")
    assert {key: value for key, value in tower.model.config.to_dict().items() if "drop" in key} == {
        key: value for key, value in told.items() if "drop" in key
    }


def test_dropout_of_an_architecture_without_any_is_refused():
    from transformers import MambaConfig

    config = MambaConfig()
    architecture.set_dropout(config, 0.0, "finetune.dropout")
    with pytest.raises(
        UserError, match=r"finetune\.dropout: 0\.1 is asked for, but mamba has no dropout; leave it out"
    ):
        architecture.set_dropout(config, 0.1, "finetune.dropout")


def test_of_an_encoder_decoder_the_encoder_is_taken_if_it_can_be(tmp_path, family):
    from transformers import BartConfig, PegasusConfig, T5Model

    assert type(load_tower(family("t5"), "cosine").model).__name__ == "T5EncoderModel"
    torch.manual_seed(0)
    whole = tmp_path / "encoder"
    load_tower(family("t5"), "cosine").model.save_pretrained(whole)  # an encoder that was saved alone
    np.testing.assert_array_equal(vectors(write_tokenizer(whole)), vectors(family("t5")))
    assert T5Model.from_pretrained(family("t5")).decoder is not None
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "vocab_size": 65,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}  # fmt: skip
    for kind, opens in ((BartConfig, True), (PegasusConfig, False)):
        folder = tmp_path / kind.model_type
        config = kind(**sizes, bos_token_id=0, eos_token_id=2, pad_token_id=1, decoder_start_token_id=2)
        config.forced_eos_token_id = None
        encoder_class(config)(config).save_pretrained(folder)
        write_tokenizer(folder)
        if opens:
            assert vectors(folder).shape == (len(LINES), 16)
        else:
            with pytest.raises(
                UserError, match="PegasusModel is an encoder-decoder whose encoder can't be opened alone"
            ):
                Encoder(folder, "float32")


def test_a_type_without_an_encoder_is_refused():
    from transformers import CLIPVisionConfig, PretrainedConfig

    assert encoder_class(CLIPVisionConfig()).__name__ == "CLIPVisionModel"

    class Other(PretrainedConfig):
        model_type = "other"

    with pytest.raises(UserError, match="transformers has no encoder for the type other"):
        encoder_class(Other())


@pytest.fixture(scope="module")
def sharded(family, tmp_path_factory) -> Path:
    return in_shards(shutil.copytree(family("qwen3"), tmp_path_factory.mktemp("sharded") / "model"))


def test_weights_in_several_files_are_read_and_hashed(sharded, family, tmp_path):
    files = weight_files(sharded)
    assert len(files) > 2
    assert not (sharded / WEIGHTS).exists()
    assert find_model(str(sharded)) == sharded
    np.testing.assert_array_equal(vectors(sharded), vectors(family("qwen3")))
    np.testing.assert_array_equal(word_table(sharded).rows, word_table(family("qwen3")).rows)
    other = shutil.copytree(sharded, tmp_path / "copy")
    keys = [key(sharded), key(other)]
    last = weight_files(other)[-1]
    last.write_bytes(last.read_bytes()[:-1] + bytes([last.read_bytes()[-1] ^ 1]))
    assert keys[0] == keys[1] != key(other)


def key(folder: Path) -> str:
    return vectors_key(folder, tokens_key(folder, Texts(["w1"], 9, "")), "float32")


def test_files_that_the_index_names_and_that_are_not_there_are_named(sharded, tmp_path):
    folder = shutil.copytree(sharded, tmp_path / "model")
    gone = [file.name for file in weight_files(folder)[1:3]]
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(UserError) as caught:
        find_model(str(folder))
    assert str(caught.value) == (
        f"encoder.model: {folder} lacks 2 of the files that its model.safetensors.index.json names: {', '.join(gone)}; "
        "get them too"
    )


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"weight_map": {"a": "../../model.safetensors"}}, "is no safetensors file beside it"),
        ({"weight_map": {"a": "weights.bin"}}, "weights.bin is no safetensors file beside it"),
        ({"weight_map": []}, "expected a weight_map"),
        ([], "expected a weight_map"),
    ],
)
def test_an_index_that_is_none_is_refused(bare_model, told, message):
    (bare_model / WEIGHTS).unlink()
    (bare_model / INDEX).write_text(json.dumps(told))
    with pytest.raises(UserError, match=message):
        find_model(str(bare_model))


def test_one_file_of_weights_counts_more_than_an_index(family, tmp_path):
    folder = shutil.copytree(family("bert"), tmp_path / "model")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    assert weight_files(find_model(str(folder))) == [folder / WEIGHTS]


def test_the_hub_is_asked_for_the_files_that_the_index_names(sharded, monkeypatch):
    import huggingface_hub

    asked = []
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, allow_patterns: asked.append(allow_patterns) or sharded,
    )
    assert find_model("owner/name-of-nothing-here") == sharded
    small, whole = asked
    assert not any("safetensors" in pattern.removesuffix(".json") for pattern in small)
    assert {file.name for file in weight_files(sharded)} <= set(whole)


def test_a_head_knows_the_width_of_every_family(family):
    for name in (*DECODERS, "t5", "xlnet", "distilbert"):
        config = open_config(family(name))
        assert Head(Recipe(), architecture.width(config)).dimension == 16
        assert load_file(family(name) / WEIGHTS)
        assert "hidden_size" in json.loads((family(name) / "config.json").read_text()) or name in {
            "gpt2", "t5", "xlnet", "distilbert",
        }  # fmt: skip


def test_a_folder_without_positions_in_its_config_is_bounded_by_its_tokenizer(family, tmp_path):
    folder = shutil.copytree(family("t5"), tmp_path / "model")
    edit_json(folder / "tokenizer_config.json", {"model_max_length": 7})
    assert readable(folder) == 7
