"""Models of every family are trained, ranked by, warmed up and exported, with all that their folders say."""

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize
from torch import nn

from builders import Bench, both_sides
from dropouts import rates
from families import (
    DECODERS,
    FAMILIES,
    OF_BYTES,
    POSITIONS,
    SPECIAL,
    as_sentence_transformer,
    edit_json,
    in_shards,
    moved,
    write_family,
    write_tokenizer,
)
from negmark.core.errors import UserError
from negmark.encode.encoder import Encoder
from negmark.encode.model_files import INDEX, open_config
from negmark.encode.pretrained import find_model
from negmark.share import export
from negmark.store import collection
from negmark.train import warmup
from negmark.train.tiers import adapter_maps, finetune, rerank
from texts import TRAINING, Texts

RANKER = {"model": None, "precision": "float32", "chunk_tokens": 256}
EOS, PAD = 2, 1


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def ranker(bench: Bench, folder: Path, length: int = 32, **budget) -> rerank.Ranker:
    budget = {**RANKER, **budget}
    network, headless = rerank.build({"model": str(folder)}, budget, budget.get("dropout"))
    if headless:
        rerank.draw_head(network, 0, "test")
    texts = rerank.PairTexts(bench.dataset, folder, length)
    return rerank.Ranker(network.eval(), texts, budget["precision"], budget["chunk_tokens"])


QUERIES, DOCUMENTS = np.array([5, 0, 61]), np.array([[7, 80, 7], [0, 3, 11], [61, 2, 1]])


@torch.no_grad()
def logits(found: rerank.Ranker) -> torch.Tensor:
    return found(QUERIES, DOCUMENTS)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_ranks_the_same_alone_and_in_company(family, bench, name):
    """Padding is left out: one pair a chunk gives the logits of all pairs in one."""
    found = ranker(bench, family(name))
    together = logits(found)
    found._chunk_tokens = 1
    torch.testing.assert_close(logits(found), together, atol=1e-5, rtol=1e-4)
    assert torch.isfinite(together).all()
    assert together.std() > 0


def without_pad(folder: Path, tokenizer: bool, config: bool) -> Path:
    """Take the padding token from a decoder's tokenizer, its config, or both."""
    if tokenizer:
        write_tokenizer(folder, folder.name in OF_BYTES, pad_token=None)
    if config:
        edit_json(folder / "config.json", lambda told: told.update(pad_token_id=None))
    return folder


@pytest.mark.parametrize(("tokenizer", "config"), [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("name", DECODERS)
def test_decoders_rank_without_a_padding_token(family, bench, tmp_path, name, tokenizer, config):
    folder = without_pad(shutil.copytree(family(name), tmp_path / name), tokenizer, config)
    found = ranker(bench, folder)
    wanted = EOS if tokenizer and config else PAD
    assert found.network.config.pad_token_id == wanted
    assert found._texts._tokenizer.pad_token_id == wanted
    together = logits(found)
    found._chunk_tokens = 1
    torch.testing.assert_close(logits(found), together, atol=1e-5, rtol=1e-4)
    assert together.std() > 0
    if wanted == PAD:
        assert torch.equal(together, logits(ranker(bench, family(name))))


def test_a_padding_token_outside_the_vocabulary_counts_as_none(family, bench, tmp_path):
    """Llama's configs say -1. Of Qwen2 transformers adds one that the network has no row for: tested above."""
    folder = shutil.copytree(family("llama"), tmp_path / "model")
    edit_json(folder / "config.json", {"pad_token_id": -1})
    assert torch.equal(logits(ranker(bench, folder)), logits(ranker(bench, family("llama"))))


def test_a_ranker_without_padding_and_end_is_refused_in_one_line(family, bench, tmp_path):
    folder = without_pad(shutil.copytree(family("gpt2"), tmp_path / "model"), True, True)
    write_tokenizer(folder, pad_token=None, eos_token=None)
    with pytest.raises(
        UserError, match=r"model: its tokenizer has no padding token .* add a pad_token to tokenizer_config"
    ):
        ranker(bench, folder)


def test_a_decoder_scores_as_sentence_transformers_cross_encoder(family, bench, tmp_path):
    """Its own head is kept, and the last token before the padding is read."""
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(2)
    folder = shutil.copytree(family("qwen3"), tmp_path / "model")
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).save_pretrained(folder)
    texts, asked = collection.texts(bench.dataset)
    pairs = [
        (asked[query], texts[document])
        for query, row in zip(QUERIES, DOCUMENTS, strict=True)
        for document in row
    ]
    wanted = CrossEncoder(str(folder), device="cpu").predict(pairs, activation_fn=nn.Identity())
    edit_json(folder / "config.json", lambda told: told.update(pad_token_id=None))
    found = ranker(bench, folder, model=str(folder))
    np.testing.assert_allclose(logits(found).flatten(), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "roberta", "mpnet", "gpt2", "t5"])
