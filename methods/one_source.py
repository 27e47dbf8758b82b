"""One source a batch: where several training sets are mixed, the queries of a batch come from one of them.

What the paper says: a batch of several sources lets a model tell documents apart by their source alone, so each batch
is filled from one (GTE, Li et al. 2023; Nomic Embed, Nussbaum et al. 2024; both from memory [M], without a figure for
this alone).
What the released code does (sentence-transformers, `MultiDatasetBatchSamplers`, [M]): a batch is of one dataset always;
datasets come in turn until the first ends, or in proportion to their sizes (the default).
What we do: in proportion to sizes, every query once an epoch. What a source has beyond whole batches shares batches
with others, so that the run sees the pairs that every row sees. A source is what stands in front of a query's id in a
dataset with `mix:`; the row is refused on others.
Cost per step: nothing beyond the batch.
"""

from negmark.methods import company
from negmark.methods.base import Method
from negmark.methods.types import IN_BATCH, Footnote, Ids, Pairs


class OneSource(company.Grouping, Method):
    """Batches of one training set."""

    name = "one_source"
    title = "One source a batch"
    citation = "Li et al. 2023, arXiv 2308.03281; Nussbaum et al. 2024, arXiv 2402.01613"
    needs_vectors = IN_BATCH
    needs_sources = True
    footnotes = (
        Footnote(
            "every query once an epoch; what a source has beyond whole batches shares batches with others instead of "
            "being left out"
        ),
    )

    def grouped(self, pairs: Pairs) -> Ids:
        """Return the source of each query."""
        return self.services.sources(pairs.queries)

    def ordered(self, groups: Ids, pairs: Pairs) -> Ids:
        """Return an order of batches of one source."""
        return company.one_group_each(groups, pairs.batches, pairs.rng)
