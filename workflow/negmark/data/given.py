"""Stage given_pool: negatives that a user's file names, matched with the collection, as a pool.

A negative is the document that has its text (case and white space aside), title and text or text alone; of several the
one under its id. Where the file has no text, its id decides. So it is with queries: a text that isn't that of the id
decides, as the id is of another numbering then. What is no document of the collection is refused: a run would train on
something else than the file says. Lines of queries that aren't trained on are left out and counted. So are negatives
that a query may not have (`negmark.store.left_out`); the table beside the pool keeps them for the audit.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from typer import Option

from negmark.core import stage
from negmark.core.errors import UserError
from negmark.core.trec import trec_id
from negmark.data.given_files import GivenLine, GivenText, read_given
from negmark.data.records import LONGEST_SHOWN
from negmark.search.candidates import NO_DOCUMENT, write_pool
from negmark.store import collection
from negmark.store.collection import DOCUMENTS, QUERIES, write_table
from negmark.store.copies import hashes_of, normalised
from negmark.store.labels import Labels
from negmark.store.left_out import read_left_out


class Matched(NamedTuple):
    """A file matched with a collection: one row a negative, in the file's order, and the lines of unknown queries."""

    table: pd.DataFrame
    """Columns: query, document, score (NaN without one)."""
    lines: int
    foreign: int
    """Lines of queries that aren't trained on."""


class Queries:
    """The training queries by id and by normalised text."""

    def __init__(self, dataset: Path, trained: NDArray[np.int64]) -> None:
        ids, texts = (collection.column(dataset, QUERIES, key) for key in ("id", "text"))
        self._by_id = _rows_by_id(ids, trained.tolist())
        self._texts = [normalised(text) for text in texts]
        self._known = set(self._texts)
        self._by_text: dict[str, list[int]] = {}
        for row in trained.tolist():
            self._by_text.setdefault(self._texts[row], []).append(row)

    def rows(self, line: GivenLine) -> list[int]:
        """Return the training queries of a line: the one of its id, or all of its text where that is another one's.

        Raises `UserError` if the id is that of a query with another text, and no query has the line's.
        """
        named = self._by_id.get(line.query_id) if line.query_id is not None else None
        text = normalised(line.query or "")
        if named is not None and text in ("", self._texts[named]):
            return [named]
        if named is not None and text not in self._known:
            raise UserError(
                f"{line.place}: the query {line.query_id!r} is {_shown(self._texts[named])} here, and no query is "
                f"{_shown(text)}; mend the text or the id, or leave one of them out"
            )
        return self._by_text.get(text, []) if text else []


class Documents:
    """The documents that a file names, by id and by hash of text."""

    def __init__(self, dataset: Path, named: Iterable[GivenText]) -> None:
        wanted = {text for one in named for text in self._hashes(one)}
        titles, texts = (collection.column(dataset, DOCUMENTS, key) for key in ("title", "text"))
        self._by_text: dict[int, list[int]] = {}
        for found in (hashes_of(collection.joined(titles, texts)), hashes_of(texts)):
            for row in np.flatnonzero(np.isin(found, np.fromiter(wanted, np.uint64))).tolist():
                self._by_text.setdefault(int(found[row]), []).append(row)
        ids = collection.column(dataset, DOCUMENTS, "id")
        self._by_id = _rows_by_id(ids, range(len(ids)))

    def row(self, one: GivenText) -> int | None:
        """Return the row of a given negative; None if it is no document."""
        named = self._by_id.get(one.id) if one.id is not None else None
        if not one.texts:
            return named
        for text in self._hashes(one):
            if rows := self._by_text.get(text):
                return named if named in rows else rows[0]
        return None

    @staticmethod
    def _hashes(one: GivenText) -> list[int]:
        return hashes_of(one.texts).tolist()


def _rows_by_id(ids: Sequence[str], rows: Iterable[int]) -> dict[str, int]:
    """Return rows by id, and by the id as TREC's files have it where that is no other's own."""
    own = {ids[row]: row for row in rows}
    return {trec_id(name): row for name, row in own.items()} | own