def test_pairs_are_cut_to_what_the_model_reads(family, bench, tmp_path, name):
    most = {"bert": POSITIONS, "gpt2": POSITIONS, "t5": 90}.get(name, POSITIONS - 2)
    texts = rerank.PairTexts(bench.dataset, family(name), 90)
    texts._documents = ["d1 " * 200] * 90
    found = ranker(bench, family(name))
    found._texts = texts
    assert {len(line) for line in texts.tokens(QUERIES, DOCUMENTS[0])["input_ids"]} == {most}
    assert torch.isfinite(logits(found)).all()


def norms(network: nn.Module, layer: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in network.named_parameters() if value.dim() == 1 and layer in name}


LAST = {"gpt2": "h.1.", "t5": "block.1.", "gpt-neox": "layers.1.", "qwen2": "layers.1.", "qwen3": "layers.1.",
        "llama": "layers.1.", "mistral": "layers.1.", "modernbert": "layers.1.", "xlnet": "layer.1.",
        "distilbert": "layer.1."}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "albert"])
def test_layers_drawn_anew_have_the_norms_and_biases_of_a_new_network(family, name):
    tower = finetune.load_tower(family(name), "cosine")
    layer = LAST.get(name, "layer.1.")
    fresh = norms(type(tower.model)(tower.model.config), layer)
    assert fresh
    before = {key: value.clone() for key, value in tower.model.state_dict().items()}
    for parameter in norms(tower.model, "").values():
        parameter.data.fill_(3.0)
    warmup.reinit_top(tower.model, 1, 0)
    found = norms(tower.model, layer)
    for key, value in fresh.items():
        if name != "xlnet" or "rel_attn.r_" not in key:
            assert torch.equal(found[key], value), key
    kept = norms(tower.model, "").keys() - found.keys()
    assert all((tower.model.get_parameter(key) == 3).all() for key in kept)
    matrices = [key for key, value in tower.model.named_parameters() if value.dim() > 1]
    assert all(torch.equal(before[key], tower.model.get_parameter(key)) != (layer in key) for key in matrices)


def test_norms_that_add_one_are_drawn_as_zeros():
    from transformers import GemmaConfig, GemmaModel

    network = GemmaModel(GemmaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2, head_dim=4,
                                     num_attention_heads=2, num_key_value_heads=1))  # fmt: skip
    for parameter in norms(network, "").values():
        parameter.data.fill_(3.0)
    warmup.reinit_top(network, 2, 0)
    assert {name.rpartition(".")[0] for name, value in norms(network, "").items() if (value == 3).all()} == {
        "norm"
    }
    assert all((value == 0).all() for value in norms(network, "layers").values())


def test_layers_that_share_their_weights_are_not_drawn_anew(family):
    tower = finetune.load_tower(family("albert"), "cosine")
    with pytest.raises(
        UserError, match="the 2 layers of this encoder share their weights, so none can be drawn anew"
    ):
        warmup.reinit_top(tower.model, 1, 0)
    warmup.reinit_top(tower.model, 0, 0)


