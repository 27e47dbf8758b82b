"""What a sentence-transformers folder says of its vectors is followed to the letter, or refused in one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize
from torch import nn

from families import POSITIONS, WORDS, as_sentence_transformer, edit_json, moved, write_family
from negmark.core.errors import UserError
from negmark.encode.encoder import Encoder, vectors_key
from negmark.encode.head import pool, without_prompt
from negmark.encode.pretrained import find_model
from negmark.encode.recipe import POOLINGS, Recipe, differences, recipe_of, said_in
from negmark.encode.tokens import Texts, tokenise, tokens_key

LINES = [" ".join(WORDS[row : row + 1 + row % 9]) for row in range(20)] + ["", "w3", " ".join(WORDS)]
LENGTH = 24
TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return write_family(tmp_path_factory.mktemp("plain") / "bert", "bert", {"model_max_length": POSITIONS})


@pytest.fixture(scope="module")
def decoder(tmp_path_factory) -> Path:
    return write_family(tmp_path_factory.mktemp("plain") / "qwen3", "qwen3", {"model_max_length": POSITIONS})


def both(folder: Path, normalize: bool = False) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Vectors of both sides, by us with the folder's own prompts, and by SentenceTransformer."""
    folder, said = find_model(str(folder)), said_in(folder)
    encoder = Encoder(folder, "float32", normalize)
    ours = {
        side: encoder.encode(tokenise(folder, Texts(LINES, LENGTH, prompt)))
        for side, prompt in said.prompts.items()
    }
    theirs = SentenceTransformer(str(folder), device="cpu")
    theirs.max_seq_length = LENGTH
    wanted = {
        side: call(LINES, normalize_embeddings=normalize, batch_size=7)
        for side, call in (("query", theirs.encode_query), ("document", theirs.encode_document))
    }
    return ours, wanted


def same(folder: Path, normalize: bool = False) -> np.ndarray:
    """Check that both are equal, and return the vectors of the documents."""
    ours, wanted = both(folder, normalize)
    for side, vectors in wanted.items():
        assert ours[side].shape == vectors.shape
        assert np.isfinite(vectors).all()
        assert np.abs(ours[side] - vectors).max() < TOLERANCE * max(1, np.abs(vectors).max())
    return ours["document"]


