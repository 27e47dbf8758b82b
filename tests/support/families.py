"""Tiny random models of every family that encoders are taken from, each with a tokenizer made on the spot."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

POSITIONS = 40
"""Rows of the table of positions, where a family has one."""
WORDS = [f"w{number}" for number in range(60)]
KNOWN = [
    *WORDS,
    "document",
    "query",
    *(f"d{number}" for number in range(90)),
    *(f"q{number}" for number in range(72)),
]
"""All words of the vocabulary: those of the made dataset (`builders.Bench`) too."""
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
"""Ids 0 to 4: padding is 1, as in RoBERTa and MPNet, whose positions begin behind it."""
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VOCABULARY = 330
"""Tokens of every model: more than the words, and than the bytes and some pairs of them."""
GROUPED = {**SIZES, "num_key_value_heads": 1, "max_position_embeddings": POSITIONS}
LEARNED = {**SIZES, "max_position_embeddings": POSITIONS}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", LEARNED),
    "roberta": ("RobertaConfig", LEARNED),
    "xlm-roberta": ("XLMRobertaConfig", LEARNED),
    "mpnet": ("MPNetConfig", LEARNED),
    "deberta-v2": (
        "DebertaV2Config",
        {**LEARNED, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
    ),
    "xlnet": ("XLNetConfig", {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32}),
    "gpt2": ("GPT2Config", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS}),
    "gpt-neox": ("GPTNeoXConfig", LEARNED),
    "qwen2": ("Qwen2Config", GROUPED),
    "qwen3": ("Qwen3Config", {**GROUPED, "head_dim": 8}),
    "llama": ("LlamaConfig", GROUPED),
    "mistral": ("MistralConfig", GROUPED),
    "modernbert": ("ModernBertConfig", {**LEARNED, "cls_token_id": 0, "sep_token_id": 2}),
    "t5": (
        "T5Config",
        {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 1},
    ),
    "distilbert": (
        "DistilBertConfig",
        {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": POSITIONS},
    ),
    "albert": ("AlbertConfig", {**LEARNED, "embedding_size": 8}),
    "electra": ("ElectraConfig", {**LEARNED, "embedding_size": 16}),
}  # fmt: skip
"""By model type: the class of the config, and what makes it tiny."""
DECODERS = ("gpt2", "gpt-neox", "qwen2", "qwen3", "llama", "mistral")
FAMILIES = tuple(CONFIGS)
OF_BYTES = ("qwen2",)
"""Families whose tokenizer transformers opens as one of bytes, whatever its file holds."""


def words_or_bytes(of_bytes: bool) -> Any:
    """Return a tokenizer that takes every word for a token, or one of byte pairs, trained on the words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    if not of_bytes:
        vocabulary = {token: number for number, token in enumerate([*SPECIAL, *KNOWN])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return tokenizer
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([" ".join(KNOWN)], trainer)
    return tokenizer


def write_tokenizer(folder: Path, of_bytes: bool = False, **options: Any) -> Path:
    """Write a tokenizer that frames a text by `<s>` and `</s>`; `of_bytes` cuts it into pairs of bytes, not words.

    `options` are transformers' own: `model_max_length`, or `pad_token=None` to leave one out.
    """
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = words_or_bytes(of_bytes)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    told = {
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>",
        "sep_token": "</s>", "mask_token": "<mask>", "model_input_names": ["input_ids", "attention_mask"],
    } | options  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    given = {name: value for name, value in told.items() if value is not None}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **given).save_pretrained(folder)
    return folder


def config_of(family: str, **changes: Any) -> Any:
    """Return the config of a family."""
    import transformers

    name, sizes = CONFIGS[family]
    shared = {
        "vocab_size": VOCABULARY,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }
    return getattr(transformers, name)(**{**sizes, **shared, **changes})


def write_family(folder: Path, family: str, tokenizer: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write a tiny model of a family with seeded random weights; its weights are large enough that texts differ."""
    import torch
    from transformers import AutoModel

    torch.manual_seed(5)
    network = AutoModel.from_config(config_of(family, **changes))
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(8)
    network.save_pretrained(folder)
    return write_tokenizer(folder, family in OF_BYTES, **(tokenizer or {}))


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any] | dict[str, Any]) -> None:
    """Change a JSON file: by new keys, or by a function that changes what was read."""
    content = json.loads(path.read_text()) if path.is_file() else {}
    if callable(change):
        change(content)
    else:
        content |= change
    path.write_text(json.dumps(content))


def as_sentence_transformer(
    source: Path, folder: Path, *steps: Any, pooling: Any = "mean", **options: Any
) -> Path:
    """Save a model as SentenceTransformer does, with the modules of `steps` behind its pooling.

    `options` are SentenceTransformer's own (prompts, `truncate_dim` ...), and Pooling's `include_prompt`.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(source))
    include_prompt = options.pop("include_prompt", True)
    pooled = Pooling(transformer.get_embedding_dimension(), pooling, include_prompt)
    model = SentenceTransformer(modules=[transformer, pooled, *steps], device="cpu", **options)
    model.save(str(folder), create_model_card=False)
    return folder


def moved(folder: Path, **places: str) -> Path:
    """Move modules of a folder, by their class, to other places in it, as `modules.json` then says."""
    path = folder / "modules.json"
    told = json.loads(path.read_text())
    for module in told:
        kind = module["type"].rpartition(".")[2]
        if kind not in places:
            continue
        target = folder / places[kind]
        target.mkdir(parents=True, exist_ok=True)
        files = [*(folder / module["path"]).iterdir()]
        for file in files:
            if file.is_file() and file.name not in ("modules.json", "config_sentence_transformers.json"):
                file.rename(target / file.name)
        module["path"] = places[kind]
    path.write_text(json.dumps(told))
    return folder


def in_shards(folder: Path) -> Path:
    """Store the weights of a model in several files with an index, as large models are."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="4KB")
    return folder
