"""A dataset small enough to reason about, in the formats that the workflow writes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from builders import unit
from negmark.data import prepare
from negmark.methods import registry
from negmark.methods.auxiliary import EDITS
from negmark.methods.types import Batch, Negatives, Step
from negmark.search.candidates import build_pool
from negmark.search.index import BM25Searcher, DenseSearcher
from negmark.store import collection
from negmark.store import vectors as stored
from negmark.store.auxiliary import read_auxiliary
from negmark.store.collection import Qrels, qrels, texts
from negmark.store.graph import relation_of
from negmark.store.left_out import read_left_out
from negmark.store.pool import CandidatePool
from negmark.train import train
from negmark.train.run import Run, set_up
from negmark.train.step import one_step

WORDS = [f"word{number}" for number in range(24)]
OUTSIDE = 3
"""Test queries behind the training queries: no method may meet them."""


@dataclass(frozen=True)
class World:
    """A dataset on disk with its vectors and candidate pools."""

    dataset: Path
    vectors: Path
    pools: dict[str, CandidatePool]
    labels: Qrels
    """All labels of the training split, as stored: grade 0 too."""
    documents: int
    table: Path
    """Folder of a token table, for methods that need the vectors of tokens or texts."""
    auxiliary: Path
    """A table of texts beside the corpus."""

    @property
    def texts(self) -> int:
        """How many texts there are beside the corpus."""
        return len(read_auxiliary([self.auxiliary]))

    @property
    def positives(self) -> set[tuple[int, int]]:
        """Labelled pairs of a training query and a document."""
        kept = self.labels.positives()
        return set(zip(kept.queries.tolist(), kept.documents.tolist(), strict=True))

    def spec(self, method: str, seed: int = 0, row: str | None = None, **training: Any) -> dict[str, Any]:
        """A run's spec with default parameters, as the Snakefile hands it over; `name/faithful` for the track.

        In the adapter tier, unless the method needs the vectors of tokens or texts beside the corpus.
        """
        budget = {"steps": 6, "batch_size": 8, "negatives": 4, "learning_rate": 1e-2, "warmup": 0.1}
        budget |= {"weight_decay": 0.0, "temperature": 0.05, "checkpoint_steps": 3}
        name, _, track = method.partition("/")
        static: dict[str, Any] = {}
        if needs_texts(name) or registry.available()[name].needs_tokens:
            table = {"start": str(self.table), "dimension": 0, "seed": 0}
            sides = {f"{side}_{key}": value for side in ("query", "document")
                     for key, value in (("length", 12), ("prompt", ""))}  # fmt: skip
            static = {"tier": "static", "encoder": {"model": "", "table": table, **sides}}
            budget["weights"] = "none"
        return {
            **static,
            **({"track": track} if track else {}),
            "method": name,
            "row": row or name,
            "params": {},
            "seed": seed,
            "training": {**budget, **training},
        }

    def run(
        self,
        method: str,
        seed: int = 0,
        row: str | None = None,
        params: Mapping[str, Any] | None = None,
        **training: Any,
    ) -> Run:
        """A run at step 0, set up as the stage does it."""
        kind = registry.available()[method.partition("/")[0]]
        declared = {pool: self.pools[pool] for pool in kind.pools}
        beside = [self.auxiliary] if needs_texts(kind.name) else []
        materials = train.load_materials(self.dataset, self.vectors, declared, auxiliary=beside)
        return set_up({**self.spec(method, seed, row, **training), "params": params or {}}, materials)


Given = list[tuple[Batch, Negatives]]


def needs_texts(name: str) -> bool:
    """Say whether a method's default row reads texts beside the corpus."""
    kind = registry.available()[name]
    return bool(kind.needs_auxiliary(kind.Params(), "controlled"))


