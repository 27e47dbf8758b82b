"""Vectors of a dataset by a token table before training, from which pools are mined, and tables as folders.

As in stage embeddings the cache is keyed by what decides the vectors of a side: the table and the tokens.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from negmark.core import stage
from negmark.core.cache import alone
from negmark.core.files import canonical, replacing, replacing_folder, write_json
from negmark.core.folders import cache_folder
from negmark.encode.model_files import MODULES, TOKENIZER, WEIGHTS
from negmark.encode.pretrained import find_folder
from negmark.encode.recipe import differences
from negmark.encode.table_starts import KEY, TABLES_BY_NAME, open_table
from negmark.encode.token_table import (
    TokenTable,
    mean_vectors,
    tokens_of,
    without_tokens,
)
from negmark.encode.tokens import Texts, texts_key
from negmark.store import collection
from negmark.store.vectors import DOCUMENTS, QUERIES


def embed(
    dataset: Path, encoder: Mapping[str, Any], static: Mapping[str, Any]
) -> tuple[dict[str, Path], dict[str, Any]]:
    """Return the cached file of each side's vectors, and the facts about them, as `embeddings.embed` does.

    `encoder` are the settings of the suite's encoder (lengths, prompts, how vectors are stored), `static` says what
    the table starts from.
    """
    table = open_table(static, encoder["model"])
    if static["start"] not in TABLES_BY_NAME:
        for line in differences(find_folder(static["start"], KEY), encoder):
            stage.say(line)
    texts = dict(zip((DOCUMENTS, QUERIES), collection.texts(dataset), strict=True))
    files, keys, empty = {}, {}, {}
    for name, side in ((DOCUMENTS, "document"), (QUERIES, "query")):
        inputs = Texts(texts[name], encoder[f"{side}_length"], encoder[f"{side}_prompt"])
        parts = [table.fingerprint, *texts_key(inputs), encoder["output"]]
        keys[name] = hashlib.sha256(canonical(parts).encode()).hexdigest()
        files[name] = cache_folder() / "vectors" / f"{keys[name][:32]}.npy"
        tokens = tokens_of(table, inputs)
        empty[Path(name).stem] = without_tokens(tokens)
        with alone(files[name], "encodes the same texts"):
            if not files[name].is_file():
                vectors = mean_vectors(table.folded(), tokens).astype(encoder["output"])
                with replacing(files[name]) as partial:
                    np.save(partial, vectors)
        if empty[Path(name).stem]:
            stage.say(f"{Path(name).stem} of {dataset.name}: {empty[Path(name).stem]:,} have no known token")
    key = hashlib.sha256(canonical(keys).encode()).hexdigest()
    facts = {"model": encoder["model"], "dtype": "float32", "key": key, "dimension": table.dimension}
    return files, {**facts, "without_tokens": empty}


def save_table(table: TokenTable, rows: NDArray[np.float32], folder: Path) -> None:
    """Write a table with other rows [V, D] as a folder that `static.start` may name and SentenceTransformer opens.

    Its texts are cut nowhere; weights must be folded into the rows.
    """
    unit = {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"}
    static = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}
    with replacing_folder(folder) as partial:
        save_file({"embedding.weight": np.ascontiguousarray(rows)}, partial / WEIGHTS)
        table.tokenizer.save(str(partial / TOKENIZER))
        write_json(partial / MODULES, [static, unit])
        (partial / "1_Normalize").mkdir()
