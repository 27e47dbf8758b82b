"""Stage judged_texts: does a text that was made as a negative answer its query after all? And may it be a negative?

A judge scores the query with the text and with the positive that it was made of: the suite's teacher if it is an
encoder or a cross-encoder, else the encoder that the suite names, whole. A text passes where

- its score is at most a share of the positive's (PercPos, Moreira et al. 2024, arXiv 2407.15831: .95): cosines as they
  are, a cross-encoder's as probabilities;
- it shares enough of the positive's words, and not nearly all (Jaccard);
- no document of the corpus has its text, nor another text of the query.

What a retriever finds is judged in the same way, to compare: then a text is a document of the corpus.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from typer import Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.data.edits import jaccard
from negmark.encode.architecture import usable_dtype
from negmark.encode.encoder import Encoder
from negmark.encode.model_files import open_config
from negmark.encode.pretrained import find_model
from negmark.encode.tokens import Texts, tokenise
from negmark.store import collection
from negmark.store.auxiliary import COLUMNS
from negmark.store.collection import DOCUMENTS, QUERIES, write_table
from negmark.store.copies import hashes_of, normalised
from negmark.store.labels import Labels
from negmark.store.left_out import read_left_out
from negmark.store.passages import read_passages
from negmark.store.pool import CandidatePool
from negmark.train.tiers.rerank import PairTexts, Ranker, build

PAIRS_AT_A_TIME = 4096
Rows = NDArray[np.int64]


def main(
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    settings: Annotated[str, Option(help="the judge and the filter, as JSON")],
    output: Annotated[Path, Option(help="the parquet file to write")],
    texts: Annotated[Path | None, Option(help="JSON lines of texts")] = None,
    pool: Annotated[list[str] | None, Option(help="judge a pool's first documents, as kind=file")] = None,
    threads: Annotated[int, Option(help="threads of the judge")] = 1,
) -> None:
    """Judge and filter texts that were made as negatives, or what a retriever finds."""
    started, options = time.perf_counter(), json.loads(settings)
    made = (
        lines_of(texts, dataset)
        if texts is not None
        else retrieved(dict(entry.split("=", 1) for entry in pool or []), dataset, options["versions"])
    )
    table = judged(dataset, made, options, threads)
    write_table(output, table)
    kept, answering = int(np.sum(table["passes"])), int(np.sum(table["score"] >= table["positive_score"]))
    stage.say(
        f"texts of {dataset.name}: {len(table['text']):,} judged, {answering:,} answer by the judge, {kept:,} pass, "
        f"{time.perf_counter() - started:.1f} s"
    )


def lines_of(path: Path, dataset: Path) -> dict[str, Any]:
    """Return the columns query, document, kind and text of a file, each text once a query.

    Raises `UserError` if it has a query or a positive that the dataset doesn't train on.
    """
    numbers = [
        {name: row for row, name in enumerate(collection.column(dataset, table, "id"))}
        for table in (QUERIES, DOCUMENTS)
    ]
    seen: set[tuple[int, str]] = set()
    rows: list[tuple[int, int, str, str]] = []
    with path.open(encoding="utf-8") as file:
        for place, line in enumerate(file, start=1):
            entry = json.loads(line)
            query, document = numbers[0].get(entry["query"]), numbers[1].get(entry["positive"])
            if query is None or document is None:
                raise UserError(
                    f"{path}:{place}: {dataset.name} has no query {entry['query']!r} or no document "
                    f"{entry['positive']!r}; delete the file and run again"
                )
            if (key := (query, normalised(entry["text"]))) not in seen:
                seen.add(key)
                rows.append((query, document, entry["kind"], entry["text"]))
    return _columns(rows)


def retrieved(pools: Mapping[str, str], dataset: Path, count: int) -> dict[str, Any]:
    """Return the same columns of the first `count` documents that each pool has for each query, by the pool's name.

    `document` is the query's first positive.
    """
    rows: list[tuple[int, int, str, int]] = []
    labels = Labels(collection.qrels(dataset, "train"), collection.count(dataset))
    first = labels.positives(labels.queries)[:, 0]
    for name, file in pools.items():
        ids, _ = CandidatePool(Path(file)).candidates(labels.queries, count)
        places, columns = np.nonzero(ids >= 0)
        rows += zip(
            labels.queries[places].tolist(), first[places].tolist(), [name] * len(places),
            ids[places, columns].tolist(), strict=True,
        )  # fmt: skip
    found = read_passages(dataset, np.array([document for *_, document in rows], np.int64))
    texts = {row: f"{one.title} {one.text}".strip() for row, one in found.items()}
    return _columns([(query, positive, name, texts[row]) for query, positive, name, row in rows])


def judged(dataset: Path, made: dict[str, Any], settings: dict[str, Any], threads: int) -> dict[str, Any]:
    """Return the table of texts (`negmark.store.auxiliary.COLUMNS`) of the columns that `lines_of` gives."""
    queries, documents, texts = made["query"], made["document"], made["text"]
    corpus, asked = collection.streamed(dataset)
    positives = {
        row: f"{one.title} {one.text}".strip() for row, one in read_passages(dataset, documents).items()
    }
    equals = equal_documents(texts, corpus)
    labels = Labels(collection.qrels(dataset, "train"), collection.count(dataset), read_left_out(dataset))
    scores, own = scored(dataset, made, positives, asked, settings, threads)
    overlap = np.array(
        [jaccard(text, positives[row]) for text, row in zip(texts, documents.tolist(), strict=True)],
        np.float32,
    )
    lowest, highest = settings["least_overlap"], settings["most_overlap"]
    passes = (
        (scores <= ceilings(own, settings["below"]))
        & (overlap >= lowest)
        & (overlap <= highest)
        & (equals < 0)
    )
    answers = labels.is_positive(queries, equals[:, None])[:, 0]
    found = {
        **made, "score": scores, "positive_score": own, "overlap": overlap, "equals": equals.astype(np.int32),
        "answers": answers, "passes": passes,
    }  # fmt: skip
    return {name: found[name] for name in COLUMNS}


def ceilings(own: NDArray[np.floating], share: float) -> NDArray[np.floating]:
    """Return the highest score [n] that a text may have, by its positive's: as PercPos, also below 0."""
    return own - np.abs(own) * (1 - share)


