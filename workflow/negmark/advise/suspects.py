"""Negatives that may be relevant after all: those that a run's own model still ranks above the query's positive.

The model was trained to push them away. That it doesn't may be as it has learned too little, or as the pair is good: so
the share is a reading list, no rate of false negatives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from negmark.core.files import read_json
from negmark.core.names import METRICS_FILE
from negmark.core.tier_modules import tier_module
from negmark.share.negatives import LEDGER, MANIFEST, chosen_rows
from negmark.store import collection
from negmark.store.collection import QUERIES
from negmark.store.ledger import read_ledger
from negmark.store.passages import read_passages

MOST = 20
"""Pairs that are shown."""
CHUNK = 65536


@dataclass(frozen=True)
class Suspect:
    """A negative above the query's own positive, with both scores."""

    query: str
    positive: str
    negative: str
    positive_score: float
    negative_score: float


@dataclass(frozen=True)
class Suspects:
    """How many of a file's negatives are suspect, and the worst of them, one a query."""

    negatives: int
    above: int
    queries: int
    """Queries of the file."""
    worst: list[Suspect]

    @property
    def share(self) -> float:
        """Share of the negatives above the query's best positive."""
        return self.above / max(self.negatives, 1)


def suspects(run: Path, dataset: Path, vectors: Path) -> Suspects:
    """Return the suspects among what `snakemake negatives` writes of a run."""
    manifest, about = read_json(run / MANIFEST), read_json(run / METRICS_FILE)
    rows, _ = chosen_rows(read_ledger(run / LEDGER).to_pandas(), manifest["run"]["training"]["negatives"])
    labels = collection.qrels(dataset, "train").positives()
    wanted = np.isin(labels.queries, rows["query"].unique())
    pairs = pd.DataFrame({"query": labels.queries[wanted], "document": labels.documents[wanted]})
    sides = _sides(about, run / "model.safetensors", dataset, vectors, rows["query"].to_numpy())
    return above_positives(rows, pairs, sides, dataset)


def above_positives(
    negatives: pd.DataFrame,
    positives: pd.DataFrame,
    sides: tuple[NDArray[np.float32], NDArray[np.float32]],
    dataset: Path,
) -> Suspects:
    """Return the negatives above the best positive of their query, by vectors of documents and of queries."""
    scored = negatives[["query", "document"]].assign(score=cosines(negatives, sides))
    own = positives[["query", "document"]].assign(score=cosines(positives, sides))
    best = (
        own.sort_values("score", ascending=False, kind="stable").drop_duplicates("query").set_index("query")
    )
    joined = scored.join(best.rename(columns={"document": "positive", "score": "own"}), on="query")
    above = joined[joined["score"] > joined["own"]]
    worst = above.assign(by=above["score"] - above["own"]).sort_values("by", ascending=False, kind="stable")
    worst = worst.drop_duplicates("query").head(MOST)
    return Suspects(len(scored), len(above), scored["query"].nunique(), _shown(worst, dataset))


def cosines(
    pairs: pd.DataFrame, sides: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the similarity of each pair [N] by vectors of documents and of queries, of unit length."""
    documents, queries = sides
    asked, found = pairs["query"].to_numpy(np.int64), pairs["document"].to_numpy(np.int64)
    parts = [
        np.einsum("nd,nd->n", queries[asked[start : start + CHUNK]], documents[found[start : start + CHUNK]])
        for start in range(0, len(asked), CHUNK)
    ]
    return np.concatenate([*parts, np.empty(0, np.float32)])


def _sides(
    about: Mapping[str, Any], model: Path, dataset: Path, vectors: Path, queries: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    side = tier_module("evaluate", about["tier"]).trained_side
    documents = side(about, model, dataset, vectors, "document", None, 1)
    return documents, side(about, model, dataset, vectors, "query", np.unique(queries), 1)


def _shown(worst: pd.DataFrame, dataset: Path) -> list[Suspect]:
    texts = collection.column(dataset, QUERIES, "text")
    needed = np.unique(worst[["document", "positive"]].to_numpy(np.int64))
    found = read_passages(dataset, needed)
    text = {row: f"{one.title} {one.text}".strip() for row, one in found.items()}
    return [
        Suspect(
            texts[int(row["query"])],
            text[int(row["positive"])],
            text[int(row["document"])],
            float(row["own"]),
            float(row["score"]),
        )
        for row in worst.to_dict("records")
    ]
