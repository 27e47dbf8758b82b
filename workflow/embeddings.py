"""Stage embeddings: vectors of all documents and queries of a dataset, computed once for every content.

The cache is keyed by what decides the vectors (weights, tokenizer, lengths, precision, texts), never by a
name, so suites that share a collection and an encoder share its vectors.
"""

import json
import logging
import os
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from platformdirs import user_cache_dir
from typer import Option

from workflow import collection, stage
from workflow.encoder import Encoder, Texts, content_key, find_model, resolve_dtype
from workflow.files import replacing, replacing_folder, write_json
from workflow.provenance import process_cost
from workflow.vectors import DOCUMENTS, SIDES

CACHE_VARIABLE = "NEGBENCH_CACHE"
log = logging.getLogger(__name__)


def embed(dataset: Path, settings: dict[str, Any], threads: int = 1) -> tuple[Path, dict[str, Any]]:
    """Return the cache folder that holds the vectors of a dataset, and the facts about them."""
    model = find_model(settings["model"])
    dtype = resolve_dtype(settings["dtype"])
    documents, queries = collection.texts(dataset)
    sides = [
        Texts(documents, settings["document_length"], settings["document_prompt"]),
        Texts(queries, settings["query_length"], settings["query_prompt"]),
    ]
    similarity = settings["similarity"]
    key = content_key(model, dtype, sides, similarity)
    folder = cache_folder() / "vectors" / key[:32]
    facts = {"model": settings["model"], "dtype": dtype, "key": key, "dimension": 0}
    if not folder.is_dir():
        started = time.perf_counter()
        with replacing_folder(folder) as partial:
            _encode(Encoder(model, dtype, similarity == "cosine"), sides, partial, threads)
        log.info("encoded in %.1f s", time.perf_counter() - started)
    else:
        stage.say(f"vectors of {dataset.name}: taken from the cache ({key[:12]})")
    facts["dimension"] = int(np.load(folder / DOCUMENTS, mmap_mode="r").shape[1])
    return folder, facts


def cache_folder() -> Path:
    """Return the folder of caches: NEGBENCH_CACHE, else the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or user_cache_dir("negbench"))


def main(
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    settings: Annotated[str, Option(help="settings of the encoder, as JSON")],
    folder: Annotated[Path, Option(help="where the vectors go")],
    threads: Annotated[int, Option(help="threads of the encoder")] = 1,
) -> None:
    """Encode all documents and queries of a dataset."""
    with process_cost() as cost:
        cached, facts = embed(dataset, json.loads(settings), threads)
        for name in SIDES:
            _place(cached / name, folder / name)
    write_json(folder / "embeddings.json", {**facts, "cost": cost.as_dict()})


def _encode(encoder: Encoder, sides: list[Texts], folder: Path, threads: int) -> None:
    tokens = [encoder.tokenise(side) for side in sides]
    total = sum(len(line) for side in tokens for line in side)
    with stage.bar(total, f"encoding {sum(map(len, tokens)):,} texts", " tokens") as told:
        for name, side in zip(SIDES, tokens, strict=True):
            np.save(folder / name, encoder.encode(side, told.update, threads))


def _place(source: Path, target: Path) -> None:
    """Put a cached file at its place among the results: as a hard link where possible, so it costs no space."""
    with replacing(target) as partial:
        partial.unlink()
        try:
            partial.hardlink_to(source)
        except OSError:
            partial.write_bytes(source.read_bytes())


if __name__ == "__main__":
    stage.command(main)
