"""How long the jobs of a suite will take: what a stage does, counted from sizes and settings, over what a machine does.

What is counted is what decides: tokens encoded, products of vectors searched, steps trained. A job's start (Python and
its imports) is on top, and most of a small suite is nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from negmark.core.tiers import TIERS
from negmark.plan.sizes import Size

COLLATING = 1.5
"""Seconds of work of a job that makes a table or a figure, beside its start."""


@dataclass(frozen=True)
class Machine:
    """What a machine does in a second, and seconds that things take on it."""

    start: Mapping[str, float]
    """Seconds until a job of a kind begins: `torch` for those that load it, `light`, and `figures`."""
    tokens: float
    """That the encoder encodes."""
    products: float
    """Multiplications of the exact search on all cores."""
    texts: float
    """That the dataset stage reads and writes."""
    indexed: float
    """Texts that BM25 indexes."""
    scored: float
    """Pairs of a query and a document that BM25 scores."""
    rows: Mapping[str, "RowCost"]
    """What a run of each row of the adapter tier takes."""
    cores: int = 1


@dataclass(frozen=True)
class RowCost:
    """Seconds of a run of the adapter tier: each an amount, and more for every document of the corpus."""

    prepared: tuple[float, float]
    first: tuple[float, float]
    """Of the first step, with what the method refreshes then."""
    later: tuple[float, float]

    def seconds(self, documents: int, steps: int, refreshes: int) -> float:
        """Return the seconds of a run; a refresh costs what the first step has more than a later one."""
        prepared, first, later = (
            fixed + documents * each for fixed, each in (self.prepared, self.first, self.later)
        )
        return prepared + later * steps + max(first - later, 0.0) * max(refreshes, 1)


@dataclass(frozen=True)
class Encoding:
    """How an encoder reads texts."""

    query_length: int
    document_length: int
    dimension: int


def dataset_seconds(size: Size, machine: Machine) -> float:
    """Read, check and write all texts."""
    return machine.start["light"] + (size.documents + size.train + size.test) / machine.texts


def corpus_tokens(size: Size, how: Encoding) -> tuple[float, float]:
    """Return the tokens of all documents and of all queries, cut as the encoder cuts them."""
    documents = size.documents * min(size.document_tokens + 2, how.document_length)
    return documents, (size.train + size.test) * min(size.query_tokens + 2, how.query_length)


def embeddings_seconds(size: Size, how: Encoding, machine: Machine) -> float:
    """Encode all texts."""
    return machine.start["torch"] + sum(corpus_tokens(size, how)) / machine.tokens


def dense_pool_seconds(size: Size, how: Encoding, machine: Machine) -> float:
    """Search every training query over all documents."""
    return machine.start["light"] + size.train * size.documents * how.dimension / machine.products


def bm25_pool_seconds(size: Size, machine: Machine) -> float:
    """Index all documents and score every training query."""
    return (
        machine.start["light"]
        + size.documents / machine.indexed
        + size.train * size.documents / machine.scored
    )


def train_seconds(
    size: Size,
    how: Encoding,
    machine: Machine,
    row: str,
    training: Mapping[str, Any],
    refreshes: int,
    tier: str,
) -> float:
    """Train one run: of the adapter tier as measured, of the others by the tokens that go through the network.

    A step of training costs three times what encoding its texts does: forward, and twice as much backward.
    """
    if not TIERS[tier].reads_texts:
        return machine.rows[row].seconds(size.documents, training["steps"], refreshes)
    query = min(size.query_tokens + 2, how.query_length)
    document = min(size.document_tokens + 2, how.document_length)
    given = 1 + training["negatives"]
    texts = given * (query + document) if TIERS[tier].scores_pairs else query + given * document
    encoded = 3 * training["steps"] * training["batch_size"] * texts
    again = 0.0 if TIERS[tier].scores_pairs else refreshes * sum(corpus_tokens(size, how))
    return (encoded + again) / machine.tokens


def evaluate_seconds(size: Size, how: Encoding, machine: Machine, tier: str) -> float:
    """Bring all documents into the run's space and search the test queries."""
    searched = size.test * size.documents * how.dimension
    if TIERS[tier].reads_texts and not TIERS[tier].scores_pairs:
        documents, _ = corpus_tokens(size, how)
        return documents / machine.tokens + searched / machine.products
    return (size.documents * how.dimension**2 + searched) / machine.products * machine.cores


def refreshes_of(params: Mapping[str, Any], steps: int) -> int:
    """Return how often a row encodes or searches its corpus anew in so many steps."""
    every = params.get("refresh_steps")
    return ceil(steps / every) if every else 1
