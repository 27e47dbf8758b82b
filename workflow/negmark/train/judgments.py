"""Stages judgments and row_judgments: a cross-encoder's scores of a dense pool's candidates and of labelled pairs.

It is the pool once more, with the cross-encoder's logits in place of similarities, so a method that asks a teacher
finds them by query and document. The cross-encoder is a ready one, or one that a row of the suite has trained. Scores
are computed once: the cache key is everything that decides them (weights, tokenizer, lengths, precision, texts,
candidates), never a name. A killed job resumes at the first missing piece, and several jobs may score a share each
(`--part`), which the last one gathers.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import nn
from typer import Option

from negmark.core import stage
from negmark.core.cache import alone
from negmark.core.files import canonical, copy, read_json, replacing, sha256_file, write_json
from negmark.core.folders import cache_folder
from negmark.encode.device import resolve_dtype
from negmark.encode.encoder import network_key
from negmark.encode.pretrained import find_model
from negmark.encode.tokens import Texts, tokens_key
from negmark.store import collection
from negmark.train.tiers.rerank import PairTexts, Ranker, build, load_network, model_folder

QUERIES_AT_A_TIME = 256
"""Queries of a piece: what a kill costs."""
MANIFEST = "manifest.json"
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Judge:
    """A cross-encoder that scores: a ready one, or one that a run has trained."""

    folder: Path
    """Of the model: all of a ready one, or what the run started from."""
    encoder: Mapping[str, Any]
    """Has `query_length` and `document_length`."""
    budget: Mapping[str, Any]
    """`model`, as the rerank tier builds one."""
    precision: str
    chunk_tokens: int
    trained: Path | None = None
    """The run's weights."""

    @classmethod
    def ready(cls, options: Mapping[str, Any]) -> "Judge":
        """Return the cross-encoder of a suite's `teacher: {ranker: ...}`."""
        folder = find_model(options["ranker"], "teacher.ranker")
        return cls(folder, options, {"model": str(folder)}, options["dtype"], 1024)

    @classmethod
    def of_run(cls, model: Path) -> "Judge":
        """Return the cross-encoder of a run of the rerank tier, whose manifest says how it was built."""
        spec = read_json(model.with_name(MANIFEST))["run"]
        encoder, budget = spec["encoder"], spec["training"]
        folder = model_folder(encoder, budget)
        return cls(folder, encoder, budget, budget["precision"], budget["chunk_tokens"], model)

    def key(self, dataset: Path, candidates: Arrays) -> str:
        """Return a SHA-256 of everything that decides the scores."""
        sides = zip(collection.texts(dataset), ("document", "query"), strict=True)
        parts: list[Any] = [*network_key(self.folder), resolve_dtype(self.precision), "logit"]
        parts += [sha256_file(self.trained)] if self.trained else []
        parts += [
            tokens_key(self.folder, Texts(texts, self.encoder[f"{side}_length"], "")) for texts, side in sides
        ]
        asked = ("queries", "ids", "positive_queries", "positive_documents")
        parts += [hashlib.sha256(np.ascontiguousarray(candidates[name]).data).hexdigest() for name in asked]
        return hashlib.sha256(canonical(parts).encode()).hexdigest()

    def open(self, dataset: Path, threads: int) -> Ranker:
        """Return it over a dataset's rows. Raises `UserError` if the model isn't one with one label."""
        network: nn.Module
        network, _ = build(self.encoder, self.budget, key="teacher.ranker")
        if self.trained:
            load_network(network, self.trained)
        length = self.encoder["query_length"] + self.encoder["document_length"]
        texts = PairTexts(dataset, self.folder, length)
        ranker = Ranker(network, texts, self.precision, self.chunk_tokens)
        if ranker.device.type == "cpu":  # chunks in parallel, one core each
            torch.set_num_threads(1)
            ranker.threads = threads
        return ranker


class Piece(NamedTuple):
    """Pairs that are scored and stored together."""

    name: str
    queries: NDArray[np.int64]
    """[B]"""
    documents: NDArray[np.int64]
    """[B, K], -1 in empty places."""


