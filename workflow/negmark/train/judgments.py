"""Stage judgments: a cross-encoder's scores of every candidate in a dense pool and of every labelled pair.

It is the pool once more, with the cross-encoder's logits in place of similarities, so a method that asks a teacher
finds them by query and document. They are computed once: the cache key is everything that decides them (weights,
tokenizer, lengths, precision, texts, candidates), never a name. A killed job resumes at the first missing part.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from typer import Option

from negmark.core import stage
from negmark.core.cache import alone
from negmark.core.files import canonical, link_or_copy, replacing
from negmark.core.folders import cache_folder
from negmark.encode.device import resolve_dtype
from negmark.encode.encoder import network_key
from negmark.encode.pretrained import find_model
from negmark.encode.tokens import Texts, tokens_key
from negmark.store import collection
from negmark.train.tiers.rerank import PairTexts, Ranker, build

QUERIES_AT_A_TIME = 256
"""Queries of a part: what a kill costs."""
Arrays = Mapping[str, NDArray[Any]]


def main(
    pool: Annotated[Path, Option(help="the dense pool whose candidates are scored")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    settings: Annotated[str, Option(help="settings of the cross-encoder, as JSON")],
    output: Annotated[Path, Option(help="the safetensors file to write")],
    threads: Annotated[int, Option(help="threads of the cross-encoder")] = 1,
) -> None:
    """Score the candidates of a dense pool by a cross-encoder."""
    started, options = time.perf_counter(), json.loads(settings)
    candidates = load_file(pool)
    model = find_model(options["ranker"], "teacher.ranker")
    key = judgments_key(model, options, dataset, candidates)
    cached = cache_folder() / "judgments" / f"{key[:32]}.safetensors"
    with alone(cached, "scores the same candidates"):
        if not cached.is_file():
            ranker = open_ranker(model, options, dataset, threads)
            parts = cache_folder() / "unfinished" / cached.stem
            with replacing(cached) as partial:
                save_file({**candidates, **judged(candidates, ranker, parts)}, partial)
            shutil.rmtree(parts, ignore_errors=True)
    link_or_copy(cached, output)
    pairs = int((candidates["ids"] >= 0).sum()) + len(candidates["positive_scores"])
    stage.say(f"judgments of {dataset.name}: {pairs:,} pairs, {time.perf_counter() - started:.1f} s")


def judgments_key(model: Path, options: Mapping[str, Any], dataset: Path, candidates: Arrays) -> str:
    """Return a SHA-256 of everything that decides the scores."""
    sides = zip(collection.texts(dataset), ("document", "query"), strict=True)
    parts: list[Any] = [*network_key(model), resolve_dtype(options["dtype"]), "logit"]
    parts += [tokens_key(model, Texts(texts, options[f"{side}_length"], "")) for texts, side in sides]
    asked = ("queries", "ids", "positive_queries", "positive_documents")
    parts += [hashlib.sha256(np.ascontiguousarray(candidates[name]).data).hexdigest() for name in asked]
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def open_ranker(model: Path, options: Mapping[str, Any], dataset: Path, threads: int) -> Ranker:
    """Return a cross-encoder over a dataset's rows. Raises `UserError` if the model isn't one with one label."""
    network, _ = build(options, {"model": str(model)}, key="teacher.ranker")
    texts = PairTexts(dataset, model, options["query_length"] + options["document_length"])
    ranker = Ranker(network, texts, options["dtype"])
    if ranker.device.type == "cpu":  # chunks in parallel, one core each
        torch.set_num_threads(1)
        ranker.threads = threads
    return ranker


@torch.no_grad()
def judged(candidates: Arrays, ranker: Ranker, parts: Path) -> dict[str, NDArray[np.float32]]:
    """Return the logits [Q, K] of a pool's candidates, -inf in empty places, and those [P] of labelled pairs.

    Finished parts are kept in the folder `parts`.
    """
    queries, ids = candidates["queries"].astype(np.int64), candidates["ids"].astype(np.int64)
    asked, labelled = (candidates[f"positive_{side}"].astype(np.int64) for side in ("queries", "documents"))
    rows = list(_blocks(len(queries)))
    scores = np.empty(ids.shape, np.float32)
    for block in stage.progress(rows, "judging candidates"):
        found = _kept(
            parts / f"candidates-{block.start}.npy", lambda rows=block: ranker(queries[rows], ids[rows])
        )
        scores[block] = np.where(ids[block] < 0, -np.inf, found)
    positive = [
        _kept(
            parts / f"positives-{block.start}.npy",
            lambda rows=block: ranker(asked[rows], labelled[rows, None])[:, 0],
        )
        for block in _blocks(len(asked))
    ]
    return {"scores": scores, "positive_scores": np.concatenate(positive)}


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + QUERIES_AT_A_TIME) for start in range(0, count, QUERIES_AT_A_TIME))


def _kept(path: Path, score: Any) -> NDArray[np.float32]:
    """Return the logits of a part, from the disk if an earlier job left them there."""
    if not path.is_file():
        with replacing(path) as partial:
            np.save(partial, score().numpy())
    found: NDArray[np.float32] = np.load(path)
    return found


if __name__ == "__main__":
    stage.command(main)