def equal_documents(texts: Sequence[str], corpus: Iterator[str]) -> Rows:
    """Return the first document [n] of a corpus that has each text, -1 where none has."""
    wanted, places = np.unique(hashes_of(texts), return_inverse=True)
    first = np.full(len(wanted), -1, np.int64)
    known = hashes_of(corpus)
    rows = np.flatnonzero(np.isin(known, wanted))[::-1]
    first[np.searchsorted(wanted, known[rows])] = rows  # the lowest row is written last
    return first[places.ravel()]


def scored(
    dataset: Path,
    made: dict[str, Any],
    positives: Mapping[int, str],
    asked: Sequence[str],
    settings: dict[str, Any],
    threads: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the judge's scores [n] of each query with the text, and with its positive."""
    queries, documents = made["query"], made["document"]
    if "ranker" in settings["judge"]:
        return _by_ranker(dataset, made, settings["judge"], threads)
    judge = settings["judge"]
    model = find_model(judge["model"], "generator's judge")
    encoder = Encoder(
        model, usable_dtype(open_config(model), judge["dtype"]), judge["similarity"] == "cosine"
    )

    def vectors(lines: list[str], side: str) -> NDArray[np.float32]:
        tokens = tokenise(model, Texts(lines, judge[f"{side}_length"], judge[f"{side}_prompt"]))
        return encoder.encode(tokens, threads=threads)

    rows, places = np.unique(queries, return_inverse=True)
    of_queries = vectors([asked[row] for row in rows.tolist()], "query")[places]
    owners, at = np.unique(documents, return_inverse=True)
    of_positives = vectors([positives[row] for row in owners.tolist()], "document")[at]
    of_texts = vectors(made["text"], "document")
    return (
        np.einsum("nd,nd->n", of_queries, of_texts).astype(np.float32),
        np.einsum("nd,nd->n", of_queries, of_positives).astype(np.float32),
    )


class WithTexts(PairTexts):
    """Pairs of a dataset's queries with its documents, and with more texts numbered on behind them."""

    def __init__(self, dataset: Path, model: Path, length: int, texts: Sequence[str]) -> None:
        super().__init__(dataset, model, length)
        self.first = len(self._documents)
        self._documents = [*self._documents, *texts]


@torch.no_grad()
def _by_ranker(
    dataset: Path, made: dict[str, Any], judge: dict[str, Any], threads: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a cross-encoder's probabilities of the same pairs."""
    model = find_model(judge["ranker"], "teacher.ranker")
    network, _ = build(judge, {"model": str(model)}, key="teacher.ranker")
    texts = WithTexts(dataset, model, judge["query_length"] + judge["document_length"], made["text"])
    ranker = Ranker(network, texts, judge["dtype"])
    if ranker.device.type == "cpu":
        torch.set_num_threads(1)
        ranker.threads = threads
    pairs = np.column_stack([texts.first + np.arange(len(made["text"])), made["document"]])
    blocks = [slice(start, start + PAIRS_AT_A_TIME) for start in range(0, len(pairs), PAIRS_AT_A_TIME)]
    parts = [
        ranker(made["query"][rows], pairs[rows]).numpy() for rows in stage.progress(blocks, "judging texts")
    ]
    found = expit(np.concatenate([*parts, np.empty((0, 2), np.float32)]))
    return found[:, 0], found[:, 1]


def _columns(rows: Sequence[tuple[int, int, str, str]]) -> dict[str, Any]:
    return {
        "query": np.array([query for query, *_ in rows], np.int64),
        "document": np.array([document for _, document, *_ in rows], np.int64),
        "kind": [kind for *_, kind, _ in rows],
        "text": [text for *_, text in rows],
    }


if __name__ == "__main__":
    stage.command(main)