def matched(file: Path, dataset: Path) -> Matched:
    """Match a file's lines with a prepared dataset. Raises `UserError` if a negative is no document of it."""
    trained = np.unique(collection.qrels(dataset, "train").positives().queries)
    queries = Queries(dataset, trained)
    lines = list(read_given(file))
    ours = [(line, rows) for line in lines if (rows := queries.rows(line))]
    if not ours:
        raise UserError(
            f"{file}: none of its {len(lines):,} lines has a training query of {dataset.name}, by id or by text; "
            "give the negatives of this dataset"
        )
    documents = Documents(dataset, (one for line, _ in ours for one in line.negatives))
    table = pd.DataFrame(_rows(ours, documents, dataset.name), columns=["query", "document", "score"]).astype(
        {"query": np.int32, "document": np.int32, "score": np.float32}
    )
    if table.empty:
        raise UserError(
            f"{file}: its {len(ours):,} lines of training queries have no negative; give a list with some"
        )
    return Matched(table, len(lines), len(lines) - len(ours))


def _rows(
    lines: list[tuple[GivenLine, list[int]]], documents: Documents, name: str
) -> Iterator[tuple[int, int, float]]:
    unknown: list[tuple[str, GivenText]] = []
    for line, rows in lines:
        for one in line.negatives:
            document = documents.row(one)
            if document is None:
                unknown.append((line.place, one))
                continue
            score = np.nan if one.score is None else one.score
            yield from ((query, document, score) for query in rows)
    if unknown:
        place, one = unknown[0]
        shown = _shown(one.texts[-1]) if one.texts else f"the id {one.id!r}"
        raise UserError(
            f"{place}: a negative that is no document of {name}: {shown}; {len(unknown):,} of the file's are none; "
            "take them out, or give documents of this collection by text or id"
        )


def _shown(text: str) -> str:
    return repr(text[:LONGEST_SHOWN])


def pool_of(table: pd.DataFrame, dataset: Path) -> tuple[dict[str, NDArray[Any]], int]:
    """Return the arrays of a pool (`search.candidates`) and how many negatives were no negatives, so left out.

    A query's candidates are its distinct documents by score, the file's order where scores are equal, or one of the
    query's is lacking: then the place is the score. Positives have no score, NaN.
    """
    qrels, documents = collection.qrels(dataset, "train"), collection.count(dataset)
    labels = Labels(qrels, documents, read_left_out(dataset))
    rows, found = table["query"].to_numpy(np.int64), table["document"].to_numpy(np.int64)
    refused = labels.is_positive(rows, found[:, None])[:, 0]
    kept = table[~refused].drop_duplicates(["query", "document"])
    scored = kept["score"].notna().groupby(kept["query"]).transform("all")
    by_score = kept.assign(score=kept["score"].where(scored))
    kept = by_score.sort_values("score", ascending=False, kind="stable", na_position="last")
    place = kept.groupby("query").cumcount().to_numpy()
    depth, queries = int(place.max(initial=0)) + 1, labels.queries
    ids = np.full((len(queries), depth), NO_DOCUMENT, np.int32)
    scores = np.full((len(queries), depth), -np.inf, np.float32)
    at = np.searchsorted(queries, kept["query"].to_numpy()), place
    ids[at] = kept["document"]
    scores[at] = kept["score"].fillna(pd.Series(-place, index=kept.index)).to_numpy(np.float32)
    positives = qrels.positives()
    order = np.lexsort((positives.documents, positives.queries))
    return {
        "queries": queries.astype(np.int32),
        "ids": ids,
        "scores": scores,
        "documents": np.array([documents], np.int64),
        "positive_queries": positives.queries[order].astype(np.int32),
        "positive_documents": positives.documents[order].astype(np.int32),
        "positive_scores": np.full(len(order), np.nan, np.float32),
    }, int(refused.sum())


def main(
    file: Annotated[Path, Option(help="the file of given negatives")],
    dataset: Annotated[Path, Option(help="folder of the prepared dataset")],
    output: Annotated[Path, Option(help="the pool's safetensors file")],
    table: Annotated[Path, Option(help="the parquet file of all that the file gives to training queries")],
) -> None:
    """Make the pool of a file of given negatives."""
    started = time.perf_counter()
    given = matched(file, dataset)
    pool, refused = pool_of(given.table, dataset)
    write_table(table, {str(name): column.to_numpy() for name, column in given.table.items()})
    write_pool(output, pool, f"given pool of {dataset.name}", started, {})
    if refused:
        stage.say(
            f"{file}: {refused:,} of {len(given.table):,} negatives are a positive of their query, a copy of one or "
            "the query itself, and are left out"
        )
    if given.foreign:
        stage.say(
            f"{file}: {given.foreign:,} of {given.lines:,} lines have no training query of {dataset.name}"
        )


if __name__ == "__main__":
    stage.command(main)
