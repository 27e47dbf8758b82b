"""Auxiliary documents: texts that are in no corpus, such as an edited positive, and how they are named.

They are made before training and encoded by the document tower, with gradient where it is trained. They are in no pool,
no index and no label, and never ranked. In `Negatives.ids` and in the ledger they have numbers of their own, below all
others.
"""

import numpy as np
from numpy.typing import NDArray

from negmark.methods.types import Ids

FIRST = -3
"""The id of auxiliary document 0; number k has `FIRST - k`. -1 is an empty place, -2 a vector in the ledger."""
EDITS = ("entity", "number", "negation", "drop", "splice")
"""Kinds of texts that are made of a positive by rule."""
WRITTEN = ("written", "rewritten")
"""Kinds of texts that a small causal model writes: for the query alone, or from the positive."""


def ids_of(rows: Ids) -> Ids:
    """Return the ids of auxiliary documents, given by their numbers from 0 (any shape)."""
    return FIRST - rows


def rows_of(ids: Ids) -> Ids:
    """Return the numbers of auxiliary documents, given by their ids (any shape)."""
    return FIRST - ids


def is_auxiliary(ids: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark the ids that name auxiliary documents."""
    return ids <= FIRST


def kinds_of(names: str) -> tuple[str, ...]:
    """Return the kinds that a list of names, with commas between, stands for; `edits` and `model` are all of theirs.

    Raises ValueError if a name is none.
    """
    groups = {"edits": EDITS, "model": WRITTEN, **{kind: (kind,) for kind in (*EDITS, *WRITTEN)}}
    found: list[str] = []
    for name in (part.strip() for part in names.split(",")):
        if name not in groups:
            raise ValueError(f"expected names of {', '.join(groups)}, found {name!r}")
        found += groups[name]
    return tuple(dict.fromkeys(found))
