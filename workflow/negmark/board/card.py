"""Stage card: what a reader must know of a dataset before trusting a number on it, as JSON and Markdown.

The dataset stage records where the data come from and how they were cut. This adds counts from its tables: labels
per query, duplicate texts, and lengths by the suite's tokenizer. It is a stage of its own because another tokenizer
makes new cards but no new dataset. It counts test labels, but trains and selects nothing.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from typer import Option

from negmark.board.card_text import markdown
from negmark.core import stage
from negmark.core.files import read_json, write_json, write_text
from negmark.core.metrics import DEFAULT
from negmark.core.names import STS
from negmark.encode.lengths import token_counts
from negmark.encode.pretrained import find_model
from negmark.store import collection
from negmark.store.collection import HIDDEN, SPLITS, Qrels
from negmark.store.copies import copies_of, first_of_equal, hashes_of, with_copies
from negmark.store.left_out import Pairs, read_left_out, unlabelled_own
from negmark.store.pool import read_pool_facts

PERCENTILES = (50, 90, 99)
SELF_IDS = "a document under the query's own id is left out of every ranking, and is no negative"


def describe(dataset: Path, encoder: dict[str, Any], metric: str = DEFAULT[0]) -> dict[str, Any]:
    """Return the card of a prepared dataset: the facts of its own card, and the counts made here.

    `encoder` are the suite's settings, `metric` ranks its board. Lengths are in tokens, shares in 0..1. A dataset of
    sentences has no labels to count: each sentence is its own positive.
    """
    card = read_json(dataset / "card.json")
    documents, queries = collection.texts(dataset)
    sides = {"documents": documents, "queries": queries}
    lengths = {name: length_facts(texts, name, encoder) for name, texts in sides.items() if texts}
    facts = {"tokenizer": encoder["model"], "lengths": lengths}
    if card.get("kind") == "sentences":
        return {**card, "metric": STS, **facts}
    labels = {split: collection.qrels(dataset, split) for split in (*SPLITS, HIDDEN)}
    labels = {split: rows for split, rows in labels.items() if len(rows.queries)}
    return {
        **card,
        "metric": metric,
        **facts,
        "labels_a_query": {split: label_facts(rows) for split, rows in labels.items()},
        "copies": copies(documents, queries, labels),
        "self_ids": {"queries": _self_ids(dataset, labels), "policy": SELF_IDS},
        **(
            {"own_texts": own_texts(labels["train"], read_left_out(dataset).own)} if "train" in labels else {}
        ),
    }


def length_facts(texts: list[str], side: str, encoder: dict[str, Any]) -> dict[str, Any]:
    """Return mean, extremes and percentiles of the tokens of texts, and the share that the suite truncates.

    And the share of all their tokens that the tokenizer doesn't know.
    """
    name = side.removesuffix("s") if side == "documents" else "query"
    limit = encoder[f"{name}_length"]
    counts, unknown = token_counts(find_model(encoder["model"]), texts, encoder[f"{name}_prompt"])
    levels = np.percentile(counts, PERCENTILES, method="higher").astype(int)
    return {
        "limit": limit,
        "truncated": float((counts > limit).mean()),
        "unknown": float(unknown.sum() / max(counts.sum(), 1)),
        "mean": float(counts.mean()),
        "min": int(counts.min()),
        **{f"p{level}": int(value) for level, value in zip(PERCENTILES, levels, strict=True)},
        "max": int(counts.max()),
    }


def label_facts(labels: Qrels) -> dict[str, Any]:
    """Return the positives of a split, in total and per query, and the count of each grade."""
    queries, grades = np.unique(labels.queries), np.unique(labels.grades, return_counts=True)
    counts = np.bincount(np.searchsorted(queries, labels.positives().queries), minlength=len(queries))
    return {
        "positives": int(counts.sum()),
        "mean": float(counts.mean()),
        "min": int(counts.min()),
        "max": int(counts.max()),
        "grades": {str(grade): int(count) for grade, count in zip(*grades, strict=True)},
    }


def copies(documents: list[str], queries: list[str], labels: dict[str, Qrels]) -> dict[str, Any]:
    """Count duplicate texts, equal character by character.

    `documents` and `queries` (per split) count all but the first of each text. `queries_across` counts queries of the
    later split whose text is also a query of the earlier one. `positives_across` counts the test queries for which a
    duplicate of a training positive under another id is relevant, but no training positive: unseen by id, seen by text.
    `of_positives` counts what is kept out of the negatives as a positive is: documents without a label that have the
    text of a training positive but for case and white space, and their pairs with a training query.
    """
    codes, query_codes = (pd.factorize(np.array(texts, dtype=object))[0] for texts in (documents, queries))
    by_split = {split: query_codes[np.unique(labels[split].queries)] for split in SPLITS if split in labels}
    return {
        "documents": len(codes) - len(np.unique(codes)),
        "queries": {split: len(part) - len(np.unique(part)) for split, part in by_split.items()},
        "queries_across": {
            f"{one}-{other}": int(np.isin(by_split[other], by_split[one]).sum())
            for one, other in combinations(by_split, 2)
        },
        "positives_across": _seen_by_text(codes, labels),
        **({"of_positives": _of_positives(documents, labels["train"])} if "train" in labels else {}),
    }


def own_texts(labels: Qrels, own: Pairs) -> dict[str, int]:
    """Count the training queries that are in the corpus themselves, and their documents, but not as positives.

    Under their id or with their text: these are no negatives.
    """
    pairs = unlabelled_own(labels, own)
    return {"queries": len(np.unique(pairs[:, 0])), "documents": len(np.unique(pairs[:, 1]))}


def main(
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    settings: Annotated[str, Option(help="settings of the suite's encoder, as JSON")],
    output: Annotated[Path, Option(help="the JSON file that is written, Markdown beside it")],
    metric: Annotated[str, Option(help="the metric that ranks the board")] = DEFAULT[0],
    pool: Annotated[list[Path] | None, Option(help="the candidate pools that methods read")] = None,
) -> None:
    """Write the card of a dataset."""
    card = describe(dataset, json.loads(settings), metric)
    if pool:
        card["pools"] = {path.stem: read_pool_facts(path) for path in pool}
    write_json(output, card)
    write_text(output.with_suffix(".md"), markdown(card))


def _seen_by_text(codes: NDArray[np.int64], labels: dict[str, Qrels]) -> int:
    if "train" not in labels or "test" not in labels:
        return 0
    trained, tested = labels["train"].positives(), labels["test"].positives()
    by_id = tested.queries[np.isin(tested.documents, trained.documents)]
    by_text = tested.queries[np.isin(codes[tested.documents], codes[trained.documents])]
    return len(np.setdiff1d(by_text, by_id))


def _of_positives(documents: list[str], labels: Qrels) -> dict[str, int]:
    copies = with_copies(labels, copies_of(first_of_equal(hashes_of(documents))))
    unlabelled = copies.documents[len(labels.positives().documents) :]
    return {"documents": len(np.unique(unlabelled)), "pairs": len(unlabelled)}


def _self_ids(dataset: Path, labels: dict[str, Qrels]) -> int:
    """Count the labelled queries whose id is also a document's."""
    names: Sequence[str] = collection.column(dataset, collection.QUERIES, "id")
    documents: Iterable[str] = collection.column(dataset, collection.DOCUMENTS, "id")
    labelled = np.unique(np.concatenate([rows.queries for rows in labels.values()]))
    return len({names[row] for row in labelled} & set(documents))


if __name__ == "__main__":
    stage.command(main)
