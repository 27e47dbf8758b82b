"""Stage embeddings: vectors of all documents and queries of a dataset, computed once for every content.

The cache is keyed by what decides the vectors (weights, tokenizer, lengths, precision, texts), never by a
name, so suites that share a collection and an encoder share its vectors. Texts are tokenised once into the cache
too, and a killed encoding goes on at the first shard that is missing.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from platformdirs import user_cache_dir
from typer import Option

from workflow import collection, shards, stage
from workflow.encoder import Encoder, Texts, content_key, find_model, resolve_dtype, tokens_key
from workflow.errors import UserError
from workflow.files import replacing, replacing_folder, write_json
from workflow.provenance import process_cost
from workflow.tokens import Tokens
from workflow.tokens import read as read_tokens
from workflow.tokens import write as write_tokens
from workflow.vectors import DOCUMENTS, SIDES

CACHE_VARIABLE = "NEGBENCH_CACHE"
log = logging.getLogger(__name__)


def embed(dataset: Path, settings: dict[str, Any], threads: int = 1) -> tuple[Path, dict[str, Any]]:
    """Return the cache folder that holds the vectors of a dataset, and the facts about them.

    `settings` may name `similarity` (cosine or dot) and `output` (float32 or float16, how vectors are stored).
    """
    model = find_model(settings["model"])
    documents, queries = collection.texts(dataset)
    sides = [
        Texts(documents, settings["document_length"], settings["document_prompt"]),
        Texts(queries, settings["query_length"], settings["query_prompt"]),
    ]
    job = _Job(
        model,
        resolve_dtype(settings["dtype"]),
        sides,
        settings["similarity"],
        settings.get("output", "float32"),
        threads,
    )
    key = content_key(model, job.dtype, sides, job.similarity, job.output)
    folder = cache_folder() / "vectors" / key[:32]
    if not folder.is_dir():
        started = time.perf_counter()
        kept = cache_folder() / "unfinished" / key[:32]
        with replacing_folder(folder) as partial:
            _encode(job, partial, kept)
        shutil.rmtree(kept, ignore_errors=True)
        log.info("encoded in %.1f s", time.perf_counter() - started)
    else:
        stage.say(f"vectors of {dataset.name}: taken from the cache ({key[:12]})")
    dimension = int(np.load(folder / DOCUMENTS, mmap_mode="r").shape[1])
    return folder, {"model": settings["model"], "dtype": job.dtype, "key": key, "dimension": dimension}


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


@dataclass(frozen=True)
class _Job:
    """What is encoded, and how."""

    model: Path
    dtype: str
    sides: list[Texts]
    similarity: str
    output: str
    threads: int


def _encode(job: _Job, folder: Path, kept: Path) -> None:
    """Write the vectors of both sides to `folder`; what an earlier try left in `kept` isn't encoded again."""
    encoder = Encoder(job.model, job.dtype, normalize=job.similarity == "cosine")
    sides = {name: _tokens(encoder, job.model, side) for name, side in zip(SIDES, job.sides, strict=True)}
    total = sum(int(tokens.starts[-1]) for tokens in sides.values())
    with stage.bar(total, f"encoding {sum(map(len, sides.values())):,} texts", " tokens") as told:
        for name, tokens in sides.items():
            _encode_side(encoder, tokens, folder / name, kept / Path(name).stem, job, told.update)


def _encode_side(
    encoder: Encoder, tokens: Tokens, path: Path, kept: Path, job: _Job, advance: Callable[[int], object]
) -> None:
    vectors = np.lib.format.open_memmap(path, "w+", job.output, (len(tokens), encoder.dimension))
    shards.fill(
        vectors,
        encoder.plan(tokens),
        kept,
        encode=lambda rows: encoder.encode(tokens, rows, advance=advance, threads=job.threads),
        found=lambda rows: advance(int(tokens.lengths[rows].sum())),
    )
    vectors.flush()


def _tokens(encoder: Encoder, model: Path, side: Texts) -> Tokens:
    """Return the tokens of a side, from the cache if they are there whole."""
    folder = cache_folder() / "tokens" / tokens_key(model, side)[:32]
    found = read_tokens(folder)
    if found is None or len(found) != len(side.lines):
        if folder.exists():
            log.warning("%s: damaged; the texts are tokenised again", folder)
            shutil.rmtree(folder)
        write_tokens(folder, encoder.chunks(side), encoder.vocabulary)
        found = read_tokens(folder)
    if found is None:
        raise UserError(f"{folder}: can't be read back after it was written; check the disk")
    return found


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