def seeded(module: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


STEPS = {
    "nothing": lambda: [],
    "normalize": lambda: [Normalize()],
    "dense": lambda: [seeded(Dense(16, 6))],
    "dense without activation or bias": lambda: [
        seeded(Dense(16, 20, bias=False, activation_function=nn.Identity()))
    ],
    "dense with gelu": lambda: [seeded(Dense(16, 6, activation_function=nn.GELU()))],
    "dense that adds its input": lambda: [seeded(Dense(16, 16, use_residual=True))],
    "dense that adds its projected input": lambda: [seeded(Dense(16, 5, use_residual=True))],
    "layer norm": lambda: [seeded(LayerNorm(16))],
    "all": lambda: [seeded(LayerNorm(16)), seeded(Dense(16, 12)), seeded(Dense(12, 9)), Normalize()],
    "normalize in between": lambda: [Normalize(), seeded(Dense(16, 6))],
}


@pytest.mark.parametrize("normalize", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", STEPS)
def test_modules_behind_the_pooling_are_followed(plain, tmp_path, kind, normalize):
    steps = STEPS[kind]()
    folder = as_sentence_transformer(plain, tmp_path / "model", *steps)
    found = same(folder, normalize)
    assert found.shape[1] == Encoder(folder, "float32").dimension
    if steps and not (normalize and kind == "normalize"):
        bare = same(as_sentence_transformer(plain, tmp_path / "bare"), normalize)
        assert found.shape != bare.shape or np.abs(found - bare).max() > 1e-3


@pytest.mark.parametrize("include", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.parametrize("pooling", [*POOLINGS, ("mean", "max"), ("cls", "lasttoken", "weightedmean")])
def test_every_pooling_is_followed_with_prompts_and_without(plain, tmp_path, pooling, include):
    prompts = {"query": "w50 w51 w52 ", "document": "w53 "}
    folder = as_sentence_transformer(
        plain, tmp_path / "model", pooling=pooling, include_prompt=include, prompts=prompts
    )
    assert recipe_of(folder).include_prompt == include
    same(folder)
    same(folder, normalize=True)


@pytest.mark.parametrize("pooling", ["mean", "lasttoken", "weightedmean"])
def test_prompts_of_decoders_are_left_out_of_the_pooling(decoder, tmp_path, pooling):
    prompts = {"query": "w50 w51 w52 ", "document": "w53 "}
    one, other = (
        as_sentence_transformer(
            decoder, tmp_path / str(include), pooling=pooling, include_prompt=include, prompts=prompts
        )
        for include in (True, False)
    )
    assert (np.abs(same(one) - same(other)).max() > 1e-3) == (pooling != "lasttoken")


def test_a_prompt_longer_than_what_is_read_leaves_a_vector_of_nothing(plain, tmp_path):
    prompts = {"query": " ".join(WORDS[:30]) + " ", "document": ""}
    folder = as_sentence_transformer(plain, tmp_path / "model", include_prompt=False, prompts=prompts)
    ours, wanted = both(folder)
    np.testing.assert_allclose(ours["query"], wanted["query"], atol=1e-6)


@pytest.mark.parametrize("dimensions", [1, 5, 16, 99])
@pytest.mark.parametrize("kind", ["nothing", "normalize", "dense"])
def test_vectors_are_cut_to_the_dimensions_that_the_folder_keeps(plain, tmp_path, kind, dimensions):
    folder = as_sentence_transformer(plain, tmp_path / "model", *STEPS[kind](), truncate_dim=dimensions)
    for normalize in (False, True):
        same(folder, normalize)


@pytest.mark.parametrize(
    "prompts",
    [
        {"query": "w1 w2 ", "document": "w3 "},
        {"query": "w1 w2 "},
        {"passage": "w1 w2 "},
        {"query": "w1 ", "corpus": "w4 ", "other": "w2 "},
        {"query": None, "document": None},
        {},
    ],
)
def test_prompts_are_those_of_encode_query_and_encode_document(plain, tmp_path, prompts):
    folder = as_sentence_transformer(plain, tmp_path / "model")
    name = next(iter(prompts), None)
    edit_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": name})
    same(folder)


def test_modules_are_read_where_modules_json_says(plain, tmp_path):
    folder = as_sentence_transformer(plain, tmp_path / "model", seeded(Dense(16, 6)), pooling="cls")
    before = same(folder)
    moved(folder, Transformer="0_Transformer", Pooling="deep/pooling", Dense="head")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    assert not (folder / "config.json").exists()
    np.testing.assert_array_equal(same(folder), before)


@pytest.mark.parametrize(
    ("told", "how"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, ("max", "mean")),
        ({"pooling_mode_lasttoken": True}, ("lasttoken",)),
        ({"pooling_mode_mean_tokens": False}, ("mean",)),
    ],
)
def test_poolings_of_older_folders_are_followed(plain, tmp_path, told, how):
    folder = as_sentence_transformer(plain, tmp_path / "model")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **told}))
    assert recipe_of(folder).pooling == how
    same(folder)


