"""How large a suite may be on two cores: runs planned, runs collated, documents.

Measured by `pytest -m slow -s tests/whole/test_load.py`.

The encoder of a million documents is a hash encoder: a transformer without layers, whose vector of a text is the mean
of random vectors of its words. It goes through the whole engine as any other, but costs next to nothing.
"""

import copy
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tabulate import tabulate

from builders import contents_file
from negmark.plan.jobs import METADATA, done
from negmark.store.contents import Contents
from negmark.store.pool import CandidatePool
from score_rows import CONDITIONS
from tiny import SUITE, copy_project, snakemake, write_suite

ROWS, DATASETS, SEEDS = 20, 20, 5  # 2,000 runs
QUERIES = 300
WORDS = 20_000
GIBIBYTE = 2**30


class Watched:
    """Measures the most memory that the children of this process hold together while a block runs, and its time."""

    def __enter__(self) -> "Watched":
        self.peak, self._over = 0, threading.Event()
        self._started, self._thread = time.monotonic(), threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._started

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            held = 0
            for child in psutil.Process().children(recursive=True):
                try:
                    memory = child.memory_full_info()
                    held += memory.pss  # pages that several share count once
                except psutil.Error:  # it has ended meanwhile
                    continue
            self.peak = max(self.peak, held)


@pytest.mark.slow
def test_two_thousand_runs_are_planned_within_a_minute(tmp_path: Path) -> None:
    copy_project(tmp_path)
    suite = copy.deepcopy(SUITE)
    suite["datasets"] = {f"d{place}": {"source": "./pydoc", "seed": place} for place in range(DATASETS)}
    suite["methods"] = {f"row{place}": {"method": "simans", "a": 0.1 + place} for place in range(ROWS)}
    suite["seeds"] = list(range(SEEDS))
    write_suite(tmp_path, suite)
    with Watched() as plan:
        told = snakemake(tmp_path, "--dry-run", "--quiet", "rules")
    print(f"\n2,000 runs: planned in {plan.seconds:.1f} s, {plan.peak / 2**20:.0f} MiB")
    text = told.stdout + told.stderr
    # Snakemake prints its table of jobs at the begin and at the end.
    trained = dict(line.split() for line in text.splitlines() if line.startswith("train_"))
    assert sum(map(int, trained.values())) == ROWS * DATASETS * SEEDS
    assert plan.seconds < 60


