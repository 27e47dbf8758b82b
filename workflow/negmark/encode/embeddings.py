"""Stage embeddings: vectors of all documents and queries of a dataset, computed once per content.

The cache key of a side is everything that decides its vectors (weights, tokenizer, length, precision, texts), never a
name, so collections that share a corpus and an encoder share its vectors. A killed encoding resumes at the first
missing shard.
"""

import functools
import hashlib
import importlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Option

from negmark.core import stage
from negmark.core.cache import alone
from negmark.core.errors import UserError
from negmark.core.files import canonical, copy, replacing, reserve, write_json
from negmark.core.folders import cache_folder
from negmark.core.integrity import damage
from negmark.core.provenance import process_cost
from negmark.encode import shards
from negmark.encode.architecture import usable_dtype
from negmark.encode.encoder import Encoder, vectors_key
from negmark.encode.model_files import open_config
from negmark.encode.pretrained import find_model
from negmark.encode.recipe import differences
from negmark.encode.tokens import Texts, Tokens, tokens_key, tokens_of
from negmark.store import collection
from negmark.store.vectors import DOCUMENTS, QUERIES, odd_row

TABLES = "negmark.encode.static_vectors"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What to encode of a dataset and where its vectors are in the cache; the keys are the names in `SIDES`."""

    model: Path
    dtype: str
    settings: dict[str, Any]
    sides: dict[str, Texts]
    keys: dict[str, str]

    @classmethod
    def of(cls, dataset: Path, settings: dict[str, Any]) -> "Plan":
        """Plan the encoding of a dataset; `settings` are the encoder's."""
        model = find_model(settings["model"])
        dtype = usable_dtype(open_config(model), settings["dtype"])
        texts = dict(zip((DOCUMENTS, QUERIES), collection.texts(dataset), strict=True))
        sides = {
            name: Texts(texts[name], settings[f"{side}_length"], settings[f"{side}_prompt"])
            for name, side in ((DOCUMENTS, "document"), (QUERIES, "query"))
        }
        how = dtype, settings["similarity"], settings["output"]
        keys = {name: vectors_key(model, tokens_key(model, side), *how) for name, side in sides.items()}
        return cls(model, dtype, settings, sides, keys)

    def file(self, name: str) -> Path:
        """Return the cached file of a side's vectors."""
        return cache_folder() / "vectors" / f"{self.keys[name][:32]}.npy"

    def missing(self) -> list[str]:
        """Return the sides that aren't in the cache."""
        return [name for name in self.sides if not _is_whole(self.file(name))]

    def encoder(self) -> Encoder:
        """Load the encoder."""
        return Encoder(self.model, self.dtype, normalize=self.settings["similarity"] == "cosine")


def embed(
    dataset: Path, settings: dict[str, Any], threads: int = 1
) -> tuple[dict[str, Path], dict[str, Any]]:
    """Return the cached file of each side's vectors, and the facts about them; `settings` are the encoder's."""
    plan = Plan.of(dataset, settings)
    for line in differences(plan.model, settings):
        stage.say(line)
    missing = plan.missing()
    files = {name: plan.file(name) for name in plan.sides}
    if missing:
        tokens = {name: tokens_of(plan.model, plan.sides[name]) for name in missing}
        _encode(plan.encoder(), tokens, files, settings["output"], threads)
    for name in files.keys() - set(missing):
        stage.say(
            f"{Path(name).stem} of {dataset.name}: vectors taken from the cache ({plan.keys[name][:12]})"
        )
    dimension = int(np.load(files[DOCUMENTS], mmap_mode="r").shape[1])
    key = hashlib.sha256(canonical(plan.keys).encode()).hexdigest()
    return files, {"model": settings["model"], "dtype": plan.dtype, "key": key, "dimension": dimension}