def main(
    pool: Annotated[Path, Option(help="the dense pool whose candidates are scored")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    output: Annotated[Path, Option(help="the safetensors file to write, or a part's record")],
    settings: Annotated[str, Option(help="settings of a ready cross-encoder, as JSON")] = "",
    model: Annotated[Path | None, Option(help="the model of a run that has trained one")] = None,
    part: Annotated[int | None, Option(help="which share to score, from 0 on; all if left out")] = None,
    parts: Annotated[int, Option(help="shares that the work is split into")] = 1,
    threads: Annotated[int, Option(help="threads of the cross-encoder")] = 1,
) -> None:
    """Score the candidates of a dense pool by a cross-encoder."""
    started, candidates = time.perf_counter(), load_file(pool)
    judge = Judge.of_run(model) if model else Judge.ready(json.loads(settings))
    key = judge.key(dataset, candidates)
    cached = cache_folder() / "judgments" / f"{key[:32]}.safetensors"
    kept = cache_folder() / "unfinished" / cached.stem
    if part is not None:
        mine = [] if cached.is_file() else pieces(candidates)[part::parts]
        ranker = judge.open(dataset, threads) if mine else None
        pairs = sum(int((scored(piece, ranker, kept) > -np.inf).sum()) for piece in mine)
        write_json(output, {"key": key, "pairs": pairs})
        return
    with alone(cached, "scores the same candidates"):
        if not cached.is_file():
            ranker = judge.open(dataset, threads)
            with replacing(cached) as partial:
                save_file({**candidates, **judged(candidates, ranker, kept)}, partial)
            shutil.rmtree(kept, ignore_errors=True)
    copy(cached, output)
    pairs = int((candidates["ids"] >= 0).sum()) + len(candidates["positive_scores"])
    stage.say(f"judgments of {dataset.name}: {pairs:,} pairs, {time.perf_counter() - started:.1f} s")


def pieces(candidates: Arrays) -> list[Piece]:
    """Return what is scored: the candidates of each query, then the labelled pairs, in the pool's order."""
    queries, ids = candidates["queries"].astype(np.int64), candidates["ids"].astype(np.int64)
    asked, labelled = (candidates[f"positive_{side}"].astype(np.int64) for side in ("queries", "documents"))
    rows = [Piece(f"candidates-{block.start}", queries[block], ids[block]) for block in _blocks(len(queries))]
    return rows + [
        Piece(f"positives-{block.start}", asked[block], labelled[block, None])
        for block in _blocks(len(asked))
    ]


@torch.no_grad()
def judged(candidates: Arrays, ranker: Ranker, kept: Path) -> dict[str, NDArray[np.float32]]:
    """Return the logits [Q, K] of a pool's candidates, -inf in empty places, and those [P] of labelled pairs.

    Finished pieces are kept in the folder `kept`.
    """
    found: dict[str, list[NDArray[np.float32]]] = {"candidates": [], "positives": []}
    for piece in stage.progress(pieces(candidates), "judging candidates"):
        found[piece.name.partition("-")[0]].append(scored(piece, ranker, kept))
    nothing = np.empty((0, candidates["ids"].shape[1]), np.float32)
    return {
        "scores": np.concatenate([nothing, *found["candidates"]]),
        "positive_scores": np.concatenate(found["positives"])[:, 0],
    }


@torch.no_grad()
def scored(piece: Piece, ranker: Ranker | None, kept: Path) -> NDArray[np.float32]:
    """Return the logits of a piece, -inf in empty places, from the disk if an earlier job left them there."""
    path = kept / f"{piece.name}.npy"
    if not path.is_file():
        assert ranker is not None
        with replacing(path) as partial:
            np.save(partial, ranker(piece.queries, piece.documents).numpy())
    found: NDArray[np.float32] = np.load(path)
    return np.where(piece.documents < 0, -np.inf, found).astype(np.float32)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + QUERIES_AT_A_TIME) for start in range(0, count, QUERIES_AT_A_TIME))


if __name__ == "__main__":
    stage.command(main)
