"""How large a dataset is or will be, told from the best there is: its card, its files, or the table of datasets."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workflow.beir_source import find_local, opened, plain_or_gz
from workflow.catalogue import known_datasets
from workflow.errors import UserError
from workflow.folders import local_data

TOKENS_PER_BYTE = 1 / 4.3
"""Of English text and BERT's vocabulary; only where no card has counted tokens."""
SAMPLE = 2_000
"""Lines of a file that are looked at for their length."""


@dataclass(frozen=True)
class Size:
    """Counts of a dataset, and mean tokens of its texts before they are cut."""

    documents: int
    train: int
    test: int
    document_tokens: float
    query_tokens: float
    told_by: str

    def cut(self, settings: dict[str, Any]) -> "Size":
        """Return the size of the sub-collection that a suite's settings of the dataset ask for."""
        documents = min(self.documents, settings.get("documents") or self.documents)
        train = min(self.train, settings.get("train_queries") or self.train)
        return replace(self, documents=documents, train=train)


def size_of(name: str, source: str, card: Path) -> Size:
    """Return the size of a dataset under a name, before its settings cut it unless its card is there.

    Raises `UserError` where nothing tells it.
    """
    if card.is_file():
        return _of_card(json.loads(card.read_text(encoding="utf-8")))
    folder = Path(source) if Path(source).is_dir() else None
    if source in known_datasets():
        folder = folder or find_local(source, local_data())
    if folder is not None and plain_or_gz(folder, "corpus.jsonl") is not None:
        return _of_files(folder)
    known = known_datasets().get(source)
    if known is not None and known.size is not None:
        documents, train, test, words = known.size
        return Size(documents, train, test, 1.3 * words, 9.0, "the table of datasets")
    raise UserError(
        f"datasets.{name}: nothing tells how large it is; prepare it first: snakemake --cores all {card}"
    )


def _of_card(card: dict[str, Any]) -> Size:
    queries = card["queries"]
    told = card.get("bytes", {})
    return Size(
        card["documents"],
        queries.get("train", 0),
        queries.get("test", 0),
        told.get("documents", 400) * TOKENS_PER_BYTE,
        told.get("queries", 45) * TOKENS_PER_BYTE,
        "its card",
    )
