"""Token tables: means by hand, where tables come from, and what is refused in one line."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

from builders import tiny_model
from negmark.core.errors import UserError
from negmark.encode import table_starts, token_table
from negmark.encode.table_starts import glove_table, open_table, static_table, word_table
from negmark.encode.token_table import TokenTable, mean_vectors, tokenise
from negmark.encode.tokens import Texts, Tokens

WORDS = {"red": 0, "green": 1, "blue": 2, "[UNK]": 3}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path / "cache"))


def words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def small(weights=None) -> TokenTable:
    rows = np.array([[3, 0], [0, 4], [-3, 0], [0, 0]], np.float32)
    return TokenTable(words(), rows, weights, unknown=3)


def test_means_by_hand():
    found = tokenise(small(), Texts(["red green", "green green red", "red", "grey", "", "red blue"], 9, ""))
    assert [row.tolist() for row in np.split(found.ids, found.starts[1:-1])] == [
        [0, 1], [1, 1, 0], [0], [], [], [0, 2],
    ]  # fmt: skip
    nothing = [0.5**0.5, 0.5**0.5]
    wanted = [[0.6, 0.8], [3 / 73**0.5, 8 / 73**0.5], [1, 0], nothing, nothing, nothing]
    np.testing.assert_allclose(mean_vectors(small().rows, found), wanted, atol=1e-7)
    assert token_table.without_tokens(found) == 2


def test_weights_make_tokens_count_more():
    table = small(np.array([4, 1, 1, 1], np.float32))
    found = tokenise(table, Texts(["red green", "blue green"], 9, ""))
    wanted = np.array([[12, 4], [-3, 4]]) / np.array([[160**0.5], [5]])
    np.testing.assert_allclose(mean_vectors(table.folded(), found), wanted, atol=1e-6)


def test_texts_are_cut_before_unknown_tokens_are_left_out():
    found = tokenise(small(), Texts(["grey red green", "red"], 2, "blue "))
    assert found.ids.tolist() == [2, 2, 0]
    assert found.starts.tolist() == [0, 1, 3]


def test_blocks_of_texts_give_what_each_gives_alone(monkeypatch):
    rng = np.random.default_rng(3)
    starts = np.cumsum([0, *rng.integers(0, 6, 50)])
    found = Tokens(rng.integers(0, 20, starts[-1]).astype(np.uint16), starts)
    rows = rng.normal(size=(20, 8)).astype(np.float32)
    whole = mean_vectors(rows, found)
    monkeypatch.setattr(token_table, "TEXTS_AT_A_TIME", 7)
    np.testing.assert_array_equal(mean_vectors(rows, found), whole)
    chosen = np.array([4, 0, 49, 4])
    np.testing.assert_array_equal(mean_vectors(rows, found.taken(chosen)), whole[chosen])


def test_tokens_come_from_the_cache(monkeypatch):
    side = Texts(["red", "", "green blue"], 9, "")
    first = token_table.tokens_of(small(), side)
    monkeypatch.setattr(token_table, "chunks", None)
    again = token_table.tokens_of(small(), side)
    assert again.ids.tolist() == first.ids.tolist() == [0, 1, 2]
    assert again.starts.tolist() == [0, 1, 1, 3]
    with pytest.raises(TypeError):  # another length is another file
        token_table.tokens_of(small(), Texts(side.lines, 8, ""))


def test_fingerprint_is_that_of_the_content():
    table = small()
    moved = TokenTable(words(), table.rows + 1, unknown=3)
    weighted = small(np.ones(4, np.float32))
    assert table.fingerprint == small().fingerprint
    assert len({each.fingerprint for each in (table, moved, weighted, TokenTable(words(), table.rows))}) == 4


def settings(start="random", dimension=16, seed=0):
    return {"start": start, "dimension": dimension, "seed": seed}


def test_random_rows_follow_from_seed_and_have_length_one_on_average(tmp_path):
    model = str(tiny_model(tmp_path / "model"))
    one, other = (open_table(settings(dimension=64, seed=seed), model) for seed in (0, 1))
    assert one.rows.shape == (77, 64)
    assert one.rows.dtype == np.float32
    assert np.linalg.norm(one.rows, axis=1).mean() == pytest.approx(1, abs=0.05)
    assert np.abs(one.rows - other.rows).max() > 0.1
    again = table_starts.random_table(one.tokenizer, 64, 0)
    assert again.fingerprint == one.fingerprint


def test_words_are_the_input_embeddings_without_special_tokens(tmp_path):
    model = tiny_model(tmp_path / "model")
    table = open_table(settings("words"), str(model))
    np.testing.assert_array_equal(
        table.rows, load_file(model / "model.safetensors")["embeddings.word_embeddings.weight"]
    )
    found = tokenise(table, Texts(["a b"], 9, ""))
    assert [table.tokenizer.id_to_token(token) for token in found.ids] == ["a", "b"]


def test_bfloat16_is_read(tmp_path):
    model = tiny_model(tmp_path / "model")
    rows = torch.arange(77 * 4, dtype=torch.bfloat16).reshape(77, 4)
    save_torch({"model.embed_tokens.weight": rows}, model / "model.safetensors")
    np.testing.assert_array_equal(word_table(model).rows, rows.float().numpy())


def glove_like(folder: Path, names: list[str]) -> tuple[Path, Path]:
    vectors, index = folder / "emb.npy", folder / "index.parquet"
    np.save(vectors, np.array([[3, 0], [0, 4], [5, 5]], np.float32))
    pq.write_table(pa.table({"index": names}), index)
    return vectors, index


def test_glove_cuts_words_and_leaves_unknown_ones_out(tmp_path):
    table = glove_table(*glove_like(tmp_path, ["the", "café", "'s"]))
    assert table.rows.tolist() == [[3, 0], [0, 4], [5, 5], [0, 0]]
    found = tokenise(table, Texts(["The Café's, well-known: THE", "unheard of"], 16, ""))
    assert found.ids.tolist() == [0, 1, 0]
    np.testing.assert_allclose(mean_vectors(table.rows, found)[0], [6 / 52**0.5, 4 / 52**0.5], atol=1e-6)


def test_glove_of_two_lengths_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"3 rows for the 2 words"):
        glove_table(*glove_like(tmp_path, ["the", "café"]))


def test_glove_names_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setattr(table_starts, "GLOVE", "no-such-package-as-this")
    with pytest.raises(UserError, match=r"static\.start: glove needs a package.*\[glove\]"):
        table_starts.glove_files()


def test_static_embedding_gives_the_vectors_that_sentence_transformers_gives(tmp_path):
    rows = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    model = SentenceTransformer(
        modules=[StaticEmbedding(words(), embedding_weights=rows), Normalize()], device="cpu"
    )
    model.save(str(tmp_path / "model"))
    table = static_table(tmp_path / "model")
    texts = ["red green", "blue", "grey red red"]
    ours = mean_vectors(table.folded(), tokenise(table, Texts(texts, 99, "")))
    np.testing.assert_allclose(ours, model.encode(texts), atol=1e-6)


def test_model2vec_has_a_mapping_weights_and_no_unknown_tokens(tmp_path):
    words().save(str(tmp_path / "tokenizer.json"))
    rows = np.array([[1, 0], [0, 1]], np.float16)
    parts = {"embeddings": rows, "mapping": np.array([0, 1, 1, 0]), "weights": np.array([2, 1, 3, 1.0])}
    save_file(parts, tmp_path / "model.safetensors")
    table = static_table(tmp_path)
    assert table.unknown == 3
    assert table.folded().tolist() == [[2, 0], [0, 1], [0, 3], [0, 0]]
    assert tokenise(table, Texts(["red grey"], 9, "")).ids.tolist() == [0]


def broken(folder: Path, kind: str) -> None:
    rows = np.ones((4, 2), np.float32)
    words().save(str(folder / "tokenizer.json"))
    parts = {
        "few rows": {"embedding.weight": rows[:3]},
        "no number": {"embedding.weight": np.where(np.eye(4, 2) > 0, np.nan, rows).astype(np.float32)},
        "other names": {"rows": rows},
        "weights": {"embeddings": rows, "weights": np.ones(3)},
    }.get(kind, {"embedding.weight": rows})
    save_file(parts, folder / "model.safetensors")
    if kind == "cut off":
        (folder / "model.safetensors").write_bytes(b"x")
    if kind == "tokenizer":
        (folder / "tokenizer.json").write_text("{}")
    if kind == "dense":
        steps = [
            {"path": "", "type": f"sentence_transformers.models.{name}"}
            for name in ("StaticEmbedding", "Dense")
        ]
        (folder / "modules.json").write_text(json.dumps(steps))
    if kind == "no weights":
        (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("few rows", "3 x 2.*no row for token 3"),
        ("no number", "not finite"),
        ("other names", r"expected embedding\.weight"),
        ("weights", "one weight for each of 4 rows"),
        ("cut off", "no weights can be read"),
        ("tokenizer", r"tokenizer\.json: can't be read"),
        ("dense", "StaticEmbedding and Dense"),
        ("no weights", r"has no model\.safetensors"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_in_one_line(tmp_path, kind, told):
    broken(tmp_path, kind)
    with pytest.raises(UserError, match=told) as caught:
        open_table(settings(str(tmp_path)), "unused")
    assert "\n" not in str(caught.value)


def test_a_model_without_word_embeddings_is_refused(tmp_path):
    model = tiny_model(tmp_path / "model")
    save_file({"pooler.weight": np.ones((2, 2), np.float32)}, model / "model.safetensors")
    with pytest.raises(UserError, match="no word embeddings"):
        word_table(model)


def test_a_dense_layer_behind_the_table_is_refused_as_saved(tmp_path):
    parts = [StaticEmbedding(words(), embedding_weights=np.ones((4, 6), np.float32)), Dense(6, 3)]
    SentenceTransformer(modules=parts, device="cpu").save(str(tmp_path / "model"))
    with pytest.raises(UserError, match="StaticEmbedding and Dense"):
        static_table(tmp_path / "model")
