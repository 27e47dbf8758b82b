"""Several collections as one: `mix: {scifact: , notes: ./notes}` of a dataset trains one run on all of them.

Ids get the name of their source in front (`scifact:4983`), so that none is two; documents, queries and labels of a
split are joined. Pools are searched over all documents. Each source can be evaluated alone by `trained_on` of another
dataset.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from negmark.core.errors import UserError
from negmark.data.beir_writer import write_documents, write_labels, write_queries
from negmark.data.records import Records
from negmark.store.collection import SPLITS
from negmark.store.sources import BETWEEN


def write_mixture(sources: Mapping[str, Records], folder: Path, test_split: str) -> dict[str, int]:
    """Write collections as one in BEIR layout, and return how many training queries each has.

    Raises `UserError` if one has no labels to train on: it would add documents alone.
    """
    for name, records in sources.items():
        if "train" not in records.splits():
            raise UserError(
                f"mix.{name}: {records.name()} has no training labels; leave it out of the mixture, and evaluate it by "
                "`trained_on`"
            )
    write_documents(folder, _documents(sources))
    write_queries(folder, _queries(sources))
    splits = dict.fromkeys([*SPLITS, test_split])
    for split in splits:
        having = {name: records for name, records in sources.items() if split in records.splits()}
        if having:
            write_labels(folder, split, _labels(having, split))
    return {name: _training_queries(records) for name, records in sources.items()}


def _documents(sources: Mapping[str, Records]) -> Iterator[tuple[str, str, str]]:
    for name, records in sources.items():
        for row in records.documents():
            yield f"{name}{BETWEEN}{row.id}", row.title, row.text


def _queries(sources: Mapping[str, Records]) -> Iterator[tuple[str, str]]:
    for name, records in sources.items():
        for _, row in records.queries():
            yield f"{name}{BETWEEN}{row.id}", row.text


def _labels(sources: Mapping[str, Records], split: str) -> Iterator[tuple[str, str, int]]:
    for name, records in sources.items():
        for row in records.judgments(split):
            yield f"{name}{BETWEEN}{row.query}", f"{name}{BETWEEN}{row.document}", row.grade


def _training_queries(records: Records) -> int:
    return len({row.query for row in records.judgments("train")})
