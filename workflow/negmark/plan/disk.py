"""Disk space taken by the results of a suite, computed from sizes and settings.

Records, tables and figures are small in comparison. Temporary parts and the checkpoints of an unfinished run aren't
counted: a training run has one checkpoint at a time, three times the size of its model.
"""

from collections.abc import Callable

from negmark.plan.durations import Encoding, corpus_tokens
from negmark.plan.jobs import Job
from negmark.plan.sizes import BYTES_PER_TOKEN, Size
from negmark.suite.datasets import Dataset
from negmark.suite.layout import Layout
from negmark.suite.rows import Row

COMPRESSED = 0.45
"""Bytes in Parquet per byte of text, ids included: 0.40 to 0.46 on SciFact, MS MARCO and WordNet."""
TOKEN, CANDIDATE, NEGATIVE = 4, 8, 9
"""Bytes per token in the cache, per id with its score in a pool, and per negative in a run's ledger."""
RANKED = 100 * 14
"""Bytes per query in a compressed run of a hundred documents and in the per-query table."""


class Disk:
    """Bytes that each job adds to the disk."""

    def __init__(self, layout: Layout, size: Callable[[Job], Size], how: Encoding, parameters: int) -> None:
        self._layout, self._size, self._how, self._parameters = layout, size, how, parameters

    def left(self, kind: str, job: Job, seeds: int) -> float:
        """Return the bytes written by a job of a stage; training and evaluation count once per seed."""
        match kind:
            case "dataset":
                return self._texts(self._size_of(job))
            case "embeddings":
                return self._vectors(self._size_of(job))
            case "bm25_pool" | "dense_pool" | "judgments" | "row_judgments":
                return self._size_of(job).train * self._layout.suite.pools.depth * CANDIDATE
            case "warm_up":
                return 4 * self._parameters
            case "train":
                return seeds * self._run(
                    self._layout.datasets[job.wildcards["dataset"]],
                    self._layout.rows[job.wildcards["row"]],
                )
            case "evaluate" | "evaluate_baseline":
                return seeds * self._size_of(job).test * RANKED
        return 0.0

    def _size_of(self, job: Job) -> Size:
        return self._size(job)

    def _texts(self, size: Size) -> float:
        queries = (size.train + size.test) * size.query_tokens
        return COMPRESSED * BYTES_PER_TOKEN * (size.documents * size.document_tokens + queries)

    def _vectors(self, size: Size) -> float:
        width = 2 if self._layout.suite.encoder.output == "float16" else 4
        vectors = (size.documents + size.train + size.test) * self._how.dimension * width
        return 2 * vectors + TOKEN * sum(corpus_tokens(size, self._how))  # in the cache too

    def _run(self, dataset: Dataset, row: Row) -> float:
        """Return the bytes of a trained model (two maps if the encoder is frozen) and its ledger of negatives."""
        model = 4 * self._parameters if row.tier.reads_texts else 8 * self._how.dimension**2
        budget = self._layout.specs.training(dataset, row)
        return model + NEGATIVE * budget["steps"] * budget["batch_size"] * budget["negatives"]
