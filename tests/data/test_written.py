"""Texts by a small causal model: greedy, the same again, resumed where a job was killed; with a random one."""

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from negmark.core.errors import UserError
from negmark.data import causal_model, written
from negmark.data.causal_model import CausalModel, folder_of
from negmark.data.edited import pairs_of
from negmark.data.written import PROMPTS, cleaned, main, prompt_hash
from world import WORDS, write_world

SETTINGS = {"tokens": 6, "batch": 8}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A causal model of two layers with seeded random weights, which knows the world's words."""
    folder = tmp_path_factory.mktemp("models") / "tiny-causal"
    words = {word: number for number, word in enumerate(["</s>", "[UNK]", *WORDS])}
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", unk_token="[UNK]").save_pretrained(
        folder
    )
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=256, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), queries=6)


def test_a_text_is_continued_by_the_likeliest_token(model):
    """Against a loop that takes the argmax of the logits, a prompt at a time and without padding."""
    ours = CausalModel(model)
    prompts = [f"{WORDS[3]} {WORDS[5]}", WORDS[7]]
    found = [text for text, _ in ours.continued(prompts, 5)]
    for prompt, text in zip(prompts, found, strict=True):
        ids = ours.tokenizer(prompt, return_tensors="pt")["input_ids"]
        start = ids.shape[1]
        with torch.no_grad():
            for _ in range(5):
                ids = torch.cat(
                    [ids, ours._model(input_ids=ids).logits[:, -1].argmax(dim=1, keepdim=True)], dim=1
                )
                if ids[0, -1] == 0:
                    break
        assert text == ours.tokenizer.decode(ids[0, start:], skip_special_tokens=True)


@pytest.mark.parametrize(
    ("text", "ended", "line"),
    [
        (' "A bird.  It flies."\n\nNote: none', False, "A bird. It flies."),
        ("A bird. It fl", False, "A bird."),
        ("A bird. It fl", True, "A bird. It fl"),
        ("A bird that", False, "A bird that"),
        ("  ", True, ""),
    ],
)
def test_a_text_is_one_paragraph_of_whole_sentences(text, ended, line):
    assert cleaned(text, ended) == line


def test_every_pair_has_a_text_of_each_kind_with_what_it_comes_from(model, world, cache, tmp_path):
    main(world.dataset, json.dumps({**SETTINGS, "model": str(model)}), tmp_path / "texts.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    pairs, _ = pairs_of(world.dataset)
    asked = [(pair.query_id, pair.document_id, kind) for pair in pairs for kind in PROMPTS]
    assert [(line["query"], line["positive"], line["kind"]) for line in lines] == [
        one for one in asked if one in {(line["query"], line["positive"], line["kind"]) for line in lines}
    ]
    assert len(lines) > len(asked) / 2
    assert {line["prompt"] for line in lines} == {prompt_hash(kind) for kind in PROMPTS}
    assert all(
        line["model"].startswith("tiny-causal@") and line["seed"] is None and line["text"] for line in lines
    )
    assert not list((cache / "unfinished").glob("*"))


def test_a_killed_job_goes_on_and_ends_as_an_unbroken_one(model, world, cache, tmp_path, monkeypatch):
    settings = json.dumps({**SETTINGS, "model": str(model)})
    main(world.dataset, settings, tmp_path / "unbroken.jsonl")
    monkeypatch.setenv("NEGMARK_CACHE", str(tmp_path / "other"))
    continued, calls = CausalModel.continued, []

    def killed(self, prompts, tokens):
        calls.append(len(prompts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return continued(self, prompts, tokens)

    monkeypatch.setattr(CausalModel, "continued", killed)
    with pytest.raises(KeyboardInterrupt):
        main(world.dataset, settings, tmp_path / "killed.jsonl")
    assert not (tmp_path / "killed.jsonl").exists()
    main(world.dataset, settings, tmp_path / "killed.jsonl")
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "unbroken.jsonl").read_bytes()
    pairs, _ = pairs_of(world.dataset)
    assert sum(calls) == len(PROMPTS) * len(pairs) + SETTINGS["batch"], (
        "the batch that was killed is written again"
    )
    main(world.dataset, settings, tmp_path / "again.jsonl")
    assert sum(calls) == len(PROMPTS) * len(pairs) + SETTINGS["batch"], "and the cache has the rest"


def test_what_decides_a_text_decides_its_place_in_the_cache(model, world, monkeypatch):
    pairs, _ = pairs_of(world.dataset)
    keys = {written.key_of(pairs, model, {**SETTINGS, **more}) for more in ({}, {"tokens": 7}, {"batch": 4})}
    keys.add(written.key_of(pairs[1:], model, SETTINGS))
    monkeypatch.setitem(PROMPTS, "written", "Another prompt: {query}")
    keys.add(written.key_of(pairs, model, SETTINGS))
    assert len(keys) == 5


def test_a_package_with_a_gguf_file_needs_its_reader(tmp_path, cache, monkeypatch):
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(causal_model, "_in_package", lambda name: tmp_path / "small.gguf")
    monkeypatch.setattr(causal_model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"generator\.model: llm-small holds small\.gguf.*negmark\[generate\]"
    ):
        folder_of("llm-small")


def test_a_model_that_is_nowhere_is_told_by_its_key(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"generator\.model: nobody/nothing is no folder"):
        folder_of("nobody/nothing")
