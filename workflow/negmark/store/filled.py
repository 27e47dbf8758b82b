"""How many of the places for negatives a run filled, and by what: shares in manifests, audits and boards."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

EMPTY, WITHOUT, BACKFILLED = "places_empty", "queries_without", "backfilled"
"""Shares of the places that stayed empty, of the queries without a negative in a step, and of the negatives that are
random documents in places that the method's own rule left empty."""
IN_BATCH_COPIES, IN_BATCH_OWN = "in_batch_copies", "in_batch_own"
"""Counts of the pairs of a query and another's positive that are no negatives: it has the text of a positive of the
query, or is the query itself."""
SHARES = (EMPTY, WITHOUT, BACKFILLED)
TOLD = 0.005
"""The smallest share that is said: it rounds to 1 %."""


def filled(history: Sequence[Mapping[str, float | None]], backfilled: float) -> dict[str, float | None]:
    """Return the shares of a run from its history and its ledger; None where a method has no places to fill."""
    means = pd.DataFrame(history).reindex(columns=[EMPTY, WITHOUT]).astype(float).mean()
    shares = {EMPTY: means[EMPTY], WITHOUT: means[WITHOUT], BACKFILLED: backfilled}
    return {name: None if math.isnan(share) else float(share) for name, share in shares.items()}


def gave_none(shares: Mapping[str, float | None]) -> bool:
    """Say whether a method had places to fill and never filled one, so that in-batch documents alone were negatives."""
    return shares[WITHOUT] == 1


def words(shares: Mapping[str, float]) -> list[str]:
    """Return the shares worth telling of a run or a row, as its footnotes."""
    told = {
        WITHOUT: "of its queries had no negative",
        EMPTY: "of its places for negatives were empty",
        BACKFILLED: "of its negatives were drawn at random to fill places that its rule left empty",
    }
    return [
        f"{shares[name]:.0%} {text}".replace("%", " %") for name, text in told.items() if shares[name] >= TOLD
    ]
