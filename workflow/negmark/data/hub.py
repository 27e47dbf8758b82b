"""Collections from the hub of Hugging Face, or a folder of one: `source: hub:mteb/scifact`, `hub:./copy`.

Two forms are read. That of BEIR and MTEB has the configurations `corpus`, `queries`, and labels in `default` or
`qrels` (query-id, corpus-id, score) with a split each. That of sentence-transformers has pairs or triplets, a text a
column: the first column is the query, the second its positive; equal texts are one. Its negatives are left out:
`given:` reads those. Pairs with a label or score are refused, as not all of them are positives.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from negmark.core.errors import UserError
from negmark.core.folders import expanded, is_folder
from negmark.data.beir_writer import write_documents, write_labels, write_queries
from negmark.data.elsewhere import HUB

EXTRA = "pip install 'negmark[hub]'"
CORPUS, QUERIES, LABELS = "corpus", "queries", ("default", "qrels")
SPLITS = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}
"""Our splits, by the names that they have there; any other keeps its name."""
ID, TEXT, TITLE = ("_id", "id", "doc_id", "query_id"), ("text", "contents"), "title"
QUERY_ID, DOCUMENT_ID, GRADE = (
    ("query-id", "query_id"),
    ("corpus-id", "corpus_id", "doc_id"),
    ("score", "relevance"),
)
OF_PAIR = ("label", "labels", "score", "similarity_score", "similarity")
"""Columns that say how good a pair is, as those of NLI, of duplicates and of STS have."""


def fetch(source: str, folder: Path, test_split: str) -> dict[str, str]:
    """Fill an empty folder with a collection in BEIR layout and return its facts (`source`, `licence`).

    Raises `UserError` if it can't be had, or has neither form.
    """
    name, _, revision = source.removeprefix(HUB).partition("@")
    package = _package()
    copied = is_folder(expanded(name))
    place = str(expanded(name).resolve()) if copied else name
    package.disable_progress_bars()
    try:
        configs = package.get_dataset_config_names(place, revision=revision or None)
        read = {
            config: package.load_dataset(place, config, revision=revision or None)
            for config in _wanted(configs)
        }
    except Exception as error:  # of many kinds: no network, no such name, no readable file
        raise UserError(
            f"{source}: it can't be had from the hub ({type(error).__name__}: {error}); check the name and the "
            "network, or name a folder that is a copy of it"
        ) from error
    if CORPUS in read and QUERIES in read:
        _write_beir(source, read, folder)
    else:
        _write_pairs(source, next(iter(read.values())), folder)
    return {
        "source": f"hub: {Path(place).name if copied else name}{f' at {revision}' if revision else ''}",
        "licence": "as its owner states",
    }


def _package() -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(f"{HUB}: datasets of the hub need a package: {EXTRA}") from None
    return datasets


def _wanted(configs: list[str]) -> list[str]:
    """Return the configurations that are read: corpus, queries and labels, or the first one."""
    if CORPUS in configs and QUERIES in configs:
        return [CORPUS, QUERIES, *[name for name in LABELS if name in configs][:1]]
    return ["default" if "default" in configs else configs[0]]


def _write_beir(source: str, read: Mapping[str, Any], folder: Path) -> None:
    labels = next((read[name] for name in LABELS if name in read), None)
    if labels is None:
        raise UserError(f"{source}: it has a corpus and queries but no labels in {' or '.join(LABELS)}")
    write_documents(folder, _texts(source, read[CORPUS]))
    write_queries(folder, ((key, text) for key, _, text in _texts(source, read[QUERIES])))
    for split, rows in labels.items():
        query, document, grade = (_key(source, rows, keys) for keys in (QUERY_ID, DOCUMENT_ID, GRADE))
        pairs = ((str(row[query]), str(row[document]), _whole(source, row[grade])) for row in rows)
        write_labels(folder, SPLITS.get(split, split), pairs)


def _texts(source: str, parts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield id, title and text of the rows of all splits of a configuration."""
    for rows in parts.values():
        key, text = _key(source, rows, ID), _key(source, rows, TEXT)
        for row in rows:
            yield str(row[key]), str(row.get(TITLE) or ""), str(row[text] or "")


def _write_pairs(source: str, parts: Mapping[str, Any], folder: Path) -> None:
    documents: dict[str, str] = {}
    queries: dict[str, str] = {}
    labels: dict[str, dict[tuple[str, str], int]] = {}
    for split, rows in parts.items():
        columns = [
            name for name in rows.column_names if getattr(rows.features[name], "dtype", "") == "string"
        ]
        if len(columns) < 2:
            raise UserError(
                f"{source}: expected the configurations {CORPUS}, {QUERIES} and {LABELS[0]}, or two columns of texts, "
                f"query and positive; found the columns {', '.join(rows.column_names)}"
            )
        if graded := [name for name in rows.column_names if name.lower() in OF_PAIR]:
            raise UserError(
                f"{source}: expected pairs that are all positives; found the column {graded[0]}, by which some are "
                "none; keep the positives alone, without that column, in a folder of your own: hub:<folder>"
            )
        found = labels.setdefault(SPLITS.get(split, split), {})
        for row in rows.select_columns(columns[:2]):
            query, positive = row[columns[0]], row[columns[1]]
            if query is None or positive is None:
                missing = columns[0] if query is None else columns[1]
                raise UserError(f"{source}: a row of {split} has no {missing}; take it out, or give it one")
            asked, answer = _id("q", query), _id("d", positive)
            queries.setdefault(asked, query)
            documents.setdefault(answer, positive)
            found[asked, answer] = 1
    write_documents(folder, ((key, "", text) for key, text in documents.items()))
    write_queries(folder, queries.items())
    for split, pairs in labels.items():
        write_labels(folder, split, ((query, document, grade) for (query, document), grade in pairs.items()))


def _id(kind: str, text: str) -> str:
    """Return an id for a text that has none: equal texts have one."""
    return kind + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _key(source: str, rows: Any, keys: tuple[str, ...]) -> str:
    found = next((key for key in keys if key in rows.column_names), None)
    if found is None:
        raise UserError(
            f"{source}: expected a column {' or '.join(keys)}; found {', '.join(rows.column_names)}"
        )
    return found


def _whole(source: str, grade: Any) -> int:
    if isinstance(grade, bool) or not isinstance(grade, int | float) or grade != grade // 1:
        raise UserError(f"{source}: expected whole grades, found {grade!r}")
    return int(grade)