def take_steps(run: Run, steps: int, start: int = 0) -> Given:
    """Take optimiser steps and return what the method was given and gave at each."""
    given: Given = []
    chosen = run.method.negatives

    def listening(batch: Batch) -> Negatives:
        negatives = chosen(batch)
        given.append((batch, negatives))
        return negatives

    run.method.negatives = listening  # type: ignore[method-assign]
    for step in range(start, start + steps):
        one_step(run, step, keep_scores=step == start)
    run.method.negatives = chosen  # type: ignore[method-assign]
    return given


def write_world(
    folder: Path,
    documents: int = 60,
    queries: int = 30,
    dimension: int = 16,
    depth: int = 20,
    change: Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]], None] | None = None,
    hidden: Sequence[tuple[int, int]] = (),
    copied: Callable[[NDArray[np.int64]], Mapping[int, int]] = lambda labels: {},
    keeps_copies: bool = False,
    own: Mapping[int, int] | None = None,
    related: bool = True,
    source: Callable[[NDArray[np.int64]], str] = lambda positives: "",
) -> World:
    """Write a world whose positives stand on top of both rankings, so that unfiltered draws would meet them.

    Query 0 has a quarter of all documents as positives and query 1 shares no word with any document, so it
    has no BM25 candidate; every third query has two positives. `change` may overwrite document vectors, query
    vectors in place; it is given the training labels too. `hidden` are pairs that are hidden from training.
    `copied` says for the training labels which documents get which other's text and vector, but for case and space.
    `own` says which documents are which query: even ones are under its id, odd ones have its text; all have its vector.
    If `related`, each document has the next one as its synonym. `source` says for a query's positives which training
    set it is from, as in a mixture.
    """
    rng = np.random.default_rng(20260101)
    counts = np.where(np.arange(queries + OUTSIDE) % 3 == 2, 2, 1)
    counts[0] = documents // 4
    chosen = [rng.choice(documents, size=count, replace=False) for count in counts]
    labels = np.array([(query, row, 1) for query, rows in enumerate(chosen) for row in rows], dtype=np.int64)
    trained = labels[:, 0] < queries
    unlabelled = [next(row for row in range(documents) if row not in chosen[query]) for query in (0, 1)]
    judged = np.array([(query, row, 0) for query, row in enumerate(unlabelled)], dtype=np.int64)
    splits = {"train": np.concatenate([labels[trained], judged]), "test": labels[~trained]}

    if len(hidden):
        splits["hidden"] = np.array([(*pair, 1) for pair in hidden], dtype=np.int64)

    matrix = unit(rng.normal(size=(documents, dimension)))
    same = copied(splits["train"])
    matrix[list(same)] = matrix[list(same.values())]
    noise = 0.3 * unit(rng.normal(size=(queries + OUTSIDE, dimension)))
    query_matrix = unit(unit(np.stack([matrix[rows].sum(axis=0) for rows in chosen])) + noise)
    if change:
        change(matrix, query_matrix, splits["train"])
    for document, query in (own or {}).items():
        matrix[document] = query_matrix[query]
    lines = [rng.choice(WORDS, size=6, replace=False).tolist() for _ in range(documents)]
    for copy, original in same.items():
        lines[copy] = [lines[original][0].upper(), *lines[original][1:3], " ", *lines[original][3:]]
    asked = [" ".join(lines[rows[0]][:4]) for rows in chosen]
    asked[1] = "incomparable"
    names = [f"d{row}" for row in range(documents)]
    for document, query in (own or {}).items():
        if document % 2:
            lines[document] = asked[query].split(" ")
        else:
            names[document] = f"q{query}"

    dataset, vectors = folder / "dataset", folder / "vectors"
    next_ones = [(row, row + 1) for row in range(documents - 1)]
    prepare.write(
        prepare.Collection(
            names,
            [line[0] for line in lines],
            [" ".join(line[1:]) for line in lines],
            [":".join(filter(None, [source(rows), f"q{row}"])) for row, rows in enumerate(chosen)],
            asked,
            splits,
            keeps_copies=keeps_copies,
            graph={"synonym": relation_of(next_ones, documents)} if related else {},
        ),
        dataset,
    )
    vectors.mkdir()
    np.save(vectors / stored.DOCUMENTS, matrix)
    np.save(vectors / stored.QUERIES, query_matrix)
    labelled = qrels(dataset, "train")
    searchers = {
        "dense": DenseSearcher(*stored.load(vectors), threads=1),
        "bm25": BM25Searcher(*texts(dataset), 1.2, 0.75),
    }
    pools = {}
    for kind, searcher in searchers.items():
        save_file(
            build_pool(searcher, labelled, documents, depth, read_left_out(dataset)),
            folder / f"{kind}.safetensors",
        )
        pools[kind] = CandidatePool(folder / f"{kind}.safetensors")
    pools["given"] = pools["dense"]
    save_file(verdicts_of(folder / "dense.safetensors"), folder / "verdicts.safetensors")
    pools["verdicts"] = CandidatePool(folder / "verdicts.safetensors")
    beside = folder / "auxiliary.parquet"
    write_auxiliary(beside, labelled, [" ".join(line) for line in lines])
    return World(
        dataset, vectors, pools, labelled, documents, write_table(folder / "table", dimension), beside
    )


