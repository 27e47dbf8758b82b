"""Stage dataset for sentences without labels: each is a document, and a query whose one positive is itself.

Trained with dropout, the query and the document are two views of one text, so in-batch negatives alone are SimCSE
(Gao et al. 2021, arXiv 2104.08821). The pairs of the STS tasks that judge the runs stand behind the sentences in
the queries' table, two rows a pair, their task as slice and their score beside it: no split has a label for them.
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
from negmark.core.folders import local_data
from negmark.core.seeds import stream
from negmark.data.catalogue import known_datasets
from negmark.data.prepare import Collection, write
from negmark.data.records import text_lines
from negmark.data.sts import Pair, as_queries, read_task

FEWEST = 2  # a batch of one has no negative


@dataclass(frozen=True)
class Sentences:
    """The distinct sentences of a file in its order, each with the number of its line, and what was left out."""

    lines: dict[str, int]
    blank: int
    duplicates: int


def read_sentences(file: Path) -> Sentences:
    """Read a text file with one sentence a line. A sentence that stands there twice would be its own negative."""
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
            f"{file}: {len(lines)} distinct sentences; expected a .txt or .txt.gz file with one sentence a line"
        )
    return Sentences(lines, blank, total - blank - len(lines))


def find_file(source: str, data: Path | None) -> Path:
    """Return the file behind a source: a file's own path, or the one text file in `<data>/<name>/`."""
    if source not in known_datasets():
        return Path(source)
    folder = Path(data or "<data>", source)
    files = sorted(file for ending in ("*.txt", "*.txt.gz") for file in folder.glob(ending)) if data else []
    if len(files) != 1:
        raise UserError(
            f"{source}: {len(files)} files {folder / '*.txt'} or .txt.gz, expected one with a sentence a line; "
            "it isn't downloaded: take wiki1m_for_simcse.txt by data/download_wiki.sh of SimCSE "
            "(github.com/princeton-nlp/SimCSE), put it there and set NEGMARK_DATA to <data>"
        )
    return files[0]


def prepare(settings: dict[str, Any]) -> tuple[Collection, dict[str, list[Any]], dict[str, Any]]:
    """Return sentences and pairs as a collection, what the queries' table says of each row, and the card."""
    pairs = {task: read_task(task, local_data()) for task in settings["sts"]}
    if settings.get("test_only"):
        texts, names = [], []
        facts = {"dataset": "sts", "source": "local data setting, sts", "documents_full": 0}
        facts |= {"licence": "as the tasks' owners state", "sha256": _sha256([[], pairs])}
    else:
        file = find_file(settings["source"], local_data())
        found = read_sentences(file)
        texts = _drawn(list(found.lines), settings["documents"], settings["seed"])
        names = [f"s{found.lines[text]}" for text in texts]
        facts = _facts(settings, file, found, pairs)
    pair_names, pair_texts, pairs_told = as_queries(pairs)
    collection = Collection(
        names,
        [""] * len(texts),
        texts,
        [*names, *pair_names],
        [*texts, *pair_texts],
        {"train": np.array([(row, row, 1) for row in range(len(texts))], dtype=np.int64).reshape(-1, 3)},
    )
    told = {name: [*[None] * len(texts), *values] for name, values in pairs_told.items()}
    return collection, told, {**facts, **_card(settings, len(texts), pairs)}


def main(
    settings: Annotated[str, Option(help="settings of one dataset, as JSON")],
    folder: Annotated[Path, Option(help="where the tables and the card go")],
) -> None:
    """Prepare a dataset of sentences: the tables of any dataset, the pairs of its STS tasks in them, and its card."""
    collection, told, card = prepare(json.loads(settings))
    write(collection, folder, told)
    write_json(folder / "card.json", card)
    sentences = ""
    if card["documents"]:
        left_out = f"{card['duplicates']:,} duplicates and {card['blank_lines']:,} blank lines left out"
        sentences = f"{card['documents']:,} sentences ({left_out}), "
    pairs = sum(card["sts"].values())
    stage.say(f"dataset {card['name']}: {sentences}{pairs:,} STS pairs, from {card['source']}")


def _drawn(texts: list[str], wanted: int | None, seed: int) -> list[str]:
    """Keep a seeded draw of sentences, in their order."""
    chosen = stream(seed, "documents").permutation(len(texts))[:wanted]
    return [texts[row] for row in np.sort(chosen)]


def _facts(
    settings: dict[str, Any], file: Path, found: Sentences, pairs: dict[str, list[Pair]]
) -> dict[str, Any]:
    """Return what a card says about the file of sentences."""
    known = known_datasets().get(settings["source"])
    return {
        "dataset": settings["source"] if known else file.name,
        "source": f"local data setting, {file.name}" if known else f"own file {file.name}",
        "licence": known.licence if known else "as its owner states",
        "sha256": _sha256([list(found.lines), pairs]),
        "documents_full": len(found.lines),
        "blank_lines": found.blank,
        "duplicates": found.duplicates,
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