def test_texts_are_put_into_lower_case_where_the_folder_says_so(plain, tmp_path):
    folder = as_sentence_transformer(plain, tmp_path / "model")
    key = tokens_key(folder, Texts(["W1"], 9, ""))
    edit_json(folder / "sentence_bert_config.json", {"do_lower_case": True, "max_seq_length": 12})
    assert tokens_key(folder, Texts(["W1"], 9, "")) != key
    assert (
        tokenise(folder, Texts(["W1 w2"], 9, "")).ids.tolist()
        == tokenise(plain, Texts(["w1 w2"], 9, "")).ids.tolist()
    )
    theirs = SentenceTransformer(str(folder), device="cpu").encode(["W1 w2", "W3"])
    ours = Encoder(folder, "float32", normalize=False).encode(tokenise(folder, Texts(["W1 w2", "W3"], 9, "")))
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("made_for", "causal", "how"),
    [
        ("Qwen3ForCausalLM", None, "lasttoken"),
        ("Qwen3Model", None, "mean"),
        ("Qwen3ForCausalLM", False, "mean"),
    ],
)
def test_a_bare_folder_is_taken_as_sentence_transformers_takes_it(decoder, tmp_path, made_for, causal, how):
    folder = shutil.copytree(decoder, tmp_path / "model")
    edit_json(
        folder / "config.json",
        {"architectures": [made_for]} | ({} if causal is None else {"is_causal": causal}),
    )
    assert recipe_of(folder).pooling == (how,)
    if causal is None:  # with is_causal: false transformers itself lets tokens see what follows
        same(folder)


def test_a_pooling_that_nothing_reads_is_refused(plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    for told, refused in (("mean", False), ("cls", True)):
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": told}))
        if refused:
            with pytest.raises(
                UserError, match=r"1_Pooling/config\.json: says cls, but without a modules\.json"
            ):
                recipe_of(folder)
        else:
            assert recipe_of(folder) == Recipe()


def change(file, **content):
    return lambda folder: edit_json(folder / file, content)


def without_last_module(folder):
    told = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([told[0], told[2], told[1]]))


def pickled(folder):
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")


def of_other_sizes(folder):
    save_file(
        {"linear.weight": torch.ones(2, 2), "linear.bias": torch.ones(2)},
        folder / "2_Dense" / "model.safetensors",
    )


def save_dense(folder, width):
    shutil.rmtree(folder / "2_Dense")
    (folder / "2_Dense").mkdir()
    Dense(width, 6).save(str(folder / "2_Dense"))


