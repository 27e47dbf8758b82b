"""Known truth: what is relevant, or nearly so, is hidden from training, so that false negatives can be counted.

In a real collection most pairs are unjudged, and nobody knows which negatives are false. Here labels are moved from
the training split, as if pooling for judgments had missed them, to a split of their own, which training, pools and
methods don't read. All dev and test labels stay.

`pooled` keeps the positives that BM25, a weak retriever, ranks among its best `depth` documents for the query, out of
the dataset's documents; a query with none of them leaves the training split. `random` keeps a seeded share of each
query's positives, rounded, but at least one, so no query leaves. `related` moves nothing: all training labels stay,
and documents that stand in a relation to a positive of the query are hidden besides, unless they have a label for it
themselves. They are near-relevant by structure and no answers: no test label is added.

A pool favours the retriever that made it: what BM25 ranks highest is known, so negatives from BM25 include fewer
hidden positives than equally hard ones from elsewhere. This bias is part of pooling; `random` has none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from negmark.core.errors import UserError
from negmark.core.seeds import stream
from negmark.search.index import BM25Searcher, Searcher
from negmark.search.scripts import analyzer_of
from negmark.store.collection import Qrels
from negmark.store.graph import Graph, related_to_positives

Rows = NDArray[np.int64]
QUERIES_AT_A_TIME = 1024


def hide(
    train: Rows, settings: Mapping[str, Any], texts: tuple[Sequence[str], Sequence[str]], graph: Graph
) -> tuple[Rows, Rows, dict[str, Any]]:
    """Return the kept labels, the hidden ones, and facts, from the training labels [R, 3] (query, document, grade).

    `settings` are the dataset's: `name`, `seed` and `hide`, which for `pooled` has BM25's `k1` and `b` beside its
    `depth`. `texts` are those of the documents and of the queries, by row, `graph` are the documents' relations. Labels
    of grade 0 stay if their query stays. Raises `UserError` if nothing would be hidden, no training query would be
    left, or the documents have no such relation.
    """
    how, name = settings["hide"], settings["name"]
    if how["how"] == "related":
        hidden = related(train, relation_named(how["relation"], graph, name))
        if not len(hidden):
            raise UserError(
                f"datasets.{name}.hide.relation: no unlabelled document is {how['relation']} of a training positive, "
                "so there would be no truth to count; use another relation, or more documents"
            )
        return train, hidden, {**how, **_related_counts(train, hidden)}
    if how["how"] == "pooled":
        documents, queries = map(list, texts)
        analyzer = how.get("analyzer") or analyzer_of(documents, len(documents))
        searcher = BM25Searcher(documents, queries, how["k1"], how["b"], analyzer)
        visible = found_by(searcher, train, how["depth"])
    else:
        visible = share_of(train, how["share"], settings["seed"])
    positive = train[:, 2] > 0
    stays = np.isin(train[:, 0], train[positive & visible, 0])
    kept, hidden = train[stays & (~positive | visible)], train[stays & positive & ~visible]
    if not len(kept):
        raise UserError(
            f"datasets.{name}.hide.depth: BM25 ranks no training positive among its best {how.get('depth')}, "
            "so nothing is left to train on; raise it"
        )
    if not len(hidden):
        raise UserError(
            f"datasets.{name}.hide: no label would be hidden, so there would be no truth to count; "
            "use a dataset with several positives per query, or a smaller depth or share"
        )
    return kept, hidden, {**how, **_counts(train[positive], kept, hidden)}


def relation_named(relation: str, graph: Graph, name: str) -> csr_array:
    """Return a relation of the documents of the dataset `name`. Raises `UserError` that lists those that it has."""
    if relation not in graph:
        has = f"they have {', '.join(graph)}" if graph else "they have none; use how: pooled or how: random"
        raise UserError(f"datasets.{name}.hide.relation: its documents have no relation {relation!r}; {has}")
    return graph[relation]


def related(train: Rows, relation: csr_array) -> Rows:
    """Return the documents that stand in a relation to a positive of a query as labels [H, 3] of grade 1.

    A document with a label of its own for the query, of any grade, is left out: a judgment outranks structure.
    """
    documents, queries = relation.shape[0], int(train[:, 0].max(initial=-1)) + 1
    near = related_to_positives(relation, Qrels(*train.T), queries).tocoo()
    pairs = np.column_stack([near.row, near.col]).astype(np.int64)
    labelled = np.isin(pairs[:, 0] * documents + pairs[:, 1], train[:, 0] * documents + train[:, 1])
    pairs = pairs[~labelled]
    ordered = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return np.column_stack([ordered, np.ones(len(ordered), np.int64)])


def found_by(searcher: Searcher, rows: Rows, depth: int) -> NDArray[np.bool_]:
    """Say for each labelled pair [R, 3] whether a searcher ranks the document in its top `depth` for the query."""
    queries = np.unique(rows[:, 0])
    keys = [
        _keys(part, searcher.search(part, min(depth, searcher.documents))[0], searcher.documents)
        for part in np.split(queries, range(QUERIES_AT_A_TIME, len(queries), QUERIES_AT_A_TIME))
    ]
    return np.isin(rows[:, 0] * searcher.documents + rows[:, 1], np.concatenate(keys))


def share_of(rows: Rows, share: float, seed: int) -> NDArray[np.bool_]:
    """Draw a share of each query's positives, rounded half up, at least one. Returns a mask over the labels [R, 3]."""
    chosen = np.zeros(len(rows), dtype=bool)
    positives = np.flatnonzero(rows[:, 2] > 0)
    draws = stream(seed, "hidden labels").random(len(positives))
    places = positives[np.lexsort((draws, rows[positives, 0]))]
    _, starts, place, counts = np.unique(
        rows[places, 0], return_index=True, return_inverse=True, return_counts=True
    )
    kept = np.maximum(np.floor(share * counts + 0.5), 1)
    chosen[places] = np.arange(len(places)) - starts[place] < kept[place]
    return chosen


def _keys(queries: Rows, ranking: Rows, documents: int) -> Rows:
    """Return one number per pair of a ranking [Q, depth]; empty places (-1) give none."""
    return (queries[:, None] * documents + ranking)[ranking >= 0]


def _related_counts(train: Rows, hidden: Rows) -> dict[str, int]:
    """Return the counts of the card where no label moves."""
    return {
        "positives": int((train[:, 2] > 0).sum()),
        "related_hidden": len(hidden),
        "queries_with_hidden": len(np.unique(hidden[:, 0])),
    }


def _counts(positives: Rows, kept: Rows, hidden: Rows) -> dict[str, int]:
    """Return the counts of the card: positives kept + hidden + left out add up to all positives."""
    visible = int((kept[:, 2] > 0).sum())
    return {
        "positives": len(positives),
        "positives_kept": visible,
        "positives_hidden": len(hidden),
        "positives_left_out": len(positives) - visible - len(hidden),
        "queries_left_out": len(np.setdiff1d(positives[:, 0], kept[:, 0])),
    }