class Run(Texts):
    """A model with all that a folder can say, and a run that trained it."""

    def __init__(self, folder: Path, model: Path, **settings) -> None:
        super().__init__(folder, model)
        self.settings |= settings
        self.rewrite()
        self.folder = self.train(folder / "run", self.spec("inbatch", steps=3))

    def rewrite(self) -> None:
        """Encode the texts as the settings now say."""
        encoder = Encoder(self.model, "float32", self.settings["similarity"] == "cosine")
        self.tokens = finetune.tokens_of_sides(self.dataset, json.dumps(self.settings))
        for side, name in (("document", "documents"), ("query", "queries")):
            np.save(self.vectors / f"{name}.npy", encoder.encode(self.tokens[side]))

    def evaluated(self, tier=finetune, folder: Path | None = None) -> dict[str, np.ndarray]:
        """The vectors of each side as evaluation computes them."""
        model, about = (folder or self.folder) / "model.safetensors", {"encoder": self.settings}
        rows = np.arange(len(self.tokens["query"]))
        documents, queries = both_sides(tier, about, model, self.dataset, self.vectors, rows)
        return {"query": queries, "document": documents}

    def exported(self, output: Path, folder: Path | None = None) -> dict[str, np.ndarray]:
        """The vectors of each side as someone gets them who opens the exported folder."""
        export.main(folder or self.folder, output, json.dumps(self.settings))
        model = SentenceTransformer(str(output), device="cpu")
        documents, queries = collection.texts(self.dataset)
        return {"query": model.encode_query(queries), "document": model.encode_document(documents)}


