"""How large a dataset is or will be, from the best source there is: its card, its files, or the table of datasets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from negmark.core.errors import UserError
from negmark.core.folders import expanded, is_folder, local_data
from negmark.data.beir import find_local, opened, plain_or_gz
from negmark.data.catalogue import known_datasets
from negmark.store.collection import DOCUMENTS, QUERIES

TOKENS_PER_WORD, BYTES_PER_TOKEN = 1.35, 4.3
"""For English text and BERT's vocabulary, where tokens haven't been counted."""
KEYS = 60
"""Bytes of the keys, braces and id of a line."""
SAMPLE = 2_000
"""Lines of a file whose length is measured."""


@dataclass(frozen=True)
class Size:
    """Counts of a dataset, and mean tokens of its texts before truncation."""

    documents: int
    train: int
    test: int
    document_tokens: float
    query_tokens: float
    source: str

    def cut(self, settings: Mapping[str, Any]) -> "Size":
        """Return the size of the sub-collection that a suite's settings select."""
        documents = min(self.documents, settings.get("documents") or self.documents)
        train = min(self.train, settings.get("train_queries") or self.train)
        return replace(self, documents=documents, train=0 if settings.get("test_only") else train)


def size_of(name: str, settings: Mapping[str, Any], card: Path) -> Size:
    """Return the size of a dataset as cut by its settings.

    Raises `UserError` if no source has it.
    """
    return _full_size(name, settings["source"], settings.get("test_split", "test"), card).cut(settings)


def _full_size(name: str, source: str, split: str, card: Path) -> Size:
    if card.is_file():
        return _from_card(card)
    folder = place if is_folder(place := expanded(source)) else None
    if source in known_datasets():
        folder = folder or find_local(source, local_data())
    if folder is not None and plain_or_gz(folder, "corpus.jsonl") is not None:
        return _from_files(folder, split)
    known = known_datasets().get(source)
    if known is not None and known.size is not None:
        documents, train, test, words, query_words = known.size
        test = known.dev if split == "dev" and known.dev else test
        return Size(
            documents,
            train,
            test,
            TOKENS_PER_WORD * words,
            TOKENS_PER_WORD * query_words,
            "the table of datasets",
        )
    raise UserError(f"datasets.{name}: its size is unknown; prepare it first: snakemake --cores all {card}")


def _from_card(card: Path) -> Size:
    content = json.loads(card.read_text(encoding="utf-8"))
    documents, queries = (_mean_bytes(card.with_name(name)) for name in (DOCUMENTS, QUERIES))
    counts = content["queries"]
    return Size(
        content["documents"], counts.get("train", 0), counts.get("test", 0), documents / BYTES_PER_TOKEN,
        queries / BYTES_PER_TOKEN, "its card",
    )  # fmt: skip


def _mean_bytes(table: Path) -> float:
    """Return the mean bytes of the first texts of a table, titles included."""
    group = pq.ParquetFile(table).read_row_group(0)
    names = [name for name in ("title", "text") if name in group.column_names]
    lengths = [
        pc.mean(pc.binary_length(group.column(name).slice(0, SAMPLE))).as_py() or 0.0 for name in names
    ]
    return float(sum(lengths))


def _from_files(folder: Path, test_split: str) -> Size:
    """Count the lines of a folder in BEIR layout."""
    documents, size = _line_stats(folder, "corpus.jsonl")
    _, query_size = _line_stats(folder, "queries.jsonl")
    train, test = (_query_count(folder, f"qrels/{split}.tsv") for split in ("train", test_split))
    return Size(documents, train, test, size / BYTES_PER_TOKEN, query_size / BYTES_PER_TOKEN, "its files")


def _line_stats(folder: Path, name: str) -> tuple[int, float]:
    """Return the lines of a file, and the mean bytes of the first ones without their JSON keys."""
    file, count, sample_bytes = plain_or_gz(folder, name), 0, 0
    if file is None:
        return 0, 0.0
    with opened(file) as stream:
        for line in stream:
            count += 1
            if count <= SAMPLE:
                sample_bytes += max(len(line) - KEYS, 1)
    return count, sample_bytes / max(min(count, SAMPLE), 1)


def _query_count(folder: Path, name: str) -> int:
    """Return the number of queries in a file of judgments."""
    file = plain_or_gz(folder, name)
    if file is None:
        return 0
    with opened(file) as stream:
        return len({line.partition(b"\t")[0] for line in stream}) - 1