def encode_part(dataset: Path, settings: dict[str, Any], share: tuple[int, int], threads: int = 1) -> None:
    """Encode one of several shares of a dataset's texts into the cache, for a later `embed`."""
    plan = Plan.of(dataset, settings)
    if not (missing := plan.missing()):
        return
    encoder = plan.encoder()
    for name in missing:
        tokens = tokens_of(plan.model, plan.sides[name])
        with stage.bar(int(tokens.starts[-1]) // share[1], f"encoding {Path(name).stem}", " tokens") as bar:
            shards.make(
                np.dtype(settings["output"]),
                encoder.plan(tokens),
                _shard_folder(plan.file(name)),
                functools.partial(encoder.encode, tokens, advance=bar.update, threads=threads),
                share,
            )


def embed_by_table(dataset: Path, settings: dict[str, Any]) -> tuple[dict[str, Path], dict[str, Any]]:
    """Return what `embed` does, by a token table: imported by name, so that other encoders don't depend on its code."""
    found: tuple[dict[str, Path], dict[str, Any]] = importlib.import_module(TABLES).embed(
        dataset, settings, settings["table"]
    )
    return found


def main(
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    settings: Annotated[str, Option(help="settings of the encoder, as JSON")],
    folder: Annotated[Path, Option(help="where the vectors go, or a part's record")],
    threads: Annotated[int, Option(help="threads of the encoder")] = 1,
    part: Annotated[int | None, Option(help="number of the share to encode, and no other")] = None,
    parts: Annotated[int, Option(help="of how many shares")] = 1,
) -> None:
    """Encode all documents and queries of a dataset, or a share of them."""
    options = json.loads(settings)
    with process_cost() as cost:
        if part is not None:
            encode_part(dataset, options, (part, parts), threads)
            facts = {"part": part, "parts": parts}
        else:
            table = options.get("table")
            cached, facts = embed_by_table(dataset, options) if table else embed(dataset, options, threads)
            for name, file in cached.items():
                check_finite(file, f"{Path(name).stem} of {dataset.name}", options)
                copy(file, folder / name)
    record = "embeddings.json" if part is None else shards.part_name(part, parts)
    write_json(folder / record, {**facts, "cost": cost.as_dict()})


def check_finite(file: Path, of: str, settings: dict[str, Any]) -> None:
    """Raise `UserError` if an encoder gave a text NaN or an infinity: no search would ever find it."""
    if (row := odd_row(np.load(file, mmap_mode="r"))) is not None:
        raise UserError(
            f"encoder.model: {settings['model']}: its vector of row {row} (from 0) of the {of} is not finite; set "
            "`encoder: {dtype: float32, output: float32}`, or use another model"
        )


def _encode(
    encoder: Encoder, sides: dict[str, Tokens], files: dict[str, Path], output: str, threads: int
) -> None:
    started = time.perf_counter()
    total = sum(int(tokens.starts[-1]) for tokens in sides.values())
    with stage.bar(total, f"encoding {sum(map(len, sides.values())):,} texts", " tokens") as bar:
        for name, tokens in sides.items():
            _encode_side(encoder, tokens, files[name], output, threads, bar.update)
    log.info("encoded in %.1f s", time.perf_counter() - started)


def _encode_side(
    encoder: Encoder, tokens: Tokens, path: Path, output: str, threads: int, advance: Callable[[int], object]
) -> None:
    """Write the vectors of a side to `path`, reusing the shards of an earlier attempt.

    If another run is encoding the same texts, wait for its vectors and take them.
    """
    unfinished = _shard_folder(path)
    with alone(path, "encodes the same texts"):
        if _is_whole(path):
            advance(int(tokens.starts[-1]))
            return
        with replacing(path) as partial:
            shape = len(tokens), encoder.dimension
            vectors = np.lib.format.open_memmap(partial, "w+", np.dtype(output), shape)
            reserve(partial)
            shards.fill(
                vectors,
                encoder.plan(tokens),
                unfinished,
                encode=lambda rows: encoder.encode(tokens, rows, advance, threads),
                reused=lambda rows: advance(int(tokens.lengths[rows].sum())),
            )
            vectors.flush()
        shutil.rmtree(unfinished, ignore_errors=True)


def _shard_folder(path: Path) -> Path:
    """Return the folder of the shards of an unfinished encoding."""
    return cache_folder() / "unfinished" / path.stem


def _is_whole(path: Path) -> bool:
    """Return whether a file of vectors is in the cache and complete; a damaged one is reported."""
    trouble = damage(path) if path.is_file() else None
    if trouble:
        stage.say(f"{path}: damaged: {trouble}; the texts are encoded again")
    return path.is_file() and not trouble


if __name__ == "__main__":
    stage.command(main)