def write_runs(folder: Path, contents: Contents) -> None:
    """Write what 2,000 runs and their baselines leave for the board: method m is better by m thousandths."""
    rng = np.random.default_rng(0)
    names = [f"q{query}" for query in range(QUERIES)]
    slices = np.where(np.arange(QUERIES) % 2, "seen", "unseen").tolist()
    training = {"wall_seconds": 1.0, "cpu_seconds": 1.0}
    cost = {"training": training, "own": {"wall_seconds": 0.1}, "peak_mebibytes": 500.0}
    counters = dict.fromkeys(
        ("query_vectors", "document_vectors", "extra_vectors", "pairs", "searches", "teacher_vectors",
         "network_forwards"), 9,
    )  # fmt: skip
    hardware = {"cpu": "Z80", "cores": 1, "gpus": []}
    manifest = json.dumps(
        {"cost": cost, "counters": counters, "hardware": hardware, "filled": {}, "idle": ""}
    )
    for dataset in contents.cards:
        hardness = rng.random(QUERIES)
        for run in [*contents.runs(dataset), *contents.baselines(dataset)]:
            trained = run.name.startswith("seed-")
            method = run.parent.name if trained else run.name
            gain = int(method.removeprefix("row")) / 1000 if trained else 0.0
            values = np.clip(hardness + gain + 0.05 * rng.normal(size=QUERIES), 0, 1)
            metrics = dict.fromkeys(("nDCG@10", "RR@10", "R@100"), float(values.mean()))
            chosen = {"all": QUERIES, "seen": QUERIES // 2, "unseen": QUERIES // 2}
            facts: dict[str, Any] = {**dict.fromkeys(("title", "summary", "paper"), method), "start": "e"}
            facts |= {
                "suite": contents.suite,
                "dataset": dataset,
                "row": method,
                "params": {},
                "conditions": CONDITIONS if trained else {},
                "chain": [],
                "before": "untrained",
                "metrics": list(metrics),
                "status": "ok",
            }
            facts |= {"seed": int(run.name.removeprefix("seed-")) if trained else None, "adaptations": []}
            facts |= {
                "tier": "adapter" if trained else None,
                "track": "controlled" if trained else "baseline",
            }
            facts |= {"method": method if trained else None}
            facts["slices"] = {name: {**metrics, "queries": count} for name, count in chosen.items()}
            place = folder / run
            place.mkdir(parents=True)
            (place / "metrics.json").write_text(json.dumps(facts))
            table = {"query": names, "slice": slices, **dict.fromkeys(metrics, values)}
            pq.write_table(pa.table(table), place / "per_query.parquet")
            if trained:
                (place / "manifest.json").write_text(manifest)


def card(name: str) -> dict[str, Any]:
    """A card as the board wants it."""
    counts = {"train": 100, "dev": 0, "test": QUERIES}
    facts = {"name": name, "dataset": name, "regime": "standard", "documents": 1000, "documents_full": 1000}
    facts |= {
        "source": "made",
        "licence": "none",
        "sha256": "0" * 64,
        "queries": counts,
        "queries_full": counts,
    }
    return facts | {"seen_test_queries": QUERIES // 2, "unseen_test_queries": QUERIES // 2}


@pytest.mark.slow
def test_two_thousand_runs_are_collated_within_a_minute_and_two_gigabytes(tmp_path: Path) -> None:
    names = [f"d{place}" for place in range(DATASETS)]
    rows = [f"row{place}" for place in range(ROWS)]
    contents = Contents(suite="s", cards=dict.fromkeys(names, ""), rows=rows, seeds=list(range(SEEDS)))
    write_runs(tmp_path, contents)
    board = tmp_path / "results/leaderboards/s"
    (board / "cards").mkdir(parents=True)
    for name in names:
        (board / "cards" / f"{name}.json").write_text(json.dumps(card(name)))
    settings = {
        "encoder": "e",
        "steps": 9,
        "batch_size": 8,
        "negatives": 2,
        "seeds": SEEDS,
        "reference": "row0",
    }
    listed, project = (
        str(contents_file(contents, tmp_path)),
        str(Path(__file__).resolve().parents[2] / "workflow"),
    )
    stages = [
        ["compare.differences", "--reference", "row0", "--output", str(board / "differences.csv")],
        ["compare.claims", "--folder", str(board)],
        ["board.leaderboard", "--settings", json.dumps(settings), "--folder", str(board)],
    ]
    total = 0.0
    for stage in stages:
        command = [sys.executable, "-m", f"negmark.{stage[0]}", "--contents", listed, *stage[1:]]
        with Watched() as collated:
            subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": project}, check=True)
        print(f"\n{stage[0]} of 2,000 runs: {collated.seconds:.1f} s, {collated.peak / 2**20:.0f} MiB")
        total += collated.seconds
        assert collated.peak < 2 * GIBIBYTE
    table = pd.read_csv(board / "leaderboard.csv")
    assert len(table) == DATASETS * (ROWS + 2)
    assert total < 60


def write_hash_encoder(folder: Path) -> Path:
    """Write a transformer of no layers over the words w0, w1, ...: the mean of its words' random vectors."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {"[PAD]": 0, "[UNK]": 1} | {f"w{word}": word + 2 for word in range(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=64, num_hidden_layers=0, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32,
    )  # fmt: skip
    model = BertModel(config)
    with torch.no_grad():
        model.embeddings.position_embeddings.weight.zero_()
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=32
    ).save_pretrained(folder)
    return folder


def write_collection(folder: Path, documents: int, train: int, test: int) -> None:
    """Write short documents of words drawn by Zipf's law, without its head.

    A query is four words of its document and one other.
    """
    rng = np.random.default_rng(0)
    (folder / "qrels").mkdir(parents=True)
    weights = 1 / np.arange(
        50, WORDS + 50
    )  # words that stand everywhere are stop words, which nobody searches
    asked = rng.permutation(documents)[: train + test]
    words = np.empty((len(asked), 8), dtype=np.int64)
    place = {int(document): row for row, document in enumerate(asked)}
    with (folder / "corpus.jsonl").open("w") as file:
        for start in range(0, documents, 50_000):
            size = min(50_000, documents - start)
            for row, drawn in enumerate(rng.choice(WORDS, size=(size, 8), p=weights / weights.sum()), start):
                if row in place:
                    words[place[row]] = drawn
                file.write(f'{{"_id": "d{row}", "text": "{" ".join(f"w{word}" for word in drawn)}"}}\n')
    with (folder / "queries.jsonl").open("w") as file:
        for number, drawn in enumerate(words):
            text = " ".join(f"w{word}" for word in [*drawn[:4], rng.integers(WORDS)])
            file.write(f'{{"_id": "q{number}", "text": "{text}"}}\n')
    for split, rows in (("train", range(train)), ("test", range(train, train + test))):
        lines = "".join(f"q{row}\td{asked[row]}\t1\n" for row in rows)
        (folder / "qrels" / f"{split}.tsv").write_text(lines)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_documents_pass_within_eight_gigabytes(tmp_path: Path) -> None:
    copy_project(tmp_path)
    write_collection(tmp_path / "million", 1_000_000, 2_000, 500)
    suite = {
        "suite": "million",
        "datasets": {"million": {"source": "./million", "dev_queries": 0}},
        "encoder": {
            "model": str(write_hash_encoder(tmp_path / "hash")),
            "query_length": 8,
            "document_length": 8,
        },
        "training": {"steps": 100, "batch_size": 32, "negatives": 4},
        "methods": dict.fromkeys(["inbatch", "random", "bm25", "simans"]),
        "seeds": [0],
        "tracking": {"mode": "disabled"},
    }
    write_suite(tmp_path, suite)
    with Watched() as run:
        done = snakemake(tmp_path, seconds=3000)
    print(f"\na million documents: {run.seconds:.0f} s, {run.peak / 2**20:,.0f} MiB\n{done.stdout[-2500:]}")
    board = pd.read_csv(tmp_path / "results/leaderboards/million/leaderboard.csv").set_index("row")
    assert board.loc["bm25_search", "nDCG@10/all/mean"] > 0.5, "four words of eight name a document"
    assert (board["nDCG@10/all/mean"] > 0.1).all()
    assert run.peak < 8 * GIBIBYTE


SIZES = (10_000, 100_000, 1_000_000, 8_800_000)
PASSAGES: dict[str, Any] = {
    "suite": "passages",
    "encoder": {"query_length": 8, "document_length": 8},
    "shards": {"encode": 2, "documents": 4, "queries": 2},
    "methods": dict.fromkeys(["inbatch", "bm25", "simans"]),
    "seeds": [0],
    "tracking": {"mode": "disabled"},
}


def pooled(folder: Path, size: int) -> dict[str, float]:
    """Cut a collection to `size` passages, encode it in shares, and search it in shares for 2,000 queries.

    Returns seconds by stage, all the seconds, and the peak of memory in MiB.
    """
    copy_project(folder)
    write_collection(folder / "passages", size * 51 // 50, 2_000, 500)
    cut = {"source": "./passages", "documents": size, "dev_queries": 0}
    encoder = {"model": str(write_hash_encoder(folder / "hash")), **PASSAGES["encoder"]}
    write_suite(folder, {**PASSAGES, "datasets": {"passages": cut}, "encoder": encoder})
    with Watched() as run:
        snakemake(folder, "--until", "bm25_pool", "dense_pool", seconds=7000)
    taken = dict.fromkeys(
        ("dataset", "encode_part", "embeddings", "pool_part", "bm25_pool", "dense_pool"), 0.0
    )
    for job in done(folder / METADATA):
        taken[job.rule] += job.ended - job.began
    pools = list((folder / "results/pools").rglob("*.safetensors"))
    assert {path.stem: CandidatePool(path).depth for path in pools} == {"bm25": 200, "dense": 200}
    shutil.rmtree(folder)
    return {"passages": size, **taken, "all seconds": run.seconds, "peak MiB": run.peak / 2**20}


@pytest.mark.slow
@pytest.mark.timeout(9000)
def test_cost_grows_with_the_corpus_up_to_that_of_ms_marco(tmp_path: Path) -> None:
    found = [pooled(tmp_path / str(size), size) for size in SIZES]
    print("\n" + tabulate(found, "keys", "github", floatfmt=",.0f", intfmt=","))
    small, large = found[-2:]
    growth = large["passages"] / small["passages"]
    assert large["all seconds"] < 1.3 * growth * small["all seconds"]
    assert max(row["peak MiB"] for row in found) < 8 * 1024
