"""Stage dataset for sentences without labels: each is a document, and a query whose one positive is itself.

Trained with dropout, the query and the document are two views of one text, so training with in-batch negatives is
SimCSE (Gao et al. 2021, arXiv 2104.08821). The pairs of the STS tasks by which runs are judged follow the sentences in
the queries' table, two rows per pair, with their task as slice and their score; no split has labels for them.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.files import canonical, write_json
from negmark.core.folders import expanded, local_data
from negmark.core.seeds import stream
from negmark.data.catalogue import known_datasets
from negmark.data.prepare import Collection, write
from negmark.data.records import text_lines
from negmark.data.sts import Pair, as_queries, read_task

FEWEST = 2  # a batch of one has no negative


@dataclass(frozen=True)
class Sentences:
    """The distinct sentences of a file in order, each with its line number, and how many lines were left out."""

    lines: dict[str, int]
    blank: int
    duplicates: int


def read_sentences(file: Path) -> Sentences:
    """Read a text file with one sentence per line. Duplicates are left out: a sentence would be its own negative."""
    lines: dict[str, int] = {}
    blank = total = 0
    for number, (_, text) in enumerate(text_lines(file), start=1):
        sentence = text.strip()
        total += 1
        blank += not sentence
        if sentence:
            lines.setdefault(sentence, number)
    if len(lines) < FEWEST:
        raise UserError(
            f"{file}: {len(lines)} distinct sentences; expected a .txt or .txt.gz file with one sentence per line"
        )
    return Sentences(lines, blank, total - blank - len(lines))


def find_file(source: str, data: Path | None) -> Path:
    """Return the file of a source: the path itself, or the only text file in `<data>/<name>/`."""
    if source not in known_datasets():
        return expanded(source)
    folder = Path(data or "<data>", source)
    files = sorted(file for ending in ("*.txt", "*.txt.gz") for file in folder.glob(ending)) if data else []
    if len(files) != 1:
        raise UserError(
            f"{source}: {len(files)} files {folder / '*.txt'} or .txt.gz, expected one with a sentence per line; "
            "negmark doesn't download it: get wiki1m_for_simcse.txt with data/download_wiki.sh of SimCSE "
            "(github.com/princeton-nlp/SimCSE), put it there and set NEGMARK_DATA to <data>"
        )
    return files[0]


def prepare(settings: dict[str, Any]) -> tuple[Collection, dict[str, list[Any]], dict[str, Any]]:
    """Return sentences and pairs as a collection, the further columns of its queries, and the card."""
    pairs = {task: read_task(task, local_data()) for task in settings["sts"]}
    if settings.get("test_only"):
        texts, names = [], []
        facts = {"dataset": "sts", "source": "local data setting, sts", "documents_full": 0}
        facts |= {"licence": "as the tasks' owners state", "sha256": _sha256([[], pairs])}
    else:
        file = find_file(settings["source"], local_data())
        sentences = read_sentences(file)
        texts = _drawn(list(sentences.lines), settings["documents"], settings["seed"])
        names = [f"s{sentences.lines[text]}" for text in texts]
        facts = _facts(settings, file, sentences, pairs)
    pair_names, pair_texts, pair_columns = as_queries(pairs)
    collection = Collection(
        names,
        [""] * len(texts),
        texts,
        [*names, *pair_names],
        [*texts, *pair_texts],
        {"train": np.array([(row, row, 1) for row in range(len(texts))], dtype=np.int64).reshape(-1, 3)},
    )
    columns = {name: [*[None] * len(texts), *values] for name, values in pair_columns.items()}
    return collection, columns, {**facts, **_card(settings, len(texts), pairs)}


def main(
    settings: Annotated[str, Option(help="settings of one dataset, as JSON")],
    folder: Annotated[Path, Option(help="where the tables and the card go")],
) -> None:
    """Prepare a dataset of sentences: the usual tables, STS pairs included, and its card."""
    collection, columns, card = prepare(json.loads(settings))
    write(collection, folder, columns)
    write_json(folder / "card.json", card)
    sentences = ""
    if card["documents"]:
        left_out = f"{card['duplicates']:,} duplicates and {card['blank_lines']:,} blank lines left out"
        sentences = f"{card['documents']:,} sentences ({left_out}), "
    pairs = sum(card["sts"].values())
    stage.say(f"dataset {card['name']}: {sentences}{pairs:,} STS pairs, from {card['source']}")


def _drawn(texts: list[str], count: int | None, seed: int) -> list[str]:
    """Return a seeded draw of sentences, in their order."""
    chosen = stream(seed, "documents").permutation(len(texts))[:count]
    return [texts[row] for row in np.sort(chosen)]


def _facts(
    settings: dict[str, Any], file: Path, sentences: Sentences, pairs: dict[str, list[Pair]]
) -> dict[str, Any]:
    """Return the facts of the card about the file of sentences."""
    known = known_datasets().get(settings["source"])
    return {
        "dataset": settings["source"] if known else file.name,
        "source": f"local data setting, {file.name}" if known else f"own file {file.name}",
        "licence": known.licence if known else "as its owner states",
        "sha256": _sha256([list(sentences.lines), pairs]),
        "documents_full": len(sentences.lines),
        "blank_lines": sentences.blank,
        "duplicates": sentences.duplicates,
    }


def _card(settings: dict[str, Any], documents: int, pairs: dict[str, list[Pair]]) -> dict[str, Any]:
    return {
        "name": settings["name"],
        "kind": "sentences",
        "regime": "zero-shot" if settings.get("test_only") else "unsupervised",
        "documents": documents,
        "queries": {"train": documents},
        "labels": {"train": documents},
        "sts": {task: len(part) for task, part in pairs.items()},
    }


def _sha256(content: Any) -> str:
    return hashlib.sha256(canonical(content).encode("utf-8", "surrogatepass")).hexdigest()


if __name__ == "__main__":
    stage.command(main)
