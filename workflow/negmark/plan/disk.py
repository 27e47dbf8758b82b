"""What the jobs of a suite leave on the disk, counted from sizes and settings.

Records, tables and figures are small beside it. Parts that go once they are gathered, and the checkpoints of a run
that has not ended, aren't counted: of these a training has one at a time, of three times its model.
"""

from collections.abc import Callable

from negmark.plan.durations import Encoding, corpus_tokens
from negmark.plan.jobs import Job
from negmark.plan.sizes import BYTES_A_TOKEN, Size
from negmark.suite.datasets import Dataset
from negmark.suite.layout import Layout
from negmark.suite.rows import Row

COMPRESSED = 0.45
"""Bytes of a text's byte in Parquet, with its id: 0.40 to 0.46 on SciFact, MS MARCO and WordNet."""
TOKEN, CANDIDATE, NEGATIVE = 4, 8, 9
"""Bytes of a token in the cache, of an id with its score in a pool, and of a negative in a run's ledger."""
RANKED = 100 * 14
"""Bytes of a query in a run of a hundred documents, compressed, and in the table of queries."""


class Disk:
    """Bytes that each job leaves."""

    def __init__(self, layout: Layout, size: Callable[[Job], Size], how: Encoding, parameters: int) -> None:
        self._layout, self._size, self._how, self._parameters = layout, size, how, parameters

    def left(self, kind: str, job: Job, seeds: int) -> float:
        """Return the bytes that a job of a stage leaves, of so many runs where it trains or evaluates."""
        match kind:
            case "dataset":
                return self._texts(self._of(job))
            case "embeddings":
                return self._vectors(self._of(job))
            case "bm25_pool" | "dense_pool":
                return self._of(job).train * self._layout.suite.pools.depth * CANDIDATE
            case "warm_up":
                return 4 * self._parameters
            case "train":
                return seeds * self._run(
                    self._layout.datasets[job.wildcards["dataset"]],
                    self._layout.all_rows[job.wildcards["row"]],
                )
            case "evaluate" | "evaluate_baseline":
                return seeds * self._of(job).test * RANKED
        return 0.0

    def _of(self, job: Job) -> Size:
        return self._size(job)

    def _texts(self, size: Size) -> float:
        queries = (size.train + size.test) * size.query_tokens
        return COMPRESSED * BYTES_A_TOKEN * (size.documents * size.document_tokens + queries)

    def _vectors(self, size: Size) -> float:
        width = 2 if self._layout.suite.encoder.output == "float16" else 4
        vectors = (size.documents + size.train + size.test) * self._how.dimension * width
        return vectors + TOKEN * sum(corpus_tokens(size, self._how))

    def _run(self, dataset: Dataset, row: Row) -> float:
        """Return what a trained model takes, two maps where the encoder is frozen, and its ledger of negatives."""
        model = 4 * self._parameters if row.tier.reads_texts else 8 * self._how.dimension**2
        budget = self._layout.specs.training(dataset, row)
        return model + NEGATIVE * budget["steps"] * budget["batch_size"] * budget["negatives"]
