"""The failed runs of a suite: read from their records, with the rows that need them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from negmark.core.failure_record import FOLDER
from negmark.core.files import read_json

PARTIAL_VARIABLE = "NEGMARK_PARTIAL"


OK = "ok"


Place = tuple[str, str]
"""A dataset and a row."""


class Failure(BaseModel):
    """A row of the board without numbers, and why."""

    dataset: str
    row: str
    status: str
    reason: str


class FailedRow(Failure):
    """A failure, with the row's title, tier and track on the board."""

    title: str
    tier: str
    track: str


def record_path(suite: str, dataset: str, row: str, seed: int) -> Path:
    """Return the path of a job's record, which is named after its first seed."""
    return FOLDER / suite / dataset / row / f"seed-{seed}.json"


def read_failures(suite: str, places: Iterable[Place], seeds: Iterable[int]) -> list[Failure]:
    """Return the recorded failures of these (dataset, row) places; `seeds` are the first seeds of the jobs."""
    failures = []
    firsts = list(seeds)
    for dataset, row in places:
        paths = [record_path(suite, dataset, row, seed) for seed in firsts]
        if path := next((path for path in paths if path.is_file()), None):
            failures.append(Failure(dataset=dataset, row=row, **read_json(path)))
    return failures


def with_heirs(
    failures: Iterable[Failure], needs: Mapping[Place, Sequence[tuple[Place, str]]]
) -> dict[Place, Failure]:
    """Return failures by place, and as failed also the rows of `needs` that need the runs of a failed row."""
    by_place = {(one.dataset, one.row): one for one in failures}
    grows = True
    while grows:
        heirs = {
            place: Failure(
                dataset=place[0],
                row=place[1],
                status=by_place[need[0]].status,
                reason=f"{need[1]}: {by_place[need[0]].reason}",
            )
            for place, all_needed in needs.items()
            for need in all_needed
            if place not in by_place and need[0] in by_place
        }
        by_place |= heirs
        grows = bool(heirs)
    return by_place


def is_partial() -> bool:
    """Say whether this is the second plan, without the runs that failed."""
    return PARTIAL_VARIABLE in os.environ
