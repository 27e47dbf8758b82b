"""How long the jobs of a suite will take: the work of a stage, from sizes and settings, over a machine's speed.

Only what dominates is counted: tokens encoded, products of vectors searched, steps trained. The start of each job
(Python and its imports) is added; a small suite is mostly that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from negmark.core.tiers import TIERS
from negmark.methods.types import Work
from negmark.plan.sizes import Size

COLLATING = 1.5
"""Seconds that a job takes to make a table or a figure, without its start."""
PROMPT_TOKENS = 60
"""Of what a causal model is asked, besides the query and the passage."""
TOKENS_WRITTEN = 15.0
"""Tokens per second that a model of SmolLM2-135M's size writes in batches on a CPU: a guess, 5 where it was tried one
text at a time on one core."""
LOOKUPS = 3.5e6
"""Tokens per second and core that a token table averages, 384 wide, where that isn't measured; training them takes
three times as long."""


@dataclass(frozen=True)
class Machine:
    """The speed of a machine: amounts per second, and seconds of fixed costs."""

    start: Mapping[str, float]
    """Seconds until a job starts working, by kind: `torch` for those that load it, `light`, and `figures`."""
    tokens: float
    """Tokens encoded per second."""
    products: float
    """Multiplications per second of the exact search on all cores."""
    texts: float
    """Texts per second that the dataset stage reads and writes."""
    indexed: float
    """Texts per second that BM25 indexes."""
    scored: float
    """Pairs of a query and a document per second that BM25 scores."""
    rows: Mapping[str, "RowCost"]
    """The cost of a run, for each row of the adapter tier."""
    cores: int = 1
    own_products: float = 0.0
    """Multiplications per second of a run's own searches on a GPU; 0 where they are done by its threads."""
    lookups: float = LOOKUPS
    """Tokens per second and core that a token table averages."""


@dataclass(frozen=True)
class RowCost:
    """Seconds of a run of the adapter tier: each a fixed part and a part per document of the corpus."""

    prepared: tuple[float, float]
    first: tuple[float, float]
    """The first step, including the method's refresh."""
    later: tuple[float, float]

    def seconds(self, documents: int, steps: int, refreshes: int) -> float:
        """Return the seconds of a run; a refresh costs the difference between the first step and a later one."""
        prepared, first, later = (
            fixed + documents * each for fixed, each in (self.prepared, self.first, self.later)
        )
        return prepared + later * steps + max(first - later, 0.0) * max(refreshes, 1)


@dataclass(frozen=True)
class Encoding:
    """Maximum lengths of texts in tokens, and the width of the vectors."""

    query_length: int
    document_length: int
    dimension: int


def dataset_seconds(size: Size, machine: Machine) -> float:
    """Read, check and write all texts."""
    return machine.start["light"] + (size.documents + size.train + size.test) / machine.texts


def corpus_tokens(size: Size, how: Encoding) -> tuple[float, float]:
    """Return the tokens of all documents and of all queries after truncation."""
    documents = size.documents * min(size.document_tokens + 2, how.document_length)
    return documents, (size.train + size.test) * min(size.query_tokens + 2, how.query_length)


def embeddings_seconds(size: Size, how: Encoding, machine: Machine) -> float:
    """Encode all texts."""
    return machine.start["torch"] + sum(corpus_tokens(size, how)) / machine.tokens


def dense_pool_seconds(size: Size, how: Encoding, machine: Machine) -> float:
    """Search all documents for every training query."""
    return machine.start["light"] + size.train * size.documents * how.dimension / machine.products


def bm25_pool_seconds(size: Size, machine: Machine) -> float:
    """Index all documents and score every training query."""
    return (
        machine.start["light"]
        + size.documents / machine.indexed
        + size.train * size.documents / machine.scored
    )


def judgments_seconds(size: Size, how: Encoding, machine: Machine, depth: int) -> float:
    """Score the positive and the candidates of every training query by a cross-encoder of the encoder's size."""
    query = min(size.query_tokens + 2, how.query_length)
    document = min(size.document_tokens + 2, how.document_length)
    return machine.start["torch"] + size.train * (1 + depth) * (query + document) / machine.tokens


def written_seconds(size: Size, how: Encoding, machine: Machine, tokens: int) -> float:
    """Let a small causal model write two texts for every training query: `TOKENS_WRITTEN` a second.

    Reading a prompt is as fast as encoding with a network of its size, which is ten times MiniLM's.
    """
    prompt = PROMPT_TOKENS + how.query_length + min(size.document_tokens + 2, how.document_length)
    reading = 10 * prompt / machine.tokens
    return machine.start["torch"] + 2 * size.train * (reading + tokens / TOKENS_WRITTEN)


def judged_seconds(size: Size, how: Encoding, machine: Machine, texts: int) -> float:
    """Encode so many texts for every training query, and the query."""
    document = min(size.document_tokens + 2, how.document_length)
    tokens = size.train * (texts * document + min(size.query_tokens + 2, how.query_length))
    return machine.start["torch"] + tokens / machine.tokens


def train_seconds(
    size: Size,
    how: Encoding,
    machine: Machine,
    row: str,
    training: Mapping[str, Any],
    work: Work,
    tier: str,
) -> float:
    """Train one run: as measured for the adapter tier, by the tokens through the network for the others.

    A training step costs three times the encoding of its texts: one forward pass, and twice as much backward. What the
    method encodes and searches of the corpus is added, and the queries that it encodes to put batches together; a run
    searches where it computes, on its GPU or its own threads. In the adapter tier the searches are among what was
    measured.
    """
    if not TIERS[tier].reads_texts:
        return machine.rows[row].seconds(size.documents, training["steps"], work.corpus_encodings)
    query = min(size.query_tokens + 2, how.query_length)
    document = min(size.document_tokens + 2, how.document_length)
    passages = 1 + training["negatives"]
    texts = passages * (query + document) if TIERS[tier].scores_pairs else query + passages * document
    encoded = 3 * training["steps"] * training["batch_size"] * texts
    refreshed = 0.0 if TIERS[tier].scores_pairs else work.corpus_encodings * sum(corpus_tokens(size, how))
    refreshed += work.queries * query
    threads = min(training.get("threads", 1), machine.cores)
    products = machine.own_products or machine.products * threads / machine.cores
    searched = work.searches * size.documents * how.dimension / products
    return (encoded + refreshed) / _tokens_per_second(tier, machine) + searched


def evaluate_seconds(size: Size, how: Encoding, machine: Machine, tier: str) -> float:
    """Map or encode all documents with the run's model and search the test queries."""
    searched = size.test * size.documents * how.dimension
    if TIERS[tier].reads_texts and not TIERS[tier].scores_pairs:
        documents, _ = corpus_tokens(size, how)
        return documents / _tokens_per_second(tier, machine) + searched / machine.products
    return (size.documents * how.dimension**2 + searched) / machine.products * machine.cores


def _tokens_per_second(tier: str, machine: Machine) -> float:
    return machine.lookups if TIERS[tier].starts_from_table else machine.tokens
