"""A test split for a collection that has none: a fifth of its training queries, at most five hundred."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negmark.core.folders import expanded, is_file, is_folder
from negmark.data.archive import is_archive, unpack
from negmark.data.catalogue import known_datasets
from negmark.data.marco_qa import files_of
from negmark.data.records import Records

SHARE, MOST = 5, 500
DECIDES = frozenset({"test_split", "test_queries", "trained_on", "kind"})
"""Keys of a dataset by which the user says what is tested."""


def with_test_split(name: str, entry: Mapping[str, Any] | None) -> tuple[dict[str, Any] | None, int]:
    """Return a dataset's entry, with a test split where its source has none, and the number of queries set aside.

    Only a folder or an archive of the user's own is looked into; what is wrong with it the stage `dataset` says.
    """
    given = dict(entry or {})
    source = given.get("source")
    if not isinstance(source, str) or source in known_datasets() or DECIDES & given.keys():
        return (given or None), 0
    place = expanded(source)
    if is_folder(place):
        count = _lacking(place)
    elif is_file(place) and is_archive(place):
        with tempfile.TemporaryDirectory(prefix="negmark-") as folder:
            unpack(place, Path(folder))
            count = _lacking(Path(folder))
    else:
        count = 0
    return ({**given, "test_queries": count} if count else given), count


def _lacking(folder: Path) -> int:
    """Return how many queries to set aside; 0 where there is a test split, or nothing to take them from."""
    records = Records(folder, str(folder))
    if files_of(folder) or "test" in records.splits() or "train" not in records.splits():
        return 0
    queries = {judgment.query for judgment in records.judgments("train") if judgment.grade > 0}
    return min(len(queries) // SHARE, MOST)