def seeded(module: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def rich(plain: Path, folder: Path) -> Path:
    """A folder with every module, prompts that aren't pooled, a cut, and a transformer in a folder of its own."""
    steps = [
        seeded(LayerNorm(16)),
        seeded(Dense(16, 12)),
        seeded(Dense(12, 10, use_residual=True)),
        Normalize(),
    ]
    model = as_sentence_transformer(
        plain, folder, *steps, pooling=("cls", "mean")[1:], include_prompt=False, truncate_dim=7,
        prompts={"query": "w1 w2 ", "document": "w3 "},
    )  # fmt: skip
    return moved(model, Transformer="0_Transformer", Pooling="pool")


@pytest.fixture(scope="module")
def make(family, tmp_path_factory):
    """Runs from rich folders, by family and similarity."""

    @cache
    def made(name: str, similarity: str) -> Run:
        folder = tmp_path_factory.mktemp(f"{name}-{similarity}")
        prompts = {
            "query_prompt": "w1 w2 ",
            "document_prompt": "w3 ",
            "query_length": 12,
            "document_length": 12,
        }
        return Run(folder, rich(family(name), folder / "rich"), similarity=similarity, **prompts)

    return made


def worst(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    assert all(one[side].shape == other[side].shape for side in one)
    return max(float(np.abs(one[side] - other[side]).max()) for side in one)


@pytest.mark.parametrize(
    ("name", "similarity"), [("bert", "cosine"), ("bert", "dot"), ("qwen3", "cosine"), ("t5", "cosine")]
)
def test_all_that_a_folder_says_is_trained_and_exported(make, tmp_path, name, similarity):
    run = make(name, similarity)
    weights = load_file(run.folder / "model.safetensors")
    start = finetune.load_tower(run.model, similarity).state_dict()
    moved_parts = {
        key.split(".", 1)[1]
        for key, value in weights.items()
        if not torch.equal(value, start[key.split(".", 1)[1]])
    }
    for part in ("head.steps.0.norm.weight", "head.steps.1.linear.weight", "head.steps.2.residual.weight"):
        assert part in moved_parts
    assert any(key.startswith("model.") for key in moved_parts)
    found, wanted = run.exported(tmp_path / "model"), run.evaluated()
    assert found["query"].shape[1] == 7
    assert worst(found, wanted) < 1e-5
    untrained = {
        "query": np.load(run.vectors / "queries.npy"),
        "document": np.load(run.vectors / "documents.npy"),
    }
    assert worst(found, untrained) > 1e-3
    lengths = np.linalg.norm(found["document"], axis=1)
    assert (np.abs(lengths - 1).max() < 1e-5) == (similarity == "cosine")


def test_what_was_exported_is_a_model_to_start_from(make, tmp_path):
    run = make("bert", "cosine")
    found = run.exported(tmp_path / "model")
    again = Encoder(find_model(str(tmp_path / "model")), "float32")
    tokens = finetune.tokens_of_sides(
        run.dataset, json.dumps({**run.settings, "model": str(tmp_path / "model")})
    )
    assert worst({side: again.encode(tokens[side]) for side in tokens}, found) < 1e-5


def test_maps_of_the_adapter_tier_stand_behind_all_that_the_folder_says(make, tmp_path):
    run = make("bert", "cosine")
    adapter = run.train(tmp_path / "adapter", Bench.spec(run, "inbatch"))
    found = run.exported(tmp_path / "model", adapter)
    assert worst(found, run.evaluated(adapter_maps, adapter)) < 1e-5


def test_a_warm_up_keeps_all_that_the_folder_says_and_trains_it(make, family, tmp_path):
    run = make("bert", "cosine")
    model = tmp_path / "sharded"
    shutil.copytree(run.model, model)
    in_shards(model / "0_Transformer")
    assert (model / "0_Transformer" / INDEX).is_file()
    assert find_model(str(model)) == model
    assert np.array_equal(
        *(Encoder(one, "float32").encode(run.tokens["query"]) for one in (model, run.model))
    )
    for steps in (0, 2):
        settings = {**run.settings, "model": str(model), "reinit_top": 1, "warmup_steps": steps}
        folder = tmp_path / f"warm-{steps}"
        warmup.main(run.dataset, json.dumps(settings), json.dumps(TRAINING), folder, tmp_path / "state")
        assert not [*folder.rglob("*.index.json")]
        warmed, start = (finetune.load_tower(find_model(str(one)), "cosine") for one in (folder, model))
        assert warmed.head.recipe.truncate == 7
        assert not warmed.head.recipe.include_prompt
        head = [
            torch.equal(value, start.head.state_dict()[key])
            for key, value in warmed.head.state_dict().items()
        ]
        assert all(head) if not steps else not any(head)
        theirs = SentenceTransformer(str(folder), device="cpu")
        theirs.max_seq_length = 12
        documents, _ = collection.texts(run.dataset)
        ours = Encoder(folder, "float32").encode(run.tokens["document"])
        np.testing.assert_allclose(
            ours, theirs.encode_document(documents, normalize_embeddings=True), atol=1e-5
        )


def test_prompts_that_are_not_pooled_are_no_part_of_vectors_in_training(make):
    run = make("bert", "cosine")
    tower = finetune.load_tower(run.model, "cosine").eval()
    rows = np.arange(9)
    assert run.tokens["query"].left_out == 3  # the first token of a text, and two words
    with torch.no_grad():
        in_training = tower(run.tokens["query"], rows)
    np.testing.assert_allclose(in_training, np.load(run.vectors / "queries.npy")[:9], atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_takes_a_step_and_is_exported(family, tmp_path, name):
    run = Run(tmp_path, family(name), query_length=9, document_length=9)
    assert worst(run.exported(tmp_path / "model"), run.evaluated()) < 1e-5
    assert open_config(tmp_path / "model").model_type == open_config(run.model).model_type


def test_the_vocabulary_is_that_of_the_made_dataset(bench):
    folder = write_family(bench.dataset.parent / "words", "bert")
    documents, queries = collection.texts(bench.dataset)
    tokens = finetune.tokens_of(folder, finetune.Texts(documents + queries, 9, ""))
    assert SPECIAL.index("<unk>") not in tokens.ids


@pytest.mark.parametrize("name", FAMILIES)
def test_dropout_of_the_rerank_budget_is_that_of_every_dropout(family, bench, name):
    found = ranker(bench, family(name), dropout=0.25)
    assert rates(lambda: found(QUERIES, DOCUMENTS)) == {0.25}
    still = ranker(bench, family(name), dropout=0.0)
    assert rates(lambda: still(QUERIES, DOCUMENTS)) <= {0.0}
