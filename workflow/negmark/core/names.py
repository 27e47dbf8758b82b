"""Names that many modules share: slices, baselines, and the files and folders of a run.

Training imports none of this: an edit here makes boards anew, and no run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas as pd

SLICES = ("all", "seen", "unseen")


Row = Mapping[str, Any]  # one row of `standings`, by column name


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows as dictionaries, in order."""
    return cast(list[Row], frame.to_dict("records"))


TUNED_TITLE = ", tuned"
"""How the title of a tuned row ends where untuned ones stand below."""


STS = "STS"
"""The metric of record of a dataset of sentences: the mean over its STS tasks."""


LEXICAL = "bm25_search"


RANKER, TRAINED = "ranker", "trained"
"""Systems of gates that are no baselines of a board: a cross-encoder as it comes, and a row that is trained."""


METRICS_FILE, PER_QUERY, RUN = "metrics.json", "per_query.parquet", "run.trec.gz"


BASELINES = {
    "untrained": (
        "Untrained encoder",
        "The encoder as it comes, before any training: what every method starts from.",
    ),
    LEXICAL: ("BM25 search", "BM25 itself, no encoder: the lexical baseline."),
}


UNTRAINED = "untrained"


SHARED_LOSS = "info_nce"
"""The name of the loss that the rows of the controlled track share but those whose method is a loss."""


REFERENCE = "inbatch"  # the row that others are compared with, unless settings name another