def write_auxiliary(path: Path, labels: Qrels, documents: Sequence[str]) -> None:
    """Write texts beside the corpus: four a positive, which are its words without one, by their place.

    Queries 2, 7, 12 ... have none. Every third text has not passed the filter; every eleventh is a document's.
    """
    rng = np.random.default_rng(11)
    pairs = labels.positives()
    made = [
        (query, document, EDITS[number], " ".join(np.delete(documents[document].split(), number)))
        for query, document in zip(pairs.queries.tolist(), pairs.documents.tolist(), strict=True)
        for number in range(4)
        if query % 5 != 2 and len(documents[document].split()) > 4
    ]
    places = np.arange(len(made))
    collection.write_table(
        path,
        {
            "query": np.array([query for query, *_ in made], np.int32),
            "document": np.array([document for _, document, *_ in made], np.int32),
            "kind": [kind for *_, kind, _ in made],
            "text": [text for *_, text in made],
            "score": rng.uniform(0, 0.9, len(made)).astype(np.float32),
            "positive_score": np.full(len(made), 0.95, np.float32),
            "overlap": np.full(len(made), 0.8, np.float32),
            "equals": np.where(places % 11 == 10, 0, -1).astype(np.int32),
            "answers": np.zeros(len(made), bool),
            "passes": places % 3 != 2,
        },
    )


def verdicts_of(pool: Path) -> dict[str, NDArray[Any]]:
    """Verdicts on the first three candidates of a query: relevant, worse, irrelevant; or none; or none relevant."""
    arrays = load_file(pool)
    ids = arrays["ids"][:, :3].copy()
    scores = np.tile(np.array([2, 1, 0], np.float32), (len(ids), 1))
    scores[::3, :2] = 0
    ids[1::3] = -1
    scores[(ids < 0)] = -np.inf
    return {
        **arrays,
        "ids": ids,
        "scores": scores,
        "positive_scores": np.full_like(arrays["positive_scores"], np.nan),
    }


def write_table(folder: Path, dimension: int) -> Path:
    """Write a row for each of the world's words, in model2vec's layout."""
    folder.mkdir()
    words = {word: number for number, word in enumerate([*WORDS, "[UNK]"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    rows = unit(np.random.default_rng(7).normal(size=(len(words), dimension)))
    save_file({"embeddings": rows}, folder / "model.safetensors")
    return folder


def masked_in_batch(run: Run) -> set[tuple[int, int]]:
    """Take a step and return the pairs of a query and another's positive that its mask leaves out."""
    steps: list[Step] = []
    loss = run.method.loss
    run.method.loss = lambda step: steps.append(step) or loss(step)  # type: ignore[method-assign, func-returns-value]
    one_step(run, 0, keep_scores=True)
    batch, mask = steps[0].batch, steps[0].scores.in_batch_mask
    return {
        (int(batch.queries[row]), int(batch.positives[column]))
        for row, column in torch.nonzero(~mask).tolist()
    }
