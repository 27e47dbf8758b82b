"""The speed of this machine, measured on synthetic data in under a minute; plans are extrapolated from it.

Every stage does a little of its real work through its real code; what grows with the corpus is measured at two sizes
and extrapolated as a line. No dataset is read, so a plan can be made before one is prepared.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from negmark.data import prepare
from negmark.encode.encoder import Encoder
from negmark.encode.token_table import mean_vectors
from negmark.encode.tokens import Texts, Tokens, tokenise
from negmark.search.candidates import build_pool
from negmark.search.index import BM25Searcher, DenseSearcher
from negmark.store.collection import Qrels
from negmark.store.labels import Labels
from negmark.store.pool import CandidatePool
from negmark.train.inputs import Materials
from negmark.train.run import set_up
from negmark.train.step import one_step

SMALL, LARGE = 2_000, 12_000
"""Documents of the two synthetic corpora."""
QUERIES, DEPTH = 1_000, 100
STEPS = 6
TEXTS = 96
VOCABULARY, LENGTH = 30_000, 64
"""Rows of a token table, and tokens of a text that it averages."""


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def start_seconds(module: str) -> float:
    """Return how long a stage's job takes to start: Python, its imports, the command line."""
    return seconds_of(
        lambda: subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, check=True)
    )


def prepared_texts(folder: Path) -> float:
    """Return texts per second of the dataset stage: read, checked, cut and written."""
    rng = np.random.default_rng(0)
    rows = [" ".join(f"w{word}" for word in drawn) for drawn in rng.integers(9_999, size=(LARGE, 40))]
    (folder / "made" / "qrels").mkdir(parents=True)
    for name, count in (("corpus", LARGE), ("queries", QUERIES)):
        lines = (json.dumps({"_id": f"{row}", "text": rows[row]}) for row in range(count))
        (folder / "made" / f"{name}.jsonl").write_text("\n".join(lines))
    for split, queries in (("train", range(QUERIES // 2)), ("test", range(QUERIES // 2, QUERIES))):
        (folder / "made" / "qrels" / f"{split}.tsv").write_text(
            "".join(f"{row}\t{row}\t1\n" for row in queries)
        )
    settings = {
        "name": "made", "source": str(folder / "made"), "seed": 0, "documents": None, "train_queries": None,
        "dev_queries": 0, "regime": "standard",
    }  # fmt: skip
    started = time.perf_counter()
    prepare.write(prepare.prepare(settings)[0], folder / "prepared")
    return (LARGE + QUERIES) / (time.perf_counter() - started)


def encoded_tokens(model: Path, dtype: str, length: int, threads: int) -> float:
    """Return tokens per second of an encoder on texts of about `length` tokens."""
    rng = np.random.default_rng(0)
    words = ["time", "water", "people", "history", "music", "number", "river", "light"]
    lines = [" ".join(rng.choice(words, max(length - 2, 1))) for _ in range(TEXTS)]
    encoder, tokens = Encoder(model, dtype), tokenise(model, Texts(lines, length, ""))
    encoder.encode(tokens, np.arange(8), lambda count: None, threads)
    seconds = seconds_of(lambda: encoder.encode(tokens, np.arange(TEXTS), lambda count: None, threads))
    return int(tokens.starts[-1]) / seconds


def averaged_tokens(dimension: int) -> float:
    """Return tokens per second and core that a table of rows of this width averages, in texts of 64 tokens."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(VOCABULARY, dimension)).astype(np.float32)
    ids = rng.integers(VOCABULARY, size=LARGE * LENGTH).astype(np.int32)
    tokens = Tokens(ids, np.arange(0, len(ids) + 1, LENGTH))
    return len(ids) / seconds_of(lambda: mean_vectors(rows, tokens))


def products(dimension: int, threads: int) -> float:
    """Return multiplications per second of the exact search for dense candidates."""
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(1 << 15, dimension)).astype(np.float32)
    searcher = DenseSearcher(documents, documents[:1024], threads)
    seconds = seconds_of(lambda: searcher.search(np.arange(1024), DEPTH))
    return documents.size * 1024 / seconds


def bm25(words: int) -> tuple[float, float]:
    """Return the texts of `words` words that BM25 indexes per second, and the query-document pairs that it scores.

    Words are drawn by Zipf's law without its head, which are stop words.
    """
    rng = np.random.default_rng(0)
    probabilities = 1 / np.arange(50, 30_050)
    drawn = rng.choice(30_000, size=(LARGE, words), p=probabilities / probabilities.sum())
    lines = [" ".join(f"w{word}" for word in row) for row in drawn]
    queries = [" ".join(line.split()[:6]) for line in lines[:200]]
    started = time.perf_counter()
    searcher = BM25Searcher(lines, queries, 1.2, 0.75)
    indexed = LARGE / (time.perf_counter() - started)
    return indexed, LARGE * 200 / seconds_of(lambda: searcher.search(np.arange(200), DEPTH))


class World:
    """A synthetic dataset of vectors, on which any row of the adapter tier can take steps."""

    def __init__(self, folder: Path, documents: int, dimension: int) -> None:
        rng = np.random.default_rng(0)
        vectors, queries = (_unit(rng.normal(size=(size, dimension))) for size in (documents, QUERIES))
        labels = Qrels(
            np.arange(QUERIES), rng.integers(documents, size=QUERIES), np.ones(QUERIES, dtype=np.int64)
        )
        searcher = DenseSearcher(vectors, queries, torch.get_num_threads())
        self._pool = folder / f"{documents}.safetensors"
        from safetensors.numpy import save_file

        save_file(build_pool(searcher, labels, documents, DEPTH), self._pool)
        pool = CandidatePool(self._pool)
        pools = {"dense": pool, "bm25": pool, "given": pool, "verdicts": pool}
        self.materials = Materials(folder, vectors, queries, Labels(labels, documents), pools)

    def step(self, spec: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return the seconds of a run's set-up, of its first step and of a later one."""
        started = time.perf_counter()
        run = set_up(spec, self.materials)
        prepared = time.perf_counter() - started
        first = seconds_of(lambda: one_step(run, 0, keep_scores=False))
        one_step(run, 1, keep_scores=False)
        started = time.perf_counter()
        for step in range(2, STEPS):
            one_step(run, step, keep_scores=False)
        return prepared, first, (time.perf_counter() - started) / (STEPS - 2)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