DENSE, SETTINGS, BERT = (
    "2_Dense/config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (change(DENSE, activation_function="torch.hub.load"), "function: torch.hub.load is none of PyTorch's"),
        (change(DENSE, activation_function="os.system"), "activation_function: os.system is none of PyTorch's"),
        (change(DENSE, activation_function="torch.nn.modules.activation.Threshold"), "Threshold is none of PyTorch's"),
        (change(DENSE, module_input_name="token_embeddings"), "module_input_name: token_embeddings is not understood"),
        (change(DENSE, in_features="x"), "2_Dense: no Dense can be read from it"),
        (change(DENSE, activation_function="torch.nn.modules.activation.CrossEntropyLoss"), "is none of PyTorch's"),
        (lambda folder: save_dense(folder, 9), "its modules don't fit together: what is pooled has 16 dimensions"),
        (of_other_sizes, "2_Dense: no Dense can be read from it"),
        (pickled, "2_Dense/model.safetensors: there is no such file; save the model as safetensors"),
        (without_last_module, "has Transformer, Dense, Pooling; expected a Transformer, a Pooling"),
        (change("1_Pooling/config.json", pooling_mode="median"), "pooling_mode: median is not known; cls, max, mean"),
        (change(SETTINGS, truncate_dim="all"), "truncate_dim: expected a number of dimensions, found 'all'"),
        (change(SETTINGS, prompts=["a"]), "config_sentence_transformers.json: expected a JSON object with prompts"),
        (change(SETTINGS, model_type="SparseEncoder"), "is a SparseEncoder, which gives no single vector"),
        (change(BERT, config_args={"is_causal": False}), "config_args: the transformer is not used as it is"),
        (change(BERT, tokenizer_args={"use_fast": False}), "tokenizer_args: the transformer is not used as it is"),
        (change(BERT, query_expansion={"length": 32}), "query_expansion: the transformer is not used as it is"),
        (change(BERT, modality_config={"text": {"method": "get_text_features"}}), "modality_config: the transformer"),
        (change(BERT, transformer_task="fill-mask"), "modality_config: the transformer is not used as it is"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused_in_one_line(plain, tmp_path, damage, told):
    folder = as_sentence_transformer(plain, tmp_path / "model", seeded(Dense(16, 6)))
    same(folder)
    damage(folder)
    with pytest.raises(UserError) as caught:
        Encoder(find_model(str(folder)), "float32")
    assert told in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["../outside", "/tmp"])
def test_a_module_outside_the_folder_is_refused(plain, tmp_path, place):
    folder = as_sentence_transformer(plain, tmp_path / "model")
    steps = json.loads((folder / "modules.json").read_text())
    steps[1]["path"] = place
    (folder / "modules.json").write_text(json.dumps(steps))
    with pytest.raises(UserError, match="lies outside the folder"):
        find_model(str(folder))


def test_precision_and_attention_that_a_folder_names_are_the_suites_business(plain, tmp_path):
    folder = as_sentence_transformer(plain, tmp_path / "model")
    edit_json(folder / BERT, {"model_kwargs": {"attn_implementation": "sdpa", "dtype": "float32"}})
    same(folder)


def key(folder: Path, prompt: str = "") -> str:
    return vectors_key(folder, tokens_key(folder, Texts(["w1"], 9, prompt)), "float32")


def other_weights(folder):
    file = folder / "2_Dense" / "model.safetensors"
    save_file({name: value + 1 for name, value in load_file(file).items()}, file)


@pytest.mark.parametrize(
    "changed",
    [
        change("1_Pooling/config.json", pooling_mode="cls"),
        change("1_Pooling/config.json", include_prompt=False),
        change(DENSE, activation_function="torch.nn.modules.activation.ReLU"),
        change(SETTINGS, truncate_dim=3),
        other_weights,
    ],
)
def test_the_key_of_cached_vectors_sees_all_that_changes_them(plain, tmp_path, changed):
    folder = as_sentence_transformer(plain, tmp_path / "model", seeded(Dense(16, 6)))
    before = key(folder)
    assert key(shutil.copytree(folder, tmp_path / "copy")) == before
    changed(folder)
    assert key(folder) != before


def test_a_line_says_where_the_suite_and_the_folder_differ(plain, tmp_path):
    folder = as_sentence_transformer(
        plain, tmp_path / "model", prompts={"query": "w1 ", "passage": "w2 "}, similarity_fn_name="dot"
    )
    told = "config_sentence_transformers.json of model"
    settings = {"query_prompt": "w9 ", "document_prompt": "", "similarity": "cosine"}
    also = f"{told} also names prompts that SentenceTransformer puts before neither queries nor documents (passage); "
    assert differences(folder, settings) == [
        f"encoder.query_prompt is 'w9 ', and {told} says 'w1 ': the setting is taken",
        f"encoder.similarity is cosine, and {told} says dot: the setting is taken",
        f"{also}encoder.document_prompt would set one",
    ]
    followed = {"query_prompt": "w1 ", "document_prompt": "w2 ", "similarity": "dot"}
    assert differences(folder, followed) == []
    assert differences(plain, settings) == []


def test_pooling_by_hand():
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]], [[5.0, 5.0], [7.0, 7.0], [0.0, 3.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    by_hand = {
        "mean": [[2, 4], [4, 5]], "cls": [[1, 2], [5, 5]], "lasttoken": [[3, 6], [0, 3]], "max": [[3, 6], [7, 7]],
        "mean_sqrt_len_tokens": [[4 / 2**0.5, 8 / 2**0.5], [12 / 3**0.5, 15 / 3**0.5]],
        "weightedmean": [[7 / 3, 14 / 3], [19 / 6, 28 / 6]],
    }  # fmt: skip
    for how in POOLINGS:
        torch.testing.assert_close(pool(hidden, mask, how), torch.tensor(by_hand[how], dtype=torch.float32))
    behind = without_prompt(mask, 1)
    assert pool(hidden, behind, "mean").tolist() == [[3.0, 6.0], [3.5, 5.0]]
    assert pool(hidden, behind, "cls").tolist() == [[3.0, 6.0], [7.0, 7.0]]
    assert mask.tolist() == [[1, 1, 0], [1, 1, 1]]
