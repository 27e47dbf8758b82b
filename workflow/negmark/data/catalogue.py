"""The table of datasets that negmark knows by name, read from `datasets.yaml`."""

import functools
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

UNRECORDED = "unrecorded"
"""The MD5 of a zip that BEIR publishes without one."""
STS_TASKS = ("sts12", "sts13", "sts14", "sts15", "sts16", "stsbenchmark", "sick2014")
"""The seven tasks whose mean papers on sentence vectors report."""


class Known(BaseModel):
    """What is recorded about one dataset, so that every run uses the same bytes under the same terms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    licence: str
    train: bool
    test: bool = True
    kind: Literal["retrieval", "sentences"] = "retrieval"
    md5: str | None = None  # of BEIR's zip, or UNRECORDED
    path: str | None = (
        None  # of the folder in BEIR's zip and in a data folder, where it differs from the name
    )
    size: tuple[int, int, int, int, int] | None = (
        None  # documents, train and test queries, mean words of a document and of a query
    )
    dev: int | None = None  # queries of the dev split
    relations: tuple[str, ...] = ()  # between its documents: those of `core.relations.RELATIONS` that it has
    built: str | None = None  # from what negmark builds a collection that nobody publishes
    sha256: str | None = None  # of the content: `fingerprint.collection_sha256`


@functools.cache
def known_datasets() -> dict[str, Known]:
    """All known datasets by name."""
    table = yaml.safe_load(Path(__file__).with_name("datasets.yaml").read_text(encoding="utf-8"))
    return {name: Known.model_validate(entry) for name, entry in table.items()}
